"""From an attack's hits and misses to a lower bound on ε that holds with stated confidence.

An attack that tells "in" from "out" with false positive rate α and false negative rate β bounds ε from below: under
(ε, δ)-differential privacy α + e^ε·β ≥ 1 − δ and β + e^ε·α ≥ 1 − δ (Kairouz, Oh, Viswanath 2015), and under
μ-Gaussian differential privacy β ≥ Φ(Φ⁻¹(1 − α) − μ) (Dong, Roth, Su 2019). With α and β replaced by upper confidence
limits (Clopper, Pearson 1934) both give bounds that hold with that confidence (Nasr et al. 2021 and 2023). The first
assumes nothing; the second assumes that the trade-off is a Gaussian's, and is far sharper where ε is small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHOOSING = 4
"""One trial in so many chooses thresholds."""


@dataclass(frozen=True, slots=True)
class Scores:
    """An attack's scores, higher meaning "in"; float64 [trials] each.

    Attributes:
        outside: Of trials without the canary.
        inside: Of trials with it.
    """

    outside: NDArray[np.float64]
    inside: NDArray[np.float64]

    def __len__(self) -> int:
        """How many trials there were of both kinds."""
        return len(self.outside) + len(self.inside)


@dataclass(frozen=True, slots=True)
class LowerBounds:
    """Lower bounds on ε at one δ.

    Attributes:
        free: The one that assumes nothing.
        gaussian: The one that assumes a Gaussian trade-off.
    """

    free: float
    gaussian: float

    @property
    def best(self) -> float:
        """The larger one; both hold together with the stated confidence."""
        return max(self.free, self.gaussian)


def lower_bounds(scores: Scores, *, delta: float, error: float) -> LowerBounds:
    """Lower bounds on ε from an attack's scores, wrong with probability at most `error` together.

    A quarter of the trials (every fourth) chooses a threshold for each bound; the others, which had no say in it,
    measure the error rates there. Four confidence limits enter, each wrong with probability at most error/4.

    Args:
        scores: At least two trials of each kind, in an order that has nothing to do with them.
        delta: δ at which ε is stated.
        error: Largest probability that a bound exceeds the true ε.

    Guarantee: over fresh trials of an (ε, δ)-private mechanism `free` exceeds ε with probability at most error/2, and
    over those of a Gaussian one `gaussian` does.
    """
    choosing, measuring = _parted(scores)
    thresholds = np.unique(np.concatenate([choosing.outside, choosing.inside]))
    false_positive, false_negative = _rates(choosing, thresholds, error / 4)
    by_free = thresholds[np.argmax(_free(false_positive, false_negative, delta))]
    by_mu = thresholds[np.argmax(_mu(false_positive, false_negative))]
    alpha, beta = _rates(measuring, np.array([by_free, by_mu]), error / 4)
    mu = float(_mu(alpha, beta)[1])
    return LowerBounds(float(_free(alpha, beta, delta)[0]), gaussian_epsilon(mu, delta=delta))


def gaussian_epsilon(mu: float, *, delta: float) -> float:
    """The ε at δ of a μ-Gaussian private mechanism, exactly (Balle, Wang 2018, by the library's privacy loss)."""
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
    from scipy.optimize import brentq

    if mu < 1e-6:
        return 0.0
    loss = GaussianPrivacyLoss(standard_deviation=1 / mu)

    def excess(epsilon: float) -> float:
        return float(loss.get_delta_for_epsilon(epsilon)) - delta

    if excess(0.0) <= 0:
        return 0.0
    highest = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1
    return float(brentq(excess, 0.0, highest, xtol=1e-9))


def upper_limit(events: NDArray[np.int64], *, trials: int, error: float) -> NDArray[np.float64]:
    """Clopper–Pearson: what a rate is above with probability at most `error` when so many events were seen."""
    from scipy.stats import beta

    limits = beta.ppf(1 - error, events + 1, np.maximum(trials - events, 1))
    return np.where(events >= trials, 1.0, limits)


def _parted(scores: Scores) -> tuple[Scores, Scores]:
    """The trials that choose thresholds, and those that measure there."""
    chooses = [np.arange(len(kind)) % _CHOOSING == 0 for kind in (scores.outside, scores.inside)]
    choosing = Scores(scores.outside[chooses[0]], scores.inside[chooses[1]])
    return choosing, Scores(scores.outside[~chooses[0]], scores.inside[~chooses[1]])


def _rates(
    scores: Scores, thresholds: NDArray[np.float64], error: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Upper limits of the false positive and false negative rate when "in" means a score of at least the threshold."""
    outside, inside = np.sort(scores.outside), np.sort(scores.inside)
    positive = len(outside) - np.searchsorted(outside, thresholds, side="left")
    negative = np.searchsorted(inside, thresholds, side="left")
    return (
        upper_limit(positive, trials=len(outside), error=error),
        upper_limit(negative, trials=len(inside), error=error),
    )


def _free(alpha: NDArray[np.float64], beta: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """max{ln((1 − δ − β)/α), ln((1 − δ − α)/β), 0}."""
    ratios = np.maximum((1 - delta - beta) / alpha, (1 - delta - alpha) / beta)
    return np.asarray(np.log(np.maximum(ratios, 1.0)))


def _mu(alpha: NDArray[np.float64], beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """max{Φ⁻¹(1 − α) − Φ⁻¹(β), 0}."""
    from scipy.special import ndtri

    with np.errstate(invalid="ignore"):
        found = ndtri(1 - alpha) - ndtri(beta)
    return np.asarray(np.maximum(np.nan_to_num(found, nan=0.0, neginf=0.0), 0.0))
