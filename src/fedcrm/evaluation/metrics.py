"""Figures of merit of a score against a 0/1 label. A figure that the data cannot give is NaN, never a crash.

NaN means "not defined here": AUC without both classes, anything on no rows. Callers show it as missing and leave it out
of means; they never replace it by a number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True, slots=True, repr=False)
class RankedScores:
    """Scores sorted once, so that many weighted AUCs cost no further sorting.

    Attributes:
        order: int64 [rows], row positions by rising score.
        ties: int64 [groups], first position of each group of equal scores within `order`.
        positive: float64 [rows], the label in that order.
    """

    order: NDArray[np.int64]
    ties: NDArray[np.int64]
    positive: NDArray[np.float64]

    @classmethod
    def of(cls, label: ArrayLike, score: ArrayLike) -> RankedScores:
        """Sort by score; equal scores form one group."""
        scores = np.asarray(score, dtype=np.float64)
        order = np.argsort(scores, kind="stable").astype(np.int64)
        ranked = scores[order]
        ties = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]][: ranked.size]).astype(np.int64)
        return cls(order, ties, np.asarray(label, dtype=np.float64)[order])

    def auc(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """AUC under each row of weights.

        Args:
            weights: float64 [replicates, rows], how often each row counts.

        Returns:
            float64 [replicates]; NaN where one class has no weight.
        """
        if self.order.size == 0:
            return np.full(weights.shape[0], np.nan)
        ranked = weights[:, self.order]
        positives = np.add.reduceat(ranked * self.positive, self.ties, axis=1)
        negatives = np.add.reduceat(ranked, self.ties, axis=1) - positives
        below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        wins = np.einsum("rg,rg->r", positives, below)
        areas = np.full(pairs.shape, np.nan)
        np.divide(wins, pairs, out=areas, where=pairs > 0)
        return areas


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """Probability that a random positive row scores above a random negative one, ties counting one half.

    Mann-Whitney's statistic by ranks. NaN when either class is absent.
    """
    ranked = RankedScores.of(label, score)
    return float(ranked.auc(np.ones((1, ranked.order.size)))[0])


def accuracy(label: ArrayLike, probability: ArrayLike) -> float:
    """Share of rows where `probability` ≥ ½ agrees with the label. NaN on no rows."""
    truth = np.asarray(label, dtype=np.int64)
    if truth.size == 0:
        return float("nan")
    return float(np.mean((np.asarray(probability) >= 0.5) == (truth == 1)))


def log_loss(label: ArrayLike, probability: ArrayLike) -> float:
    """Mean negative log-likelihood in nats, probabilities kept 1e-12 away from 0 and 1. NaN on no rows."""
    truth = np.asarray(label, dtype=np.float64)
    if truth.size == 0:
        return float("nan")
    inside = np.clip(np.asarray(probability, dtype=np.float64), _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return float(-np.mean(truth * np.log(inside) + (1 - truth) * np.log1p(-inside)))


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows of similar score: how likely they were said to be positive, and how many were."""

    predicted: float
    observed: float
    rows: int


def calibration(label: ArrayLike, probability: ArrayLike, *, bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Equal-mass bins by rising probability; fewer when there are fewer rows, none on no rows."""
    truth, said = np.asarray(label, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    order = np.argsort(said, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, max(1, order.size))) if part.size]
    return tuple(CalibrationBin(float(said[p].mean()), float(truth[p].mean()), int(p.size)) for p in parts)


def calibration_error(label: ArrayLike, probability: ArrayLike, *, bins: int = 10) -> float:
    """Expected calibration error: mean |predicted − observed| over equal-mass bins, by rows. NaN on no rows."""
    parts = calibration(label, probability, bins=bins)
    rows = sum(part.rows for part in parts)
    if rows == 0:
        return float("nan")
    return sum(part.rows * abs(part.predicted - part.observed) for part in parts) / rows
