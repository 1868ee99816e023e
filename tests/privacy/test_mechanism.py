"""The mechanism: what one unit can move, on the integers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcrm.errors import PrivacyParameterError
from fedcrm.privacy.mechanism import SumMechanism, integer_bound, sum_units

WEIGHTS = st.integers(0, 2**16).map(lambda k: Fraction(k, 2**16))
ENTRIES = st.one_of(
    st.floats(-10, 10),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e308, -1e308, 5e-324, 1 / 3]),
)


def mechanism(dimension: int, clipping_norm: float = 1.0, grid_bits: int = 10, clamp: int = 2**40) -> SumMechanism:
    """A mechanism of this shape."""
    return SumMechanism(
        dimension=dimension,
        clipping_norm=clipping_norm,
        grid_bits=grid_bits,
        share_variance=1000,
        honest_shares=5,
        clamp=clamp,
    )


@st.composite
def units(draw, entries=ENTRIES):
    """Some units' vectors, a mechanism that fits them, and a weight."""
    dimension, rows = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    vectors = draw(arrays(np.float64, (rows, dimension), elements=entries))
    grid_bits = draw(st.integers(-3, 20))
    norm = draw(st.floats(1e-3, 2.0**26 / 2.0**grid_bits))
    return vectors, mechanism(dimension, norm, grid_bits), draw(WEIGHTS)


def squares(values: np.ndarray) -> int:
    """Σz² in unbounded integers."""
    return sum(int(z) ** 2 for z in values)


@settings(deadline=None, max_examples=300)
@given(units())
def test_every_units_integers_keep_the_bound(case):
    """Guarantee: every unit's integer vector keeps Σz² ≤ integer_bound, whatever floats it came from."""
    vectors, m, weight = case
    for vector in vectors:
        assert squares(sum_units(m, [vector[None]], weight=weight).values) <= integer_bound(m, weight)


@settings(deadline=None, max_examples=300)
@given(units(), st.integers(1, 5000), st.data())
def test_one_unit_moves_the_sum_by_at_most_its_bound(case, clamp, data):
    """Guarantee: adding or removing one unit moves the encoded sum by at most γ·w·C in L2, after the clamp as well."""
    vectors, m, weight = case
    tight = mechanism(m.dimension, m.clipping_norm, m.grid_bits, clamp)
    gone = data.draw(st.integers(0, len(vectors) - 1))
    for clamped in (m, tight):
        whole = sum_units(clamped, [vectors], weight=weight).values
        without = sum_units(clamped, [np.delete(vectors, gone, axis=0)], weight=weight).values
        moved = squares(whole - without)
        assert moved <= (m.grid_steps * weight * Fraction(m.clipping_norm)) ** 2
        assert moved <= m.event(weight).sensitivity_squared


@settings(deadline=None, max_examples=200)
@given(units(), st.data())
def test_unit_quality_keeps_the_bound_and_broken_quality_counts_as_zero(case, data):
    """Guarantee: whatever a unit's quality, it moves at most the bound; a NaN or infinite one counts as zero."""
    vectors, m, weight = case
    quality = data.draw(arrays(np.float64, len(vectors), elements=st.floats(allow_nan=True, allow_infinity=True)))
    for vector, q in zip(vectors, quality, strict=True):
        values = sum_units(m, [vector[None]], weight=weight, unit_quality=np.array([q])).values
        assert squares(values) <= integer_bound(m, weight)
        assert math.isfinite(q) or not values.any()


@settings(deadline=None, max_examples=100)
@given(units(), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_a_broken_unit_counts_as_zero_and_changes_nothing_else(case, poison, data):
    """Guarantee: a unit with NaN or infinity counts as zero, is counted, and changes no other unit's part."""
    vectors, m, weight = case
    vectors = np.nan_to_num(vectors, posinf=1.0, neginf=-1.0)
    broken = data.draw(st.integers(0, len(vectors) - 1))
    poisoned = vectors.copy()
    poisoned[broken, data.draw(st.integers(0, m.dimension - 1))] = poison
    encoded = sum_units(m, [poisoned], weight=weight)
    expected = sum_units(m, [np.delete(vectors, broken, axis=0)], weight=weight)
    assert np.array_equal(encoded.values, expected.values)
    assert encoded.refused == (1 if weight else 0)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 30), st.integers(1, 2**16), st.integers(0, 4))
def test_indicators_are_exact_where_the_grid_holds_them(rows, numerator, bits):
    """Guarantee: a vector within the norm whose entries times γ·w are integers is encoded without any error."""
    weight = Fraction(numerator, 2**16)
    m = mechanism(3, clipping_norm=2.0, grid_bits=16 + bits)
    one_hot = np.tile([1.0, 0.0, -1.0], (rows, 1))
    step = int(weight * 2 ** (16 + bits))
    assert sum_units(m, [one_hot], weight=weight).values.tolist() == [rows * step, 0, -rows * step]


def test_a_float_clip_alone_breaks_its_bound():
    """A one-line float clip exceeds C by rounding in a good part of random trials: why the bound is on the integers."""
    vectors = np.random.default_rng(0).normal(size=(2000, 20))
    clipped = vectors * np.minimum(1.0, 1.0 / np.linalg.norm(vectors, axis=1))[:, None]
    over = [sum(Fraction(x) ** 2 for x in row) > 1 for row in clipped.tolist()]
    assert np.mean(over) > 0.05


def test_rows_rounded_beyond_the_bound_are_bound_again():
    """A vector within the norm by float rounding alone is shrunk until its integers keep the bound."""
    norm = 0.1 + 0.2  # above three tenths by one last digit
    m = mechanism(2, clipping_norm=math.nextafter(norm, 0.0), grid_bits=20)
    rng = np.random.default_rng(1)
    angles = rng.uniform(0, 2 * np.pi, 5000)
    vectors = norm * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    bound = integer_bound(m, 1)
    assert all(squares(sum_units(m, [v[None]], weight=1).values) <= bound for v in vectors[:500])
    one = SumMechanism(
        dimension=1, clipping_norm=1 - 2**-53, grid_bits=26, share_variance=1, honest_shares=1, clamp=2**40
    )
    assert sum_units(one, [np.ones((1, 1))], weight=1).values.tolist() == [2**26 - 1]


def test_blocks_and_batches_do_not_change_the_sum():
    """Cutting the same units into other batches gives the same integers, quality included."""
    rng = np.random.default_rng(2)
    vectors, quality = rng.normal(size=(9000, 40)), rng.uniform(size=9000)
    m = mechanism(40)
    whole = sum_units(m, [vectors], weight=Fraction(3, 8), unit_quality=quality)
    parts = sum_units(m, np.array_split(vectors, 7), weight=Fraction(3, 8), unit_quality=quality)
    fortran = sum_units(m, [np.asfortranarray(vectors)], weight=Fraction(3, 8), unit_quality=quality)
    assert np.array_equal(whole.values, parts.values) and np.array_equal(whole.values, fortran.values)
    assert whole.units == parts.units == 9000


def test_the_sum_is_exact_beside_plain_integers():
    """The ideal twin: unbounded integers, unit by unit, give the same sum."""
    vectors = np.random.default_rng(3).normal(size=(200, 7))
    m = mechanism(7, clipping_norm=1.5, grid_bits=22)
    each = [sum_units(m, [v[None]], weight=1).values.astype(object) for v in vectors]
    assert sum_units(m, [vectors], weight=1).values.tolist() == sum(each).tolist()


def test_rounding_goes_toward_zero_and_within_one_step():
    """Unclipped entries lose less than one grid step, toward zero."""
    vectors = np.random.default_rng(4).uniform(-0.1, 0.1, size=(100, 5))
    m = mechanism(5, grid_bits=12)
    for vector in vectors:
        z = sum_units(m, [vector[None]], weight=1).values
        exact = vector * 2.0**12
        assert np.all(np.abs(z) <= np.abs(exact)) and np.all(np.abs(exact - z) < 1)


def test_empty_tables_and_weight_zero_give_the_zero_vector():
    """No batch, an empty batch, or weight 0 (batches unread): zeros, nothing counted."""

    def never():
        raise AssertionError("batches must not be read at weight 0")
        yield

    m = mechanism(4)
    for batches, weight in (([], 1), ([np.empty((0, 4))], 1), (never(), 0)):
        encoded = sum_units(m, batches, weight=weight)
        assert encoded.values.tolist() == [0, 0, 0, 0] and encoded.values.dtype == np.int64
        assert (encoded.clamped, encoded.refused, encoded.units) == (0, 0, 0)
    assert m.event(Fraction(0)).sensitivity_squared == 0


def test_the_clamp_is_counted_and_never_printed():
    """A coordinate beyond the clamp is cut to it and counted; the value's repr shows no number of it."""
    m = mechanism(2, clamp=1500)
    encoded = sum_units(m, [np.tile([0.9, 0.1], (10, 1))], weight=1)
    assert encoded.values.tolist() == [1500, 1020] and encoded.clamped == 1
    assert repr(encoded) == "EncodedSum(dimension=2)"


@pytest.mark.parametrize("weight", [-0.5, 1.5, 0.1, math.nan, math.inf, Fraction(1, 3)])
def test_weights_off_the_grid_are_refused(weight):
    """A weight that is no multiple of 2^-16 in [0, 1] has no proven sensitivity."""
    with pytest.raises(PrivacyParameterError, match="FED-201"):
        sum_units(mechanism(1), [np.ones((1, 1))], weight=weight)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dimension": 0},
        {"clipping_norm": 0.0},
        {"clipping_norm": math.nan},
        {"clipping_norm": math.inf},
        {"grid_bits": 27},
        {"grid_bits": 5000},
        {"share_variance": 0},
        {"share_variance": 1.5},
        {"honest_shares": 0},
        {"clamp": 0},
        {"clamp": 2**63},
    ],
)
def test_mechanisms_outside_the_proof_are_refused(wrong):
    """Public numbers for which the bound is not proven never become a mechanism."""
    right = {
        "dimension": 1,
        "clipping_norm": 1.0,
        "grid_bits": 10,
        "share_variance": 100,
        "honest_shares": 2,
        "clamp": 10,
    }
    with pytest.raises(PrivacyParameterError):
        SumMechanism(**{**right, **wrong})


def test_batches_that_do_not_fit_are_refused():
    """Wrong width, and too few or too many quality factors, are a caller's fault and said so."""
    m = mechanism(2)
    for batch, quality in ((np.ones((3, 1)), None), (np.ones((3, 2)), np.ones(2)), (np.ones((3, 2)), np.ones(4))):
        with pytest.raises(PrivacyParameterError, match="fix: this is a fault of the learner"):
            sum_units(m, [batch], weight=1, unit_quality=quality)


def test_huge_and_tiny_norms_are_clipped_not_lost():
    """Vectors whose squared norm leaves float64 still count: the huge with norm C, the tiny as zero."""
    m = mechanism(2, grid_bits=20)
    huge = sum_units(m, [np.array([[1e200, 0.0], [0.0, -1e308]])], weight=1)
    assert huge.values.tolist() == [2**20, -(2**20)] and huge.refused == 0
    assert not sum_units(m, [np.full((3, 2), 1e-200)], weight=1).values.any()


def test_decoding_undoes_the_grid():
    """decode() gives the learner's units back, and the noise's standard deviation with them."""
    m = mechanism(2, grid_bits=10)
    assert m.decode(np.array([1024, -512])).tolist() == [1.0, -0.5]
    assert m.noise_sd(5) == pytest.approx(math.sqrt(5000) / 1024)
    assert m.noise_multiplier == pytest.approx(math.sqrt(5000) / 1024)
