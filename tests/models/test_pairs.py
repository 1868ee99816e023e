"""Pairs of columns: chosen by heredity, centred, their second moments known without a release."""

from __future__ import annotations

import numpy as np
import pytest

from fedcrm.models.pairs import Pairs, choose_pairs, pair_parts

OFFSETS = np.array([0, 2, 4, 5])


def _chosen(energy=(1.0, 0.5, 0.0), *, most_pairs=10, most_products=100):
    moment = np.diag([0.7, 0.3, 0.6, 0.4, 1.0])
    return choose_pairs(np.array(energy), moment, OFFSETS, most_pairs=most_pairs, most_products=most_products)


def test_strong_columns_pair_first():
    """With room for one pair it is that of the two strongest columns, with all products of their functions."""
    pairs, prior = _chosen(most_pairs=1)
    assert pairs.columns.tolist() == [[0, 1]] and prior.shape == (1,)
    assert sorted(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == [(0, 2), (0, 3), (1, 2), (1, 3)]


def test_products_are_bounded_and_the_smoothest_stay():
    """At any width the number of products keeps its bound; those of largest prior variance stay."""
    pairs, _ = _chosen(most_products=3)
    assert pairs.number == 3 and (0, 2) in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
    assert pairs.pair_of.max() + 1 == pairs.columns.shape[0]


@pytest.mark.parametrize("energy", [(), (1.0,)])
def test_fewer_than_two_columns_have_no_pairs(energy):
    """One column cannot interact."""
    offsets = np.arange(len(energy) + 1)
    pairs, prior = choose_pairs(np.array(energy), np.eye(len(energy)), offsets, most_pairs=5, most_products=5)
    assert pairs.number == 0 and prior.shape == (0,)


def test_second_moments_are_those_of_gaussian_functions():
    """For jointly Gaussian functions the products have mean zero and the stated second moment."""
    stream = np.random.default_rng(0)
    root = stream.normal(size=(5, 5)) / 2.0
    moment = root @ root.T
    phi = stream.multivariate_normal(np.zeros(5), moment, size=400_000)
    pairs, _ = choose_pairs(np.ones(3), moment, OFFSETS, most_pairs=3, most_products=100)
    products = pairs.expand(phi)
    spread = np.sqrt(np.diag(pairs.second_moment(moment)))
    assert np.abs(products.mean(axis=0) / spread).max() < 0.02
    found = products.T @ products / phi.shape[0]
    assert np.abs((found - pairs.second_moment(moment)) / np.outer(spread, spread)).max() < 0.05


def test_parts_of_pairs_sum_to_their_score():
    """What the pairs add is the products times their coefficients, each with the deviation of its own block."""
    pairs, _ = _chosen()
    stream = np.random.default_rng(1)
    products, mean = stream.normal(size=(7, pairs.number)), stream.normal(size=6 + pairs.number)
    root = stream.normal(size=(mean.shape[0], mean.shape[0]))
    adds, deviations = pair_parts(products, mean, root @ root.T, pairs)
    np.testing.assert_allclose(adds.sum(axis=1), products @ mean[6:])
    inside = np.flatnonzero(pairs.pair_of == 0)
    block = (root @ root.T)[np.ix_(6 + inside, 6 + inside)]
    expected = np.sqrt(np.einsum("ri,ij,rj->r", products[:, inside], block, products[:, inside]))
    np.testing.assert_allclose(deviations[:, 0], expected)


def test_pairs_travel_as_arrays():
    """Written and read back they are the same; arrays that do not fit are refused; none where none were written."""
    pairs, _ = _chosen()
    again = Pairs.from_arrays(pairs.to_arrays())
    np.testing.assert_array_equal(again.columns, pairs.columns)
    np.testing.assert_array_equal(again.centre, pairs.centre)
    assert Pairs.from_arrays({}).number == 0
    with pytest.raises(ValueError, match="pairs do not fit"):
        Pairs.from_arrays({**pairs.to_arrays(), "pairs.left": pairs.left[1:]})
