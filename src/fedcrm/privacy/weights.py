"""A participant's weight: where its data's quality and its privacy budget meet.

With noise σ and clipping norm C public, a release at weight w costs w²·ρ_release. So a participant whose budget is ρ_i
carries a run that costs ρ_ref at full weight when w ≤ √(ρ_i/ρ_ref), which is σ/(C·z_i) for the noise multiplier z_i
that its own budget asks for. Nothing of this leaves the participant; the operator is told before the first round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from fedcrm.errors import PrivacyParameterError
from fedcrm.privacy.mechanism import WEIGHT_BITS


def weight(*, quality: float, rho_budget: float, rho_reference: float) -> Fraction:
    """w = min(quality, √(rho_budget / rho_reference)), rounded down to a multiple of 2^-16; 0 without budget.

    Args:
        quality: Organisation-level factor in [0, 1], constant over the run and lawful (a charged measurement or 1).
        rho_budget: ρ that the participant can still spend on this run.
        rho_reference: ρ that the whole run costs at weight 1, spare attempts included.

    Guarantee: w²·rho_reference ≤ rho_budget, exactly, and w ≤ quality.
    """
    if not (math.isfinite(rho_reference) and rho_reference > 0 and 0 <= quality <= 1):
        raise PrivacyParameterError(
            f"a weight cannot be computed from quality {quality!r} and a reference ρ of {rho_reference!r}",
            why="quality has to lie in [0, 1] and the run's planned privacy loss has to be a finite number above zero",
            fix="check the run's plan and the quality measurement",
        )
    if not rho_budget > 0:
        return Fraction(0)
    affordable = Fraction(rho_budget) / Fraction(rho_reference) if math.isfinite(rho_budget) else Fraction(1)
    by_budget = math.isqrt(math.floor(affordable * 4**WEIGHT_BITS))
    by_quality = math.floor(Fraction(quality) * 2**WEIGHT_BITS)
    return Fraction(min(by_budget, by_quality), 2**WEIGHT_BITS)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BudgetForecast:
    """Whether the remaining budget carries an announced run; for the participant's operator only, never sent.

    Attributes:
        planned_rho: ρ the run costs at weight 1, spare attempts included.
        remaining_rho: ρ this participant may still spend in the period, on this task.
        quality: The organisation's quality factor.
        weight: The weight at which the participant will take part; 0 means it sends pure noise.
    """

    planned_rho: float
    remaining_rho: float
    quality: float
    weight: Fraction

    @property
    def missing_rho(self) -> float:
        """How much more ρ full weight (the quality factor) would need; 0 when the budget carries the run."""
        return max(0.0, self.planned_rho * self.quality**2 - self.remaining_rho)

    @property
    def carries(self) -> bool:
        """Whether the budget leaves the weight at what the quality allows."""
        return self.missing_rho == 0

    def in_words(self) -> str:
        """The answer as one sentence for the operator."""
        numbers = f"planned ρ {self.planned_rho:.4g} at full weight, remaining ρ {self.remaining_rho:.4g}"
        if self.weight == 0:
            return f"The remaining privacy budget carries nothing of this run: only noise will be sent ({numbers})."
        if self.carries:
            return f"The remaining privacy budget carries the whole run at weight {float(self.weight):.4g} ({numbers})."
        return (
            f"The remaining privacy budget carries the run only at weight {float(self.weight):.4g}; "
            f"ρ {self.missing_rho:.4g} is missing for full weight ({numbers})."
        )


def forecast(*, planned_rho: float, remaining_rho: float, quality: float = 1.0) -> BudgetForecast:
    """The answer an operator gets before the first round."""
    w = weight(quality=quality, rho_budget=remaining_rho, rho_reference=planned_rho)
    return BudgetForecast(planned_rho=planned_rho, remaining_rho=remaining_rho, quality=quality, weight=w)
