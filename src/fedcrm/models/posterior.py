"""Every noisy gradient as a measurement of the parameters, and their posterior under a prior with learnt variances.

A gradient g taken at θ₀ measures Hθ* as g + Hθ₀, with the noise of the release, the sampling noise (covariance H/n)
and an error of linearisation that grows with the way gone since. All of them are averaged, none is thrown away.
Group variances follow by expectation–maximisation (automatic relevance determination: MacKay 1992, Tipping 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

PRIOR_VARIANCE = 0.8
"""Prior guess of a column's variance of coefficients (whitened basis, log-odds)."""
PRIOR_WEIGHT = 2.0
"""How many coefficients that guess counts for."""
BASE_VARIANCE = 25.0
"""Prior variance of the base, which no data is needed to doubt."""
STEPS = 4
"""Expectation–maximisation steps after each gradient."""
LINEARISATION = 0.25
"""Relative error of the curvature, so of a measurement per step gone since."""
_JITTER = 1e-13


@dataclass(frozen=True, slots=True, repr=False)
class Measurements:
    """All gradients so far, per unit of weight, base first.

    Attributes:
        points: Parameters each was taken at, float64 [t, 1 + D].
        gradients: Noisy mean gradient there, float64 [t, 1 + D].
        variances: Noise variance of each coordinate, float64 [t, 1 + D].
    """

    points: NDArray[np.float64]
    gradients: NDArray[np.float64]
    variances: NDArray[np.float64]

    def combine(
        self, curvature: NDArray[np.float64], now: NDArray[np.float64], curvature_noise: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Their best average as one measurement of Hθ* and its noise variance, two float64 [1 + D]."""
        moved = (now - self.points) @ curvature
        error = LINEARISATION**2 * (moved**2).mean(axis=1, keepdims=True)
        error += curvature_noise * ((now - self.points) ** 2).sum(axis=1, keepdims=True)
        precision = 1.0 / np.maximum(self.variances + error, 1e-30)
        total = precision.sum(axis=0)
        measured = (precision * (self.gradients + self.points @ curvature)).sum(axis=0) / total
        return measured, 1.0 / total


@dataclass(frozen=True, slots=True, repr=False)
class Posterior:
    """The parameters, base first: mean [1 + D], covariance [1 + D, 1 + D], and the variances of the groups [groups]."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    group_variance: NDArray[np.float64]


def infer(
    curvature: NDArray[np.float64],
    measured: tuple[NDArray[np.float64], NDArray[np.float64]],
    group_of: NDArray[np.int64],
    group_variance: NDArray[np.float64],
    units: float,
) -> Posterior:
    """Posterior given one combined measurement of Hθ*.

    Args:
        curvature: H, mean curvature per unit of weight, float64 [1 + D, 1 + D], symmetric, base first.
        measured: Measurement of Hθ* and its noise variance, float64 [1 + D] each.
        group_of: Group of each coefficient (base not counted), int64 [D].
        group_variance: Prior variance of each group to start from, float64 [groups].
        units: Noisy number of units, for the sampling noise.
    """
    target, noise = measured
    covariance = curvature / units + np.diag(noise)
    covariance[np.diag_indices_from(covariance)] += _JITTER + _JITTER * np.trace(curvature) / units
    weight = scipy.linalg.cho_solve(scipy.linalg.cho_factor(covariance, lower=True), curvature)
    information, pull = curvature @ weight, weight.T @ target
    counts = np.bincount(group_of, minlength=group_variance.shape[0])
    for _ in range(STEPS):
        mean, spread = _solve(information, pull, group_variance[group_of])
        energy = np.bincount(group_of, mean[1:] ** 2 + np.diag(spread)[1:], minlength=group_variance.shape[0])
        group_variance = (energy + PRIOR_WEIGHT * PRIOR_VARIANCE) / (counts + PRIOR_WEIGHT)
    return Posterior(*_solve(information, pull, group_variance[group_of]), group_variance)


def _solve(
    information: NDArray[np.float64], pull: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    precision = information.copy()
    precision[np.diag_indices_from(precision)] += 1.0 / np.concatenate([[BASE_VARIANCE], variance])
    factor = scipy.linalg.cho_factor((precision + precision.T) / 2.0, lower=True)
    spread = scipy.linalg.cho_solve(factor, np.eye(precision.shape[0]))
    return spread @ pull, spread
