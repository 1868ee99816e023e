"""Choosing among plain models by cross-validation on training rows only, as an organisation would have to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedcrm.benchmark.plain_models import Fit, PlainModel, fit_boosted, fit_logistic, learnable
from fedcrm.benchmark.splits import hash_positions
from fedcrm.evaluation.metrics import auc, log_loss
from fedcrm.features.table import FeatureTable

_STRENGTHS = (0.01, 0.1, 1.0)
_MANY_ROWS = 5_000


def folds_of(table: FeatureTable, *, seed: int) -> NDArray[np.int64]:
    """Fold of every row, by a keyed hash of its unit's id: five folds, three on many rows."""
    number = 3 if table.rows > _MANY_ROWS else 5
    per_unit = np.floor(hash_positions(table, seed=seed, purpose="folds") * number).astype(np.int64)
    return np.repeat(per_unit, np.diff(table.offsets))


def out_of_fold(table: FeatureTable, fit: Fit, *, seed: int) -> NDArray[np.float64]:
    """Each training row's score from a model that did not see its unit, float64 [rows]."""
    fold = folds_of(table, seed=seed)
    unit_fold = fold[table.offsets[:-1]]
    scores = np.empty(table.rows)
    for at in np.unique(unit_fold):
        model = fit(table.take_units(np.flatnonzero(unit_fold != at)), seed)
        scores[fold == at] = model.predict(table.take_units(np.flatnonzero(unit_fold == at)))
    return scores


@dataclass(frozen=True, slots=True, repr=False)
class Tuned:
    """A model fitted on all training rows, and its out-of-fold scores there."""

    model: PlainModel
    out_of_fold: NDArray[np.float64]


def tuned_logistic(table: FeatureTable, *, seed: int) -> Tuned:
    """Logistic regression with the regularisation of least out-of-fold log loss."""
    if not learnable(table.label):
        model = fit_logistic(table, seed, strength=1.0)
        return Tuned(model, model.predict(table))
    fits: dict[float, Fit] = {c: partial(fit_logistic, strength=c) for c in _STRENGTHS}
    scores = {c: out_of_fold(table, fit, seed=seed) for c, fit in fits.items()}
    best = min(scores, key=lambda c: log_loss(table.label, scores[c]))
    return Tuned(fits[best](table, seed), scores[best])


@dataclass(frozen=True, slots=True, repr=False)
class LocalScores:
    """One organisation's own models on its held-out rows; `best` is the better one on its training rows."""

    logistic: NDArray[np.float64]
    boosted: NDArray[np.float64]
    best: NDArray[np.float64]


def local_scores(training: FeatureTable, held_out: FeatureTable, seed: int) -> LocalScores:
    """Fit both local models, choose one by out-of-fold AUC, score the held-out rows."""
    logistic = tuned_logistic(training, seed=seed)
    boosted = fit_boosted(training, seed)
    scores = logistic.model.predict(held_out), boosted.predict(held_out)
    if not learnable(training.label):
        return LocalScores(*scores, best=scores[0])
    trees = auc(training.label, out_of_fold(training, fit_boosted, seed=seed))
    better = trees > auc(training.label, logistic.out_of_fold)
    return LocalScores(*scores, best=scores[1] if better else scores[0])


def mean_auc_by(group: NDArray[np.int64], label: NDArray[np.int8], score: NDArray[np.float64]) -> float:
    """Mean AUC over groups of rows where it is defined; NaN where it is nowhere."""
    areas = np.array([auc(label[group == g], score[group == g]) for g in np.unique(group)])
    known = areas[~np.isnan(areas)]
    return float(known.mean()) if known.size else float("nan")


def best_of(values: Mapping[str, float]) -> str:
    """Name of the largest value, the first of equals; a value that is not known loses."""
    return max(values, key=lambda name: (values[name] == values[name], values[name]))
