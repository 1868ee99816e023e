"""What the audit reads of a run: its public record, and of each ledger the weight, events and ε they come to."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from fedcrm.audit.run import Terms, Unwatched, audit_run
from fedcrm.audit.statements import read_statements
from fedcrm.engine.site import open_site
from fedcrm.errors import AuditRefused, ManifestError, RunStoreError, SignatureRefused
from fedcrm.privacy.accountant import ReleaseEvent
from fedcrm.privacy.budget import Budget
from fedcrm.privacy.weights import weight
from fedcrm.runs.public_record import read_public_record
from fedcrm.runs.store import RunStore
from twins.audited import BUDGETS, DELTA, QUALITY, sum_learner, summed
from twins.job import SCHEMA

NOW = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    return summed(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def _change(run: Path, statement: str) -> None:
    with sqlite3.connect(run / "coordinator.sqlite") as db:
        db.execute(statement)


def test_the_public_record_is_what_everyone_was_told(finished):
    """Plan, facts and one request per release, in order, each named by its own parts."""
    record = read_public_record(finished)
    assert (record.plan.task, record.plan.learner, record.facts.schema) == ("churn", "sum", SCHEMA)
    assert [r.descriptor.parts.round for r in record.requests.values()] == [0, 1, 2]
    assert all(r.descriptor.parts.release_id == release for release, r in record.requests.items())
    with RunStore(finished / "coordinator.sqlite") as store:
        assert [entry.release for entry in store.transcript()] == list(record.requests)


def test_a_statement_says_what_the_ledger_was_charged_for(finished):
    """ε is the ledger's own, within the budget; the weight is the one the budget and the quality gave."""
    record = read_public_record(finished)
    statements = read_statements(finished, record, now=NOW)
    assert [s.participant for s in statements] == list(BUDGETS)
    for index, s in enumerate(statements):
        site = open_site(finished / "participants" / f"{index:03d}", s.participant, now=NOW)
        assert s.epsilon == pytest.approx(site.vault.ledger.spent(delta=DELTA, now=NOW), rel=1e-12)
        site.vault.close()
        assert 0 < s.epsilon <= BUDGETS[s.participant] and s.delta == DELTA
        assert list(s.given) == list(record.requests) and s.unseen == 0
        assert repr(s) == f"PrivacyStatement('{s.participant}')"
    strict = weight(quality=1.0, rho_budget=statements[2].rho, rho_reference=statements[0].rho)
    full = Fraction(1) - Fraction(1, 2**16)
    assert all(s.weight >= full for s in statements[:2])
    assert statements[2].weight == pytest.approx(strict, abs=1e-3) and statements[3].weight == QUALITY["org 3"]


def test_a_charge_without_a_request_counts_and_is_told(run):
    """What a participant measured at its own cost is in the stated ε, and is said not to be attacked."""
    record = read_public_record(run)
    (before,) = [s for s in read_statements(run, record, now=NOW) if s.participant == "org 2"]
    site = open_site(run / "participants" / "002", "org 2", now=NOW)
    site.vault.ledger.set_budget(
        Budget(epsilon=9.0, delta=DELTA, period_start=date(2026, 1, 1), period_days=365), now=NOW
    )
    site.vault.ledger.charge(
        bytes(32),
        ReleaseEvent(dimension=1, sensitivity_squared=1, share_variance=100, honest_shares=1),
        run=record.plan.run.hex(),
        round=-1,
        attempt=0,
        manifest_digest=record.manifest.digest,
        purpose="own measurement",
        task="churn",
        now=NOW,
    )
    site.vault.close()
    (after,) = [s for s in read_statements(run, record, now=NOW) if s.participant == "org 2"]
    assert (before.unseen, after.unseen) == (0, 1) and after.epsilon > before.epsilon
    assert (after.weight, after.rho, after.given) == (before.weight, before.rho, before.given)


def test_one_participants_machine_holds_its_own_ledger_only(run):
    """With the other vaults gone, the one that is there is audited alone."""
    for index in (0, 1, 3):
        shutil.rmtree(run / "participants" / f"{index:03d}")
    outcome = audit_run(run, Terms(trials=400, trainings=0, learners={"sum": sum_learner}), watcher=Unwatched())
    assert [f.statement.participant for f in outcome.findings] == ["org 2"] and outcome.passed
    assert outcome.findings[0].model is None and outcome.findings[0].reach == pytest.approx(1.0, abs=0.01)


def test_a_folder_without_vaults_is_refused(run):
    """Nothing is stated there, so nothing can be compared."""
    shutil.rmtree(run / "participants")
    with pytest.raises(AuditRefused, match="no vault"):
        read_statements(run, read_public_record(run), now=NOW)


def test_a_vault_of_another_roster_is_not_read(run):
    """A folder whose identity is not in the manifest does not count."""
    for place in (run / "participants").iterdir():
        (place / "identity.key").unlink()
        shutil.copy(place / "vault.key", place / "identity.key")
    with pytest.raises(AuditRefused, match="no vault"):
        read_statements(run, read_public_record(run), now=NOW)


def test_a_folder_that_is_no_run_is_refused_and_left_empty(tmp_path):
    """Nothing is made in a folder that holds no run."""
    with pytest.raises(RunStoreError, match=r"holds no coordinator\.sqlite"):
        read_public_record(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["announcement", "facts", "request %"])
def test_a_run_without_its_messages_is_refused(run, name):
    """A run whose plan, facts or requests were not kept cannot be replayed."""
    _change(run, f"delete from facts where name like '{name}'")
    with pytest.raises(RunStoreError):
        read_public_record(run)


def test_facts_that_are_not_the_plans_are_refused(run):
    """The public facts are those that the signed plan names."""
    _change(run, "update facts set value = cast(replace(value, '1000', '9999') as blob) where name = 'facts'")
    with pytest.raises(RunStoreError, match="does not fit"):
        read_public_record(run)


def test_a_changed_request_is_refused(run):
    """A request whose bytes were changed no longer carries the coordinator's signature."""
    with sqlite3.connect(run / "coordinator.sqlite") as db:
        name, value = db.execute("select name, value from facts where name like 'request %'").fetchone()
        db.execute("update facts set value = ? where name = ?", (value[:-1] + bytes([value[-1] ^ 1]), name))
    with pytest.raises(SignatureRefused):
        read_public_record(run)


def test_another_manifest_is_refused(run):
    """The manifest is the one the run pinned."""
    text = (run / "manifest.toml").read_text()
    (run / "manifest.toml").write_text(text.replace("collusion_bound = 1", "collusion_bound = 2"))
    with pytest.raises(ManifestError):
        read_public_record(run)


def test_too_few_trials_and_unknown_learners_are_refused(finished):
    """An audit that cannot show anything is not made."""
    with pytest.raises(AuditRefused, match="too few"):
        Terms(trials=10)
    with pytest.raises(AuditRefused, match="not one of logistic"):
        audit_run(finished, Terms(trials=400), watcher=Unwatched())
