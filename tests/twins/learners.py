"""A learner that sums given vectors: what a test puts in is what the protocol adds up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import OpenedSum, PublicFacts, Query, Round, UnitRows


class SumLearner:
    """Asks `releases` times for Σ over units of (1, numbers of the unit's rows added up)."""

    name = "sum"

    def __init__(self, *, releases: int, dimension: int, clipping_norm: float = 10.0) -> None:
        self._releases, self._dimension, self._norm = releases, dimension, clipping_norm

    def rounds(self, facts: PublicFacts) -> Sequence[Round]:
        del facts
        return [Round(f"sum {i}", 1 / self._releases) for i in range(self._releases)]

    def begin(self, facts: PublicFacts) -> Bundle:
        del facts
        return Bundle({"done": 0}, {"sums": np.zeros((0, self._dimension))})

    def query(self, state: Bundle) -> Query | None:
        done = int(state.facts["done"])  # type: ignore[arg-type]
        if done == self._releases:
            return None
        return Query(f"sum {done}", self._dimension, self._norm, self._norm, Bundle({"step": done}))

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        width = min(query.dimension - 1, rows.numbers.shape[1])
        vectors = np.zeros((len(rows.offsets) - 1, query.dimension))
        vectors[:, 0] = 1.0
        if len(vectors):
            vectors[:, 1 : 1 + width] = np.add.reduceat(rows.numbers[:, :width], rows.offsets[:-1], axis=0)
        yield vectors

    def update(self, state: Bundle, opened: OpenedSum) -> Bundle:
        sums = np.vstack([state.arrays["sums"], opened.values[None]])
        return Bundle({"done": int(state.facts["done"]) + 1}, {"sums": sums})  # type: ignore[arg-type]

    def finish(self, state: Bundle) -> Bundle:  # type: ignore[override]
        return state
