"""An organisation's columns as its own rows show them: bins for trees, and smooth functions for a linear score.

Computed from the organisation's rows and kept there; nothing of it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.basis import AdditiveBasis, build_basis
from fedcrm.models.boosting import MOST_BINS, MOST_LEVELS, Binned
from fedcrm.models.cells import CellMap
from fedcrm.models.histogram import Counts
from fedcrm.models.learner import UnitRows

MOST_FUNCTIONS = 800
"""Functions of all columns together; where columns are many, each keeps its leading ones."""
_ROWS_PER_BIN, _FEWEST_BINS = 20, 32


@dataclass(frozen=True, slots=True, repr=False)
class TreeColumns:
    """Bins of the numbers and categories trees see.

    Attributes:
        edges: Upper edges of each number's bins but the last, ascending; bin 0 is missing.
        kept: Codes of each category with a bin of their own, ascending; bin 0 is missing, bin 1 any other.
    """

    edges: tuple[NDArray[np.float64], ...]
    kept: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> TreeColumns:
        """From numbers [rows, number columns] and codes [rows, category columns]."""
        most = int(np.clip(numbers.shape[0] // _ROWS_PER_BIN, _FEWEST_BINS, MOST_BINS - 3))
        return cls(tuple(_edges(c, most) for c in numbers.T), tuple(_frequent(c) for c in codes.T))

    def locate(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> Binned:
        """The columns of these rows as bins, numbers first."""
        binned = [
            np.where(np.isnan(c), 0, 1 + np.searchsorted(edges, c))
            for c, edges in zip(numbers.T, self.edges, strict=True)
        ]
        binned += [_levels(c, kept) for c, kept in zip(codes.T, self.kept, strict=True)]
        bins = np.array(binned, dtype=np.int64).reshape(len(binned), numbers.shape[0])
        widths = [edges.size + 2 for edges in self.edges] + [kept.size + 2 for kept in self.kept]
        unordered = np.repeat([False, True], [len(self.edges), len(self.kept)])
        return Binned(bins, unordered, np.array(widths, dtype=np.int64))


def _edges(column: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    known = column[~np.isnan(column)]
    return np.unique(np.quantile(known, np.arange(1, most) / most)) if known.size else np.empty(0)


def _frequent(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    values, counts = np.unique(codes[codes >= 0], return_counts=True)
    return np.sort(values[np.argsort(-counts, kind="stable")[: MOST_LEVELS - 2]]).astype(np.int64)


def _levels(codes: NDArray[np.int32], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    place = np.searchsorted(kept, codes)
    found = np.append(kept, -1)[place] == codes
    return np.where(codes < 0, 0, np.where(found, place + 2, 1)).astype(np.int64)


@dataclass(frozen=True, slots=True, repr=False)
class OwnBasis:
    """Smooth functions of every column, from the organisation's own counts.

    Attributes:
        cells: Cells over the organisation's own ranges.
        basis: Functions over them.
    """

    cells: CellMap
    basis: AdditiveBasis

    @classmethod
    def of(cls, rows: UnitRows) -> OwnBasis:
        """From the organisation's rows."""
        cells = CellMap.of(rows.schema, _ranges(rows.numbers))
        counts = np.zeros(int(cells.offsets[-1]))
        for located in cells.batches(rows):
            counts += np.bincount(located.ravel(), minlength=counts.shape[0])
        found = build_basis(cells, Counts(max(float(rows.label.shape[0]), 1.0), 0.5, counts, 0.0))
        return cls(cells, _leading(found, MOST_FUNCTIONS // max(len(found.columns), 1)))

    def design(self, rows: UnitRows) -> NDArray[np.float64]:
        """[1, φ] of each row, float64 [rows, 1 + D]."""
        offsets = self.cells.offsets
        pieces = [self.basis.expand(located, offsets) for located in self.cells.batches(rows)]
        values = np.vstack([np.empty((0, int(self.basis.offsets[-1]))), *pieces])
        return np.hstack([np.ones((values.shape[0], 1)), values])


def _ranges(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smallest and largest known value of each column, float64 [columns, 2]; [0, 1] where none is known."""
    known = ~np.isnan(numbers)
    low = np.where(known, numbers, np.inf).min(axis=0, initial=np.inf)
    high = np.where(known, numbers, -np.inf).max(axis=0, initial=-np.inf)
    empty = ~known.any(axis=0)
    return np.column_stack([np.where(empty, 0.0, low), np.where(empty, 1.0, high)])


def _leading(basis: AdditiveBasis, most: int) -> AdditiveBasis:
    """Each column's leading functions; a category with more functions than its share keeps its first."""
    offsets = basis.offsets
    rank = np.arange(offsets[-1]) - offsets[basis.column_of]
    return basis.keep(np.flatnonzero(rank < max(most, 1)))
