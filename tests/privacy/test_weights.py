"""Weights and forecasts: exact, rounded down, told in words."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcrm.errors import PrivacyParameterError
from fedcrm.privacy.weights import forecast, weight

RHO = st.floats(1e-9, 1e6)


@given(st.floats(0, 1), RHO, RHO)
def test_a_weight_never_costs_more_than_the_budget(quality, rho_budget, rho_reference):
    """Guarantee: w²·rho_reference ≤ rho_budget exactly, w ≤ quality, and one step more would break one of the two."""
    w = weight(quality=quality, rho_budget=rho_budget, rho_reference=rho_reference)
    step = Fraction(1, 2**16)
    assert w**2 * Fraction(rho_reference) <= Fraction(rho_budget) and w <= Fraction(quality)
    more = w + step
    assert more**2 * Fraction(rho_reference) > Fraction(rho_budget) or more > Fraction(quality)


@pytest.mark.parametrize("rho_budget", [0.0, -1.0, math.nan])
def test_without_budget_the_weight_is_zero(rho_budget):
    """No budget left, or none that is a number: weight 0, never an error that others could see."""
    assert weight(quality=1.0, rho_budget=rho_budget, rho_reference=1.0) == 0


@pytest.mark.parametrize(
    ("quality", "reference"), [(1.5, 1.0), (-0.1, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, math.inf)]
)
def test_weights_of_nonsense_are_refused(quality, reference):
    """A quality outside [0, 1] or a reference that is no positive number is a three-part error."""
    with pytest.raises(PrivacyParameterError, match="FED-201"):
        weight(quality=quality, rho_budget=1.0, rho_reference=reference)


def test_a_forecast_answers_before_the_first_round():
    """Full, partial and no budget: weight, what is missing, and one sentence each."""
    full = forecast(planned_rho=0.1, remaining_rho=0.2)
    part = forecast(planned_rho=0.4, remaining_rho=0.1)
    none = forecast(planned_rho=0.1, remaining_rho=0.0)
    assert (full.weight, full.carries, full.missing_rho) == (1, True, 0.0)
    assert (part.weight, part.carries) == (Fraction(1, 2), False) and part.missing_rho == pytest.approx(0.3)
    assert none.weight == 0 and not none.carries
    assert "carries the whole run" in full.in_words()
    assert "only at weight 0.5" in part.in_words() and "missing" in part.in_words()
    assert "only noise will be sent" in none.in_words()


def test_poor_quality_needs_less_budget():
    """With quality one half, a quarter of the run's ρ is enough to carry it."""
    half = forecast(planned_rho=0.4, remaining_rho=0.1, quality=0.5)
    assert half.carries and half.weight == Fraction(1, 2)


def test_a_forecast_shows_no_number():
    """Remaining budget, quality and weight are told to the operator in words, and appear nowhere else."""
    assert not any(
        said in repr(forecast(planned_rho=0.4, remaining_rho=0.123, quality=0.75)) for said in ("0.123", "0.75")
    )
