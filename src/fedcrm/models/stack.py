"""Which candidates an organisation should believe: shares by out-of-fold evidence, shrunk by size.

Stacking (Wolpert 1992; Breiman 1996) of log-odds around an anchor, with an L1 penalty counted in nats: a candidate must
explain the organisation's own rows better by a few nats before it counts, so small organisations stay at the anchor.
Shares are found by accelerated projected gradients (Beck and Teboulle 2009).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

PENALTY = 2.0
"""Nats of out-of-fold likelihood that a whole share costs."""
_STEPS = 400
_NEGLIGIBLE = 0.01


def losses(label: NDArray[np.float64], log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Negative log-likelihood of each row in nats, float64 [rows]."""
    return np.logaddexp(0.0, log_odds) - label * log_odds


def stack_weights(
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    anchor: NDArray[np.float64],
    candidates: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Shares w ≥ 0, Σ w ≤ 1, of anchor + Σ w·(candidate − anchor), float64 [candidates]; zero where nothing helps.

    Args:
        label: 0 or 1, float64 [rows].
        weight: Weight of each row, float64 [rows].
        anchor: Out-of-fold log-odds of what holds without evidence, float64 [rows].
        candidates: Out-of-fold log-odds of the others, float64 [candidates, rows].
    """
    moves = candidates - anchor
    length = float(np.linalg.eigvalsh((moves * weight) @ moves.T)[-1]) / 4.0
    if length <= 0.0:
        return np.zeros(candidates.shape[0])
    shares = ahead = np.zeros(candidates.shape[0])
    for t in range(_STEPS):
        slope = moves @ (weight * (expit(anchor + ahead @ moves) - label)) + PENALTY
        moved = _nearest_shares(ahead - slope / length)
        ahead, shares = moved + t / (t + 3.0) * (moved - shares), moved
    return np.where(shares < _NEGLIGIBLE, 0.0, shares)


def _nearest_shares(point: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest w ≥ 0 with Σ w ≤ 1 (Duchi et al. 2008)."""
    inside = np.maximum(point, 0.0)
    if inside.sum() <= 1.0:
        return inside
    falling = np.sort(point)[::-1]
    excess = (np.cumsum(falling) - 1.0) / np.arange(1, point.shape[0] + 1)
    return np.asarray(np.maximum(point - excess[np.flatnonzero(falling > excess)[-1]], 0.0))


def trust(gain: NDArray[np.float64]) -> float:
    """How far to go from the anchor towards the stack, in [0, 1], from each unit's gain in nats, float64 [units].

    The mean gain is judged against its standard error: 1 − (error / mean)², the positive part (James and Stein 1961),
    so that a gain within noise moves nothing.
    """
    if gain.shape[0] < 2 or float(gain.mean()) <= 0.0:
        return 0.0
    error = float(gain.std(ddof=1)) / np.sqrt(gain.shape[0])
    return float(np.clip(1.0 - (error / float(gain.mean())) ** 2, 0.0, 1.0))
