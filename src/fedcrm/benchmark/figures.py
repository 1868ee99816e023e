"""From held-out scores to figures: AUC per organisation with intervals, and what federation changed for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.benchmark.baselines import Scores
from fedcrm.benchmark.results import ModelResult
from fedcrm.benchmark.splits import Split
from fedcrm.evaluation.intervals import (
    Panel,
    bootstrap_auc,
    draw_counts,
    holm,
    mean_known,
    p_value_worse,
    percentile_interval,
)
from fedcrm.evaluation.metrics import accuracy, auc, calibration_error, log_loss

REPLICATES = 1_000
"""Bootstrap draws."""

OURS = "fedcrm"
"""The model an organisation would really use: the federated one, adapted on its own rows."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, repr=False)
class SeedScores:
    """One split: its sides, and every model's held-out scores by organisation."""

    splits: Mapping[str, Split]
    scores: Mapping[str, Scores]


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model's figures, and what results.json has no room for."""

    result: ModelResult
    interval_by_org: Mapping[str, Interval]
    calibration_error: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference of AUC, in AUC, with its paired interval."""

    mean: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """What federation changed.

    Attributes:
        gain: fedcrm − local_best, mean over organisations.
        gap: centralised_boosted − fedcrm, mean over organisations.
        by_org: fedcrm − local_best at each organisation.
        worse: Organisations where that is below zero by more than noise (paired bootstrap, 95 %, Holm).
        undefined: Organisations whose held-out rows hold one class only, so that AUC is not defined.
    """

    gain: Difference
    gap: Difference
    by_org: Mapping[str, Difference]
    worse: frozenset[str]
    undefined: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DatasetFigures:
    """All models on one table, and the comparison."""

    models: Mapping[str, ModelFigures]
    comparison: Comparison


def figures(runs: Sequence[SeedScores], *, seed: int, replicates: int = REPLICATES) -> DatasetFigures:
    """Means over splits, intervals by a bootstrap whose draws all models share."""
    names = list(runs[0].scores)
    organisations = list(runs[0].splits)
    drawn: dict[str, dict[str, NDArray[np.float64]]] = {name: {} for name in names}
    for at, organisation in enumerate(organisations):
        panels = {name: _panels(runs, name, organisation) for name in names}
        units = 1 + max((int(p.unit.max()) for p in panels[names[0]] if p.unit.size), default=-1)
        counts = draw_counts(units, replicates=replicates, seed=seed * 1_000 + at)
        for name in names:
            drawn[name][organisation] = bootstrap_auc(panels[name], counts)
    models = {name: _model_figures(runs, name, drawn[name]) for name in names}
    return DatasetFigures(models, _compare(models, drawn))


def _panels(runs: Sequence[SeedScores], name: str, organisation: str) -> list[Panel]:
    """One panel per split, units numbered among those ever held out."""
    splits = [run.splits[organisation] for run in runs]
    ever = np.unique(np.concatenate([split.held_out_units for split in splits]))
    return [
        Panel(
            split.held_out.label,
            run.scores[name][organisation],
            np.repeat(np.searchsorted(ever, split.held_out_units), np.diff(split.held_out.offsets)).astype(np.int64),
        )
        for run, split in zip(runs, splits, strict=True)
    ]


def _model_figures(runs: Sequence[SeedScores], name: str, drawn: Mapping[str, NDArray[np.float64]]) -> ModelFigures:
    by_org: dict[str, float | None] = {
        org: _mean([auc(run.splits[org].held_out.label, run.scores[name][org]) for run in runs]) for org in drawn
    }
    pooled = [_pooled(run, name) for run in runs]
    result = ModelResult(
        auc=_mean(list(by_org.values())),
        accuracy=_mean([accuracy(*rows) for rows in pooled]),
        log_loss=_mean([log_loss(*rows) for rows in pooled]),
        auc_by_org=by_org,
        auc_pooled=_mean([auc(*rows) for rows in pooled]),
        ci95=percentile_interval(_mean_draws(drawn)),
    )
    error = _mean([calibration_error(*rows) for rows in pooled])
    return ModelFigures(result, {org: percentile_interval(draws) for org, draws in drawn.items()}, error)


def _pooled(run: SeedScores, name: str) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    labels = [split.held_out.label for split in run.splits.values()]
    return np.concatenate(labels), np.concatenate([run.scores[name][org] for org in run.splits])


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None and value == value]
    return sum(known) / len(known) if known else float("nan")


def _mean_draws(drawn: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return mean_known(np.stack(list(drawn.values())))


def _compare(models: Mapping[str, ModelFigures], drawn: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> Comparison:
    ours, local, central = (drawn[name] for name in (OURS, "local_best", "centralised_boosted"))
    areas = {name: figure.result.auc_by_org for name, figure in models.items()}
    by_org = {
        org: Difference(_minus(areas[OURS][org], areas["local_best"][org]), percentile_interval(ours[org] - local[org]))
        for org in ours
    }
    worse = holm({org: p_value_worse(ours[org] - local[org]) for org in ours})
    undefined = tuple(org for org, area in areas[OURS].items() if area is None)
    return Comparison(
        _difference(models, OURS, "local_best", _mean_draws(ours) - _mean_draws(local)),
        _difference(models, "centralised_boosted", OURS, _mean_draws(central) - _mean_draws(ours)),
        by_org,
        worse,
        undefined,
    )


def _difference(models: Mapping[str, ModelFigures], one: str, other: str, draws: NDArray[np.float64]) -> Difference:
    return Difference(_minus(models[one].result.auc, models[other].result.auc), percentile_interval(draws))


def _minus(one: float | None, other: float | None) -> float:
    return float("nan") if one is None or other is None else one - other
