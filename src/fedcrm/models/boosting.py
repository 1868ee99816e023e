"""Small boosted trees on binned columns, several folds at once, kept as plain arrays.

Second-order boosting on histograms (Friedman 2001; Chen and Guestrin 2016) with complete trees of fixed depth. A split
is one whole number whose bits say which bins go left, so numbers and categories are alike. All folds grow together:
each model has row weights of its own, and the rows it does not learn from tell how many trees are worth having.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

DEPTH = 6
MOST_BINS = 255
MOST_LEVELS = 62
"""Bins of a category, so that a set of them is one whole number."""
MOST_TREES = 120
PATIENCE = 8
"""Trees without a better out-of-fold loss after which growing ends."""
LEARNING_RATE = 0.2
LEAF_RIDGE = 4.0
LEAST_CURVATURE = 2.0
"""Σ weight·p(1 − p) a leaf must hold."""
ROW_SHARE, MOST_ROWS = 0.8, 12_000
"""A tree is grown on this share of the rows, and on no more than so many."""
COLUMN_SHARE, FEW_COLUMNS, MOST_COLUMNS = 0.8, 16, 64
"""A tree asks this share of the columns, a third where there are many."""


@dataclass(frozen=True, slots=True, repr=False)
class Binned:
    """Columns as bins.

    Attributes:
        bins: int64 [columns, rows], below MOST_BINS; below MOST_LEVELS where unordered.
        unordered: Which columns are categories, bool [columns].
        widths: Number of bins of each column, int64 [columns].
    """

    bins: NDArray[np.int64]
    unordered: NDArray[np.bool_]
    widths: NDArray[np.int64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """First bin of each column when bins of all columns are numbered through, int64 [columns + 1]."""
        return np.concatenate([[0], np.cumsum(self.widths)]).astype(np.int64)

    def take(self, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> Binned:
        """Some columns of some rows."""
        return Binned(self.bins[np.ix_(columns, rows)], self.unordered[columns], self.widths[columns])


@dataclass(frozen=True, slots=True, repr=False)
class Trees:
    """Trees of several models: model m's score is the sum of its trees' leaves.

    Attributes:
        column: Column each node asks, int64 [models, trees, 2^depth − 1], level by level.
        rule: What goes left, int64, same shape: bins up to this one, or, of a category, the bins whose bits are set.
        leaf: Value of each leaf in log-odds, float64 [models, trees, 2^depth].
        unordered: Which columns are categories, bool [columns].
    """

    column: NDArray[np.int64]
    rule: NDArray[np.int64]
    leaf: NDArray[np.float64]
    unordered: NDArray[np.bool_]

    def scores(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """Each model's score of each row, float64 [models, rows], from bins, int64 [columns, rows]."""
        total = np.zeros((self.leaf.shape[0], bins.shape[1]))
        for t in range(self.leaf.shape[1]):
            place = _descend(self.column[:, t], self.rule[:, t], bins, self.unordered)
            total += np.take_along_axis(self.leaf[:, t], place, axis=1)
        return total


@dataclass(frozen=True, slots=True, repr=False)
class Task:
    """What is boosted.

    Attributes:
        label: float64 [rows], 0 or 1.
        weights: Weight of each row in each model, float64 [models, rows].
        offset: Log-odds the trees add to, float64 [rows].
        judge: The model that does not learn from a row, int64 [rows].
        judged: Weight of each row in judging, float64 [rows].
    """

    label: NDArray[np.float64]
    weights: NDArray[np.float64]
    offset: NDArray[np.float64]
    judge: NDArray[np.int64]
    judged: NDArray[np.float64]

    def out_of_fold(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each row's score from the model that did not learn from it, float64 [rows]."""
        return scores[self.judge, np.arange(self.judge.shape[0])]

    def loss(self, scores: NDArray[np.float64]) -> float:
        """Out-of-fold negative log-likelihood, nats."""
        log_odds = self.offset + self.out_of_fold(scores)
        return float(self.judged @ (np.logaddexp(0.0, log_odds) - self.label * log_odds))


Tree = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Column and rule of each node and value of each leaf of one tree of every model."""


def boost(binned: Binned, task: Task, stream: np.random.Generator) -> tuple[Trees, NDArray[np.float64]]:
    """Grow trees until the out-of-fold loss no longer falls.

    Returns:
        The trees of all models up to the best number, and each model's scores on all rows, float64 [models, rows].
    """
    models, rows = task.weights.shape
    scores = np.zeros((models, rows))
    best, kept = (task.loss(scores), scores), 0
    grown: list[Tree] = []
    for t in range(1, MOST_TREES + 1):
        tree, place = _grow(binned, task, scores, stream)
        scores = scores + np.take_along_axis(tree[2], place, axis=1)
        grown.append(tree)
        loss = task.loss(scores)
        if loss < best[0]:
            best, kept = (loss, scores), t
        if t - kept >= PATIENCE:
            break
    return _stack(grown[:kept], models, binned.unordered), best[1]


def _stack(grown: list[Tree], models: int, unordered: NDArray[np.bool_]) -> Trees:
    nodes = (1 << DEPTH) - 1
    if not grown:
        empty = np.zeros((models, 0, nodes), dtype=np.int64)
        return Trees(empty, empty, np.zeros((models, 0, nodes + 1)), unordered)
    column, rule, leaf = (np.stack(parts, axis=1) for parts in zip(*grown, strict=True))
    return Trees(column, rule, leaf, unordered)


def _grow(
    binned: Binned, task: Task, scores: NDArray[np.float64], stream: np.random.Generator
) -> tuple[Tree, NDArray[np.int64]]:
    """One tree of every model from a part of the rows and columns, and the leaf of every row, int64 [models, rows]."""
    models, rows = scores.shape
    columns = binned.bins.shape[0]
    some = np.sort(stream.permutation(rows)[: _rows_asked(rows)])
    asked = np.sort(stream.permutation(columns)[: _columns_asked(columns)])
    part = binned.take(asked, some)
    chance = expit(task.offset[some] + scores[:, some])
    pull = task.weights[:, some] * (task.label[some] - chance)
    curvature = task.weights[:, some] * chance * (1.0 - chance)
    place = np.zeros(scores.shape, dtype=np.int64)
    column, rule = [], []
    for level in range(DEPTH):
        histogram = _histogram(part, place[:, some], pull, curvature, 1 << level)
        found, held = _best_splits(*histogram, part)
        place = 2 * place + _goes_right(asked[found], held, place, binned.bins, binned.unordered)
        column.append(asked[found].reshape(models, -1))
        rule.append(held.reshape(models, -1))
    leaf = _leaves(place[:, some], pull, curvature, 1 << DEPTH)
    return (np.hstack(column), np.hstack(rule), leaf), place


def _rows_asked(rows: int) -> int:
    return max(min(round(ROW_SHARE * rows), MOST_ROWS), 1)


def _columns_asked(columns: int) -> int:
    few = max(round(COLUMN_SHARE * min(columns, FEW_COLUMNS)), columns // 3, 1)
    return min(few, MOST_COLUMNS)


def _histogram(
    part: Binned, place: NDArray[np.int64], pull: NDArray[np.float64], curvature: NDArray[np.float64], nodes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of pull and curvature by node and by bin, two float64 [models · nodes, bins of all columns]."""
    number = place.shape[0] * nodes
    node = np.arange(place.shape[0])[:, None] * nodes + place
    flat_pull, flat_curvature = pull.ravel(), curvature.ravel()
    starts = part.starts
    pulls, curvatures = np.empty((number, int(starts[-1]))), np.empty((number, int(starts[-1])))
    for bins, start, end in zip(part.bins, starts[:-1], starts[1:], strict=True):
        width = int(end - start)
        at = (node * width + bins).ravel()
        pulls[:, start:end] = np.bincount(at, flat_pull, number * width).reshape(number, width)
        curvatures[:, start:end] = np.bincount(at, flat_curvature, number * width).reshape(number, width)
    return pulls, curvatures


def _best_splits(
    pull: NDArray[np.float64], curvature: NDArray[np.float64], part: Binned
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Column and rule of the best split of each node, int64 [models · nodes] each; all left where none is worth it."""
    nodes, starts = np.arange(pull.shape[0]), part.starts
    orders = {
        int(f): _sort_bins(pull, curvature, slice(starts[f], starts[f + 1])) for f in np.flatnonzero(part.unordered)
    }
    gain = _gains(pull, curvature, part)
    best = gain.argmax(axis=1)
    column = np.searchsorted(starts, best, side="right") - 1
    rule = np.where(gain[nodes, best] > 0.0, best - starts[column], MOST_BINS)
    for f, order in orders.items():
        here = np.flatnonzero(column == f)
        bits = np.cumsum(np.int64(1) << order[here], axis=1)
        last = np.minimum(rule[here], bits.shape[1] - 1)
        rule[here] = np.where(rule[here] == MOST_BINS, -1, bits[np.arange(here.size), last])
    return column, rule


def _sort_bins(pull: NDArray[np.float64], curvature: NDArray[np.float64], where: slice) -> NDArray[np.int64]:
    """Sort a category's bins by what they ask for, in place; the order, int64 [nodes, bins]."""
    order: NDArray[np.int64] = np.argsort(pull[:, where] / (curvature[:, where] + LEAF_RIDGE), axis=1, kind="stable")
    for sums in (pull, curvature):
        sums[:, where] = np.take_along_axis(sums[:, where], order, axis=1)
    return order


def _gains(pull: NDArray[np.float64], curvature: NDArray[np.float64], part: Binned) -> NDArray[np.float64]:
    """What a cut after each bin adds to the fit, float64 [nodes, bins of all]; zero where a side is too small."""
    starts = part.starts
    total_pull = pull[:, : starts[1]].sum(axis=1, keepdims=True)
    total_held = curvature[:, : starts[1]].sum(axis=1, keepdims=True)
    before = np.repeat(np.arange(starts.shape[0] - 1), part.widths)
    pulled, held = np.cumsum(pull, axis=1), np.cumsum(curvature, axis=1)
    pulled -= total_pull * before
    held -= total_held * before
    others = total_held - held
    gain = pulled**2 / (np.abs(held) + LEAF_RIDGE) + (total_pull - pulled) ** 2 / (np.abs(others) + LEAF_RIDGE)
    gain -= total_pull**2 / (total_held + LEAF_RIDGE)
    gain[(held < LEAST_CURVATURE) | (others < LEAST_CURVATURE)] = 0.0
    return np.asarray(gain)


def _goes_right(
    column: NDArray[np.int64],
    rule: NDArray[np.int64],
    place: NDArray[np.int64],
    bins: NDArray[np.int64],
    unordered: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """1 where a row goes right, int64 [models, rows]; `column` and `rule` hold [models · nodes of the level]."""
    node = np.arange(place.shape[0])[:, None] * (column.shape[0] // place.shape[0]) + place
    asked, held = column[node], rule[node]
    found = bins.ravel()[asked * bins.shape[1] + np.arange(bins.shape[1])]
    right = found > held
    if unordered.any():
        right = np.where(unordered[asked], (held >> np.minimum(found, MOST_LEVELS)) & 1 == 0, right)
    return np.asarray(right, dtype=np.int64)


def _leaves(
    place: NDArray[np.int64], pull: NDArray[np.float64], curvature: NDArray[np.float64], leaves: int
) -> NDArray[np.float64]:
    models = place.shape[0]
    at = (np.arange(models)[:, None] * leaves + place).ravel()
    pulled = np.bincount(at, pull.ravel(), minlength=models * leaves)
    held = np.bincount(at, curvature.ravel(), minlength=models * leaves)
    values: NDArray[np.float64] = LEARNING_RATE * pulled / (held + LEAF_RIDGE)
    return values.reshape(models, leaves)


def _descend(
    column: NDArray[np.int64], rule: NDArray[np.int64], bins: NDArray[np.int64], unordered: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Leaf of each row in one tree per model, int64 [models, rows]; nodes of a model lie level by level."""
    place = np.zeros((column.shape[0], bins.shape[1]), dtype=np.int64)
    for level in range((column.shape[1] + 1).bit_length() - 1):
        here = slice((1 << level) - 1, (1 << level + 1) - 1)
        place = 2 * place + _goes_right(column[:, here].ravel(), rule[:, here].ravel(), place, bins, unordered)
    return place
