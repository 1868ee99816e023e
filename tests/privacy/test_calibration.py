"""Calibration: plans that cost what was promised, grids that fit what is public."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedcrm.crypto.encoding import clamp_bound, noise_tail
from fedcrm.errors import PrivacyParameterError
from fedcrm.privacy.accountant import ZcdpAccountant
from fedcrm.privacy.calibration import mechanism_for, plan_releases, planned_rho
from fedcrm.privacy.weights import weight

ACCOUNTANT = ZcdpAccountant()


def plan(shares, spare_attempts=2, epsilon=2.0, delta=1e-6):
    """A plan at a reference budget."""
    return plan_releases(shares, spare_attempts=spare_attempts, epsilon=epsilon, delta=delta, accountant=ACCOUNTANT)


@st.composite
def shares(draw):
    """Shares of a run's privacy loss that sum to 1."""
    parts = draw(st.lists(st.integers(1, 100), min_size=1, max_size=30))
    return [part / sum(parts) for part in parts]


@settings(deadline=None, max_examples=50)
@given(shares(), st.integers(0, 5), st.sampled_from([0.25, 1.0, 8.0]))
def test_a_plan_costs_its_reference_with_every_spare_attempt(parts, spare, epsilon):
    """Guarantee: all rounds and the spare attempts at the dearest price compose to at most (ε, δ), and nearly so."""
    multipliers = plan(parts, spare, epsilon)
    budget = ACCOUNTANT.rho_budget(epsilon=epsilon, delta=1e-6)
    costs = [ACCOUNTANT.rho(_mechanism(z).event(Fraction(1))) for z in multipliers]
    total = math.fsum(costs) + spare * max(costs)
    assert budget * (1 - 1e-3) <= total <= budget
    assert planned_rho(multipliers, spare_attempts=spare) == pytest.approx(budget, rel=1e-8)
    assert ACCOUNTANT.epsilon_of(total, delta=1e-6) <= epsilon
    assert [a / b for a, b in zip(costs, parts, strict=True)] == pytest.approx(
        [costs[0] / parts[0]] * len(parts), rel=1e-3
    )


@settings(deadline=None, max_examples=50)
@given(shares(), st.floats(0.05, 8.0))
def test_a_lower_budget_is_met_by_a_lower_weight(parts, own_epsilon):
    """A participant with its own ε stays within it over the whole run, spare attempts included."""
    multipliers = plan(parts, 2, 8.0)
    own = ACCOUNTANT.rho_budget(epsilon=own_epsilon, delta=1e-6)
    w = weight(quality=1.0, rho_budget=own, rho_reference=planned_rho(multipliers, spare_attempts=2))
    costs = [ACCOUNTANT.rho(_mechanism(z).event(w)) for z in multipliers]
    assert math.fsum(costs) + 2 * max(costs) <= own


def _mechanism(noise_multiplier, **changed):
    numbers = {
        "dimension": 100,
        "clipping_norm": 1.0,
        "coordinate_bound": 1.0,
        "honest_shares": 5,
        "participants": 9,
        "units_magnitude": 10_000,
    }
    return mechanism_for(noise_multiplier=noise_multiplier, **{**numbers, **changed})


@settings(deadline=None, max_examples=200)
@given(
    st.floats(1e-3, 1e3),
    st.floats(0.1, 1.0),
    st.floats(0.05, 500),
    st.integers(1, 20),
    st.integers(2, 1000),
    st.integers(0, 7),
)
def test_a_mechanism_is_private_enough_and_fits_its_range(norm, bound, z, honest, participants, magnitude):
    """Guarantee: noise at least as asked; units at their bound fit the clamp; clamps and noise fit the plaintext."""
    assume(honest <= participants)
    m = _mechanism(
        z,
        clipping_norm=norm,
        coordinate_bound=bound * norm,
        honest_shares=honest,
        participants=participants,
        units_magnitude=10**magnitude,
    )
    needed = (Fraction(z) * Fraction(norm) * m.grid_steps) ** 2
    assert m.share_variance * honest >= needed
    sd = math.sqrt(participants * m.share_variance)
    assert m.clamp <= clamp_bound(participants=participants, noise_sd=sd)
    assert participants * m.clamp + noise_tail(sd) <= 2**31 - 1
    assert m.grid_steps * Fraction(bound * norm) * 10**magnitude <= m.clamp
    assert math.sqrt(needed) <= 2**20 and m.grid_steps * Fraction(norm) <= 2**26
    assert m.share_variance == 64 or m.share_variance <= needed / honest + 1


def test_the_grid_is_the_finest_that_fits():
    """One more bit would break the range, the noise limit or the exact arithmetic."""
    m = _mechanism(10.0)
    assert m.grid_bits == 14  # 10,000 units of 1.0 within a clamp of about 2^27.8
    assert _mechanism(10.0, units_magnitude=1).grid_bits == 16  # σ = 10·2^16 ≤ 2^20


@pytest.mark.parametrize(
    "wrong",
    [
        {"clipping_norm": 0.0},
        {"coordinate_bound": math.inf},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": 0.0},
        {"honest_shares": 0},
        {"units_magnitude": 0},
        {"units_magnitude": 10**30, "coordinate_bound": 1e9},
        {"participants": 10**9},
    ],
)
def test_numbers_without_a_grid_are_refused(wrong):
    """Numbers that are not positive and finite, or that no grid fits, are a three-part error."""
    with pytest.raises(PrivacyParameterError, match="FED-201"):
        _mechanism(**{"noise_multiplier": 10.0, **wrong})


@pytest.mark.parametrize(
    ("parts", "spare"), [([], 0), ([0.5], 0), ([0.5, 0.6], 0), ([1.5, -0.5], 0), ([1.0], -1), ([0.0, 1.0], 1)]
)
def test_plans_that_do_not_share_the_loss_are_refused(parts, spare):
    """No round, shares that do not sum to 1, or a share of nothing is a three-part error."""
    with pytest.raises(PrivacyParameterError, match="FED-201"):
        plan(parts, spare)
