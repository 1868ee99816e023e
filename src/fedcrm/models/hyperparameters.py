"""Every number the learner is run with, and where it comes from: public facts, or noisy measurements already paid for.

Nothing here is tuned per table. What depends on the table (which functions, which pairs, how much each is asked for)
follows from the number of columns and, by `water_fill`, from the noise that ε and the noisy count leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import FeatureSchema
from fedcrm.models.learner import Round
from fedcrm.models.survey import needs_survey

SURVEY_SHARE, HISTOGRAM_SHARE, MOMENT_SHARE = 0.10, 0.05, 0.12
PRIOR_ENERGY = 1.5
"""Prior guess of the variance of the log-odds that all columns together explain: an AUC of about .8."""
PAIR_ENERGY = 1.0
"""Prior guess of what all pairs explain, in shares of what the columns were found to explain."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a run is made of.

    Attributes:
        rounds: All releases, with their shares of the privacy loss.
        pairs_after: Gradients before the pairs are chosen; more than there are when pairs are not wanted.
        column_variance: Prior guess of the variance of a column's coefficients.
        most_pairs: Pairs of columns looked at.
        most_products: Coordinates of all pairs together; bounds time and memory at any width.
        most_coordinates: Coordinates of the columns whose products are paid for; the others are left out.
    """

    rounds: tuple[Round, ...]
    pairs_after: int
    column_variance: float
    most_pairs: int = 40
    most_products: int = 800
    most_coordinates: int = 256


def hyperparameters(schema: FeatureSchema, *, gradients: int, pairs: bool, continued: bool = False) -> Hyperparameters:
    """All of them, from the public columns alone.

    A survey (10 %) only where a number column has no declared range; of the rest 5 % for the histogram and 12 % for the
    second moment; the gradients share what remains equally, the first fifth of them before the pairs are chosen: what
    is learnt adds up over all of them, and about ten are needed to come near the optimum. The variance a prior gives
    each column is `PRIOR_ENERGY` divided by their number: many columns cannot all matter much.
    A continued run has columns, pairs and second moment already, so its gradients take everything.

    Args:
        schema: The public columns.
        gradients: Gradient releases.
        pairs: Whether pairs of columns are wanted.
        continued: Whether the run starts from a released model.
    """
    survey = [Round("survey", SURVEY_SHARE)] if needs_survey(schema) and not continued else []
    left = 1.0 - sum(r.share for r in survey)
    fixed = 0.0 if continued else HISTOGRAM_SHARE + MOMENT_SHARE
    steps = [Round(f"gradient {i + 1}", left * (1.0 - fixed) / gradients) for i in range(gradients)]
    if not continued:
        steps.insert(1, Round("moment", left * MOMENT_SHARE))
        steps.insert(0, Round("histogram", left * HISTOGRAM_SHARE))
    before = max(2, gradients // 5) if pairs and not continued else gradients + 1
    return Hyperparameters((*survey, *steps), before, PRIOR_ENERGY / max(len(schema.columns), 1))


def water_fill(worth: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Shares of a unit's norm that minimise the expected error of the score, float64 [D], ≥ 0, sum 1.

    A coordinate of prior variance τ and mean square λ, given share x of the squared norm, is left with the expected
    error λτ/(1 + xλτ/noise). Minimising the sum over coordinates under Σx = 1 gives x = max(0, level − noise/(λτ)):
    reverse water-filling (Cover and Thomas, Elements of Information Theory, section 10.3.3).

    Args:
        worth: λτ of each coordinate, float64 [D], not negative.
        noise: Variance left in a coordinate of share 1 by all remaining releases together; 0 shares by λτ alone.
    """
    if worth.shape[0] == 0:
        return worth
    worth = np.maximum(worth, 1e-30)
    floor = max(noise, 1e-12 * float(worth.max())) / worth
    floor -= floor.min()
    order = np.sort(floor)
    levels = (1.0 + np.cumsum(order)) / np.arange(1, order.shape[0] + 1)
    level = levels[np.flatnonzero(levels > order)[-1]]
    share = np.maximum(level - floor, 0.0)
    return np.asarray(share / share.sum())
