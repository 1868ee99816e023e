"""Boosted trees: what is kept predicts what was grown, categories and gaps included; noise grows nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fedcrm.models.boosting import DEPTH, MOST_LEVELS, Task, boost
from fedcrm.models.own_columns import TreeColumns


def invented(rows, *, seed, signal=True):
    """Numbers with gaps, codes of 6 and of 200 levels, and a label with an interaction of both (or none)."""
    stream = np.random.default_rng(seed)
    numbers = stream.normal(size=(rows, 3))
    codes = np.column_stack([stream.integers(0, 6, rows), stream.integers(0, 200, rows)]).astype(np.int32)
    log_odds = 3.0 * ((numbers[:, 0] > 0) == (codes[:, 0] % 2 == 0)) - 1.5 if signal else np.zeros(rows)
    label = (stream.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    numbers[stream.random(numbers.shape) < 0.1] = np.nan
    codes[stream.random(codes.shape) < 0.05] = -1
    return numbers, codes, label


def grown(rows, *, seed, signal=True):
    """Trees of three folds on invented rows."""
    numbers, codes, label = invented(rows, seed=seed, signal=signal)
    columns = TreeColumns.of(numbers, codes)
    fold = np.arange(rows) % 3
    weights = np.where(fold == np.arange(3)[:, None], 0.0, 1.0)
    task = Task(label, weights, np.zeros(rows), fold, np.ones(rows))
    binned = columns.locate(numbers, codes)
    return columns, binned, task, *boost(binned, task, np.random.default_rng(seed))


def test_kept_trees_predict_what_was_grown():
    """Guarantee: the arrays give every row the score it had while the trees grew."""
    _, binned, task, trees, scores = grown(900, seed=1)
    assert trees.leaf.shape[1] > 5
    np.testing.assert_allclose(trees.scores(binned.bins), scores, atol=1e-12)
    assert task.loss(scores) < task.loss(np.zeros_like(scores)) - 20


def test_one_row_walks_as_the_rule_says():
    """A plain walk down one tree, node by node, reaches the same leaf."""
    _, binned, _, trees, _ = grown(600, seed=2)
    for row in range(40):
        total = 0.0
        for t in range(trees.leaf.shape[1]):
            node = place = 0
            for level in range(DEPTH):
                node = (1 << level) - 1 + place
                column, rule = int(trees.column[0, t, node]), int(trees.rule[0, t, node])
                bin_ = int(binned.bins[column, row])
                left = (rule >> bin_) & 1 == 1 if trees.unordered[column] else bin_ <= rule
                place = 2 * place + (not left)
            total += float(trees.leaf[0, t, place])
        assert total == pytest.approx(float(trees.scores(binned.bins[:, [row]])[0, 0]), abs=1e-12)


def test_noise_grows_next_to_nothing():
    """Labels without a pattern end the growing at once: out-of-fold loss does not fall."""
    _, _, _, trees, _ = grown(600, seed=3, signal=False)
    assert trees.leaf.shape[1] <= 6


def test_rows_never_seen_fall_into_bins():
    """Values beyond the range, unseen codes and gaps have bins, within bounds."""
    columns, binned, _, trees, _ = grown(300, seed=4)
    numbers = np.array([[1e300, -1e300, np.nan], [np.inf, -np.inf, 0.0]])
    codes = np.array([[-1, 1_000_000], [199, 200]], dtype=np.int32)
    located = columns.locate(numbers, codes)
    assert (located.bins >= 0).all() and (located.bins < binned.widths[:, None]).all()
    assert binned.widths[3:].max() <= MOST_LEVELS
    assert np.isfinite(trees.scores(located.bins)).all()


def test_a_fold_never_learns_from_its_own_rows():
    """Changing the labels of a fold leaves the trees that judge it as they were, tree by tree."""
    numbers, codes, label = invented(400, seed=5)
    fold = np.arange(400) % 2
    weights = np.where(fold == np.arange(2)[:, None], 0.0, 1.0)
    binned = TreeColumns.of(numbers, codes).locate(numbers, codes)
    kept = []
    for changed in (label, np.where(fold == 0, 1.0 - label, label)):
        trees, _ = boost(
            binned, Task(changed, weights, np.zeros(400), fold, np.where(fold == 0, 0.0, 1.0)), np.random.default_rng(1)
        )
        kept.append(trees.leaf[0])
    both = min(leaf.shape[0] for leaf in kept)
    np.testing.assert_array_equal(kept[0][:both], kept[1][:both])
