"""The first release: counts of every column's public cells and of the label, one sum for all columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.cells import CellMap
from fedcrm.models.learner import OpenedSum, UnitRows
from fedcrm.models.units import ahead, unit_means

_LEAST_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class HistogramShape:
    """How one row becomes a vector: [weight scale, label scale·y, one 1 per column].

    Attributes:
        columns: Number of columns F.
        cells: Number of cells of all columns.
    """

    columns: int
    cells: int

    @property
    def scale(self) -> float:
        """Size of the constant and of the label coordinate: together a ninth of the columns' squared norm."""
        return float(np.sqrt(max(self.columns, 1) / 18.0))

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return self.cells + 2

    @property
    def clipping_norm(self) -> float:
        """Norm of a row with label 1."""
        return float(np.sqrt(self.columns + 2 * self.scale**2))


@dataclass(frozen=True, slots=True, repr=False)
class Counts:
    """The opened histogram.

    Attributes:
        units: Noisy sum of weights, at least one noise standard deviation of it, so always positive.
        rate: Noisy share of label 1, inside (0, 1).
        cells: Noisy weight in each cell, float64 [cells]; may be negative.
        sd: Noise standard deviation of each cell.
    """

    units: float
    rate: float
    cells: NDArray[np.float64]
    sd: float


def unit_histograms(cells: CellMap, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
    """Each unit's histogram vector, float64 [units, cells + 2]: the mean of its rows' vectors."""
    shape = HistogramShape(len(cells.schema.columns), int(cells.offsets[-1]))
    located = ahead(partial(cells.locate, rows), rows.label.shape[0], shape.columns)

    def vectors(start: int, end: int) -> NDArray[np.float64]:
        vector = np.zeros((end - start, shape.dimension))
        vector[:, 0] = shape.scale
        vector[:, 1] = shape.scale * rows.label[start:end]
        np.put_along_axis(vector, located(start, end) + 2, 1.0, axis=1)
        return vector

    return unit_means(vectors, rows.offsets, shape.dimension)


def read_counts(opened: OpenedSum, shape: HistogramShape) -> Counts:
    """Counts from the opened sum, safe under any noise: a positive number of units and a rate inside (0, 1)."""
    sd = opened.noise_sd
    units = max(float(opened.values[0]) / shape.scale, sd / shape.scale, 1.0)
    positive = float(opened.values[1]) / shape.scale
    rate = float(np.clip((positive + 1.0) / (units + 2.0), _LEAST_RATE, 1.0 - _LEAST_RATE))
    return Counts(units, rate, opened.values[2:], sd)
