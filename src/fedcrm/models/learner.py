"""The learner seam: a learner says which bounded sums it needs; it never sees how they travel.

Each round a learner asks for Σ over privacy units of a vector of dimension d with norm at most C and gets the noised
sum back. Learners are pure: state in, state out, everything a `Bundle`. The coordinator holds the state; participants
see only the query and their own rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import FeatureSchema
from fedcrm.models.bundle import Bundle


class UnitRows(Protocol):
    """What a learner sees of one organisation's records (`fedcrm.features.table.FeatureTable` has this shape)."""

    @property
    def schema(self) -> FeatureSchema:
        """The public columns."""
        ...

    @property
    def numbers(self) -> NDArray[np.float64]:
        """float64 [rows, number columns]; NaN is missing."""
        ...

    @property
    def codes(self) -> NDArray[np.int32]:
        """int32 [rows, category columns]; negative is missing, `levels` is any value outside the list."""
        ...

    @property
    def label(self) -> NDArray[np.int8]:
        """int8 [rows], 0 or 1."""
        ...

    @property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [units + 1]; unit u owns rows offsets[u] … offsets[u+1]−1."""
        ...

    def take_units(self, units: NDArray[np.int64]) -> UnitRows:
        """The rows of these units only."""
        ...


@dataclass(frozen=True, slots=True)
class PublicFacts:
    """What everyone may know before the first round: never computed from records.

    Attributes:
        schema: Columns; undeclared ranges and levels are the learner's to pay for.
        participants: Number of participants in the roster.
        units_magnitude: Order of magnitude (power of ten) of all units in the federation.
    """

    schema: FeatureSchema
    participants: int
    units_magnitude: int


@dataclass(frozen=True, slots=True)
class Round:
    """One planned release: what it is for and which share of the run's privacy loss it may take (shares sum to 1)."""

    purpose: str
    share: float


@dataclass(frozen=True, slots=True)
class Query:
    """One request for a bounded sum.

    Attributes:
        purpose: The `Round.purpose` this belongs to.
        dimension: d, length of each unit's vector. Coordinate 0 is the constant that counts weight.
        clipping_norm: C, bound on each unit's vector, ‖v‖₂ ≤ C.
        coordinate_bound: Bound on each coordinate's magnitude that a typical unit keeps; sets the grid, not privacy.
        payload: What a participant needs to compute the vectors (current parameters, bins …).
    """

    purpose: str
    dimension: int
    clipping_norm: float
    coordinate_bound: float
    payload: Bundle


@dataclass(frozen=True, slots=True)
class OpenedSum:
    """The opened, noised, weighted sum in the learner's own units.

    Attributes:
        values: float64 [d], Σᵢ wᵢ Σᵤ vᵤ + noise.
        noise_sd: Standard deviation of the noise in each coordinate (public: counts the whole cohort's shares).
    """

    values: NDArray[np.float64]
    noise_sd: float


class Model(Protocol):
    """A released model."""

    def predict(self, rows: UnitRows) -> NDArray[np.float64]:
        """Probability of label 1 for each row, float64 [rows]."""
        ...

    def explain(self, rows: UnitRows) -> list[Explanation]:
        """For each row, what each feature adds to the score; parts and base add up to it exactly."""
        ...

    def to_bundle(self) -> Bundle:
        """The whole model as plain facts and arrays."""
        ...


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature's part in a score, in log-odds, with the standard deviation of that part."""

    feature: str
    contribution: float
    sd: float


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """A score in log-odds: base + Σ reasons, strongest reason first."""

    base: float
    reasons: tuple[Reason, ...]
    log_odds: float

    def __repr__(self) -> str:
        return f"Explanation({len(self.reasons)} reasons)"


class Learner(Protocol):
    """A learner: plans its releases, asks for bounded sums, updates, finishes."""

    @property
    def name(self) -> str:
        """Its name in plans and descriptors."""
        ...

    def rounds(self, facts: PublicFacts) -> Sequence[Round]:
        """All releases of a run, in order, with their shares of the privacy loss."""
        ...

    def begin(self, facts: PublicFacts) -> Bundle:
        """The state before the first round."""
        ...

    def query(self, state: Bundle) -> Query | None:
        """The next sum needed, or None when done."""
        ...

    def unit_vectors(self, query: Query, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
        """Each unit's vector from its own rows and the query only, as batches float64 [units, d], unit order.

        Guarantee: a unit's vector does not change when any other unit's rows do. Clipping is the mechanism's. Whatever
        fails on the rows of an empty table fails for public reasons; what fails on a unit's rows concerns that unit.
        """
        ...

    def update(self, state: Bundle, opened: OpenedSum) -> Bundle:
        """The next state."""
        ...

    def finish(self, state: Bundle) -> Model:
        """The released model."""
        ...
