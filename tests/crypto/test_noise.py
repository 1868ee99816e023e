"""The discrete Gaussian sampler against exact probabilities and OpenDP's sampler."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import opendp.prelude as dp
import pytest
from scipy import stats

from fedcrm.crypto.noise import MAXIMUM_VARIANCE, discrete_gaussian
from fedcrm.errors import ParameterError

dp.enable_features("contrib")

KEY = bytes(range(32))
LEVEL = 1e-9  # of every statistical test here; our keys are fixed, only OpenDP's draws differ from run to run


def exact(variance: int, reach: int) -> np.ndarray:
    """Probabilities of −reach … reach, to more digits than a float has."""
    with localcontext() as context:
        context.prec = 50
        weights = [(-Decimal(x * x) / (2 * variance)).exp() for x in range(reach + 1)]
        norm = weights[0] + 2 * sum(weights[1:])
        half = [float(weight / norm) for weight in weights]
    return np.array(half[:0:-1] + half)


def pooled(counts: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells with at least ten expected draws, the rest as one."""
    keep = expected >= 10
    rest = np.array([counts[~keep].sum()]), np.array([expected[~keep].sum()])
    if rest[1][0] < 10:
        return counts[keep], expected[keep] * counts[keep].sum() / expected[keep].sum()
    return np.append(counts[keep], rest[0]), np.append(expected[keep], rest[1])


def histogram(values: np.ndarray, reach: int) -> np.ndarray:
    """Counts of −reach … reach; nothing may lie outside."""
    assert np.abs(values).max() <= reach
    return np.bincount(values + reach, minlength=2 * reach + 1)


@pytest.mark.parametrize("variance", [1, 2, 3, 10, 137, 2500])
def test_frequencies_are_the_exact_probabilities(variance):
    """Chi-square over a million draws."""
    reach = 12 * math.isqrt(variance) + 12
    draws = discrete_gaussian(variance=variance, size=1_000_000, stream_key=KEY)
    observed, expected = pooled(histogram(draws, reach), exact(variance, reach) * len(draws))
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > LEVEL


@pytest.mark.parametrize("variance", [4, 400])
def test_frequencies_are_opendps(variance):
    """Chi-square of homogeneity with draws of OpenDP's sampler."""
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    measurement = dp.m.make_gaussian(*space, scale=math.sqrt(variance))
    theirs = np.array(measurement([0] * 20_000))
    ours = discrete_gaussian(variance=variance, size=200_000, stream_key=KEY)
    reach = max(int(np.abs(theirs).max()), int(np.abs(ours).max()))
    table = np.stack([histogram(theirs, reach), histogram(ours, reach)])
    keep = table.sum(axis=0) >= 60
    table = np.append(table[:, keep], table[:, ~keep].sum(axis=1, keepdims=True), axis=1)
    assert stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue > LEVEL


@pytest.mark.parametrize("variance", [9, 100, 1 << 20, 1 << 40])
def test_tails_have_the_right_weight(variance):
    """Draws beyond 1, 2, 3 and 4 standard deviations, both sides, by the binomial test."""
    draws = discrete_gaussian(variance=variance, size=1_000_000, stream_key=KEY)
    sd = math.isqrt(variance)
    for multiple in (1, 2, 3, 4):
        edge = multiple * sd
        if variance <= 100:
            probability = float(exact(variance, 12 * sd)[: 11 * sd + (1 - multiple) * sd].sum())
        else:
            probability = float(stats.norm.sf((edge + 0.5) / math.sqrt(variance)))
        for count in (int((draws > edge).sum()), int((draws < -edge).sum())):
            assert stats.binomtest(count, len(draws), probability).pvalue > LEVEL


@pytest.mark.parametrize("variance", [1 << 30, (1 << 40) + 1, MAXIMUM_VARIANCE])
def test_wide_noise_is_gaussian(variance):
    """Kolmogorov–Smirnov against the continuous Gaussian, where steps are far finer than the test can see."""
    draws = discrete_gaussian(variance=variance, size=300_000, stream_key=KEY)
    assert stats.kstest(draws / math.sqrt(variance), "norm").pvalue > LEVEL


@pytest.mark.parametrize("variance", [1, (1 << 47) + 1, MAXIMUM_VARIANCE])
def test_moments_at_the_ends_of_the_range(variance):
    """Mean, variance, skewness and fourth moment of the narrowest and widest noise, within 6.5 standard errors."""
    count = 1_000_000
    z = discrete_gaussian(variance=variance, size=count, stream_key=KEY) / math.sqrt(variance)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**power) - moment) < 6.5 * math.sqrt(spread / count)


@pytest.mark.parametrize("variance", [1, 50, 1 << 30])
def test_neighbouring_draws_are_independent(variance):
    """Correlation at lags 1, 2 and across the sampler's chunks is that of independent draws."""
    z = discrete_gaussian(variance=variance, size=400_000, stream_key=KEY) / math.sqrt(variance)
    for lag in (1, 2, 4096):
        assert abs(np.mean(z[:-lag] * z[lag:])) < 6 / math.sqrt(len(z))


def test_low_bits_are_uniform():
    """Parity and the next bits of wide noise carry no pattern."""
    draws = discrete_gaussian(variance=1 << 40, size=400_000, stream_key=KEY)
    assert stats.chisquare(np.bincount(draws & 15, minlength=16)).pvalue > LEVEL


def test_noise_is_a_function_of_its_inputs():
    """The same key repeats the noise, a prefix stays; another key or variance gives other noise; variance 0 none."""

    def draw(**changes):
        return discrete_gaussian(**{"variance": 1000, "size": 5000, "stream_key": KEY} | changes)

    assert np.array_equal(draw(), draw())
    assert np.array_equal(draw(), draw(size=20_000)[:5000])
    assert not np.array_equal(draw(), draw(stream_key=bytes(32)))
    assert not np.array_equal(draw(), draw(variance=1001))
    assert not draw(variance=0).any()
    assert draw(size=0).shape == (0,)


@pytest.mark.parametrize(
    "changes",
    [
        {"variance": -1},
        {"variance": MAXIMUM_VARIANCE + 1},
        {"variance": 1 << 70},
        {"size": -1},
        {"size": 1 << 30},
        {"stream_key": bytes(31)},
        {"stream_key": b""},
    ],
)
def test_numbers_out_of_range_are_refused(changes):
    """Nothing is drawn for a variance, size or key that the sampler is not exact or safe for."""
    with pytest.raises(ParameterError):
        discrete_gaussian(**{"variance": 4, "size": 10, "stream_key": KEY} | changes)
