"""Pairs of columns: products of their functions, chosen after the first gradients by what the columns explain.

A product is worth measuring when both columns matter (heredity: Chipman 1996) and when both functions are smooth; what
is really measured of it is decided by water-filling later. The products' second moments follow from those of the
functions as if these were jointly Gaussian (Isserlis 1918), so they cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.bundle import Array


@dataclass(frozen=True, slots=True, repr=False)
class Pairs:
    """Products φ_left·φ_right − centre, those of one pair of columns together.

    Attributes:
        columns: The two columns of each pair, int64 [pairs, 2].
        pair_of: Pair of each product, ascending, int64 [K].
        left, right: Coordinates multiplied, int64 [K].
        centre: Expected product, float64 [K].
    """

    columns: NDArray[np.int64]
    pair_of: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    centre: NDArray[np.float64]

    @classmethod
    def none(cls) -> Pairs:
        """No pairs."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing.reshape(0, 2), nothing, nothing, nothing, np.zeros(0))

    @property
    def number(self) -> int:
        """Number of products K."""
        return int(self.left.shape[0])

    def expand(self, phi: NDArray[np.float64]) -> NDArray[np.float64]:
        """Products of each row, float64 [rows, K], from the columns' functions, float64 [rows, D]."""
        products = np.take(phi, self.left, axis=1)
        products *= np.take(phi, self.right, axis=1)
        products -= self.centre
        return products

    def second_moment(self, moment: NDArray[np.float64]) -> NDArray[np.float64]:
        """E[ψψᵀ] by Isserlis' formula, float64 [K, K], from E[φφᵀ], float64 [D, D]."""
        a, b = self.left, self.right
        product = moment[np.ix_(a, a)] * moment[np.ix_(b, b)] + moment[np.ix_(a, b)] * moment[np.ix_(b, a)]
        return np.asarray(product)

    def to_arrays(self) -> dict[str, Array]:
        """Flat arrays for a bundle."""
        return {
            "pairs.columns": self.columns.ravel(),
            "pairs.of": self.pair_of,
            "pairs.left": self.left,
            "pairs.right": self.right,
            "pairs.centre": self.centre,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Pairs:
        """Read what `to_arrays` wrote; no pairs where nothing was written."""
        if "pairs.of" not in arrays:
            return cls.none()
        whole = {
            name: np.asarray(arrays[f"pairs.{name}"], dtype=np.int64) for name in ("columns", "of", "left", "right")
        }
        centre = np.asarray(arrays["pairs.centre"], dtype=np.float64)
        if not whole["of"].shape == whole["left"].shape == whole["right"].shape == centre.shape:
            raise ValueError("pairs do not fit their products")
        return cls(whole["columns"].reshape(-1, 2), whole["of"], whole["left"], whole["right"], centre)


def choose_pairs(
    energy: NDArray[np.float64],
    moment: NDArray[np.float64],
    offsets: NDArray[np.int64],
    *,
    most_pairs: int,
    most_products: int,
) -> tuple[Pairs, NDArray[np.float64]]:
    """The pairs of the strongest columns and the relative prior variance of each, float64 [pairs].

    Args:
        energy: Variance of the log-odds each column explains, float64 [columns].
        moment: E[φφᵀ], float64 [D, D].
        offsets: First coordinate of each column, and D, int64 [columns + 1].
        most_pairs: Pairs looked at.
        most_products: Products kept, those of largest prior variance.
    """
    if energy.shape[0] < 2:
        return Pairs.none(), np.zeros(0)
    strength = np.sqrt(energy + energy.mean() + 1e-12)
    first, second = np.triu_indices(energy.shape[0], 1)
    order = np.argsort(-strength[first] * strength[second], kind="stable")[:most_pairs]
    columns = np.column_stack([first[order], second[order]]).astype(np.int64)
    size = np.maximum(np.diag(moment), 1e-12)
    entries = [_products(offsets, f, g) for f, g in columns.tolist()]
    pair_of = np.repeat(np.arange(len(entries)), [left.shape[0] for left, _ in entries]).astype(np.int64)
    left = np.concatenate([np.zeros(0, dtype=np.int64), *(left for left, _ in entries)])
    right = np.concatenate([np.zeros(0, dtype=np.int64), *(right for _, right in entries)])
    prior = strength[columns[:, 0]] * strength[columns[:, 1]]
    worth = size[left] * size[right] * prior[pair_of]
    kept = np.sort(np.argsort(-worth, kind="stable")[:most_products])
    kept = kept[worth[kept] > 1e-12]
    still, renumbered = np.unique(pair_of[kept], return_inverse=True)
    left, right = left[kept], right[kept]
    return Pairs(columns[still], renumbered.astype(np.int64), left, right, moment[left, right]), prior[still]


def _products(offsets: NDArray[np.int64], f: int, g: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, other = np.arange(offsets[f], offsets[f + 1]), np.arange(offsets[g], offsets[g + 1])
    left, right = np.meshgrid(one, other, indexing="ij")
    return left.ravel().astype(np.int64), right.ravel().astype(np.int64)


def pair_parts(
    products: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64], pairs: Pairs
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each pair adds to the log-odds of each row, and its standard deviation, float64 [rows, pairs] each.

    Args:
        products: `Pairs.expand`, float64 [rows, K].
        mean, covariance: Of all coefficients; the products' are the last K.
        pairs: The pairs.
    """
    adds, deviations = (np.zeros((products.shape[0], pairs.columns.shape[0])) for _ in range(2))
    first = mean.shape[0] - pairs.number
    for pair in range(pairs.columns.shape[0]):
        inside = np.flatnonzero(pairs.pair_of == pair)
        values, block = products[:, inside], covariance[np.ix_(first + inside, first + inside)]
        adds[:, pair] = values @ mean[first + inside]
        deviations[:, pair] = np.sqrt(np.maximum(np.einsum("ri,ij,rj->r", values, block, values, optimize=True), 0.0))
    return adds, deviations
