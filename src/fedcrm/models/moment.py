"""The second release: Σφφᵀ between columns, the curvature that every later step shares.

Blocks within a column are known from the histogram and not paid for again. What is left deviates from independence
by little, so the noisy deviation is shrunk by soft-thresholding its eigenvalues (Donoho and Gavish 2014).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.basis import AdditiveBasis
from fedcrm.models.cells import CellMap
from fedcrm.models.learner import OpenedSum, UnitRows
from fedcrm.models.units import unit_means

MOST_COORDINATES = 256
"""Coordinates whose products are paid for; those of least prior variance beyond it count as independent."""
ROW_BOUND = 1.1
"""Bound on a row's ‖φ‖ in typical norms √E‖φ‖²."""
_CONSTANT = 0.2
_SHRINKAGE = 0.5
_LEAST_EIGENVALUE = 0.05


@dataclass(frozen=True, slots=True, repr=False)
class MomentShape:
    """Which products a row's vector holds: [constant, φᵢφⱼ for kept i < j of different columns].

    Attributes:
        kept: Coordinates taking part, ascending, int64 [k].
        after: For each kept coordinate the position in `kept` of the first one of a later column, int64 [k].
        row_bound: Bound on ‖φ‖.
    """

    kept: NDArray[np.int64]
    after: NDArray[np.int64]
    row_bound: float

    @classmethod
    def of(cls, basis: AdditiveBasis, most: int = MOST_COORDINATES) -> MomentShape:
        """The coordinates of largest prior variance, at most `most`."""
        energy = np.concatenate([np.zeros(0), *(np.diag(block) for block in basis.second)])
        kept = np.sort(np.argsort(-energy, kind="stable")[:most])
        after = np.searchsorted(kept, basis.offsets[basis.column_of[kept] + 1])
        return cls(kept, after.astype(np.int64), ROW_BOUND * basis.root_mean_square)

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return 1 + int((self.kept.shape[0] - self.after).sum())

    @property
    def product_norm(self) -> float:
        """Bound on the products: Σᵢ<ⱼ(φᵢφⱼ)² = (‖φ‖⁴ − Σ_f‖φ_f‖⁴)/2 over columns f, largest when all are equal."""
        columns = max(np.unique(self.after).shape[0], 1)
        return max(self.row_bound**2 * float(np.sqrt((1.0 - 1.0 / columns) / 2.0)), 1e-3)

    @property
    def constant(self) -> float:
        """Size of the coordinate that counts weight."""
        return _CONSTANT * self.product_norm

    @property
    def clipping_norm(self) -> float:
        """Bound on the whole vector's norm."""
        return float(np.hypot(self.product_norm, self.constant))


def unit_moments(cells: CellMap, basis: AdditiveBasis, rows: UnitRows) -> Iterator[NDArray[np.float64]]:
    """Each unit's moment vector, float64 [units, dimension]: the mean of its rows' vectors."""
    shape, offsets = MomentShape.of(basis), cells.offsets

    def vectors(start: int, end: int) -> NDArray[np.float64]:
        phi = basis.expand(cells.locate(rows, start, end), offsets)
        return _products(bounded(phi, shape.row_bound)[:, shape.kept], shape)

    return unit_means(vectors, rows.offsets, shape.dimension)


def bounded(phi: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Rows scaled down to a norm of at most `bound`."""
    norm = np.sqrt((phi * phi).sum(axis=1))
    return np.asarray(phi * np.minimum(1.0, bound / np.maximum(norm, 1e-12))[:, None])


def _products(phi: NDArray[np.float64], shape: MomentShape) -> NDArray[np.float64]:
    vector = np.empty((phi.shape[0], shape.dimension))
    vector[:, 0] = shape.constant
    at, k = 1, phi.shape[1]
    for i, first in enumerate(shape.after.tolist()):
        np.multiply(phi[:, i : i + 1], phi[:, first:], out=vector[:, at : at + k - first])
        at += k - first
    return vector


def read_moment(opened: OpenedSum, basis: AdditiveBasis) -> tuple[NDArray[np.float64], float]:
    """E[φφᵀ], float64 [D, D], symmetric and positive definite where the basis is, from the opened sum."""
    shape = MomentShape.of(basis)
    units = max(float(opened.values[0]), opened.noise_sd, shape.constant) / shape.constant
    known = basis.second_moment
    if shape.dimension == 1:
        return known, 0.0
    deviation = _unpack(opened.values / units, shape)
    shrunk = _soft_threshold(deviation, _SHRINKAGE * 2.0 * opened.noise_sd / units * np.sqrt(shape.kept.shape[0]))
    moment = known.copy()
    moment[np.ix_(shape.kept, shape.kept)] += shrunk
    return _at_least(moment, known), (opened.noise_sd / units) ** 2


def _unpack(values: NDArray[np.float64], shape: MomentShape) -> NDArray[np.float64]:
    k = shape.kept.shape[0]
    matrix, at = np.zeros((k, k)), 1
    for i, first in enumerate(shape.after.tolist()):
        matrix[i, first:] = values[at : at + k - first]
        at += k - first
    return matrix + matrix.T


def _soft_threshold(matrix: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    shrunk = np.sign(values) * np.maximum(np.abs(values) - threshold, 0.0)
    return np.asarray((vectors * shrunk) @ vectors.T)


def _at_least(moment: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvalues, measured in units of the known variances, held above a floor: noise must not invent flat valleys."""
    scale = np.sqrt(np.maximum(np.diag(known), 1e-12))
    values, vectors = np.linalg.eigh(moment / scale[:, None] / scale[None, :])
    lifted = (vectors * np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T
    return np.asarray(lifted * scale[:, None] * scale[None, :])
