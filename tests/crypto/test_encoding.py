"""Grid integers modulo T and the clamp under which sums cannot wrap around."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.crypto.encoding import centred, clamp_bound, noise_tail
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.errors import ParameterError


@settings(deadline=None)
@given(
    st.integers(1, 1000),
    st.floats(0, 2**24, allow_nan=False),
    st.integers(30, 40),
    st.lists(st.floats(-1, 1), min_size=1, max_size=20),
)
def test_clamped_sums_never_wrap(participants, noise_sd, bits, places):
    """Guarantee of clamp_bound: n values at ± the clamp plus noise at its tail stay their own representative mod T."""
    try:
        clamp = clamp_bound(participants=participants, noise_sd=noise_sd, plaintext_bits=bits)
    except ParameterError:
        assert noise_tail(noise_sd) + participants > 2 ** (bits - 1) - 1
        return
    tail = noise_tail(noise_sd)
    shares = [int(place * clamp) for place in places]
    most = participants * clamp
    for total in [most + tail, -most - tail, *(share * participants + tail for share in shares)]:
        assert -(2 ** (bits - 1)) < total <= 2 ** (bits - 1)
        assert centred(np.array([total]), plaintext_bits=bits).tolist() == [total]


@settings(deadline=None)
@given(st.integers(1, 1000), st.floats(0, 2**20))
def test_the_clamp_is_the_largest_one(participants, noise_sd):
    """One grid step more could wrap around."""
    clamp = clamp_bound(participants=participants, noise_sd=noise_sd)
    assert participants * (clamp + 1) + noise_tail(noise_sd) > 2**31 - 1


def test_a_thousand_clamped_participants_with_real_noise_do_not_wrap():
    """1,000 vectors at the clamp and 1,000 drawn noise shares, summed modulo T, are the sum over the integers."""
    variance = 1 << 34
    clamp = clamp_bound(participants=1000, noise_sd=math.sqrt(1000 * variance))
    signs = np.where(np.arange(1000) % 2, 1, -1)
    total = np.zeros(1000, dtype=np.int64)
    modular = np.zeros(1000, dtype=np.int64)
    for i in range(1000):
        noise = discrete_gaussian(variance=variance, size=1000, stream_key=i.to_bytes(32, "big"))
        contribution = signs * clamp + noise
        assert np.array_equal(centred(contribution, plaintext_bits=32), contribution)
        total += contribution
        modular = (modular + contribution) % 2**32
    assert np.array_equal(centred(modular, plaintext_bits=32), total)


def test_the_tail_is_rare_enough():
    """2·d·exp(−λ²/2σ²) is below 2^-64 for d = 2^24."""
    sigma = 12345.6
    assert math.log2(2 * 2**24) - noise_tail(sigma) ** 2 / (2 * sigma**2) / math.log(2) <= -64


@settings(deadline=None)
@given(st.integers(-(2**62), 2**62), st.integers(8, 48))
def test_representatives_are_congruent_and_centred(value, bits):
    """Any grid integer has one representative in (−T/2, T/2]."""
    found = int(centred(np.array([value]), plaintext_bits=bits)[0])
    assert (found - value) % 2**bits == 0
    assert -(2 ** (bits - 1)) < found <= 2 ** (bits - 1)


@pytest.mark.parametrize(
    ("participants", "noise_sd"), [(0, 1.0), (1001, 1.0), (9, math.nan), (9, math.inf), (9, -1.0), (9, 2.0**30)]
)
def test_numbers_without_room_are_refused(participants, noise_sd):
    """No participants, too many, or noise as wide as the range."""
    with pytest.raises(ParameterError):
        clamp_bound(participants=participants, noise_sd=noise_sd)
