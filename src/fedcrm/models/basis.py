"""The basis: a few smooth, centred functions per column, tables over public cells, chosen from noisy counts alone.

Numbers: quantile bins, then the leading eigenfunctions of the Brownian kernel min(u, u') in the ranks u (Rasmussen and
Williams 2006, section 4.2.3: a prior for continuous functions), function j with variance proportional to 1/j². Missing
numbers have an indicator of their own. Categories: centred indicators of the levels that stand out of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import CategoryColumn
from fedcrm.models.bundle import Array
from fedcrm.models.cells import CellMap
from fedcrm.models.histogram import Counts

MOST_BINS = 32
MOST_FUNCTIONS = 8
_STANDS_OUT = 4.0
"""Noise standard deviations a bin's weight must have to stand alone."""
_INDICATOR = float(np.sqrt(2.0))
_BINARY = 2.0


@dataclass(frozen=True, slots=True, repr=False)
class ColumnBasis:
    """One column's functions.

    Attributes:
        bin_of_cell: Bin of each of the column's cells, int64 [cells].
        table: Value of each function in each bin, float64 [bins, functions].
        mass: Estimated share of rows in each bin, float64 [bins], positive, sums to 1.
    """

    bin_of_cell: NDArray[np.int64]
    table: NDArray[np.float64]
    mass: NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class AdditiveBasis:
    """All columns' functions as one table per column over its cells.

    Attributes:
        tables: float64 [cells of the column, functions of the column], one per column.
        second: E[φφᵀ] within each column under the estimated masses, float64 [functions, functions], one per column.
    """

    tables: tuple[NDArray[np.float64], ...]
    second: tuple[NDArray[np.float64], ...]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First coordinate of each column and, at the end, their number D, int64 [columns + 1]."""
        return np.concatenate([[0], np.cumsum([t.shape[1] for t in self.tables])]).astype(np.int64)

    @property
    def column_of(self) -> NDArray[np.int64]:
        """Column of each coordinate, int64 [D]."""
        return np.repeat(np.arange(len(self.tables)), [t.shape[1] for t in self.tables])

    @property
    def second_moment(self) -> NDArray[np.float64]:
        """E[φφᵀ] if columns were independent: block diagonal, float64 [D, D]."""
        offsets = self.offsets
        moment = np.zeros((int(offsets[-1]), int(offsets[-1])))
        for block, start, end in zip(self.second, offsets[:-1], offsets[1:], strict=True):
            moment[start:end, start:end] = block
        return moment

    @property
    def root_mean_square(self) -> float:
        """Typical norm of a row's φ, √E‖φ‖²; positive."""
        energy = sum(float(np.trace(block)) for block in self.second)
        return float(np.sqrt(max(energy, 1e-6)))

    def expand(self, located: NDArray[np.int64], cell_offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """φ of each row, float64 [rows, D], from its cells (`CellMap.locate`)."""
        offsets = self.offsets
        values = np.empty((located.shape[0], int(offsets[-1])))
        for f, table in enumerate(self.tables):
            values[:, offsets[f] : offsets[f + 1]] = table[located[:, f] - cell_offsets[f]]
        return values

    def parts(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each cell adds to the log-odds, float64 [cells of all columns]."""
        offsets = self.offsets
        pieces = [t @ coefficients[offsets[f] : offsets[f + 1]] for f, t in enumerate(self.tables)]
        return np.concatenate([np.zeros(0), *pieces])

    def deviations(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation of each cell's part under the coefficients' covariance, float64 [cells of all columns]."""
        offsets, pieces = self.offsets, [np.zeros(0)]
        for f, table in enumerate(self.tables):
            block = covariance[offsets[f] : offsets[f + 1], offsets[f] : offsets[f + 1]]
            pieces.append(np.sqrt(np.maximum(np.einsum("ci,ij,cj->c", table, block, table, optimize=True), 0.0)))
        return np.concatenate(pieces)

    def to_arrays(self) -> dict[str, Array]:
        """Flat arrays for a bundle."""
        return {
            "basis.functions": np.array([t.shape[1] for t in self.tables], dtype=np.int64),
            "basis.cells": np.array([t.shape[0] for t in self.tables], dtype=np.int64),
            "basis.tables": np.concatenate([np.zeros(0), *(t.ravel() for t in self.tables)]),
            "basis.second": np.concatenate([np.zeros(0), *(s.ravel() for s in self.second)]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> AdditiveBasis:
        """Read what `to_arrays` wrote."""
        functions, cells = arrays["basis.functions"].tolist(), arrays["basis.cells"].tolist()
        tables = _split(arrays["basis.tables"], list(zip(cells, functions, strict=True)))
        second = _split(arrays["basis.second"], [(k, k) for k in functions])
        return cls(tables, second)


def build_basis(cells: CellMap, counts: Counts) -> AdditiveBasis:
    """Functions of every column from the noisy counts: post-processing, costs nothing."""
    offsets = cells.offsets
    columns = [
        _category_basis(counts.cells[start:end], counts)
        if isinstance(column, CategoryColumn)
        else _number_basis(counts.cells[start:end], counts)
        for column, start, end in zip(cells.schema.columns, offsets[:-1], offsets[1:], strict=True)
    ]
    tables = tuple(c.table[c.bin_of_cell] for c in columns)
    return AdditiveBasis(tables, tuple((c.table * c.mass[:, None]).T @ c.table for c in columns))


def _number_basis(cells: NDArray[np.float64], counts: Counts) -> ColumnBasis:
    bins, missing = _quantile_bins(cells[:-1], counts), float(cells[-1])
    present = max(int(bins[-1]) + 1, 1)
    weight = np.bincount(bins, cells[:-1], minlength=present)
    mass = _positive(np.append(weight, missing), counts.sd)
    functions = _brownian_functions(mass[:-1] / mass[:-1].sum())
    if missing < _STANDS_OUT * counts.sd or present == 0:
        table = np.vstack([functions, np.zeros((1, functions.shape[1]))])
    else:
        indicator = _INDICATOR * (np.arange(present + 1) == present) - _INDICATOR * mass[-1]
        table = np.column_stack([np.vstack([functions, np.zeros((1, functions.shape[1]))]), indicator])
    return ColumnBasis(np.append(bins, present).astype(np.int64), table, mass)


def _category_basis(cells: NDArray[np.float64], counts: Counts) -> ColumnBasis:
    """Levels within the noise share the last bin; with two bins left, one function is enough."""
    alone = cells >= max(_STANDS_OUT * counts.sd, 1.0)
    kept = int(alone.sum())
    bin_of_cell = np.where(alone, np.cumsum(alone) - 1, kept).astype(np.int64)
    weight = np.bincount(bin_of_cell, cells, minlength=kept + 1)
    if weight[-1] < counts.sd and kept:
        weight[-1] = 0.0
    mass = _positive(weight, 1.0)
    shown = kept if weight[-1] == 0.0 else kept + 1
    table = np.zeros((kept + 1, 0))
    if shown == 2:
        table = _BINARY * ((np.arange(kept + 1) == 0) - mass[0])[:, None]
    elif shown > 2:
        table = _INDICATOR * (np.eye(kept + 1)[:, :shown] - mass[:shown])
    if shown == kept:
        table[kept] = 0.0
    return ColumnBasis(bin_of_cell, table, mass)


def _quantile_bins(cells: NDArray[np.float64], counts: Counts) -> NDArray[np.int64]:
    """Neighbouring cells together until each bin has 1/32 of the weight and stands out of the noise."""
    least = max(counts.units / MOST_BINS, _STANDS_OUT * counts.sd)
    bins, current, weight = np.zeros(cells.shape[0], dtype=np.int64), 0, 0.0
    for at, count in enumerate(cells.tolist()):
        if weight >= least:
            current, weight = current + 1, 0.0
        bins[at], weight = current, weight + count
    if weight < least and current:
        bins[bins == current] = current - 1
    return bins


def _brownian_functions(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leading centred eigenfunctions of min(u, u') under the bins' masses, scaled so that Σ E φ² = 1."""
    rank = np.cumsum(mass) - mass / 2
    centre = np.eye(mass.shape[0]) - mass[None, :]
    kernel = centre @ np.minimum(rank[:, None], rank[None, :]) @ centre.T
    root = np.sqrt(mass)
    values, vectors = np.linalg.eigh(root[:, None] * kernel * root[None, :])
    kept = np.flatnonzero(values > 1e-9)[::-1][:MOST_FUNCTIONS]
    scale = np.sqrt(values[kept] / max(values[kept].sum(), 1e-12))
    return np.asarray(vectors[:, kept] / root[:, None] * scale)


def _positive(weight: NDArray[Any], least: float) -> NDArray[np.float64]:
    mass = np.maximum(weight, max(least, 1e-9))
    return np.asarray(mass / mass.sum())


def _split(flat: Array, shapes: list[tuple[int, int]]) -> tuple[NDArray[np.float64], ...]:
    pieces, at = [], 0
    for rows, columns in shapes:
        pieces.append(np.asarray(flat[at : at + rows * columns], dtype=np.float64).reshape(rows, columns))
        at += rows * columns
    return tuple(pieces)
