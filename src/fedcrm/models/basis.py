"""The basis: smooth, centred functions per column, tables over bins of public cells, chosen from noisy counts alone.

Numbers: quantile bins, then the leading eigenfunctions of the Brownian kernel min(u, u') in the ranks u (Rasmussen and
Williams 2006, section 4.2.3: a prior for continuous functions), plus an effect of its own for every bin that is one
single value many rows share (an amount of exactly 50,000 is often another thing than 49,000). Missing numbers have an
indicator of their own. Categories: centred indicators of the levels that stand out of the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import CategoryColumn
from fedcrm.models.bundle import Array
from fedcrm.models.cells import CellMap
from fedcrm.models.histogram import Counts

MOST_BINS = 80
MOST_FUNCTIONS = 20
ATOM_VARIANCE = 0.25
"""Prior variance of a shared value's own effect, in units of a Brownian motion over all ranks."""
_ATOM_SHARE = 0.8
"""Share of a bin's weight in one cell above which the bin is that value."""
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
    """All columns' functions.

    Attributes:
        columns: Bins, functions and masses of each column.
    """

    columns: tuple[ColumnBasis, ...]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First coordinate of each column and, at the end, their number D, int64 [columns + 1]."""
        return np.concatenate([[0], np.cumsum([c.table.shape[1] for c in self.columns])]).astype(np.int64)

    @property
    def column_of(self) -> NDArray[np.int64]:
        """Column of each coordinate, int64 [D]."""
        return np.repeat(np.arange(len(self.columns)), [c.table.shape[1] for c in self.columns])

    @property
    def second_moment(self) -> NDArray[np.float64]:
        """E[φφᵀ] if columns were independent: block diagonal, float64 [D, D]."""
        offsets = self.offsets
        moment = np.zeros((int(offsets[-1]), int(offsets[-1])))
        for column, start, end in zip(self.columns, offsets[:-1], offsets[1:], strict=True):
            moment[start:end, start:end] = (column.table * column.mass[:, None]).T @ column.table
        return moment

    def keep(self, coordinates: NDArray[np.int64]) -> AdditiveBasis:
        """The basis of these coordinates only, int64 ascending."""
        offsets = self.offsets
        inside = [coordinates[(coordinates >= a) & (coordinates < b)] - a for a, b in pairwise(offsets)]
        return AdditiveBasis(
            tuple(
                ColumnBasis(column.bin_of_cell, column.table[:, kept], column.mass)
                for column, kept in zip(self.columns, inside, strict=True)
            )
        )

    def expand(self, located: NDArray[np.int64], cell_offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """φ of each row, float64 [rows, D], from its cells (`CellMap.locate`)."""
        offsets = self.offsets
        values = np.empty((located.shape[0], int(offsets[-1])))
        for f, column in enumerate(self.columns):
            bins = column.bin_of_cell[located[:, f] - cell_offsets[f]]
            values[:, offsets[f] : offsets[f + 1]] = column.table[bins]
        return values

    def parts(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each cell adds to the log-odds, float64 [cells of all columns]."""
        offsets = self.offsets
        pieces = [
            (column.table @ coefficients[offsets[f] : offsets[f + 1]])[column.bin_of_cell]
            for f, column in enumerate(self.columns)
        ]
        return np.concatenate([np.zeros(0), *pieces])

    def deviations(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviation of each cell's part under the coefficients' covariance, float64 [cells of all columns]."""
        offsets, pieces = self.offsets, [np.zeros(0)]
        for f, column in enumerate(self.columns):
            block = covariance[offsets[f] : offsets[f + 1], offsets[f] : offsets[f + 1]]
            variance = np.einsum("ci,ij,cj->c", column.table, block, column.table, optimize=True)
            pieces.append(np.sqrt(np.maximum(variance, 0.0))[column.bin_of_cell])
        return np.concatenate(pieces)

    def to_arrays(self) -> dict[str, Array]:
        """Flat arrays for a bundle."""
        columns = self.columns
        return {
            "basis.functions": np.array([c.table.shape[1] for c in columns], dtype=np.int64),
            "basis.cells": np.array([c.bin_of_cell.shape[0] for c in columns], dtype=np.int64),
            "basis.bins": np.array([c.table.shape[0] for c in columns], dtype=np.int64),
            "basis.bin_of_cell": np.concatenate([np.zeros(0, dtype=np.int64), *(c.bin_of_cell for c in columns)]),
            "basis.tables": np.concatenate([np.zeros(0), *(c.table.ravel() for c in columns)]),
            "basis.masses": np.concatenate([np.zeros(0), *(c.mass for c in columns)]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> AdditiveBasis:
        """Read what `to_arrays` wrote.

        Every column has a bin, so that no more functions can be claimed than there are values.
        """
        functions, cells, bins = (arrays[f"basis.{name}"].tolist() for name in ("functions", "cells", "bins"))
        if min((*functions, *cells, 0)) < 0 or min((*bins, 1)) < 1:
            raise ValueError("a column of the basis has no bin, or a negative size")
        of_cell = _split(np.asarray(arrays["basis.bin_of_cell"], dtype=np.int64), [(n,) for n in cells])
        tables = _split(np.asarray(arrays["basis.tables"], dtype=np.float64), list(zip(bins, functions, strict=True)))
        masses = _split(np.asarray(arrays["basis.masses"], dtype=np.float64), [(n,) for n in bins])
        return cls(tuple(ColumnBasis(*column) for column in zip(of_cell, tables, masses, strict=True)))


def build_basis(cells: CellMap, counts: Counts) -> AdditiveBasis:
    """Functions of every column from the noisy counts: post-processing, costs nothing."""
    offsets = cells.offsets
    columns = [
        _category_basis(counts.cells[start:end], counts)
        if isinstance(column, CategoryColumn)
        else _number_basis(counts.cells[start:end], counts)
        for column, start, end in zip(cells.schema.columns, offsets[:-1], offsets[1:], strict=True)
    ]
    return AdditiveBasis(tuple(columns))


def _number_basis(cells: NDArray[np.float64], counts: Counts) -> ColumnBasis:
    bins, missing = _quantile_bins(cells[:-1], counts), float(cells[-1])
    present = max(int(bins[-1]) + 1, 1)
    weight = np.bincount(bins, cells[:-1], minlength=present)
    mass = _positive(np.append(weight, missing), counts.sd)
    functions = _smooth_functions(mass[:-1] / mass[:-1].sum(), _atoms(bins, cells[:-1], weight, counts))
    table = np.vstack([functions, np.zeros((1, functions.shape[1]))])
    if missing >= _STANDS_OUT * counts.sd:
        indicator = _INDICATOR * (np.arange(present + 1) == present) - _INDICATOR * mass[-1]
        table = np.column_stack([table, indicator])
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


def _least(counts: Counts) -> float:
    """Weight that a bin must have."""
    return max(counts.units / MOST_BINS, _STANDS_OUT * counts.sd)


def _quantile_bins(cells: NDArray[np.float64], counts: Counts) -> NDArray[np.int64]:
    """Neighbouring cells together until each bin has 1/80 of the weight and stands out of the noise.

    A cell that has all this by itself begins a bin of its own, so that its value is not mixed with smaller ones.
    """
    least = _least(counts)
    bins, current, weight = np.zeros(cells.shape[0], dtype=np.int64), 0, 0.0
    for at, count in enumerate(cells.tolist()):
        if weight >= least or (count >= least and weight > least / 4):
            current, weight = current + 1, 0.0
        bins[at], weight = current, weight + count
    if weight < least and current:
        bins[bins == current] = current - 1
    return bins


def _atoms(
    bins: NDArray[np.int64], cells: NDArray[np.float64], weight: NDArray[Any], counts: Counts
) -> NDArray[np.float64]:
    """1 for each bin that is almost one single cell of much weight, float64 [bins]."""
    largest = np.zeros(weight.shape[0])
    np.maximum.at(largest, bins, cells)
    return ((largest >= _least(counts)) & (largest >= _ATOM_SHARE * weight)).astype(np.float64)


def _smooth_functions(mass: NDArray[np.float64], atoms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leading centred eigenfunctions of min(u, u') and the atoms' own effects, scaled so that Σ E φ² = 1."""
    rank = np.cumsum(mass) - mass / 2
    centre = np.eye(mass.shape[0]) - mass[None, :]
    kernel = np.minimum(rank[:, None], rank[None, :]) + ATOM_VARIANCE * np.diag(atoms)
    root = np.sqrt(mass)
    values, vectors = np.linalg.eigh(root[:, None] * (centre @ kernel @ centre.T) * root[None, :])
    kept = np.flatnonzero(values > 1e-9)[::-1][:MOST_FUNCTIONS]
    scale = np.sqrt(values[kept] / max(values[kept].sum(), 1e-12))
    return np.asarray(vectors[:, kept] / root[:, None] * scale)


def _positive(weight: NDArray[Any], least: float) -> NDArray[np.float64]:
    mass = np.maximum(weight, max(least, 1e-9))
    return np.asarray(mass / mass.sum())


def _split(flat: NDArray[Any], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    if ends[-1] != flat.shape[0]:
        raise ValueError("arrays of the basis do not fit each other")
    return [flat[a:b].reshape(shape) for (a, b), shape in zip(pairwise(ends), shapes, strict=True)]
