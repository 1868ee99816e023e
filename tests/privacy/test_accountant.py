"""The accountant: never below the exact divergence, bound to the library's own privacy-loss distributions."""

from __future__ import annotations

import math
from fractions import Fraction

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from fedcrm.errors import PrivacyParameterError
from fedcrm.privacy.accountant import ReleaseEvent, ZcdpAccountant, compose, dp_event, round_up

ACCOUNTANT = ZcdpAccountant()


def event(sensitivity_squared=100, share_variance=10_000, honest_shares=5, dimension=50) -> ReleaseEvent:
    """A release event with sensible numbers."""
    return ReleaseEvent(
        dimension=dimension,
        sensitivity_squared=sensitivity_squared,
        share_variance=share_variance,
        honest_shares=honest_shares,
    )


EVENTS = st.builds(
    event,
    sensitivity_squared=st.integers(0, 2**40),
    share_variance=st.integers(1, 2**40),
    honest_shares=st.integers(1, 100),
    dimension=st.integers(1, 10**6),
)


def sum_of_shares(variance: int, shares: int, reach: int) -> np.ndarray:
    """Exact distribution of the sum of discrete Gaussians on −reach … reach (float64, relative precision)."""
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    one = np.exp(-x * x / (2 * variance))
    one /= one.sum()
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)[reach : 3 * reach + 1]
    return total


def renyi(p: np.ndarray, shift: int, order: float) -> float:
    """Exact Rényi divergence of order α between the distribution and itself shifted."""
    upper, lower = np.log(p[shift:]), np.log(p[: len(p) - shift])
    return float(np.logaddexp.reduce(order * upper + (1 - order) * lower) / (order - 1))


@pytest.mark.parametrize("variance", [1, 2, 5])
@pytest.mark.parametrize("shares", [1, 2, 3, 6])
def test_rho_is_never_below_the_exact_divergence(variance, shares):
    """Guarantee: ρ·α is at least the exact one-dimensional divergence of the sum of shares, at every order."""
    sd = math.sqrt(variance * shares)
    p = sum_of_shares(variance, shares, reach=int(25 * sd) + 1)
    for shift in (1, 2, 3):
        rho = ACCOUNTANT.rho(event(shift**2, variance, shares, dimension=1))
        for order in (1.01, 1.1, 1.5, 2.0, 3.0, 5.0):
            assert renyi(p, shift, order) <= rho * order * (1 + 1e-9)


def test_the_ripple_of_summed_shares_stays_below_the_theorems():
    """The log-density of the sum of shares is within τ/2 of the discrete Gaussian's, closely for two shares."""
    for variance, shares in ((1, 2), (1, 5), (2, 3)):
        p = sum_of_shares(variance, shares, reach=40)
        q = sum_of_shares(variance * shares, 1, reach=40)
        inner = slice(30, 51)
        ripple = np.abs(np.log(p[inner]) - np.log(q[inner])).max()
        tau = 10 * sum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, shares))
        assert ripple <= tau / 2
        assert shares > 2 or ripple > 0.1 * tau / 2


@settings(deadline=None, max_examples=200)
@given(EVENTS)
def test_rho_follows_the_theorem_in_high_precision(e):
    """ρ equals the theorem's closed form, computed with 60 digits, from above and to twelve digits."""
    mp.dps = 60
    n, v, d = e.honest_shares, mp.mpf(e.share_variance), e.dimension
    tau = 10 * mp.fsum(mp.exp(-2 * mp.pi**2 * v * k / (k + 1)) for k in range(1, n))
    gaussian = mp.mpf(e.sensitivity_squared) / (2 * n * v)
    exact = min(gaussian + tau * d, (mp.sqrt(2 * gaussian) + tau * mp.sqrt(d)) ** 2 / 2) if e.sensitivity_squared else 0
    assert exact <= ACCOUNTANT.rho(e) <= exact * (1 + mp.mpf("1e-12"))


def test_one_share_costs_what_a_discrete_gaussian_costs():
    """N = 1: ρ = Δ²/(2v), no dimension term."""
    assert ACCOUNTANT.rho(event(100, 10_000, 1, dimension=10**6)) == 100 / 20_000


def test_the_dimension_enters_when_shares_are_small():
    """With small share variance the τ·d term shows; with a sensible one it vanishes."""
    assert ACCOUNTANT.rho(event(1, 1, 5, dimension=10**4)) > 1.2 * ACCOUNTANT.rho(event(1, 1, 5, dimension=1))
    assert ACCOUNTANT.rho(event(1, 100, 5, dimension=10**6)) == pytest.approx(0.001, rel=1e-12)


def test_sensitivity_zero_is_no_event_at_all():
    """Weight 0 is the library's NoOp and costs exactly nothing, alone and composed."""
    free = event(0)
    assert isinstance(dp_event(free), dp_accounting.NoOpDpEvent)
    assert ACCOUNTANT.rho(free) == 0 and ACCOUNTANT.epsilon([free] * 100, delta=1e-6) == 0
    assert ACCOUNTANT.epsilon([event(), free], delta=1e-6) == ACCOUNTANT.epsilon([event()], delta=1e-6)
    assert ACCOUNTANT.epsilon([], delta=1e-6) == 0 == ACCOUNTANT.epsilon_of(0.0, delta=1e-6)


@pytest.mark.parametrize("delta", [1e-5, 1e-8])
@pytest.mark.parametrize("noise_multiplier", [0.5, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("rounds", [1, 25])
def test_epsilon_is_just_above_the_privacy_loss_distributions(noise_multiplier, delta, rounds):
    """Guarantee: zCDP ε ≥ the PLD ε of the continuous Gaussian with the same σ, and within a factor of 1.35."""
    pld = PLDAccountant(value_discretization_interval=1e-3)
    pld.compose(dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise_multiplier), rounds))
    exact = pld.get_epsilon(delta)
    ours = ACCOUNTANT.epsilon_of(rounds / (2 * noise_multiplier**2), delta=delta)
    assert exact <= ours * (1 + 1e-3) and ours <= 1.35 * exact


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 100), st.sampled_from([1e-3, 1e-5, 1e-6, 1e-9]))
def test_the_rho_budget_round_trips(epsilon, delta):
    """Guarantee: ε(rho_budget(ε, δ), δ) ≤ ε, within a thousandth of ε, and no ρ a thousandth larger would do."""
    rho = ACCOUNTANT.rho_budget(epsilon=epsilon, delta=delta)
    assert epsilon * (1 - 1e-3) <= ACCOUNTANT.epsilon_of(rho, delta=delta) <= epsilon
    best = min(_textbook(rho, delta, 1 + 10 ** (k / 400)) for k in range(-800, 3200))
    assert ACCOUNTANT.epsilon_of(rho, delta=delta) <= best * (1 + 1e-3)
    assert ACCOUNTANT.epsilon_of(rho * 1.001, delta=delta) > epsilon


def _textbook(rho: float, delta: float, order: float) -> float:
    """Canonne, Kamath, Steinke 2020, Proposition 12, at one order."""
    return rho * order + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


@settings(deadline=None, max_examples=30)
@given(st.lists(EVENTS.filter(lambda e: e.sensitivity_squared < e.share_variance), min_size=1, max_size=20))
def test_composition_adds_rho(events):
    """ε of a history is the ε of its added ρ: composed once, equal events counted."""
    total = math.fsum(map(ACCOUNTANT.rho, events))
    together = ACCOUNTANT.epsilon([*events, *events], delta=1e-6)
    assert together == pytest.approx(ACCOUNTANT.epsilon_of(2 * total, delta=1e-6), rel=1e-9)
    assert len(compose([*events, *events]).events) == len(set(events))


@settings(deadline=None, max_examples=100)
@given(EVENTS)
def test_events_survive_their_text(e):
    """An event read back from its canonical text is the same event."""
    assert ReleaseEvent.from_json(e.to_json()) == e


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"dimension": 1}', event().to_json().replace("50", "50.0"), "null"])
def test_texts_that_are_no_events_are_refused(text):
    """Anything but the exact text of an event is an error with a code."""
    with pytest.raises(PrivacyParameterError, match="FED-201"):
        ReleaseEvent.from_json(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"share_variance": 0},
        {"share_variance": 0.25},
        {"honest_shares": 0},
        {"dimension": True},
        {"sensitivity_squared": -1},
    ],
)
def test_events_outside_the_theorem_are_refused(wrong):
    """Share variances below the theorem's condition, and numbers that are no integers, never become an event."""
    with pytest.raises(PrivacyParameterError, match="use a finer grid"):
        event(**wrong)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_an_unusable_epsilon_is_refused(epsilon):
    """ε of 0, below, NaN or infinite is a three-part error."""
    with pytest.raises(PrivacyParameterError, match="choose ε > 0"):
        ACCOUNTANT.rho_budget(epsilon=epsilon, delta=1e-6)


@pytest.mark.parametrize("delta", [0.0, -1e-6, 1.0, 2.0, math.nan])
def test_an_unusable_delta_is_refused(delta):
    """δ outside (0, 1) is a three-part error wherever it is given."""
    for ask in (
        lambda: ACCOUNTANT.rho_budget(epsilon=1.0, delta=delta),
        lambda: ACCOUNTANT.epsilon([event()], delta=delta),
        lambda: ACCOUNTANT.epsilon_of(0.1, delta=delta),
    ):
        with pytest.raises(PrivacyParameterError, match="choose δ"):
            ask()


@given(st.fractions(0, 10**6))
def test_rounding_up_is_upward_and_tight(value):
    """round_up gives the smallest float not below the value."""
    up = round_up(value)
    assert Fraction(up) >= value and (up == 0 or Fraction(math.nextafter(up, -math.inf)) < value)
