"""Adaptation: each organisation fits the global model to its own rows, locally and at no privacy cost.

Candidates are fitted with every fold of the organisation's units left out once, and weighed by what they say of the
fold they did not see: the calibrated global model; linear scores whose prior is the global model's posterior, widened
by a share of the prior variance (local effects); the organisation's own linear score; trees alone, and trees on top of
the global score. What holds without evidence is the tightest of the second kind: Bayes' rule on the organisation's
rows, with the noise of training accounted for.

The global model was trained on these rows too, so its evidence is slightly flattered; the noise bounds by how much.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from fedcrm.models.adapted import AdaptedModel, GlobalModel, OwnPart, TreePart, by_component, tree_numbers
from fedcrm.models.boosting import Task, boost
from fedcrm.models.learner import UnitRows
from fedcrm.models.local_prior import FoldedRows, Prior, fit_all, leave_out
from fedcrm.models.own_columns import OwnBasis, TreeColumns
from fedcrm.models.stack import losses, stack_weights, trust

WIDENINGS = {"global posterior": 0.002, "global posterior, widened": 0.05, "global posterior, wide": 0.5}
"""Local effects' variance as a share of the prior variance."""
OWN_VARIANCES = {"own linear, smooth": 0.03, "own linear": 0.3, "own linear, rough": 2.0}
"""Prior variance of the own basis' coefficients."""
ANCHOR = "global posterior"
GLOBAL, OWN_TREES, TREES_ON_GLOBAL = "global", "own trees", "trees on global"
FEWEST_OF_A_CLASS = 5
"""Units of the rarer class below which nothing can be judged by folds."""
SHOWN_COMPONENTS = 20
"""Strongest components of the global model that trees see."""
MOST_MOVED = 900
"""Coefficients of the global model an organisation may move; the others keep the global value."""
BASE_VARIANCE = 1.0
"""Prior variance of an organisation's own base."""
SLOPE_VARIANCE = 1.0 / 16.0
"""Prior variance of the slope in calibrating the global score, around 1."""
_FOLDS, _FEW_FOLDS, _MANY_UNITS = 5, 3, 20_000
_OWN_BASE_VARIANCE = 25.0


@dataclass(frozen=True, slots=True, repr=False)
class _Rows:
    """The organisation's rows, ready to fit: every unit weighs 1, whatever its number of rows."""

    rows: UnitRows
    label: NDArray[np.float64]
    weight: NDArray[np.float64]
    fold: NDArray[np.int64]
    folds: int

    @classmethod
    def of(cls, rows: UnitRows, stream: np.random.Generator) -> _Rows:
        lengths = np.diff(rows.offsets)
        units = lengths.shape[0]
        folds = _FEW_FOLDS if units > _MANY_UNITS else _FOLDS
        fold = np.repeat(stream.permutation(units) % folds, lengths).astype(np.int64)
        weight = np.repeat(1.0 / np.maximum(lengths, 1), lengths)
        return cls(rows, rows.label.astype(np.float64), weight, fold, folds)

    @property
    def rarer_class(self) -> float:
        """Weight of the rarer class."""
        positive = float(self.weight @ self.label)
        return min(positive, float(self.weight.sum()) - positive)

    def linear(self, design: NDArray[np.float64], offset: NDArray[np.float64] | None = None) -> FoldedRows:
        """The rows in a linear form."""
        offset = np.zeros(design.shape[0]) if offset is None else offset
        return FoldedRows(design, offset, self.label, self.weight, self.fold, self.folds)

    def per_unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over each unit's rows, float64 [units with rows]."""
        filled = np.diff(self.rows.offsets) > 0
        return np.add.reduceat(values * self.weight, self.rows.offsets[:-1][filled])


@dataclass(slots=True, repr=False)
class _Candidates:
    """Out-of-fold scores by name, and what it takes to use each."""

    out_of_fold: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    linear: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    own: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    trees: dict[str, TreePart] = field(default_factory=dict)


def adapt(model: GlobalModel, training: UnitRows, *, seed: int) -> AdaptedModel:
    """The global model as this organisation should use it.

    Args:
        model: The released model.
        training: The organisation's rows; held-out rows must not be among them.
        seed: Of folds and trees' random parts; the same seed and rows give the same model.

    Raises:
        SchemaMismatch: when the rows have other columns than the model.
    """
    stream = np.random.default_rng(seed)
    rows = _Rows.of(training, stream)
    design = model.design(training)
    if rows.rarer_class < FEWEST_OF_A_CLASS:
        return _recentred(model, rows, design)
    found = _Candidates()
    own = OwnBasis.of(training)
    _add_global(found, model, rows, design)
    _add_posteriors(found, model, rows, design)
    _add_own_linear(found, own, rows)
    _add_trees(found, model, rows, design, stream)
    return _choose(model, found, own, rows)


def _recentred(model: GlobalModel, rows: _Rows, design: NDArray[np.float64]) -> AdaptedModel:
    """The global model with a base of the organisation's own, as far as its few rows speak for one."""
    score = design @ model.mean
    shift = 0.0
    for _ in range(20):
        chance = expit(score + shift)
        slope = rows.weight @ (rows.label - chance) - shift / BASE_VARIANCE
        shift += float(slope / (rows.weight @ (chance * (1.0 - chance)) + 1.0 / BASE_VARIANCE))
    coefficients = model.mean.copy()
    coefficients[0] += shift
    return AdaptedModel(model, coefficients[None], None, (), {GLOBAL: 1.0})


def _add_global(found: _Candidates, model: GlobalModel, rows: _Rows, design: NDArray[np.float64]) -> None:
    """The global score with a base and a slope of the organisation's own."""
    score = rows.linear(np.column_stack([np.ones(design.shape[0]), design @ model.mean]))
    prior = Prior(np.array([0.0, 1.0]), np.diag([1.0 / BASE_VARIANCE, 1.0 / SLOPE_VARIANCE]))
    fits = fit_all(score, prior, score.curvatures(prior.mean))
    linear = fits.coefficients[:, 1:] * model.mean
    linear[:, 0] += fits.coefficients[:, 0]
    found.linear[GLOBAL], found.out_of_fold[GLOBAL] = linear, fits.out_of_fold


def _add_posteriors(found: _Candidates, model: GlobalModel, rows: _Rows, design: NDArray[np.float64]) -> None:
    """Linear scores around the global model: near its posterior with little evidence, the organisation's with much."""
    moved = _moved(model, design)
    stays = np.ones(design.shape[1], dtype=np.bool_)
    stays[moved] = False
    folded = rows.linear(design[:, moved], design[:, stays] @ model.mean[stays])
    curvatures = folded.curvatures(found.linear[GLOBAL][-1][moved])
    for name, widening in WIDENINGS.items():
        covariance = model.covariance[np.ix_(moved, moved)]
        added = np.concatenate([[BASE_VARIANCE], widening * model.prior_variance])
        covariance[np.diag_indices_from(covariance)] += added[moved]
        fits = fit_all(folded, Prior.of(model.mean[moved], covariance), curvatures)
        linear = np.repeat(model.mean[None], rows.folds + 1, axis=0)
        linear[:, moved] = fits.coefficients
        found.linear[name], found.out_of_fold[name] = linear, fits.out_of_fold


def _moved(model: GlobalModel, design: NDArray[np.float64]) -> NDArray[np.int64]:
    """Coefficients an organisation may move, base first, ascending: those that could move its scores most."""
    reach = model.prior_variance * np.einsum("nd,nd->d", design[:, 1:], design[:, 1:])
    strongest = np.argsort(-reach, kind="stable")[: MOST_MOVED - 1]
    return np.concatenate([[0], 1 + np.sort(strongest)]).astype(np.int64)


def _add_own_linear(found: _Candidates, own: OwnBasis, rows: _Rows) -> None:
    """Linear scores that know nothing of the federation."""
    folded = rows.linear(own.design(rows.rows))
    start = np.zeros(folded.design.shape[1])
    start[0] = _base(rows)
    curvatures = folded.curvatures(start)
    for name, variance in OWN_VARIANCES.items():
        precision = np.diag(np.concatenate([[1.0 / _OWN_BASE_VARIANCE], np.full(start.shape[0] - 1, 1.0 / variance)]))
        fits = fit_all(folded, Prior(start, precision), curvatures)
        found.own[name], found.out_of_fold[name] = fits.coefficients, fits.out_of_fold


def _base(rows: _Rows) -> float:
    """Log-odds of the organisation's share of label 1."""
    return float(logit((rows.weight @ rows.label + 0.5) / (rows.weight.sum() + 1.0)))


def _add_trees(
    found: _Candidates, model: GlobalModel, rows: _Rows, design: NDArray[np.float64], stream: np.random.Generator
) -> None:
    """Trees of the organisation's own columns alone, and trees on top of the global score that see its parts too."""
    contributions = by_component(design[:, 1:] * model.mean[1:], model.component_of, len(model.components))
    strongest = np.argsort(-contributions.std(axis=0), kind="stable")[:SHOWN_COMPONENTS].astype(np.int64)
    alone = np.full(design.shape[0], _base(rows))
    for name, offset, shown in (
        (OWN_TREES, alone, strongest[:0]),
        (TREES_ON_GLOBAL, found.out_of_fold[GLOBAL], strongest),
    ):
        numbers = tree_numbers(rows.rows, contributions, float(model.mean[0]), shown)
        columns = TreeColumns.of(numbers, rows.rows.codes)
        weights = leave_out(rows.weight, rows.fold, rows.folds)[:-1]
        task = Task(rows.label, weights, offset, rows.fold, rows.weight)
        trees, scores = boost(columns.locate(numbers, rows.rows.codes), task, stream)
        found.trees[name] = TreePart(1.0, columns, shown, trees)
        found.out_of_fold[name] = offset + task.out_of_fold(scores)


def _choose(model: GlobalModel, found: _Candidates, own: OwnBasis, rows: _Rows) -> AdaptedModel:
    names = [name for name in found.out_of_fold if name != ANCHOR]
    anchor = found.out_of_fold[ANCHOR]
    others = np.array([found.out_of_fold[name] for name in names])
    weights = stack_weights(rows.label, rows.weight, anchor, others)
    stacked = anchor + weights @ (others - anchor)
    weights *= trust(rows.per_unit(losses(rows.label, anchor) - losses(rows.label, stacked)))
    chosen = {name: float(w) for name, w in zip(names, weights, strict=True) if w > 0.0}
    return _assemble(model, found, own, {ANCHOR: 1.0 - sum(chosen.values()), **chosen}, _base(rows))


def _assemble(
    model: GlobalModel, found: _Candidates, own: OwnBasis, weights: dict[str, float], base: float
) -> AdaptedModel:
    """The weighted sum of the candidates: linear parts add up to one linear form, trees stay trees."""
    linear = sum((w * found.linear[n] for n, w in weights.items() if n in found.linear), np.zeros(()))
    linear = linear + weights.get(TREES_ON_GLOBAL, 0.0) * found.linear[GLOBAL]
    linear[:, 0] += weights.get(OWN_TREES, 0.0) * base
    owned = [w * found.own[n] for n, w in weights.items() if n in found.own]
    part = OwnPart(own, np.asarray(sum(owned))) if owned else None
    trees = [(found.trees[n], w) for n, w in weights.items() if n in found.trees]
    parts = tuple(TreePart(w, t.columns, t.shown, t.trees) for t, w in trees if t.trees.leaf.shape[1])
    return AdaptedModel(model, linear, part, parts, weights)
