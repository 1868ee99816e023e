"""The ledger: idempotent, filtered on ρ, tamper-evident, durable."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.errors import BudgetExceeded, ChargeConflict, LedgerDamaged, LedgerUnwritable
from fedcrm.privacy.accountant import ReleaseEvent, ZcdpAccountant
from fedcrm.privacy.budget import Budget
from fedcrm.privacy.entries import BudgetChange, Charge, Void, digest_of
from fedcrm.privacy.ledger import Ledger, configure

ACCOUNTANT = ZcdpAccountant()
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = Budget(epsilon=1.0, delta=1e-6, period_start=date(2026, 1, 1), period_days=365)
RHO = ACCOUNTANT.rho_budget(epsilon=1.0, delta=1e-6)
KEY = b"k" * 32


def event(rho: float) -> ReleaseEvent:
    """An event that costs about this ρ."""
    return ReleaseEvent(
        dimension=10, sensitivity_squared=round(rho * 2 * 10**9), share_variance=2 * 10**8, honest_shares=5
    )


def opened(db: sqlite3.Connection) -> Ledger:
    """The ledger of a database."""
    return Ledger(db, accountant=ACCOUNTANT, head_key=KEY)


def pay(ledger: Ledger, number: int, rho: float = 0.001, *, now: datetime = NEW_YEAR, task: str = "churn") -> Charge:
    """Charge release `number`."""
    return ledger.charge(
        number.to_bytes(32, "big"),
        event(rho),
        run="run",
        round=number,
        attempt=0,
        manifest_digest=b"m" * 32,
        purpose="step",
        task=task,
        now=now,
    )


@pytest.fixture
def db():
    """An empty database in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def ledger(db):
    """A ledger with a year's budget of ε = 1."""
    ledger = opened(db)
    ledger.set_budget(YEAR, now=NEW_YEAR)
    return ledger


def test_a_release_is_charged_once_whatever_is_repeated(ledger, db):
    """Guarantee: one release id is charged at most once, also by a ledger opened anew."""
    first = pay(ledger, 1)
    assert pay(ledger, 1, now=NEW_YEAR + timedelta(days=9)) == first == pay(opened(db), 1)
    assert len(ledger.charges()) == 1 and ledger.standing(now=NEW_YEAR).spent_rho == first.rho
    assert ledger.charged(first.release_id) == first and ledger.charged(b"other") is None


def test_a_second_event_for_one_release_is_refused(ledger):
    """The same release id with another event is an error that names the round, and costs nothing."""
    pay(ledger, 1)
    with pytest.raises(ChargeConflict, match="run run, round 1"):
        pay(ledger, 1, 0.002)
    assert len(ledger.charges()) == 1


def test_a_repeated_charge_is_answered_even_when_nothing_is_left(ledger):
    """A crash after the charge: the repeated step finds its charge although the budget is gone."""
    first = pay(ledger, 1, RHO * 0.9)
    with pytest.raises(BudgetExceeded):
        pay(ledger, 2, RHO * 0.2)
    assert pay(ledger, 1, RHO * 0.9) == first


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 0.7), st.integers(0, 800), st.sampled_from(["churn", "win"])), max_size=25))
def test_no_period_and_no_task_exceeds_its_budget(charges):
    """Guarantee: ρ of each period stays within the budget's, ρ of each task within its cap, and ε within ε."""
    capped = dataclasses.replace(YEAR, task_shares={"churn": 0.6, "win": 0.8})
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        ledger = opened(db)
        ledger.set_budget(capped, now=NEW_YEAR)
        for number, (share, day, task) in enumerate(charges):
            before = ledger.entries()
            try:
                pay(ledger, number, share * RHO, now=NEW_YEAR + timedelta(days=day), task=task)
            except BudgetExceeded:
                assert ledger.entries() == before
        for year in range(3):
            held = [c for c in ledger.charges() if c.at.year == 2026 + year]
            assert ACCOUNTANT.epsilon([c.event for c in held], delta=1e-6) <= 1.0
            for task, cap in (("churn", 0.6), ("win", 0.8)):
                assert math.fsum(c.rho for c in held if c.task == task) <= cap * RHO * (1 + 1e-12)
        assert ledger.verify() == len(ledger.entries())


def test_the_stated_epsilon_is_that_of_the_recorded_events(ledger):
    """Accounting over the recorded events gives what the ledger says, now and after reading it again."""
    for number in range(20):
        pay(ledger, number, RHO / 25)
    stated = ledger.spent(delta=1e-6, now=NEW_YEAR)
    assert stated == ACCOUNTANT.epsilon([c.event for c in ledger.charges()], delta=1e-6)
    assert stated == pytest.approx(ACCOUNTANT.epsilon_of(ledger.standing(now=NEW_YEAR).spent_rho, delta=1e-6))
    assert 0.8 < stated < 1.0 and ledger.spent_ever(delta=1e-6) == stated


def test_weight_zero_is_recorded_and_free_without_any_budget(db):
    """Pure noise needs no budget: it is on record, costs nothing, and is never refused."""
    ledger = opened(db)
    assert pay(ledger, 1, 0.0).rho == 0 and ledger.remaining_rho(task="churn", now=NEW_YEAR) == 0
    with pytest.raises(BudgetExceeded, match="FED-203"):
        pay(ledger, 2, 1e-6)


def test_periods_renew_and_their_guarantees_add_up(ledger):
    """After the period's end the budget is whole again; the loss over both periods is more than one period's ε."""
    pay(ledger, 1, RHO * 0.99)
    later = NEW_YEAR + timedelta(days=365)
    assert ledger.remaining_rho(task="churn", now=later) == RHO
    pay(ledger, 2, RHO * 0.99, now=later)
    assert ledger.spent(delta=1e-6, now=later) < 1.0 < ledger.spent_ever(delta=1e-6)


def test_a_clock_set_back_does_not_renew_anything(ledger):
    """Time never runs before the newest row: a charge cannot be put into a period gone by."""
    later = NEW_YEAR + timedelta(days=400)
    pay(ledger, 1, RHO * 0.9, now=later)
    with pytest.raises(BudgetExceeded):
        pay(ledger, 2, RHO * 0.2, now=NEW_YEAR)
    assert pay(ledger, 3, RHO * 0.05, now=NEW_YEAR).at == later


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 364), st.integers(-400, 400), st.integers(1, 400), st.floats(0, 0.5)), max_size=6)
)
def test_changing_the_budget_never_forgets_the_running_period(changes):
    """Guarantee: whatever is set within a year, what that year spent stays counted until its end."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        ledger = opened(db)
        ledger.set_budget(YEAR, now=NEW_YEAR)
        pay(ledger, 0, RHO * 0.3)
        for number, (day, start, days, share) in enumerate(sorted(changes), start=1):
            now = NEW_YEAR + timedelta(days=day)
            first = (now + timedelta(days=start)).date()
            ledger.set_budget(dataclasses.replace(YEAR, period_start=first, period_days=days), now=now)
            with suppress(BudgetExceeded):
                pay(ledger, number, share * RHO, now=now)
        within = [c.rho for c in ledger.charges() if c.at < NEW_YEAR + timedelta(days=365)]
        assert math.fsum(within) <= RHO * (1 + 1e-12)
        last = NEW_YEAR + timedelta(days=364, hours=23)
        assert ledger.remaining_rho(task="churn", now=last) <= RHO - math.fsum(within) + 1e-15


def test_a_void_period_has_nothing_left_until_it_renews(ledger):
    """After a restore nothing remains in the period, the spent ε is unknown, and the next period is whole."""
    pay(ledger, 1)
    ledger.void_period(reason="restored from a backup", now=NEW_YEAR)
    standing = ledger.standing(now=NEW_YEAR)
    assert standing.void and standing.remaining_rho == 0 == ledger.remaining_rho(task="churn", now=NEW_YEAR)
    assert ledger.spent(delta=1e-6, now=NEW_YEAR) == math.inf
    ledger.set_budget(dataclasses.replace(YEAR, period_start=date(2026, 2, 1)), now=NEW_YEAR + timedelta(days=40))
    assert ledger.remaining_rho(task="churn", now=NEW_YEAR + timedelta(days=50)) == 0
    assert ledger.remaining_rho(task="churn", now=NEW_YEAR + timedelta(days=800)) == RHO


def test_the_operator_is_told_before_the_first_round(ledger):
    """The ledger's forecast uses what this task has left; it is a value, and the weight follows from it."""
    assert ledger.forecast(planned_rho=RHO, task="churn", now=NEW_YEAR).carries
    pay(ledger, 1, RHO * 0.75)
    told = ledger.forecast(planned_rho=RHO, task="churn", now=NEW_YEAR)
    assert not told.carries and 0.49 < told.weight <= 0.5 and "only at weight" in told.in_words()


def test_rows_survive_being_read_again(ledger, db):
    """Charges, budget changes and void marks come back equal, and the export holds every digest."""
    pay(ledger, 1)
    ledger.set_budget(dataclasses.replace(YEAR, task_shares={"churn": 0.5}), now=NEW_YEAR)
    ledger.void_period(reason="test", now=NEW_YEAR)
    again = opened(db)
    assert again.entries() == ledger.entries()
    assert [type(e) for e in again.entries()] == [BudgetChange, Charge, BudgetChange, Void]
    rows = again.export()
    assert [row["seq"] for row in rows] == [1, 2, 3, 4] and rows[-1]["digest"] == again.head_digest().hex()


TAMPERINGS = {
    "a changed cost": "UPDATE ledger SET body = replace(body, '\"rho\":0.001', '\"rho\":0.0001') WHERE seq = 3",
    "a changed event": "UPDATE ledger SET body = replace(body, '\"dimension\":10', '\"dimension\":11') WHERE seq = 3",
    "a changed kind": "UPDATE ledger SET kind = 'void' WHERE seq = 3",
    "a changed digest": "UPDATE ledger SET digest = x'00' WHERE seq = 3",
    "a changed release": "UPDATE ledger SET release_id = x'00' WHERE seq = 3",
    "a removed release": "UPDATE ledger SET release_id = NULL WHERE seq = 3",
    "a removed row": "DELETE FROM ledger WHERE seq = 3",
    "a swapped order": "UPDATE ledger SET seq = CASE seq WHEN 3 THEN -1 ELSE seq END",
}


@pytest.mark.parametrize("statement", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_changed_row_is_named(ledger, db, statement):
    """Guarantee: any row changed or removed from outside is noticed and named, while open and on opening."""
    for number in range(1, 4):
        pay(ledger, number)
    db.execute(statement)
    with pytest.raises(LedgerDamaged, match=r"ledger row (3|1):"):
        ledger.verify()
    with pytest.raises(LedgerDamaged, match="FED-204"):
        opened(db)


def test_rows_cut_off_or_added_at_the_end_are_noticed(ledger, db):
    """Guarantee: the authenticated head notices a lost tail and a row with a chain recomputed without the key."""
    for number in range(1, 4):
        pay(ledger, number)
    body = db.execute("SELECT body FROM ledger WHERE seq = 4").fetchone()[0]
    db.execute("DELETE FROM ledger WHERE seq = 4")
    with pytest.raises(LedgerDamaged, match="head"):
        opened(db)
    with pytest.raises(LedgerDamaged, match="added or removed"):
        pay(ledger, 9)
    previous = db.execute("SELECT digest FROM ledger WHERE seq = 3").fetchone()[0]
    forged = body.replace('"purpose":"step"', '"purpose":"other"')
    release = (3).to_bytes(32, "big")
    db.execute(
        "INSERT INTO ledger VALUES (4, 'charge', ?, ?, ?)", (release, forged, digest_of(previous, 4, "charge", forged))
    )
    with pytest.raises(LedgerDamaged, match="head"):
        opened(db)
    db.execute("DELETE FROM ledger_head")
    with pytest.raises(LedgerDamaged, match="head"):
        opened(db)


def test_a_forged_cost_with_a_valid_chain_is_noticed(db):
    """Even with the whole chain recomputed, a ρ that is not what its event costs is named."""
    ledger = Ledger(db, accountant=ACCOUNTANT)
    ledger.set_budget(YEAR, now=NEW_YEAR)
    pay(ledger, 1)
    body, first = db.execute(
        "SELECT body, (SELECT digest FROM ledger WHERE seq = 1) FROM ledger WHERE seq = 2"
    ).fetchone()
    forged = body.replace('"rho":0.001', '"rho":0.0005')
    assert forged != body
    db.execute("UPDATE ledger SET body = ?, digest = ? WHERE seq = 2", (forged, digest_of(first, 2, "charge", forged)))
    with pytest.raises(LedgerDamaged, match="ledger row 2: the charged ρ is not what its event costs"):
        Ledger(db, accountant=ACCOUNTANT)


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '{"at":"yesterday"}'])
def test_rows_that_cannot_be_read_are_named(ledger, db, body):
    """A row that is no row, although its digest fits, is damage and not a crash."""
    digest = digest_of(ledger.head_digest(), 2, "charge", body)
    db.execute("INSERT INTO ledger VALUES (2, 'charge', NULL, ?, ?)", (body, digest))
    with pytest.raises(LedgerDamaged, match="ledger row 2: the row cannot be read"):
        opened(db)


def test_a_charge_that_cannot_be_written_is_not_remembered(tmp_path):
    """A full or read-only disk: a three-part error, nothing charged, and the ledger goes on once it can write."""
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        configure(db)
        ledger = opened(db)
        ledger.set_budget(YEAR, now=NEW_YEAR)
        db.execute("PRAGMA query_only = ON")
        with pytest.raises(LedgerUnwritable, match="what is not on record may not leave"):
            pay(ledger, 1)
        db.execute("PRAGMA query_only = OFF")
        assert ledger.charges() == () and pay(ledger, 1).round == 1 and ledger.verify() == 2


def test_the_ledgers_database_is_durable_by_its_settings(tmp_path):
    """Write-ahead log, synchronous=FULL, secure_delete: what `configure` promises."""
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        configure(db)
        settings_now = [
            db.execute(f"PRAGMA {n}").fetchone()[0] for n in ("journal_mode", "synchronous", "secure_delete")
        ]
    assert settings_now == ["wal", 2, 1]
