"""The third release: Σφφᵀ between columns, the curvature that every later step shares.

Blocks within a column are known from the histogram and not paid for again. Functions are scaled by what the first
gradient said they are worth, so columns that matter little cost little and are measured little. A block between two
columns is shrunk by how correlated the two were found to be (empirical Bayes: Efron and Morris 1973), and what
uncertainty is left is told, so that the later inference does not take noise for curvature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.basis import AdditiveBasis
from fedcrm.models.cells import CellMap
from fedcrm.models.learner import OpenedSum, UnitRows
from fedcrm.models.units import ahead, unit_means

ROW_BOUND = 1.1
"""Bound on a row's ‖s·φ‖, whose mean square is 1."""
MOST_COORDINATES = 2_048
"""Bound on what a foreign query may ask products of; the learner itself asks for far fewer."""
_CONSTANT = 0.2
_STEPS = 8
_LEAST_CORRELATION = 1e-3
"""Least prior guess of a squared correlation between functions of two columns."""
_PRIOR_ENTRIES = 2.0
"""How many entries of a block that guess counts for."""
_LEAST_EIGENVALUE = 0.1


@dataclass(frozen=True, slots=True, repr=False)
class MomentShape:
    """How a row becomes a vector: [constant, sᵢφᵢ·sⱼφⱼ for i < j of different columns].

    Attributes:
        scale: s, float64 [D]; functions of scale 0 take no part.
        left, right: Coordinates multiplied, int64 [products].
        columns: Number of columns that take part.
    """

    scale: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    columns: int

    @classmethod
    def of(cls, basis: AdditiveBasis, scale: NDArray[np.float64]) -> MomentShape:
        """All products of functions with a scale above zero; ValueError above `MOST_COORDINATES` of them."""
        kept, column_of = np.flatnonzero(scale > 0), basis.column_of
        if kept.shape[0] > MOST_COORDINATES:
            raise ValueError(f"products of {kept.shape[0]} coordinates are more than the {MOST_COORDINATES} allowed")
        first, second = np.triu_indices(kept.shape[0], 1)
        left, right = kept[first], kept[second]
        apart = column_of[left] != column_of[right]
        return cls(scale, left[apart], right[apart], np.unique(column_of[kept]).shape[0])

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return 1 + int(self.left.shape[0])

    @property
    def product_norm(self) -> float:
        """Bound on the products: Σᵢ<ⱼ(φᵢφⱼ)² = (‖φ‖⁴ − Σ_f‖φ_f‖⁴)/2 over columns f, largest when all are equal."""
        return max(ROW_BOUND**2 * float(np.sqrt((1.0 - 1.0 / max(self.columns, 1)) / 2.0)), 1e-3)

    @property
    def constant(self) -> float:
        """Size of the coordinate that counts weight."""
        return _CONSTANT * self.product_norm

    @property
    def clipping_norm(self) -> float:
        """Bound on the whole vector's norm."""
        return float(np.hypot(self.product_norm, self.constant))


@dataclass(frozen=True, slots=True, repr=False)
class Moment:
    """E[φφᵀ], float64 [D, D], positive definite where the basis is, and the variance of each entry, float64 [D, D]."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def unit_moments(
    cells: CellMap, basis: AdditiveBasis, scale: NDArray[np.float64], rows: UnitRows
) -> Iterator[NDArray[np.float64]]:
    """Each unit's moment vector, float64 [units, dimension]: the mean of its rows' vectors."""
    shape, offsets, one = MomentShape.of(basis, scale), cells.offsets, scale.shape[0]
    left, right = np.append(one, shape.left), np.append(one + 1, shape.right)

    def factors(start: int, end: int) -> NDArray[np.float64]:
        """s·φ, then 1 and the constant, whose product is coordinate 0."""
        values = np.empty((end - start, one + 2))
        values[:, :one] = bounded(basis.expand(cells.locate(rows, start, end), offsets) * scale, ROW_BOUND)
        values[:, one:] = 1.0, shape.constant
        return values

    computed = ahead(factors, rows.label.shape[0], one + 2)

    def vectors(start: int, end: int) -> NDArray[np.float64]:
        values = computed(start, end)
        vector = np.take(values, left, axis=1)
        return np.multiply(vector, np.take(values, right, axis=1), out=vector)

    return unit_means(vectors, rows.offsets, shape.dimension)


def bounded(phi: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Rows scaled down to a norm of at most `bound`."""
    norm = np.sqrt((phi * phi).sum(axis=1))
    return np.asarray(phi * np.minimum(1.0, bound / np.maximum(norm, 1e-12))[:, None])


def read_moment(opened: OpenedSum, basis: AdditiveBasis, scale: NDArray[np.float64]) -> Moment:
    """The second moment from the opened sum; unmeasured entries stay at zero with the prior's variance."""
    shape, known = MomentShape.of(basis, scale), basis.second_moment
    size, column_of = np.maximum(np.diag(known), 1e-12), basis.column_of
    if shape.dimension == 1:
        return Moment(known, np.zeros_like(known))
    units = max(float(opened.values[0]), opened.noise_sd, shape.constant) / shape.constant
    factor = scale[shape.left] * scale[shape.right] * units
    measured, noise = opened.values[1:] / factor, (opened.noise_sd / factor) ** 2
    expected = size[shape.left] * size[shape.right]
    blocks = column_of[shape.left] * len(basis.columns) + column_of[shape.right]
    correlation, typical = _correlations(measured, noise, expected, blocks)
    shrink = correlation * expected / (correlation * expected + noise)
    apart = column_of[:, None] != column_of[None, :]
    variance = np.where(apart, typical * np.outer(size, size), 0.0)
    mean = known.copy()
    for one, other in ((shape.left, shape.right), (shape.right, shape.left)):
        mean[one, other], variance[one, other] = measured * shrink, noise * shrink
    return Moment(_at_least(mean, size), variance)


def _correlations(
    measured: NDArray[np.float64],
    noise: NDArray[np.float64],
    expected: NDArray[np.float64],
    blocks: NDArray[np.int64],
) -> tuple[NDArray[np.float64], float]:
    """Squared correlation of each entry's block of columns, float64 [entries], and the typical one."""
    weight = expected / (noise + expected / 100.0) ** 2
    typical = float((weight * (measured**2 - noise)).sum() / max(float((weight * expected).sum()), 1e-300))
    typical = max(typical, _LEAST_CORRELATION)
    _, block_of = np.unique(blocks, return_inverse=True)
    counts = np.bincount(block_of) + _PRIOR_ENTRIES
    squared = np.full(counts.shape[0], typical)
    for _ in range(_STEPS):
        variance = squared[block_of] * expected
        shrink = variance / (variance + noise)
        energy = ((measured * shrink) ** 2 + noise * shrink) / expected
        squared = (np.bincount(block_of, energy) + _PRIOR_ENTRIES * typical) / counts
    return squared[block_of], typical


def _at_least(moment: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvalues, measured in units of the known variances, held above a floor: noise must not invent flat valleys."""
    scale = np.sqrt(size)
    values, vectors = np.linalg.eigh(moment / scale[:, None] / scale[None, :])
    lifted = (vectors * np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T
    return np.asarray(lifted * scale[:, None] * scale[None, :])
