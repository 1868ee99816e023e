"""What a participant keeps to itself: records, ledger, noise source, and how a learner is let near the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedcrm.errors import FedCRMError
from fedcrm.models.learner import Learner, Query, UnitRows
from fedcrm.models.reliability import Reference
from fedcrm.privacy.accountant import ReleaseEvent
from fedcrm.privacy.entries import Charge

FAILURES = (
    FedCRMError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a learner may raise over rows, or over a coordinator's payload, that it cannot use."""


class NoiseSource(Protocol):
    """Draws one noise share; deployed code has `discrete_gaussian` here and nothing else."""

    def __call__(self, *, variance: int, size: int, stream_key: bytes) -> NDArray[np.int64]:
        """int64 [size] of the given variance, determined by the 32-byte key."""
        ...


class Books(Protocol):
    """What the role needs of the participant's privacy ledger."""

    def remaining_rho(self, *, task: str, now: datetime) -> float:
        """ρ the task may still spend in the running period."""
        ...

    def charged(self, release_id: bytes) -> Charge | None:
        """The charge of a release, if there is one."""
        ...

    def charge(  # noqa: PLR0913 (every part is evidence of one charge)
        self,
        release_id: bytes,
        event: ReleaseEvent,
        *,
        run: str,
        round: int,
        attempt: int,
        manifest_digest: bytes,
        purpose: str,
        task: str,
        now: datetime,
    ) -> object:
        """Record a release's cost durably, once per release id; raises BudgetExceeded when it does not fit."""
        ...


class Vectors(Protocol):
    """Whatever gives each unit's vector: a learner, or a measurement of quality."""

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Each unit's vector from its own rows and public numbers only, as batches float64 [units, d], unit order."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class LocalData:
    """What a participant brings to a run and never sends.

    Attributes:
        rows: Its feature table.
        learners: Learners its operator allows, by name.
        quality: Organisation-level quality factor in [0, 1], lawful in the sense of PRIVACY: charged, or a constant.
        unit_quality: Per-unit factors q in [0, 1] from each unit's own rows, or None.
        tell: Where findings for this participant's own operator go.
        reference: What its labels are measured against before the first round, or None; multiplies `quality`.
    """

    rows: UnitRows
    learners: Mapping[str, Learner]
    quality: float
    unit_quality: NDArray[np.float64] | None
    tell: Callable[[str], None]
    reference: Reference | None = None


def unit_by_unit(source: Vectors, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
    """All units' vectors; where the source fails, the rest one unit at a time, NaN for a unit that makes it fail.

    Vectors of another length than the query's are a failure too.

    Guarantee: a unit whose rows make the source fail changes no other unit's part, so the sensitivity stays w·C.
    Guarantee: a payload that gives vectors of another length makes nobody refuse: only weights above 0 would.
    """
    done = 0
    try:
        for batch in source.unit_vectors(query, rows):
            if batch.shape != (len(batch), query.dimension):
                raise ValueError("vectors have another length than the query's")
            yield batch
            done += len(batch)
    except FAILURES:
        for unit in range(done, len(rows.offsets) - 1):
            yield _alone(source, query, rows.take_units(np.array([unit], np.int64)))


def _alone(source: Vectors, query: Query, row: UnitRows) -> NDArray[np.float64]:
    try:
        vectors = np.concatenate(list(source.unit_vectors(query, row)))
    except FAILURES:
        vectors = np.empty((0, 0))
    return vectors if vectors.shape == (1, query.dimension) else np.full((1, query.dimension), np.nan)


def why_unusable(source: Vectors, query: Query, rows: UnitRows) -> str | None:
    """Why the source cannot use these columns, or None: asked of an empty table, so no record has a say in it."""
    nobody = rows.take_units(np.empty(0, np.int64))
    try:
        widths = [batch.shape[1] for batch in source.unit_vectors(query, nobody)]
    except FAILURES as error:
        return f"{type(error).__name__}: {error}"
    return None if all(width == query.dimension for width in widths) else "its vectors have another length"
