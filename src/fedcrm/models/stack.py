"""Which candidates an organisation should believe: non-negative weights by out-of-fold evidence, shrunk by size.

Stacking (Wolpert 1992; Breiman 1996) of log-odds around an anchor, with an L1 penalty counted in nats: a candidate must
explain the organisation's own rows better by a few nats before it counts, so small organisations stay at the anchor.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy.special import expit

PENALTY = 2.0
"""Nats of out-of-fold likelihood that one whole weight costs."""
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
    """Weights w ≥ 0 of anchor + Σ w·(candidate − anchor), float64 [candidates]; all zero where nothing helps.

    Args:
        label: 0 or 1, float64 [rows].
        weight: Weight of each row, float64 [rows].
        anchor: Out-of-fold log-odds of what holds without evidence, float64 [rows].
        candidates: Out-of-fold log-odds of the others, float64 [candidates, rows].
    """
    moves = candidates - anchor

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = anchor + weights @ moves
        value = weight @ losses(label, score) + PENALTY * weights.sum()
        return float(value), moves @ (weight * (expit(score) - label)) + PENALTY

    start = np.zeros(candidates.shape[0])
    bounds = [(0.0, None)] * candidates.shape[0]
    found = scipy.optimize.minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return np.where(found < _NEGLIGIBLE, 0.0, found)


def trust(gain: NDArray[np.float64]) -> float:
    """How far to go from the anchor towards the stack, in [0, 1], from each unit's gain in nats, float64 [units].

    The mean gain is judged against its standard error: 1 − (error / mean)², the positive part (James and Stein 1961),
    so that a gain within noise moves nothing.
    """
    if gain.shape[0] < 2 or float(gain.mean()) <= 0.0:
        return 0.0
    error = float(gain.std(ddof=1)) / np.sqrt(gain.shape[0])
    return float(np.clip(1.0 - (error / float(gain.mean())) ** 2, 0.0, 1.0))
