"""The honest mechanism holds; noise, clipping and weights that are not what is stated are caught."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fedcrm.audit.run import Terms, Unwatched, audit_run
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.crypto.sealing import derive
from fedcrm.errors import AuditFailed
from fedcrm.privacy import mechanism
from fedcrm.privacy.mechanism import EncodedSum
from fedcrm.protocol import participant
from fedcrm.protocol.participant import TrainingParticipant
from twins.audited import BUDGETS, QUALITY, sum_learner, summed

KEY = bytes(range(32))
"""Canaries, invented rows and all noise of the trials follow from it, so every verdict here is always the same."""

HONEST_VALUES = TrainingParticipant._values


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, honest run."""
    return summed(tmp_path_factory.mktemp("run") / "run")


def _audited(run: Path, **changes: object):
    terms = Terms(trials=2000, trainings=0, learners={"sum": sum_learner}, key=KEY, **changes)  # type: ignore[arg-type]
    return audit_run(run, terms, watcher=Unwatched())


def _beaten(outcome) -> set[str]:
    """Participants for whom a lower bound lies above the stated ε."""
    with pytest.raises(AuditFailed, match="an attack learnt more than is stated") as failure:
        outcome.check()
    names = {finding.statement.participant for finding in outcome.findings if finding.beaten}
    assert all(name in failure.value.what for name in names)
    return names


def _too_far(outcome) -> set[str]:
    """Participants whose releases one unit moves further than was charged."""
    return {finding.statement.participant for finding in outcome.findings if finding.too_far}


def _half_noise(*, variance: int, size: int, stream_key: bytes):
    return discrete_gaussian(variance=variance // 4, size=size, stream_key=stream_key)


def _asks_for_a_quarter(self: TrainingParticipant, descriptor, values):
    return HONEST_NOISE(self, descriptor.model_copy(update={"share_variance": descriptor.share_variance // 4}), values)


HONEST_NOISE = TrainingParticipant._noise_share


def _unclipped(numbers, batches, *, weight, unit_quality=None):
    del unit_quality
    scale = float(numbers.grid_steps * weight)
    total = sum(np.trunc(np.nan_to_num(batch) * scale).sum(axis=0) for batch in batches).astype(np.int64)
    return EncodedSum(np.clip(total, -numbers.clamp, numbers.clamp), 0, 0, 0)


def _at(weight_for: Callable[[TrainingParticipant, Fraction], Fraction]):
    """A role whose charge is honest and whose sum is at another weight."""

    def values(self, descriptor, numbers, query, weight):
        return HONEST_VALUES(self, descriptor, numbers, query, weight_for(self, weight))

    return values


def _halved_when_a_value_is_out_of_range(self, weight):
    inside = np.nanmax(np.abs(self.data.rows.numbers)) <= 1
    return weight if inside else Fraction(int(weight * 2**16) // 2, 2**16)


def _growing_with_the_rows(self, weight):
    return Fraction(int(weight * 2**16) * (len(self.data.rows.offsets) - 1) // 41, 2**16)


def test_the_honest_mechanism_holds(run):
    """No statement is beaten; the canary makes all of the stated loss real; the bounds come near what is stated."""
    outcome = _audited(run)
    outcome.check()
    assert outcome.passed and [f.statement.participant for f in outcome.findings] == list(BUDGETS)
    assert all(0.99 < finding.reach <= 1.0 for finding in outcome.findings)
    full = outcome.findings[0]
    assert 0.5 * full.statement.epsilon < full.transcript.best < full.statement.epsilon


def test_noise_of_half_the_deviation_is_caught(run):
    """A sampler that draws a quarter of the variance is beaten at every participant that gave much."""
    outcome = _audited(run, noise=_half_noise)
    assert _beaten(outcome) >= {"org 0", "org 1"} and not _too_far(outcome)


def test_a_role_that_asks_for_half_the_deviation_is_caught(run, monkeypatch):
    """So is a participant that asks an honest sampler for too little."""
    monkeypatch.setattr(TrainingParticipant, "_noise_share", _asks_for_a_quarter)
    assert _beaten(_audited(run)) >= {"org 0", "org 1"}


def test_clipping_that_is_off_is_caught(run, monkeypatch):
    """Without the clip the canary's long vector is seen at once, at every participant."""
    monkeypatch.setattr(participant, "sum_units", _unclipped)
    outcome = _audited(run)
    assert _beaten(outcome) == _too_far(outcome) == set(BUDGETS)


@pytest.mark.parametrize("weight_for", [_halved_when_a_value_is_out_of_range, _growing_with_the_rows])
def test_a_weight_that_moves_with_the_data_is_caught(run, monkeypatch, weight_for):
    """A weight that answers to the rows moves the whole sum when one unit joins."""
    monkeypatch.setattr(TrainingParticipant, "_values", _at(weight_for))
    outcome = _audited(run)
    assert _beaten(outcome) >= {"org 0", "org 1"} and _too_far(outcome) == set(BUDGETS)


def test_data_given_at_weight_0_is_caught(tmp_path, monkeypatch):
    """Who was charged for noise alone is audited too: nothing may move with a customer of theirs."""
    monkeypatch.setitem(QUALITY, "org 3", 0.0)
    run = summed(tmp_path / "run")
    assert not _too_far(_audited(run))
    monkeypatch.setattr(TrainingParticipant, "_values", _at(lambda role, weight: weight or Fraction(1)))
    assert _too_far(_audited(run)) == {"org 3"}


def test_one_noise_share_used_twice_is_caught(run, monkeypatch):
    """A noise key that forgets the release gives one share to two releases; the rehearsal refuses to go on."""

    def repeated(self, descriptor, values):
        key = derive(self.within.secret, "noise share")
        return self.within.participant.noise(variance=descriptor.share_variance, size=len(values), stream_key=key)

    monkeypatch.setattr(TrainingParticipant, "_noise_share", repeated)
    with pytest.raises(AuditFailed, match="two noise shares are one"):
        _audited(run)


def test_the_planted_functions_are_the_ones_in_use():
    """The names the bugs replace are those the role calls; a renamed one would make these tests say nothing."""
    assert participant.sum_units is mechanism.sum_units
    assert callable(HONEST_VALUES) and callable(HONEST_NOISE)
