"""From rows to units in small batches: what is computed ahead are the same rows, whatever is asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcrm.models import units
from fedcrm.models.units import ahead, unit_means


@given(asked=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12), width=st.integers(0, 40))
def test_rows_computed_ahead_are_the_rows_asked_for(asked, width):
    """Forwards, backwards, repeated or empty: always the rows themselves; nothing past the last row is asked for."""
    rows = np.arange(50.0)[:, None] + np.zeros(width)

    def compute(start, end):
        assert 0 <= start <= end <= 50
        return rows[start:end]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "WINDOW_BYTES", 640)
        read = ahead(compute, 50, width)
        for pair in asked:
            np.testing.assert_array_equal(read(min(pair), max(pair)), rows[min(pair) : max(pair)])


@given(lengths=st.lists(st.integers(0, 9), max_size=12), batch_bytes=st.integers(1, 400))
def test_means_do_not_depend_on_the_batches(lengths, batch_bytes):
    """Units of any number of rows, batches of any size: each unit's mean, in order; a unit without rows is zero."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.random.default_rng(1).normal(size=(int(offsets[-1]), 3))
    batches = list(unit_means(lambda start, end: rows[start:end], offsets, 3, batch_bytes=batch_bytes))
    expected = [rows[a:b].mean(axis=0) if b > a else np.zeros(3) for a, b in pairwise(offsets)]
    np.testing.assert_allclose(np.concatenate([np.zeros((0, 3)), *batches]), np.reshape(expected, (-1, 3)), atol=1e-12)


def test_without_units_the_width_still_shows():
    """An empty table gives one empty batch of the right width, and what is wrong for every row fails on none."""
    (batch,) = unit_means(lambda start, end: np.zeros((end - start, 5)), np.zeros(1, np.int64), 5)
    assert batch.shape == (0, 5)

    def broken(start, end):
        return np.zeros((end - start, 3))[:, np.array([7])]

    with pytest.raises(IndexError):
        list(unit_means(broken, np.zeros(1, np.int64), 1))
