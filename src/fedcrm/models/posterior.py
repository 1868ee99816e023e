"""Every noisy gradient as a measurement of the parameters, and their posterior under a prior with learnt variances.

A gradient g taken at θ₀ measures Hθ* as g + Hθ₀, with the noise of the release, the sampling noise (covariance H/n),
an error of linearisation that grows with the way gone since, and the uncertainty of H itself. All of them are averaged,
none is thrown away. Variances of groups follow by expectation–maximisation (automatic relevance determination: MacKay
1992, Tipping 2001), around a guess whose overall size is learnt from all groups of a kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit

GUESS_WEIGHT = 2.0
"""How many coefficients the guess of a group's variance counts for."""
KIND_WEIGHT = 8.0
"""How many coefficients the guess of a kind's overall size counts for."""
BASE_VARIANCE = 25.0
"""Prior variance of the base, which no data is needed to doubt."""
STEPS = 4
"""Expectation–maximisation steps after each gradient."""
LINEARISATION = 0.25
"""Relative error of the curvature, so of a measurement per step gone since."""
_SMALLEST = 1e-6
_JITTER = 1e-13


@dataclass(frozen=True, slots=True, repr=False)
class Groups:
    """Coefficients that share a prior variance: those of one column, those of one pair.

    Attributes:
        of: Group of each coefficient, base left out, int64 [D].
        kind: Kind of each group (0 a column, 1 a pair), int64 [groups].
        guess: Prior guess of each group's variance, float64 [groups].
        variance: What has been learnt of it, float64 [groups].
    """

    of: NDArray[np.int64]
    kind: NDArray[np.int64]
    guess: NDArray[np.float64]
    variance: NDArray[np.float64]

    def relearnt(self, mean: NDArray[np.float64], spread: NDArray[np.float64]) -> Groups:
        """Variances after one expectation–maximisation step, given means and variances of coefficients [D]."""
        number = self.guess.shape[0]
        counts = np.bincount(self.of, minlength=number).astype(np.float64)
        energy = np.bincount(self.of, mean**2 + spread, minlength=number)
        relative = np.bincount(self.kind, energy / self.guess, minlength=2) + KIND_WEIGHT
        size = relative / (np.bincount(self.kind, counts, minlength=2) + KIND_WEIGHT)
        variance = (energy + GUESS_WEIGHT * self.guess * size[self.kind]) / (counts + GUESS_WEIGHT)
        return Groups(self.of, self.kind, self.guess, np.maximum(variance, _SMALLEST))


@dataclass(frozen=True, slots=True, repr=False)
class Curvature:
    """H, the mean curvature per unit of weight.

    Attributes:
        mean: float64 [1 + D, 1 + D], symmetric, base first.
        variance: Variance of each entry among the first M coefficients, base left out, float64 [M, M].
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    def doubt(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of H·δ for a way δ of these expected squares, base first, float64 [t, 1 + D]."""
        measured = self.variance.shape[0]
        doubt = np.zeros_like(squares)
        doubt[:, 1 : 1 + measured] = squares[:, 1 : 1 + measured] @ self.variance
        return doubt


def mean_slope(rate: float, base: float, variance: float) -> float:
    """p(1 − p) on average over the way from the base rate to normal log-odds of this base and variance."""
    nodes, weights = hermegauss(31)
    p = expit(base + np.sqrt(max(variance, 0.0)) * nodes)
    here = float(weights @ (p * (1.0 - p))) / float(weights.sum())
    return (rate * (1.0 - rate) + here) / 2.0


@dataclass(frozen=True, slots=True, repr=False)
class Measurements:
    """All gradients so far, per unit of weight, base first.

    Attributes:
        points: Parameters each was taken at, float64 [t, 1 + D].
        gradients: Noisy mean gradient there, float64 [t, 1 + D].
        variances: Noise variance of each coordinate, float64 [t, 1 + D]; infinite where nothing was asked.
    """

    points: NDArray[np.float64]
    gradients: NDArray[np.float64]
    variances: NDArray[np.float64]

    def combine(
        self, curvature: Curvature, now: NDArray[np.float64], spread: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Their best average as one measurement of Hθ* and its noise variance, two float64 [1 + D].

        Args:
            curvature: H.
            now: Where the parameters are believed to be, float64 [1 + D].
            spread: And the variance of that belief, float64 [1 + D].
        """
        way = now - self.points
        error = LINEARISATION**2 * ((way @ curvature.mean) ** 2).mean(axis=1, keepdims=True)
        error = error + curvature.doubt(way**2 + spread)
        precision = 1.0 / np.maximum(self.variances + error, 1e-30)
        total = precision.sum(axis=0)
        pulled = (precision * (self.gradients + self.points @ curvature.mean)).sum(axis=0)
        asked = total > 0
        noise = np.divide(1.0, total, out=np.full_like(total, np.inf), where=asked)
        return np.divide(pulled, total, out=np.zeros_like(total), where=asked), noise


@dataclass(frozen=True, slots=True, repr=False)
class Posterior:
    """The parameters, base first: mean [1 + D], covariance [1 + D, 1 + D], and the groups with what was learnt."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    groups: Groups


@dataclass(frozen=True, slots=True, repr=False)
class Prior:
    """What was known before the first gradient of a continued run: mean [1 + D] and precision [1 + D, 1 + D]."""

    mean: NDArray[np.float64]
    precision: NDArray[np.float64]


def infer(
    curvature: Curvature,
    measured: tuple[NDArray[np.float64], NDArray[np.float64]],
    groups: Groups,
    units: float,
    prior: Prior | None = None,
) -> Posterior:
    """Posterior given one combined measurement of Hθ*.

    Args:
        curvature: H.
        measured: Measurement of Hθ* and its noise variance, float64 [1 + D] each; infinite where nothing is known.
        groups: Prior variances to start from.
        units: Noisy number of units, for the sampling noise.
        prior: A fixed prior in place of the groups' variances.
    """
    information, pull = _likelihood(curvature.mean, measured, units)
    if prior is not None:
        mean, covariance = _solve(information + prior.precision, pull + prior.precision @ prior.mean)
        return Posterior(mean, covariance, groups)
    for _ in range(STEPS):
        mean, covariance = _solve(information + _diagonal(groups), pull)
        groups = groups.relearnt(mean[1:], np.diag(covariance)[1:])
    return Posterior(*_solve(information + _diagonal(groups), pull), groups)


def _likelihood(
    curvature: NDArray[np.float64], measured: tuple[NDArray[np.float64], NDArray[np.float64]], units: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Information matrix [1 + D, 1 + D] and information-weighted target [1 + D]."""
    target, noise = measured
    known = np.flatnonzero(np.isfinite(noise))
    rows = curvature[known]
    covariance = rows[:, known] / units + np.diag(noise[known])
    covariance[np.diag_indices_from(covariance)] += _JITTER + _JITTER * np.trace(curvature) / units
    weight = scipy.linalg.cho_solve(scipy.linalg.cho_factor(covariance, lower=True), rows)
    return rows.T @ weight, weight.T @ target[known]


def _diagonal(groups: Groups) -> NDArray[np.float64]:
    return np.diag(1.0 / np.concatenate([[BASE_VARIANCE], groups.variance[groups.of]]))


def _solve(
    precision: NDArray[np.float64], pull: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of a Gaussian in information form."""
    factor, info = scipy.linalg.lapack.dpotrf((precision + precision.T) / 2.0, lower=1)
    if info:
        raise np.linalg.LinAlgError("the posterior's precision is not positive definite")
    covariance, _ = scipy.linalg.lapack.dpotri(factor, lower=1)
    covariance = np.tril(covariance) + np.tril(covariance, -1).T
    return covariance @ pull, covariance
