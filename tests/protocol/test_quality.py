"""The quality factor in the participant's role: charged first, measured once, then constant, never told to others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcrm.features.columns import FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import UnitRows
from fedcrm.models.reliability import QUERY, Reference
from fedcrm.privacy.budget import Budget
from fedcrm.protocol.digest import digest
from fedcrm.protocol.local_data import LocalData
from fedcrm.protocol.messages import COORDINATOR, Announcement
from fedcrm.protocol.participant import TrainingParticipant
from fedcrm.protocol.quality import PURPOSE, measurement_id
from fedcrm.protocol.release import PlannedRound, RunPlan
from fedcrm.runs.vault import SqliteVault
from twins.federation import NOW, TASK, Federation, Running
from twins.learners import SumLearner

SCHEMA = FeatureSchema((NumberColumn("x", -3, 3),))
FACTS = digest("facts")
BUDGET = Budget(epsilon=8.0, delta=1e-6, period_start=date(2026, 1, 1), period_days=365)
UNITS = 3_000


class LineModel:
    """Log-odds are twice the first number."""

    base = 0.0

    def __init__(self) -> None:
        self.reads: list[int] = []

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """Two times x; remembers how many rows it was shown."""
        self.reads.append(len(rows.label))
        return 2.0 * rows.numbers[:, 0]


class ForeignModel(LineModel):
    """A model of other columns."""

    def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
        """Fail as a missing column would."""
        raise ValueError("a column is gone")


def _table(*, wrong: bool, units: int = UNITS, seed: int = 1) -> FeatureTable:
    stream = np.random.default_rng(seed)
    numbers = stream.normal(0, 1, (units, 1))
    label = stream.random(units) < 1 / (1 + np.exp(-2 * numbers[:, 0]))
    label = stream.random(units) < 0.5 if wrong else label
    codes, offsets = np.zeros((units, 0), np.int32), np.arange(units + 1, dtype=np.int64)
    return FeatureTable(SCHEMA, numbers, codes, label.astype(np.int8), offsets)


class Desk:
    """One participant about to accept a plan, with a real vault and ledger."""

    def __init__(self, running: Running, vault: SqliteVault) -> None:
        self.running, self.vault, self.told = running, vault, []
        self.plan = RunPlan(
            manifest=running.epoch.manifest,
            run=running.epoch.run,
            task=TASK,
            learner="sum",
            facts=FACTS,
            rounds=(PlannedRound(purpose="sum 0", noise_multiplier=4.0),),
            spare_attempts=0,
        )
        self.pen = running.federation.post(COORDINATOR)

    def accepted(
        self, table: FeatureTable, *, model: LineModel | None = None, quality: float = 1.0
    ) -> TrainingParticipant:
        """The participant after accepting, with or without a reference model."""
        reference = None if model is None else Reference(model, 0.2)
        data = LocalData(
            table, {"sum": SumLearner(releases=1, dimension=2)}, quality, None, self.told.append, reference
        )
        announcement = self.pen.write(Announcement(plan=self.plan))
        within = self.running.participants["org00"]
        return within.accept(announcement, facts=FACTS, data=data, books=self.vault.ledger, now=NOW)


@pytest.fixture
def desk(tmp_path) -> Iterator[Desk]:
    """A federation of four; one participant's ledger with a budget."""
    with SqliteVault.open(tmp_path / "vault.sqlite", key=bytes(32), now=NOW, create=True) as vault:
        vault.ledger.set_budget(BUDGET, now=NOW)
        yield Desk(Federation(4).set_up(), vault)


def test_wrong_labels_lower_the_weight_and_true_ones_do_not(desk: Desk) -> None:
    """Random labels bring the weight to 0; the operator hears of a factor, of no count."""
    training = desk.accepted(_table(wrong=True), model=LineModel())
    assert training.outlook.weight == 0
    assert any("quality factor from it is 0" in line for line in desk.told)
    assert not any(str(UNITS) in line for line in desk.told)


def test_labels_that_follow_the_model_keep_the_weight(desk: Desk) -> None:
    """The factor is 1 and multiplies the constant quality."""
    assert desk.accepted(_table(wrong=False), model=LineModel(), quality=0.5).outlook.weight == Fraction(1, 2)


def test_the_charge_is_on_the_ledger_before_a_record_is_read(desk: Desk) -> None:
    """When the model first sees rows the ledger holds the event; the rounds' budget is what is left."""
    ledger, seen = desk.vault.ledger, []

    class Witness(LineModel):
        def log_odds(self, rows: UnitRows) -> NDArray[np.float64]:
            seen.append((len(rows.label), len(ledger.charges())))
            return super().log_odds(rows)

    before = ledger.remaining_rho(task=TASK, now=NOW)
    training = desk.accepted(_table(wrong=False), model=Witness())
    assert (UNITS, 1) in seen and not any(rows and not charges for rows, charges in seen)
    (charge,) = ledger.charges()
    assert (charge.purpose, charge.event.honest_shares, charge.event.dimension) == (PURPOSE, 1, QUERY.dimension)
    assert charge.release_id == measurement_id(desk.running.epoch)
    assert training.outlook.remaining_rho == pytest.approx(before - charge.rho)
    assert 0 < charge.rho <= 0.2 * training.outlook.planned_rho * (1 + 1e-9)


def test_the_measurement_has_its_own_whole_noise(desk: Desk) -> None:
    """One discrete Gaussian share of the charged variance, from a key that is a PRF of the epoch secret."""
    drawn: list[tuple[int, int, bytes]] = []

    def noise(*, variance: int, size: int, stream_key: bytes) -> NDArray[np.int64]:
        drawn.append((variance, size, stream_key))
        return np.zeros(size, np.int64)

    within = desk.running.participants["org00"]
    desk.running.participants["org00"] = replace(within, participant=replace(within.participant, noise=noise))
    desk.accepted(_table(wrong=False), model=LineModel())
    (charge,) = desk.vault.ledger.charges()
    ((variance, size, key),) = drawn
    assert (variance, size, len(key)) == (charge.event.share_variance, QUERY.dimension, 32)
    assert charge.rho == pytest.approx(charge.event.sensitivity_squared / (2 * variance))


def test_a_repeated_step_repeats_the_factor_and_charges_once(desk: Desk) -> None:
    """Other rows, another model or none at all after the first measurement: the value stays, one charge."""
    first = desk.accepted(_table(wrong=True), model=LineModel()).outlook
    model = LineModel()
    assert desk.accepted(_table(wrong=False), model=model).outlook == first
    assert desk.accepted(_table(wrong=False)).outlook == first
    assert model.reads == [] and len(desk.vault.ledger.charges()) == 1


def test_a_second_epoch_of_the_run_keeps_the_factor(desk: Desk) -> None:
    """Keys made anew after a holder went missing do not buy a second measurement."""
    first = desk.accepted(_table(wrong=True), model=LineModel()).outlook
    within = desk.running.participants["org00"]
    fewer = dict(list(within.epoch.holder_keys.items())[1:])
    desk.running.participants["org00"] = replace(within, epoch=replace(within.epoch, holder_keys=fewer))
    assert desk.accepted(_table(wrong=False), model=LineModel()).outlook.weight == first.weight == 0
    assert len(desk.vault.ledger.charges()) == 1


def test_a_run_begun_without_a_reference_keeps_its_weight(desk: Desk) -> None:
    """A reference that appears after the weight was sized changes nothing and costs nothing."""
    first = desk.accepted(_table(wrong=True)).outlook
    assert desk.accepted(_table(wrong=True), model=LineModel()).outlook == first
    assert first.weight == 1 and desk.vault.ledger.charges() == ()


def test_a_crash_after_the_charge_measures_once_more_under_the_same_charge(desk: Desk) -> None:
    """The factor was not recorded, so nothing has used it: the repeated step gives the same value, charged once."""
    table, vault = _table(wrong=True), desk.running.federation.vaults["org00"]
    first = desk.accepted(table, model=LineModel()).outlook
    vault.values = {place: value for place, value in vault.values.items() if place[2] not in (b"factor", b"remaining")}
    assert desk.accepted(table, model=LineModel()).outlook == first
    assert len(desk.vault.ledger.charges()) == 1


def test_without_budget_nothing_is_measured(desk: Desk) -> None:
    """No ρ left: no record is read, nothing is charged; the weight is 0 because of the budget alone."""
    desk.vault.ledger.void_period(reason="test", now=NOW)
    model = LineModel()
    training = desk.accepted(_table(wrong=True), model=model)
    assert training.outlook.weight == 0 and training.outlook.quality == 1.0
    assert not any(model.reads) and desk.vault.ledger.charges() == ()


def test_a_charge_that_no_longer_fits_falls_back_to_no_measurement(desk: Desk) -> None:
    """The budget shrank between sizing the noise and charging: factor 1, told to the operator, no record read."""
    model, table = LineModel(), _table(wrong=True)
    desk.vault.ledger.set_budget(replace(BUDGET, epsilon=0.01), now=NOW)
    stale = (1 / (2 * 0.5) ** 0.5).hex().encode()
    desk.running.federation.vaults["org00"].record("quality", desk.running.epoch.run, b"multiplier", stale)
    training = desk.accepted(table, model=model)
    assert training.outlook.quality == 1.0 and not any(model.reads)
    assert desk.vault.ledger.charges() == () and any("release costs" in line for line in desk.told)


@pytest.mark.parametrize("epsilon", [None, BUDGET.epsilon])
def test_a_plan_with_absurd_noise_makes_nobody_refuse(desk: Desk, epsilon: float | None) -> None:
    """Noise beyond every grid is no measurement: who has a budget answers like who has none, and nothing is charged."""
    if epsilon is None:
        desk.vault.ledger.void_period(reason="test", now=NOW)
    rounds = (PlannedRound(purpose="sum 0", noise_multiplier=1e30),)
    desk.plan = desk.plan.model_copy(update={"rounds": rounds})
    training = desk.accepted(_table(wrong=True), model=LineModel())
    assert training.outlook.quality == 1.0 and desk.vault.ledger.charges() == ()


def test_columns_that_do_not_fit_are_found_out_without_a_record(desk: Desk) -> None:
    """A foreign reference model: factor 1, nothing charged, the operator is told why."""
    training = desk.accepted(_table(wrong=True), model=ForeignModel())
    assert training.outlook.quality == 1.0 and desk.vault.ledger.charges() == ()
    assert any("a column is gone" in line for line in desk.told)


def test_the_weight_moves_with_data_through_the_charged_factor_only(desk: Desk) -> None:
    """Without a reference any two tables give the same weight: size and labels have no say."""
    weights = set()
    for units, wrong in ((1, True), (50, False), (UNITS, True)):
        desk.running = Federation(4).set_up()
        desk.plan = desk.plan.model_copy(
            update={"manifest": desk.running.epoch.manifest, "run": desk.running.epoch.run}
        )
        desk.pen = desk.running.federation.post(COORDINATOR)
        weights.add(desk.accepted(_table(wrong=wrong, units=units)).outlook.weight)
    assert weights == {Fraction(1)}
