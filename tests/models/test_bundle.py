"""Bundles: one byte form, read back exactly, damaged bytes refused."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedcrm.errors import InputError
from fedcrm.models.bundle import Bundle

FACTS = st.dictionaries(
    st.text(max_size=8),
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    max_size=4,
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
ARRAYS = st.dictionaries(st.text(max_size=8), hnp.arrays(np.float64, SHAPES) | hnp.arrays(np.int64, SHAPES), max_size=3)
SAMPLE = Bundle({"round": 2, "name": "x", "rate": 0.5}, {"mean": np.arange(6.0).reshape(2, 3), "at": np.array([1, 2])})


@settings(max_examples=60, deadline=None)
@given(facts=FACTS, arrays=ARRAYS)
def test_a_bundle_comes_back_as_it_was_written(facts, arrays):
    """Facts with their kinds, arrays with shape, dtype and every bit (NaN too)."""
    again = Bundle.from_bytes(Bundle(facts, arrays).to_bytes())
    assert {k: (type(v), v) for k, v in again.facts.items()} == {k: (type(v), v) for k, v in facts.items()}
    assert set(again.arrays) == set(arrays)
    for name, array in arrays.items():
        assert again.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(again.arrays[name], array)
    assert again.to_bytes() == Bundle(facts, arrays).to_bytes()


def test_bytes_do_not_depend_on_the_order_of_names():
    """Equal bundles have equal bytes."""
    turned = Bundle(dict(reversed(SAMPLE.facts.items())), dict(reversed(SAMPLE.arrays.items())))
    assert turned.to_bytes() == SAMPLE.to_bytes()


@pytest.mark.parametrize("kept", range(len(SAMPLE.to_bytes())))
def test_a_cut_bundle_is_refused(kept):
    """Every proper prefix is refused."""
    with pytest.raises(InputError, match="bytes are not a bundle"):
        Bundle.from_bytes(SAMPLE.to_bytes()[:kept])


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(SAMPLE.to_bytes()) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_gives_a_plain_bundle(at, byte):
    """Damage never ends in another error than the one a person can read."""
    data = bytearray(SAMPLE.to_bytes())
    data[at] = byte
    try:
        read = Bundle.from_bytes(bytes(data))
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in read.arrays.values())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"not a bundle",
        msgpack.packb(3),
        msgpack.packb([2, {}, {}]),
        msgpack.packb([1, {}, {}, {}]),
        msgpack.packb([1, {"fact": [1]}, {}]),
        msgpack.packb([1, [], {}]),
        msgpack.packb([1, {}, {"a": ["O", [1], b"12345678"]}]),
        msgpack.packb([1, {}, {"a": ["f", [2], b"12345678"]}]),
        msgpack.packb([1, {}, {"a": ["f", [2**64 - 1], b"12345678"]}]),
        msgpack.packb([1, {}, {"a": ["f", [1], b"1234567"]}]),
        msgpack.packb([1, {}, {"a": ["f", [1]]}]),
        msgpack.packb([1, {}, {"a": [["f"], [1], b"12345678"]}]),
        msgpack.packb([1, {}, {}]) + b"\x00",
    ],
)
def test_foreign_bytes_are_refused(content):
    """Other versions, other shapes, other kinds, more bytes than a bundle."""
    with pytest.raises(InputError, match="bytes are not a bundle") as caught:
        Bundle.from_bytes(content)
    assert caught.value.why and caught.value.fix
