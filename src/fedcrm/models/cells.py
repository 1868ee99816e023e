"""Public cells: every column cut into a fixed list of cells by public numbers alone, so that a row is a list of cells.

A number column has its value cells (in order) and one for missing; a category column has its levels, one for any
other value and one for missing. Cells of all columns are numbered through in the public order of the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import CategoryColumn, Column, FeatureSchema, NumberColumn
from fedcrm.models.learner import UnitRows

GRID_CELLS = 400
"""Value cells of a number column that has not one cell for each of its values."""

ROWS_AT_ONCE = 1 << 13
"""Rows whose cells are held in memory together."""

_LOG_DECADES = 1e3


@dataclass(frozen=True, slots=True)
class NumberGrid:
    """Value cells of one number column between two public bounds.

    Attributes:
        low, high: Public range; values outside belong to the first or the last cell.
        cells: Number of value cells (missing not counted).
        spacing: One cell for each whole value, or equal steps of a signed square root or logarithm.
    """

    low: float
    high: float
    cells: int
    spacing: Literal["value", "root", "log"]

    @classmethod
    def of(cls, column: NumberColumn, low: float, high: float, cells: int = GRID_CELLS) -> NumberGrid:
        """The grid of a column over a range: from public numbers only."""
        low, high = min(low, high), max(low, high)
        if column.whole and np.floor(high) - np.floor(low) < cells:
            return cls(float(np.floor(low)), high, int(np.floor(high) - np.floor(low)) + 1, "value")
        if high <= low:
            return cls(low, high, 1, "value")
        return cls(low, high, cells, "log" if column.scale == "log" else "root")

    def locate(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Cell of each value in [0, cells); `cells` for NaN."""
        missing = np.isnan(values)
        inside = np.clip(np.where(missing, self.low, values), self.low, self.high)
        if self.spacing == "value":
            place = np.rint(inside - self.low)
        else:
            start, end = self._bend(np.array([self.low, self.high]))
            place = (self._bend(inside) - start) / (end - start) * self.cells
        located = np.clip(place, 0, self.cells - 1).astype(np.int64)
        located[missing] = self.cells
        return located

    def _bend(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.spacing == "root":
            return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))
        unit = max(abs(self.low), abs(self.high)) / _LOG_DECADES
        return np.asarray(np.sign(values) * np.log1p(np.abs(values) / unit))


@dataclass(frozen=True, slots=True, repr=False)
class CellMap:
    """All columns' cells, numbered through: column f owns cells offsets[f] … offsets[f+1]−1, missing is its last.

    Attributes:
        schema: Public columns.
        ranges: Public range of each number column, float64 [number columns, 2].
        most: Value cells of a number column that has not one for each of its values.
        grids: One grid per number column, in the order of `schema.numbers`.
    """

    schema: FeatureSchema
    ranges: NDArray[np.float64]
    most: int
    grids: tuple[NumberGrid, ...]

    @classmethod
    def of(cls, schema: FeatureSchema, ranges: NDArray[np.float64], cells: int = GRID_CELLS) -> CellMap:
        """Cells over these ranges, float64 [number columns, 2]."""
        pairs = zip(schema.numbers, ranges.tolist(), strict=True)
        return cls(
            schema, ranges, cells, tuple(NumberGrid.of(column, low, high, cells) for column, (low, high) in pairs)
        )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Cells of each column, missing included, int64 [columns]."""
        grids = iter(self.grids)
        return np.array([_size(column, grids) for column in self.schema.columns], dtype=np.int64)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First cell of each column and, at the end, the number of all cells, int64 [columns + 1]."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def locate(self, rows: UnitRows, start: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """Cells of rows start … end−1, int64 [rows, columns], each in its column's own cells."""
        window, offsets = slice(start, end), self.offsets
        located = np.empty((rows.label[window].shape[0], len(self.schema.columns)), dtype=np.int64)
        number = category = 0
        for f, column in enumerate(self.schema.columns):
            if isinstance(column, NumberColumn):
                located[:, f] = self.grids[number].locate(rows.numbers[window, number])
                number += 1
            else:
                located[:, f] = locate_codes(rows.codes[window, category], column.levels)
                category += 1
        return np.add(located, offsets[:-1], out=located)

    def batches(self, rows: UnitRows) -> Iterator[NDArray[np.int64]]:
        """Cells of all rows, in bounded batches, in order."""
        for start in range(0, rows.label.shape[0], ROWS_AT_ONCE):
            yield self.locate(rows, start, start + ROWS_AT_ONCE)


def locate_codes(codes: NDArray[np.int32], levels: int) -> NDArray[np.int64]:
    """Cell of each category code: itself, `levels` for any other value, `levels` + 1 for missing (negative codes)."""
    return np.where(codes < 0, levels + 1, np.minimum(codes, levels)).astype(np.int64)


def declared_ranges(schema: FeatureSchema) -> NDArray[np.float64]:
    """Declared low and high of each number column, float64 [number columns, 2]; NaN where nothing is declared."""
    nan = float("nan")
    pairs = [(c.low, c.high) if c.low is not None and c.high is not None else (nan, nan) for c in schema.numbers]
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _size(column: Column, grids: Iterator[NumberGrid]) -> int:
    return column.levels + 2 if isinstance(column, CategoryColumn) else next(grids).cells + 1
