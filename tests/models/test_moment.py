"""The second moment from noisy sums: unbiased without noise, shrunk by blocks with it, honest about what is left."""

from __future__ import annotations

import numpy as np
import pytest

from fedcrm.models.basis import AdditiveBasis, ColumnBasis
from fedcrm.models.learner import OpenedSum
from fedcrm.models.moment import MOST_COORDINATES, MomentShape, read_moment

COLUMNS, FUNCTIONS, UNITS = 8, 4, 4_000


@pytest.fixture(scope="module")
def basis():
    """Eight columns of four functions with standardised masses."""
    table = np.diag(np.sqrt([4.0, 2.0, 1.0, 0.5]))
    column = ColumnBasis(np.arange(4), np.vstack([table, -table]), np.full(8, 0.125))
    return AdditiveBasis((column,) * COLUMNS)


@pytest.fixture(scope="module")
def truth(basis):
    """A second moment in which columns 0 and 1 are strongly related and nothing else is."""
    size = np.diag(basis.second_moment)
    moment = basis.second_moment.copy()
    related = np.sqrt(np.outer(size[:4], size[4:8])) * 0.6 * np.eye(4)
    moment[:4, 4:8], moment[4:8, :4] = related, related.T
    return moment


def _opened(truth, basis, scale, *, sd, seed=0):
    shape = MomentShape.of(basis, scale)
    values = np.empty(shape.dimension)
    values[0] = shape.constant * UNITS
    values[1:] = truth[shape.left, shape.right] * scale[shape.left] * scale[shape.right] * UNITS
    return OpenedSum(values + np.random.default_rng(seed).normal(0.0, max(sd, 1e-300), shape.dimension), sd)


def test_without_noise_it_is_the_sum(basis, truth):
    """Exact sums give the second moment, and almost no doubt of it."""
    scale = np.full(truth.shape[0], 0.2)
    found = read_moment(_opened(truth, basis, scale, sd=0.0), basis, scale)
    np.testing.assert_allclose(found.mean, truth, atol=1e-3)
    assert found.variance.max() < 1e-6


def test_noise_is_shrunk_where_columns_are_unrelated(basis, truth):
    """Under noise the estimate is far nearer to the truth than the noisy sum, most of all in unrelated blocks."""
    scale = np.full(truth.shape[0], 0.2)
    opened = _opened(truth, basis, scale, sd=10.0)
    shape, found = MomentShape.of(basis, scale), read_moment(opened, basis, scale)
    raw = opened.values[1:] / (scale[shape.left] * scale[shape.right] * UNITS)
    error = raw - truth[shape.left, shape.right]
    left = found.mean[shape.left, shape.right] - truth[shape.left, shape.right]
    assert (left**2).mean() < 0.25 * (error**2).mean()
    assert found.mean[0, 4] > 0.5 * truth[0, 4]


def test_what_is_not_measured_is_not_believed_known(basis, truth):
    """Functions of scale zero take no part; their entries stay at zero with the variance the others suggest."""
    scale = np.full(truth.shape[0], 0.2)
    scale[:4] = 0.0
    found = read_moment(_opened(truth, basis, scale, sd=5.0), basis, scale)
    assert found.mean[0, 4] == pytest.approx(0.0, abs=1e-12)
    assert found.variance[0, 4] > 0 and found.variance[0, 1] == 0
    assert not np.isin(np.arange(4), MomentShape.of(basis, scale).left).any()


def test_drowned_in_noise_it_stays_positive_definite(basis, truth):
    """Whatever the noise, no direction becomes flat or negative."""
    scale = np.full(truth.shape[0], 0.2)
    found = read_moment(_opened(truth, basis, scale, sd=1e6), basis, scale)
    size = np.sqrt(np.diag(basis.second_moment))
    assert np.linalg.eigvalsh(found.mean / np.outer(size, size)).min() > 0.05


def test_a_query_for_absurdly_many_products_is_refused():
    """What a foreign query may ask for is bounded before anything of its size is made."""
    table = np.ones((1, MOST_COORDINATES + 1))
    basis = AdditiveBasis((ColumnBasis(np.zeros(1, np.int64), table, np.ones(1)),))
    with pytest.raises(ValueError, match="more than the"):
        MomentShape.of(basis, np.ones(MOST_COORDINATES + 1))
