"""Documents and code say the same: error codes, commands, words, and no machine's paths."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from typer.testing import CliRunner

from fedcrm import errors
from fedcrm.cli.main import app

ROOT = Path(__file__).resolve().parents[1]


def _error_classes() -> dict[str, type[errors.FedCRMError]]:
    members = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.FedCRMError)]
    codes = {c.code: c for c in members}
    assert len(codes) == len(members), "two errors share a code"
    return codes


def test_every_error_code_has_its_entry_and_no_entry_is_stale() -> None:
    """docs/errors.md lists exactly the codes and names of the error tree."""
    entries = dict(re.findall(r"^## (FED-\d{3}) (\w+)$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))
    assert entries == {code: c.__name__ for code, c in _error_classes().items()}


def test_every_command_in_the_readme_exists() -> None:
    """Each `fedcrm …` line of the README names a command that answers --help."""
    commands = re.findall(r"\.venv/bin/fedcrm ([a-z]+(?: (?:show|set|verify))?)", (ROOT / "README.md").read_text())
    assert commands
    for command in set(commands):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0, command


def test_every_make_target_in_the_readme_exists() -> None:
    """`make NAME` in the README is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text()))
    assert named and named <= targets


def test_the_files_the_readme_points_to_exist() -> None:
    """Links and pictures of the README are there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_names_in_code_keep_to_the_glossary() -> None:
    """Words the glossary replaces (client, server, node, silo) do not name anything in the package."""
    replaced = {"client", "server", "silo", "node"}
    for path in (ROOT / "src").rglob("*.py"):
        for name in re.findall(r"\b(?:class|def) (\w+)", path.read_text()):
            words = {word.lower().rstrip("s") for word in re.findall(r"[A-Z]?[a-z]+", name)}
            assert not words & replaced, f"{path.name}: {name}"


def test_security_names_only_tests_that_exist() -> None:
    """Every test file SECURITY.md points to is there."""
    for name in re.findall(r"`((?:tests|lattice)/[\w/]+\.(?:py|go))`", (ROOT / "SECURITY.md").read_text()):
        assert (ROOT / name).exists(), name
