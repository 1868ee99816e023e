"""The later releases: Σ (y − p)·φ at the current parameters, each row bounded before its unit is formed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedcrm.models.basis import AdditiveBasis
from fedcrm.models.cells import CellMap
from fedcrm.models.learner import OpenedSum, UnitRows
from fedcrm.models.units import unit_means

ROW_BOUND = 0.85
"""Bound on a row's ‖(y − p)·φ‖ in typical norms √E‖φ‖²."""
_CONSTANT = 0.1
_BASE = 0.3


@dataclass(frozen=True, slots=True)
class GradientShape:
    """How one row becomes a vector: [constant, base scale·(y − p), (y − p)·φ scaled down to the bound].

    Attributes:
        coordinates: D.
        row_bound: Bound on a row's ‖(y − p)·φ‖.
    """

    coordinates: int
    row_bound: float

    @classmethod
    def of(cls, basis: AdditiveBasis, row_bound: float = ROW_BOUND) -> GradientShape:
        """From the basis, whose typical norm is paid for by the histogram."""
        return cls(int(basis.offsets[-1]), row_bound * basis.root_mean_square)

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return self.coordinates + 2

    @property
    def constant(self) -> float:
        """Size of the coordinate that counts weight."""
        return _CONSTANT * self.row_bound

    @property
    def base_scale(self) -> float:
        """Size of the base's coordinate at a residual of 1; it is never scaled down, so the base rate stays right."""
        return _BASE * self.row_bound

    @property
    def clipping_norm(self) -> float:
        """Bound on the whole vector's norm."""
        return float(np.sqrt(self.row_bound**2 + self.constant**2 + self.base_scale**2))


def scores(base: float, parts: NDArray[np.float64], located: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-odds of each row, float64 [rows]: base plus its cells' parts."""
    total = np.full(located.shape[0], base)
    for f in range(located.shape[1]):
        total += parts[located[:, f]]
    return total


def unit_gradients(
    cells: CellMap, basis: AdditiveBasis, coefficients: NDArray[np.float64], shape: GradientShape, rows: UnitRows
) -> Iterator[NDArray[np.float64]]:
    """Each unit's gradient vector, float64 [units, D + 2]: the mean of its rows' vectors.

    Args:
        cells: Public cells.
        basis: Functions over them.
        coefficients: Current parameters, base first, float64 [1 + D].
        shape: Bounds.
        rows: The organisation's rows.
    """
    base, parts, offsets = float(coefficients[0]), basis.parts(coefficients[1:]), cells.offsets

    def vectors(start: int, end: int) -> NDArray[np.float64]:
        located = cells.locate(rows, start, end)
        residual = rows.label[start:end] - expit(scores(base, parts, located))
        phi = basis.expand(located, offsets)
        norm = np.abs(residual) * np.sqrt((phi * phi).sum(axis=1))
        held = residual * np.minimum(1.0, shape.row_bound / np.maximum(norm, 1e-12))
        vector = np.empty((end - start, shape.dimension))
        vector[:, 0], vector[:, 1] = shape.constant, shape.base_scale * residual
        np.multiply(phi, held[:, None], out=vector[:, 2:])
        return vector

    return unit_means(vectors, rows.offsets, shape.dimension)


def read_gradient(
    opened: OpenedSum, shape: GradientShape, units: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean gradient and its noise variance, base first, float64 [1 + D] each.

    The weight of this release's own cohort divides where it clearly differs from the weight known so far.
    """
    sd = opened.noise_sd / shape.constant
    counted = float(opened.values[0]) / shape.constant
    if abs(counted - units) > 4.0 * sd + 1e-6 * units:
        units = max(counted, sd, 1.0)
    scale = np.full(shape.dimension - 1, 1.0)
    scale[0] = shape.base_scale
    return opened.values[1:] / scale / units, (opened.noise_sd / scale / units) ** 2
