"""The gradients: Σ (y − p)·s·φ at the current parameters, each row bounded before its unit is formed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fedcrm.models.cells import CellMap
from fedcrm.models.design import Design
from fedcrm.models.learner import OpenedSum, UnitRows
from fedcrm.models.units import ahead, unit_means

ROW_BOUND = 0.72
"""Bound on a row's ‖(y − p)·s·φ‖, where the mean square of ‖s·φ‖ is 1."""
_CONSTANT = 0.1
_BASE = 0.3


@dataclass(frozen=True, slots=True, repr=False)
class GradientShape:
    """How one row becomes a vector: [constant, base scale·(y − p), (y − p)·s·φ scaled down to the bound].

    Attributes:
        scale: s, float64 [D]; only coordinates of a scale above zero are in the vector.
        row_bound: Bound on a row's ‖(y − p)·s·φ‖.
    """

    scale: NDArray[np.float64]
    row_bound: float

    @property
    def kept(self) -> NDArray[np.int64]:
        """Coordinates in the vector, int64 ascending."""
        return np.flatnonzero(self.scale > 0).astype(np.int64)

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return int(np.count_nonzero(self.scale > 0)) + 2

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


def unit_gradients(
    cells: CellMap, design: Design, coefficients: NDArray[np.float64], shape: GradientShape, rows: UnitRows
) -> Iterator[NDArray[np.float64]]:
    """Each unit's gradient vector, float64 [units, dimension]: the mean of its rows' vectors.

    Args:
        cells: Public cells.
        design: Functions of a row.
        coefficients: Current parameters, base first, float64 [1 + D].
        shape: Scales and bounds.
        rows: The organisation's rows.
    """
    offsets, kept, scale = cells.offsets, shape.kept, shape.scale[shape.kept]
    located = ahead(partial(cells.locate, rows), rows.label.shape[0], len(cells.schema.columns))

    def vectors(start: int, end: int) -> NDArray[np.float64]:
        phi = design.expand(located(start, end), offsets)
        score = coefficients[0] + np.einsum("ij,j->i", phi, coefficients[1:])
        residual = rows.label[start:end] - expit(score)
        scaled = np.take(phi, kept, axis=1)
        scaled *= scale
        norm = np.abs(residual) * np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
        held = residual * np.minimum(1.0, shape.row_bound / np.maximum(norm, 1e-12))
        vector = np.empty((end - start, shape.dimension))
        vector[:, 0], vector[:, 1] = shape.constant, shape.base_scale * residual
        np.multiply(scaled, held[:, None], out=vector[:, 2:])
        return vector

    return unit_means(vectors, rows.offsets, max(shape.dimension, design.coordinates))


def read_gradient(
    opened: OpenedSum, shape: GradientShape, units: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean gradient and its noise variance, base first, float64 [1 + D] each; infinite variance where not asked for.

    The weight of this release's own cohort divides where it clearly differs from the weight known so far.
    """
    sd = opened.noise_sd / shape.constant
    counted = float(opened.values[0]) / shape.constant
    if abs(counted - units) > 4.0 * sd + 1e-6 * units:
        units = max(counted, sd, 1.0)
    inside = np.concatenate([[0], 1 + shape.kept])
    scale = np.concatenate([[shape.base_scale], shape.scale[shape.kept]]) * units
    gradient, variance = np.zeros(shape.scale.shape[0] + 1), np.full(shape.scale.shape[0] + 1, np.inf)
    gradient[inside], variance[inside] = opened.values[1:] / scale, (opened.noise_sd / scale) ** 2
    return gradient, variance
