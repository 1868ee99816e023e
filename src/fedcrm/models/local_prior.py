"""Fitting a linear score to an organisation's own rows under a Gaussian prior, every fold left out once.

The prior is what the federation knows: N(mean, covariance). The curvature Σ w·p(1 − p)·xxᵀ is taken once, per fold,
where the prior stands; sums over all other folds follow by subtraction, and Newton's steps with it are damped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import expit

STEPS = 12
_SMALL = 1e-4
_JITTER = 1e-9
_EXTREME = 30.0
_Factor: TypeAlias = tuple[NDArray[np.float64], bool]
"""A Cholesky factor as SciPy gives it."""


@dataclass(frozen=True, slots=True, repr=False)
class Prior:
    """N(mean, precision⁻¹) over the coefficients, float64 [D] and [D, D]."""

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]

    @classmethod
    def of(cls, mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> Prior:
        """From a covariance, float64 [D, D] (made safe to invert)."""
        safe = (covariance + covariance.T) / 2.0
        safe[np.diag_indices_from(safe)] += _JITTER * (1.0 + np.trace(safe) / max(safe.shape[0], 1))
        factor = scipy.linalg.cho_factor(safe, lower=True)
        return cls(mean, np.asarray(scipy.linalg.cho_solve(factor, np.eye(safe.shape[0]))))


@dataclass(frozen=True, slots=True, repr=False)
class FoldedRows:
    """Rows in a linear form, with the fold each belongs to.

    Attributes:
        design: float64 [rows, D].
        offset: What the design's score is added to, float64 [rows].
        label: float64 [rows], 0 or 1.
        weight: float64 [rows].
        fold: int64 [rows] in [0, folds).
        folds: Number of folds.
    """

    design: NDArray[np.float64]
    offset: NDArray[np.float64]
    label: NDArray[np.float64]
    weight: NDArray[np.float64]
    fold: NDArray[np.int64]
    folds: int

    @property
    def weights(self) -> NDArray[np.float64]:
        """Row weights of each fit, float64 [folds + 1, rows]: fit k leaves fold k out, the last leaves out none."""
        return leave_out(self.weight, self.fold, self.folds)

    def curvatures(self, start: NDArray[np.float64]) -> NDArray[np.float64]:
        """Σ w·p(1 − p)·xxᵀ of each fit at these coefficients, float64 [folds + 1, D, D]."""
        chance = expit(np.clip(self.offset + self.design @ start, -_EXTREME, _EXTREME))
        root = np.sqrt(self.weight * chance * (1.0 - chance))
        size = self.design.shape[1]
        single = np.empty((self.folds + 1, size, size))
        for k in range(self.folds):
            part = self.design[self.fold == k] * root[self.fold == k, None]
            single[k] = part.T @ part
        single[-1] = 0.0
        return np.asarray(single.sum(axis=0) - single)


def leave_out(weight: NDArray[np.float64], fold: NDArray[np.int64], folds: int) -> NDArray[np.float64]:
    """Row weights of each fit, float64 [folds + 1, rows]: zero on the fold a fit leaves out."""
    return np.where(fold == np.arange(folds + 1)[:, None], 0.0, weight)


@dataclass(frozen=True, slots=True, repr=False)
class LinearFits:
    """Coefficients of each fit, float64 [folds + 1, D] (the last from all rows), and out-of-fold scores [rows]."""

    coefficients: NDArray[np.float64]
    out_of_fold: NDArray[np.float64]


def fit_all(rows: FoldedRows, prior: Prior, curvatures: NDArray[np.float64]) -> LinearFits:
    """The most probable coefficients of each fit.

    Args:
        rows: The organisation's rows.
        prior: What is known beforehand.
        curvatures: `rows.curvatures`, float64 [folds + 1, D, D].
    """
    factors = [scipy.linalg.cho_factor(c + prior.precision, lower=True) for c in curvatures]
    coefficients = _descend(rows, prior, factors)
    out_of_fold = np.einsum("nd,nd->n", rows.design, coefficients[rows.fold])
    return LinearFits(coefficients, rows.offset + out_of_fold)


def _descend(rows: FoldedRows, prior: Prior, factors: Sequence[_Factor]) -> NDArray[np.float64]:
    """Damped Newton steps of all fits side by side, so that the rows are gone through once for all of them."""
    weights, at = rows.weights, np.repeat(prior.mean[None], len(factors), axis=0)
    value, slope = _objectives(rows, weights, prior, at)
    active = np.ones(len(factors), dtype=np.bool_)
    for _ in range(STEPS):
        step = np.array([scipy.linalg.cho_solve(f, s) for f, s in zip(factors, slope, strict=True)])
        promised = np.einsum("kd,kd->k", slope, step)
        active &= promised >= _SMALL
        if not active.any():
            break
        length = active.astype(np.float64)
        while True:
            moved = at - length[:, None] * step
            new_value, new_slope = _objectives(rows, weights, prior, moved)
            too_long = active & (new_value > value - 0.1 * length * promised) & (length > 1e-3)
            if not too_long.any():
                break
            length[too_long] /= 2.0
        active &= new_value < value
        at[active], value[active], slope[active] = moved[active], new_value[active], new_slope[active]
    return at


def _objectives(
    rows: FoldedRows, weights: NDArray[np.float64], prior: Prior, at: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Negative log posterior of each fit, float64 [fits], and its gradient, float64 [fits, D]."""
    score = rows.offset + at @ rows.design.T
    away = at - prior.mean
    pulled = away @ prior.precision
    losses = np.einsum("kn,kn->k", weights, np.logaddexp(0.0, score) - rows.label * score)
    value = losses + np.einsum("kd,kd->k", away, pulled) / 2.0
    return value, (weights * (expit(score) - rows.label)) @ rows.design + pulled
