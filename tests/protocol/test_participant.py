"""The participant's own checks: a descriptor that breaks the plan is refused before anything is computed or charged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedcrm.errors import DescriptorRefused, FedCRMError, SecondUse, StaleMessage
from fedcrm.features.columns import FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable
from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import Query, UnitRows
from fedcrm.privacy.budget import Budget
from fedcrm.privacy.calibration import mechanism_for
from fedcrm.privacy.mechanism import integer_bound, sum_units
from fedcrm.protocol.digest import digest
from fedcrm.protocol.local_data import LocalData, unit_by_unit
from fedcrm.protocol.messages import COORDINATOR, Announcement, Contribution, ContributionRequest
from fedcrm.protocol.participant import PAYLOAD, TrainingParticipant
from fedcrm.protocol.release import Descriptor, PlannedRound, RunPlan
from fedcrm.runs.vault import SqliteVault
from twins.federation import NOW, SCHEME, TASK, Federation, Running
from twins.learners import SumLearner

D = 70
SCHEMA = FeatureSchema((NumberColumn("x", 0, 1), NumberColumn("y", 0, 1)))
FACTS = digest("facts")
BUDGET = Budget(epsilon=2.0, delta=1e-6, period_start=date(2026, 1, 1), period_days=365)
PAYLOAD_BYTES = Bundle({"step": 0}).to_bytes()


def _table(rows: int, seed: int = 0) -> FeatureTable:
    generator = np.random.default_rng(seed)
    numbers = generator.random((rows, 2))
    label = generator.integers(0, 2, rows).astype(np.int8)
    return FeatureTable(SCHEMA, numbers, np.zeros((rows, 0), np.int32), label, np.arange(rows + 1, dtype=np.int64))


class Desk:
    """One participant in training, with a real vault and ledger, and the coordinator's pen."""

    def __init__(self, running: Running, vault: SqliteVault, *, rows: int = 20, spare: int = 0) -> None:
        self.running, self.vault, self.told = running, vault, []
        self.plan = RunPlan(
            manifest=running.epoch.manifest,
            run=running.epoch.run,
            task=TASK,
            learner="sum",
            facts=FACTS,
            rounds=(PlannedRound(purpose="sum 0", noise_multiplier=4.0),),
            spare_attempts=spare,
        )
        self.pen = running.federation.post(COORDINATOR)
        self.data = LocalData(_table(rows), {"sum": SumLearner(releases=1, dimension=D)}, 1.0, None, self.told.append)

    def accepted(self, **changes: object) -> TrainingParticipant:
        """The participant after accepting the (changed) plan."""
        plan = self.plan.model_copy(update=changes)
        announcement = self.pen.write(Announcement(plan=plan))
        within = self.running.participants["org00"]
        return within.accept(announcement, facts=FACTS, data=self.data, books=self.vault.ledger, now=NOW)

    def descriptor(self, **changes: object) -> Descriptor:
        """The first round's descriptor, with changes."""
        mechanism = mechanism_for(
            dimension=D,
            clipping_norm=10.0,
            coordinate_bound=10.0,
            noise_multiplier=4.0,
            honest_shares=self.running.federation.manifest.honest_shares,
            participants=4,
            units_magnitude=1000,
        )
        fields = {
            "grid_bits": mechanism.grid_bits,
            "share_variance": mechanism.share_variance,
            "clamp": mechanism.clamp,
            "query": digest(PAYLOAD, PAYLOAD_BYTES),
        }
        return self.running.descriptor(dimension=D, **{**fields, **changes})

    def request(self, descriptor: Descriptor, payload: bytes = PAYLOAD_BYTES) -> bytes:
        """The coordinator's signed request."""
        return self.pen.write(ContributionRequest(descriptor=descriptor, payload=payload))


@pytest.fixture
def desk(tmp_path) -> Iterator[Desk]:
    """A fresh federation of four and one participant's ledger with a budget."""
    with SqliteVault.open(tmp_path / "vault.sqlite", key=bytes(32), now=NOW, create=True) as vault:
        vault.ledger.set_budget(BUDGET, now=NOW)
        yield Desk(Federation(4).set_up(), vault)


def test_a_contribution_is_charged_first_and_repeats_its_bytes(desk: Desk) -> None:
    """The ledger holds the charge when the bytes appear; asked again, the same bytes come and nothing is charged."""
    training, request = desk.accepted(), desk.request(desk.descriptor())
    first = training.contribute(request, now=NOW)
    assert len(desk.vault.ledger.charges()) == 1
    assert training.contribute(request, now=NOW) == first
    assert len(desk.vault.ledger.charges()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share_variance": 1}, "noise is below"),
        ({"clipping_norm": 10.5}, "noise is below"),
        ({"clamp": 1 << 31}, "wrap around"),
        ({"purpose": "sum 1"}, "announced as"),
        ({"learner": "other"}, "announced as"),
        ({"task": "other"}, "announced as"),
        ({"query": bytes(32)}, "another query"),
    ],
)
def test_a_descriptor_off_the_plan_is_refused_before_a_charge(
    desk: Desk, changes: dict[str, object], said: str
) -> None:
    """Less noise, a wider range, another purpose or another payload than announced: refused, nothing charged."""
    with pytest.raises(FedCRMError, match=said):
        desk.accepted().contribute(desk.request(desk.descriptor(**changes)), now=NOW)
    assert desk.vault.ledger.charges() == ()


def test_a_round_outside_the_plan_is_refused(desk: Desk) -> None:
    """A release beyond the announced rounds is refused."""
    parts = desk.descriptor().parts.model_copy(update={"round": 1})
    with pytest.raises(DescriptorRefused, match="not in the plan"):
        desk.accepted().contribute(desk.request(desk.descriptor(parts=parts)), now=NOW)


def test_attempts_beyond_the_spare_ones_are_refused(desk: Desk) -> None:
    """With no spare attempt a second release id of the run is refused, whatever round it claims."""
    training = desk.accepted()
    training.contribute(desk.request(desk.descriptor()), now=NOW)
    parts = desk.descriptor().parts.model_copy(update={"attempt": 1})
    with pytest.raises(DescriptorRefused, match="used up"):
        training.contribute(desk.request(desk.descriptor(parts=parts)), now=NOW)


def test_a_test_release_never_gets_real_data(desk: Desk) -> None:
    """A descriptor of kind test is refused by the training role."""
    parts = desk.descriptor().parts.model_copy(update={"kind": "test"})
    with pytest.raises(DescriptorRefused, match="test release asks for real data"):
        desk.accepted().contribute(desk.request(desk.descriptor(parts=parts)), now=NOW)


def test_the_epochs_test_descriptor_cannot_be_varied(desk: Desk) -> None:
    """`probe` contributes to the fixed test descriptor only."""
    with pytest.raises(DescriptorRefused, match="not the fixed one"):
        desk.running.participants["org00"].probe(desk.request(desk.descriptor(), b""))


def test_a_second_plan_for_the_same_epoch_is_refused(desk: Desk) -> None:
    """The first announced plan of a run stays: its weights were sized by it."""
    desk.accepted()
    with pytest.raises(StaleMessage, match="another plan"):
        desk.accepted(spare_attempts=5)


def test_a_plan_for_a_foreign_task_or_learner_is_refused(desk: Desk) -> None:
    """Tasks outside the manifest and learners the operator does not allow are refused."""
    with pytest.raises(DescriptorRefused):
        desk.accepted(task="surveillance")


def test_without_budget_pure_noise_is_sent_and_costs_nothing(tmp_path) -> None:
    """No budget means weight 0: a well-formed contribution leaves, and the ledger has spent nothing."""
    with SqliteVault.open(tmp_path / "vault.sqlite", key=bytes(32), now=NOW, create=True) as vault:
        desk = Desk(Federation(4).set_up(), vault)
        training = desk.accepted()
        training.contribute(desk.request(desk.descriptor()), now=NOW)
        assert training.outlook.weight == 0
        assert vault.ledger.spent_ever(delta=1e-6) == 0.0
        assert any("only noise" in line for line in desk.told)


def test_a_small_budget_lowers_the_weight_and_is_kept(desk: Desk) -> None:
    """A participant with a tenth of the planned loss takes part at a lower weight and spends no more than it has."""
    small = replace(BUDGET, epsilon=0.2)
    desk.vault.ledger.set_budget(small, now=NOW)
    training = desk.accepted()
    training.contribute(desk.request(desk.descriptor()), now=NOW)
    assert 0 < training.outlook.weight < 1
    assert 0.15 < desk.vault.ledger.spent(delta=1e-6, now=NOW) <= 0.2
    assert any("only at weight" in line for line in desk.told)


class DriftedLearner(SumLearner):
    """A learner that cannot use these columns at all."""

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Fail as a missing column would."""
        raise ValueError("a column is gone")


class FragileLearner(SumLearner):
    """A learner that fails on any table holding one particular value."""

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Fail when the poisoned value is there."""
        if (rows.numbers == POISON).any():
            raise LookupError("an unforeseen value")
        yield from super().unit_vectors(query, rows)


class LongLearner(SumLearner):
    """A learner whose vectors, of a payload's making, have another length than the descriptor says."""

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """One coordinate too many for every unit; nothing for an empty table."""
        if len(rows.offsets) > 1:
            yield np.ones((len(rows.offsets) - 1, query.dimension + 1))


class GreedyLearner(SumLearner):
    """A learner that a payload makes ask for more memory than there is, once there are rows."""

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Fail as numpy does."""
        if len(rows.offsets) > 1:
            raise MemoryError("unable to allocate")
        yield np.empty((0, query.dimension))


POISON = 7.25


@pytest.mark.parametrize("learner", [LongLearner, GreedyLearner])
def test_a_payload_that_fails_on_rows_alone_makes_nobody_refuse(desk: Desk, learner: type[SumLearner]) -> None:
    """Weight 0 never computes, so a refusal would tell that there are rows, and budget for them."""
    desk.data = replace(desk.data, learners={"sum": learner(releases=1, dimension=D)})
    training = desk.accepted()
    _, body = desk.pen.read(training.contribute(desk.request(desk.descriptor()), now=NOW), Contribution)
    SCHEME.check_ciphertext(body.ciphertext, dimension=D)
    assert training.outlook.weight == 1
    assert any("20 units without finite values" in line for line in desk.told)


def test_a_participant_whose_columns_do_not_fit_sends_noise_and_tells_its_operator(desk: Desk) -> None:
    """Nobody outside can tell drifted columns from a contribution; nothing is spent."""
    desk.data = replace(desk.data, learners={"sum": DriftedLearner(releases=1, dimension=D)})
    envelope = desk.accepted().contribute(desk.request(desk.descriptor()), now=NOW)
    _, body = desk.pen.read(envelope, Contribution)
    SCHEME.check_ciphertext(body.ciphertext, dimension=D)
    assert any("only noise is sent" in line for line in desk.told)
    assert desk.vault.ledger.spent_ever(delta=1e-6) == 0.0


def test_one_unit_that_breaks_the_learner_moves_the_sum_by_its_own_part_only() -> None:
    """A failure on one unit's rows must not silence the others: that would move the sum by far more than w·C."""
    learner, clean = FragileLearner(releases=1, dimension=3), _table(9)
    poisoned = replace(clean, numbers=clean.numbers.copy())
    poisoned.numbers[4, 1] = POISON
    query = Query("sum 0", 3, 0.9, 1.0, Bundle())
    vectors = np.concatenate(list(unit_by_unit(learner, query, poisoned)))
    others = [unit for unit in range(9) if unit != 4]
    assert np.isnan(vectors[4]).all()
    assert np.array_equal(vectors[others], np.concatenate(list(learner.unit_vectors(query, clean)))[others])


def test_a_step_first_taken_without_budget_repeats_its_bytes_after_budget_came(tmp_path) -> None:
    """The weight a release was charged at stays, whatever the ledger could carry later."""
    with SqliteVault.open(tmp_path / "vault.sqlite", key=bytes(32), now=NOW, create=True) as vault:
        vault.ledger.set_budget(BUDGET, now=NOW)
        desk = Desk(Federation(4).set_up(), vault)
        training, request = desk.accepted(), desk.request(desk.descriptor())
        vault.ledger.set_budget(replace(BUDGET, epsilon=0.01), now=NOW)
        first = training.contribute(request, now=NOW)
        vault.ledger.set_budget(BUDGET, now=NOW)
        assert training.contribute(request, now=NOW) == first
        assert vault.ledger.spent_ever(delta=1e-6) == 0.0


def test_changed_rows_after_a_contribution_send_nothing(desk: Desk) -> None:
    """After the bytes were recorded, other rows cannot produce a second encryption under the same release id."""
    request = desk.request(desk.descriptor())
    desk.accepted().contribute(request, now=NOW)
    desk.data = replace(desk.data, rows=_table(21))
    with pytest.raises(SecondUse):
        desk.accepted().contribute(request, now=NOW)


@given(
    rows=st.integers(1, 12), gone=st.integers(0, 11), weight=st.sampled_from([1.0, 0.5, 0.25]), seed=st.integers(0, 99)
)
def test_one_unit_moves_a_contribution_by_at_most_its_bound(rows: int, gone: int, weight: float, seed: int) -> None:
    """From raw rows: without any one unit the encoded, noiseless sum moves by at most w·C, checked in integers."""
    learner, table = SumLearner(releases=1, dimension=3), _table(rows, seed)
    query = Query("sum 0", 3, 0.9, 1.0, Bundle())
    mechanism = mechanism_for(
        dimension=3,
        clipping_norm=0.9,
        coordinate_bound=1.0,
        noise_multiplier=4.0,
        honest_shares=5,
        participants=9,
        units_magnitude=1000,
    )
    kept = np.array([u for u in range(rows) if u != gone % rows], np.int64)
    whole = sum_units(mechanism, learner.unit_vectors(query, table), weight=weight).values
    less = sum_units(mechanism, learner.unit_vectors(query, table.take_units(kept)), weight=weight).values
    assert sum(int(v) ** 2 for v in whole - less) <= integer_bound(mechanism, weight)
