"""Records of one organisation as plain arrays. They stay where they are: `repr` shows shapes, never values."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import HASH_BUCKETS, FeatureSchema

MISSING = -1
"""Code of a missing category."""


@dataclass(frozen=True, slots=True, repr=False)
class FeatureTable:
    """Rows of one organisation, sorted so that all rows of one privacy unit are neighbours.

    Attributes:
        schema: The public columns.
        numbers: float64 [rows, number columns]; NaN is missing; raw values, not clipped to any range.
        codes: int32 [rows, category columns]; MISSING, 0 … levels−1, or `levels` for a value outside the list.
        label: int8 [rows], 0 or 1.
        offsets: int64 [units + 1]; unit u owns rows offsets[u] … offsets[u+1]−1.
        unit_ids: The units' ids, one per unit (used by keyed splits only).
    """

    schema: FeatureSchema
    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
    label: NDArray[np.int8]
    offsets: NDArray[np.int64]
    unit_ids: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.label.shape[0])

    @property
    def units(self) -> int:
        """Number of privacy units."""
        return int(self.offsets.shape[0] - 1)

    def __repr__(self) -> str:
        return f"FeatureTable(rows={self.rows}, units={self.units}, columns={len(self.schema.columns)})"

    def take_units(self, units: NDArray[np.int64]) -> FeatureTable:
        """The table with only these units, in the order given."""
        starts, ends = self.offsets[units], self.offsets[units + 1]
        lengths = ends - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) + np.repeat(starts, lengths)
        ids = tuple(self.unit_ids[u] for u in units) if self.unit_ids else ()
        return FeatureTable(self.schema, self.numbers[rows], self.codes[rows], self.label[rows], offsets, ids)


def hash_bucket(value: str) -> int:
    """Public, data-independent bucket of an undeclared category's text, in [0, HASH_BUCKETS)."""
    return int.from_bytes(hashlib.sha256(value.encode()).digest()[:8], "big") % HASH_BUCKETS
