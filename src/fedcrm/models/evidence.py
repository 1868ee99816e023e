"""Whether a released model says more than the base rate, from the model alone: no record is looked at.

Three questions. Does what the model explains outweigh what it does not know? With the posterior N(θ, Σ) over the
coefficients, base left out, and M the second moment of the functions, θᵀMθ is the variance of the log-odds that its
mean explains and tr(MΣ) the expected variance of what that leaves open. Would noise alone look like this? Without any
effect z = Σ⁻¹θ has mean zero and covariance J = Σ⁻¹ − P, P being the prior's precision, whatever the prior learnt; so
zᵀGz, G being the variances guessed before anything was learnt, has mean tr(GJ) and variance 2·tr(GJGJ) (the score test
of a variance component: Lin 1997). And did the first release count at all? Functions are centred by noisy counts and
the posterior takes these as exact, so where the counts are noise it may be sure of what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedcrm.models.hyperparameters import HISTOGRAM_SHARE
from fedcrm.models.scorecard import LogisticModel

CLEAR = 3.0
"""Standard deviations above what noise alone gives that count as clear."""
COUNTED = 12.0
"""Noise standard deviations that the count of all units must have."""
_COUNT_NOISE = float(np.sqrt(20.0 / HISTOGRAM_SHARE))
"""Noise of the count of units in units, at a noise of 1 in a clipping norm of 1: see `HistogramShape`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a released model says.

    Attributes:
        explained: Variance of the log-odds that the posterior mean explains, θᵀMθ.
        uncertain: Expected variance of what is left open, tr(MΣ).
        clarity: How far the measurements are from noise alone, in standard deviations of noise.
        counted: The count of all units in standard deviations of its noise; infinite without noise.
    """

    explained: float
    uncertain: float
    clarity: float
    counted: float

    @property
    def says_more_than_base_rate(self) -> bool:
        """Whether the model explains more than it leaves open, noise alone would not, and counts were clear."""
        return self.explained > self.uncertain and self.clarity > CLEAR and self.counted > COUNTED

    def finding(self) -> str | None:
        """What everyone should be told of the model, or None when it says more than the base rate."""
        if self.says_more_than_base_rate:
            return None
        return (
            "the global model says hardly more than the base rate: for this many units the privacy noise is too large "
            f"(explained variance {self.explained:.2g} beside an uncertainty of {self.uncertain:.2g}, "
            f"{self.clarity:.1f} standard deviations from noise alone, units counted to {self.counted:.1f} standard "
            "deviations); its scores and reasons should not be relied on, while an adapted model rests on the "
            "organisation's own rows; more units, more organisations, fewer columns or a larger ε help"
        )


def evidence(model: LogisticModel) -> Evidence | None:
    """What the model says; None for a model that does not carry its posterior."""
    if "covariance" not in model.extras:
        return None
    units, _, noise = np.asarray(model.extras["memory"], dtype=np.float64).tolist()
    counted = units / (noise * _COUNT_NOISE) if noise > 0.0 else float("inf")
    if model.mean.shape[0] == 1:
        return Evidence(0.0, 0.0, 0.0, counted)
    moment, mean = model.second_moment, model.mean[1:]
    explained = max(float(mean @ moment @ mean), 0.0)
    return Evidence(explained, float((moment * model.covariance[1:, 1:]).sum()), _clarity(model), counted)


def finding(model: object) -> str | None:
    """What everyone should be told of a released model, if anything."""
    found = evidence(model) if isinstance(model, LogisticModel) else None
    return found.finding() if found is not None else None


def _clarity(model: LogisticModel) -> float:
    """(zᵀGz − tr(GJ)) / √(2·tr(GJGJ)); 0 where nothing was measured."""
    precision = np.asarray(np.linalg.pinv(model.covariance, hermitian=True)[1:, 1:], dtype=np.float64)
    information = precision - np.diag(1.0 / model.prior_variance)
    guess = np.asarray(model.extras["group_guess"], dtype=np.float64)[model.component_of]
    pull = precision @ model.mean[1:]
    spread = float(2.0 * np.einsum("i,ij,j,ji->", guess, information, guess, information, optimize=True))
    expected = float(guess @ np.maximum(np.diag(information), 0.0))
    return (float(pull @ (guess * pull)) - expected) / spread**0.5 if spread > 0.0 else 0.0
