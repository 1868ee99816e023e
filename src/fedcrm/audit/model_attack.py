"""Membership inference on the released model alone: how likely it makes the canary's own label.

Weaker than the attack on the transcript, since the model is computed from it. Scratch trainings run the learner from
its beginning on invented rows, through the same clipping, weighing, rounding and noise, without encryption. In each of
them every participant holds its own canary or not by its own coin, so one training tests all participants at once; the
others' coins are part of the data that two neighbours share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fedcrm.audit.bounds import Scores
from fedcrm.crypto.sealing import KEY_BYTES, derive
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, Model, OpenedSum, Query
from fedcrm.privacy.calibration import mechanism_for
from fedcrm.privacy.mechanism import SumMechanism, sum_units
from fedcrm.protocol.local_data import NoiseSource, unit_by_unit
from fedcrm.runs.public_record import PublicRecord

_LEAST_CHANCE = 1e-12


@dataclass(frozen=True, slots=True, repr=False)
class Trainings:
    """What scratch trainings need.

    Attributes:
        record: The run's public record.
        learner: The run's learner.
        weights: Stated weight by audited participant.
        rows: Invented rows of each.
        canaries: The canary of each, one unit.
        noise: The noise source under audit.
    """

    record: PublicRecord
    learner: Learner
    weights: Mapping[str, Fraction]
    rows: Mapping[str, FeatureTable]
    canaries: Mapping[str, FeatureTable]
    noise: NoiseSource

    def possible(self) -> bool:
        """Whether the learner, begun anew, plans the rounds of the run (a continued run begins elsewhere)."""
        planned = [planned.purpose for planned in self.learner.rounds(self.record.facts)]
        return planned == [planned.purpose for planned in self.record.plan.rounds]

    def affordable(self, *, seconds: float, most: int) -> int:
        """How many trainings fit into so many seconds, by timing one: a multiple of four, at least four."""
        start = time.perf_counter()
        _train(self, set(), bytes(KEY_BYTES))
        each = time.perf_counter() - start
        return max(4, 4 * int(min(seconds / each, most) // 4))


def attack_model(
    trainings: Trainings, *, count: int, key: bytes, stream: Generator, advance: Callable[[], None]
) -> dict[str, Scores]:
    """Scores of `count` released models for each audited participant; the same number with and without its canary.

    Args:
        trainings: What they need.
        count: Number of trainings, a multiple of four.
        key: 32 secret bytes for the noise.
        stream: Tosses the coins.
        advance: Called after each training.
    """
    coins = {name: stream.permutation(np.arange(count) % 2 == 1) for name in trainings.canaries}
    scores = {name: np.zeros(count) for name in trainings.canaries}
    for index in range(count):
        inside = {name for name, coin in coins.items() if coin[index]}
        model = _train(trainings, inside, derive(key, "audit training", index))
        for name, canary in trainings.canaries.items():
            scores[name][index] = _likelihood(model, canary)
        advance()
    return {name: Scores(found[~coins[name]], found[coins[name]]) for name, found in scores.items()}


def _train(trainings: Trainings, inside: set[str], key: bytes) -> Model:
    learner, record = trainings.learner, trainings.record
    state = learner.begin(record.facts)
    for index, planned in enumerate(record.plan.rounds):
        query = learner.query(state)
        if query is None:
            break
        mechanism = _mechanism(record, query, planned.noise_multiplier)
        total = np.zeros(query.dimension, np.int64)
        for name in record.manifest.participants:
            share_key = derive(key, "audit share", index, name)
            total += trainings.noise(variance=mechanism.share_variance, size=mechanism.dimension, stream_key=share_key)
        for name, rows in trainings.rows.items():
            total += _values(trainings, mechanism, query, rows, name)
            if name in inside:
                total += _values(trainings, mechanism, query, trainings.canaries[name], name)
        state = learner.update(
            state, OpenedSum(mechanism.decode(total), mechanism.noise_sd(len(record.manifest.members)))
        )
    return learner.finish(state)


def _values(
    trainings: Trainings, mechanism: SumMechanism, query: Query, rows: FeatureTable, name: str
) -> NDArray[np.int64]:
    """A participant's noiseless integers; the canary's are added to its base's, as units add up."""
    vectors = unit_by_unit(trainings.learner, query, rows)
    return sum_units(mechanism, vectors, weight=trainings.weights[name]).values


def _mechanism(record: PublicRecord, query: Query, noise_multiplier: float) -> SumMechanism:
    return mechanism_for(
        dimension=query.dimension,
        clipping_norm=query.clipping_norm,
        coordinate_bound=query.coordinate_bound,
        noise_multiplier=noise_multiplier,
        honest_shares=record.manifest.honest_shares,
        participants=len(record.manifest.members),
        units_magnitude=record.facts.units_magnitude,
    )


def _likelihood(model: Model, canary: FeatureTable) -> float:
    """Mean log-likelihood of the canary's labels under the model."""
    chance = model.predict(canary)
    right = np.where(canary.label == 1, chance, 1 - chance)
    return float(np.log(np.maximum(right, _LEAST_CHANCE)).mean())
