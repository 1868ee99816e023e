"""`fedcrm budget`: show, set and verify, as a person and as a program reads them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from typer.testing import CliRunner

from fedcrm.cli.budget import PASSPHRASE_VARIABLE, app
from fedcrm.errors import BudgetError, LedgerDamaged, VaultError, VaultKeyError
from fedcrm.runs.vault import write_key_file

SET = ["--epsilon", "2", "--delta", "1e-6", "--period-days", "365"]


@pytest.fixture
def vault(tmp_path):
    """Options that name a vault and its key file."""
    write_key_file(tmp_path / "vault.key", bytes(32))
    return ["--vault", str(tmp_path / "vault.sqlite"), "--key-file", str(tmp_path / "vault.key")]


def run(*arguments: str):
    """The result of `fedcrm budget …`."""
    return CliRunner().invoke(app, list(arguments))


def test_set_then_show_in_words_and_as_json(vault):
    """What was set is shown; the words about successive periods are there; JSON stands alone on stdout."""
    first = run("set", *vault, *SET, "--create", "--task", "churn=0.5")
    assert first.exit_code == 0 and "guarantees of successive periods add up" in first.stdout
    shown = run("show", *vault, "--json")
    facts = json.loads(shown.stdout)
    assert facts["budget"]["epsilon"] == 2 and facts["budget"]["task_shares"] == {"churn": 0.5}
    assert facts["rho"]["remaining"] == facts["rho"]["budget"] > 0 == facts["epsilon_spent"]
    assert facts["rho"]["remaining_by_task"]["churn"] == pytest.approx(facts["rho"]["budget"] / 2)
    assert "add up" in facts["note"]
    assert "churn" in run("show", *vault).stdout


def test_verify_tells_an_intact_ledger_and_names_a_damaged_row(vault):
    """Intact: rows and digest. Tampered: the error names the row."""
    run("set", *vault, *SET, "--create")
    facts = json.loads(run("verify", *vault, "--json").stdout)
    assert facts["intact"] is True and facts["rows"] == 1 and len(facts["head_digest"]) == 64
    assert "intact: 1 rows" in run("verify", *vault).stdout
    with closing(sqlite3.connect(vault[1])) as db:
        db.execute("UPDATE ledger SET body = replace(body, '2.0', '9.0')")
        db.commit()
    result = run("verify", *vault)
    assert isinstance(result.exception, LedgerDamaged) and result.exception.where == "ledger row 1"


def test_without_a_budget_show_says_what_follows(vault):
    """A budget that begins later is not in force: the participant sends weight 0, and show says so."""
    run("set", *vault, *SET, "--create", "--period-start", "2999-01-01")
    assert "sends weight 0" in run("show", *vault).stdout
    facts = json.loads(run("show", *vault, "--json").stdout)
    assert facts["budget"] is None and facts["period"] is None and facts["epsilon_spent"] is None


@pytest.mark.parametrize(
    "wrong", [["--epsilon", "0"], ["--epsilon", "-1"], ["--delta", "1"], ["--epsilon", "nan"], ["--task", "churn"]]
)
def test_unusable_budgets_are_refused_and_leave_no_vault(vault, tmp_path, wrong):
    """A bad number is a three-part error before anything is written."""
    result = run("set", *vault, *SET, *wrong, "--create")
    assert isinstance(result.exception, BudgetError) and result.exception.fix
    assert not (tmp_path / "vault.sqlite").exists()


def test_a_missing_vault_and_a_wrong_key_are_told_apart(vault, tmp_path):
    """Without --create there must be a vault; another key does not open it."""
    assert isinstance(run("set", *vault, *SET).exception, VaultError)
    run("set", *vault, *SET, "--create")
    write_key_file(tmp_path / "other.key", b"o" * 32)
    result = run("show", *vault[:2], "--key-file", str(tmp_path / "other.key"))
    assert isinstance(result.exception, VaultKeyError)


def test_a_passphrase_comes_from_the_environment_or_is_asked_for(tmp_path, monkeypatch):
    """Without a key file: the environment's passphrase, else a prompt that leaves stdout to the JSON."""
    vault = ["--vault", str(tmp_path / "vault.sqlite")]
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    assert run("set", *vault, *SET, "--create").exit_code == 0
    monkeypatch.delenv(PASSPHRASE_VARIABLE)
    asked = CliRunner().invoke(app, ["show", *vault, "--json"], input="correct horse\n")
    assert json.loads(asked.stdout)["budget"]["epsilon"] == 2
