"""Lower bounds on ε: valid with the stated confidence, sharp where an attack is good, and zero where it is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from fedcrm.audit.bounds import Scores, gaussian_epsilon, lower_bounds, upper_limit

DELTA = 1e-5


def _gaussian_scores(mu: float, trials: int, stream: np.random.Generator) -> Scores:
    return Scores(stream.normal(0, 1, trials), stream.normal(mu, 1, trials))


@given(trials=st.integers(1, 400), data=st.data(), error=st.floats(1e-6, 0.2))
def test_limits_are_clopper_and_pearsons(trials, data, error):
    """The upper limit of a rate is SciPy's exact one-sided limit."""
    events = data.draw(st.integers(0, trials))
    exact = binomtest(events, trials, alternative="less").proportion_ci(1 - error, method="exact").high
    assert upper_limit(np.array([events]), trials=trials, error=error)[0] == pytest.approx(exact, rel=1e-9)


@given(mu=st.floats(0.01, 8))
def test_gaussian_epsilon_keeps_delta(mu):
    """At the ε found, the Gaussian mechanism's δ is the one asked for (Balle and Wang's formula, written out)."""
    epsilon = gaussian_epsilon(mu, delta=DELTA)
    delta = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    assert delta == pytest.approx(DELTA, rel=1e-4) or (epsilon == 0 and delta <= DELTA)


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_bounds_exceed_the_truth_no_more_often_than_stated(mu):
    """Guarantee of `lower_bounds`: in 400 audits at error 0.2 neither bound exceeds the true ε in more than a tenth."""
    stream, truth = np.random.default_rng(7), gaussian_epsilon(mu, delta=DELTA)
    found = [lower_bounds(_gaussian_scores(mu, 300, stream), delta=DELTA, error=0.2) for _ in range(400)]
    for beaten in (sum(f.free > truth for f in found), sum(f.gaussian > truth for f in found)):
        assert binomtest(beaten, 400, 0.1, alternative="greater").pvalue > 1e-3


def test_the_gaussian_bound_is_sharp():
    """With many trials the bound comes within a fifth of the true ε."""
    found = lower_bounds(_gaussian_scores(1.0, 20_000, np.random.default_rng(1)), delta=DELTA, error=0.01)
    assert 0.8 * gaussian_epsilon(1.0, delta=DELTA) < found.gaussian < gaussian_epsilon(1.0, delta=DELTA)


def test_a_perfect_attack_is_bounded_by_its_number_of_trials():
    """Scores that never overlap give the assumption-free ln((1 − δ − β)/α) at the exact limits of zero events."""
    scores = Scores(np.zeros(1000), np.ones(1000))
    limit = float(upper_limit(np.array([0]), trials=750, error=0.05 / 4)[0])
    found = lower_bounds(scores, delta=DELTA, error=0.05)
    assert found.free == pytest.approx(math.log((1 - DELTA - limit) / limit), rel=1e-9)


def test_an_attack_that_sees_nothing_shows_nothing():
    """Equal distributions give bounds of zero."""
    found = lower_bounds(_gaussian_scores(0.0, 2000, np.random.default_rng(3)), delta=DELTA, error=0.05)
    assert (found.free, found.gaussian, found.best) == (0.0, 0.0, 0.0)
