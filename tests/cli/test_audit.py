"""`fedcrm audit`: a table or JSON alone, exit status 1 when a statement is beaten, nothing but the folder needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcrm.cli import main
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.privacy import accountant
from twins.audited import BUDGETS, always_the_same, trained
from twins.tables import invented_table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the deployed learner."""
    tables = {name: invented_table(60, seed=i) for i, name in enumerate(BUDGETS)}
    return trained(tmp_path_factory.mktemp("run") / "run", PairwiseLearner(), tables)


def _files(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and "-" not in path.suffix}


@pytest.fixture(scope="module")
def outcome(run: Path) -> dict:
    """What `--json` prints."""
    before = _files(run)
    with always_the_same():
        result = CliRunner().invoke(main.app, ["audit", str(run), "--trials", "1000", "--json"])
    assert result.exit_code == 0, result.output
    assert _files(run) == before
    return json.loads(result.stdout)


def test_json_says_what_is_stated_and_what_was_shown(outcome):
    """Every participant: ε, δ, weight, lower bounds of both attacks, and the verdict."""
    assert (outcome["learner"], outcome["releases"], outcome["passed"]) == ("pairwise", 12, True)
    assert (outcome["collusion_bound"], outcome["cohort_minimum"], outcome["confidence"]) == (1, 3, 0.95)
    assert list(outcome["participants"]) == list(BUDGETS) and outcome["trainings"] >= 4
    for name, found in outcome["participants"].items():
        shown = [bound for attack in found["epsilon_at_least"].values() for bound in attack.values()]
        assert len(shown) == 4 and 0 <= max(shown) <= found["epsilon_stated"] <= BUDGETS[name]
        assert found["passed"] and found["charges_not_replayed"] == 0


def test_canaries_of_the_deployed_learner_reach_its_bounds(outcome):
    """A made-up row moves all releases by nearly all that is charged for, so the bounds mean something."""
    assert all(0.8 < found["reach"] <= 1.0 for found in outcome["participants"].values())
    assert outcome["participants"]["org 0"]["epsilon_at_least"]["transcript"]["gaussian"] > 0.5


def test_the_table_names_every_participant(run):
    """Without --json a person reads a table, and under it what was attacked."""
    with always_the_same():
        result = CliRunner().invoke(main.app, ["audit", str(run), "--trials", "400"])
    assert result.exit_code == 0 and all(name in result.stdout for name in BUDGETS)
    assert "holds" in result.stdout and "BEATEN" not in result.stdout and "800 transcripts" in result.stdout


def test_a_beaten_statement_ends_with_exit_status_1(run, monkeypatch, capfd):
    """An accountant that states a hundredth of the loss is told on: JSON alone on stdout, the reason on stderr."""
    honest = accountant.ZcdpAccountant.epsilon
    monkeypatch.setattr(
        accountant.ZcdpAccountant, "epsilon", lambda self, events, *, delta: 0.01 * honest(self, events, delta=delta)
    )
    monkeypatch.setattr(sys, "argv", ["fedcrm", "audit", str(run), "--trials", "400", "--json"])
    with always_the_same(), pytest.raises(SystemExit) as end:
        main.main()
    said = capfd.readouterr()
    assert end.value.code == 1 and not json.loads(said.out)["passed"]
    assert said.err.lstrip().startswith("FED-602") and "what to do:" in said.err and "Traceback" not in said.err


def test_a_folder_that_is_no_run_is_refused(tmp_path, monkeypatch, capfd):
    """Exit status 2 and three parts, as for any input that cannot be used."""
    monkeypatch.setattr(sys, "argv", ["fedcrm", "audit", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 2 and "FED-450" in capfd.readouterr().err
