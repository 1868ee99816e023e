"""Joining an existing model: an organisation that took no part in training has scores at once and adapts with few rows.

Three organisations of each table, the largest, the median and the smallest, are left out of training in turn; the
others train through the real engine. The newcomer's held-out rows are then scored by the released model as it is, and
adapted to 50, 200 and all of its training units, beside the better of the two models it could train on the same rows
alone, and beside what the full federation gives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import cast

import numpy as np

from fedcrm.benchmark.choice import local_scores
from fedcrm.benchmark.figures import OURS
from fedcrm.benchmark.progress import Progress
from fedcrm.benchmark.results import JoiningResult, NewcomerResult, WithRowsResult
from fedcrm.benchmark.run import Contest, DatasetOutcome, Settings, magnitude, split_dataset
from fedcrm.benchmark.splits import Split, hash_positions
from fedcrm.benchmark.tables import Dataset
from fedcrm.benchmark.workers import workers
from fedcrm.evaluation.metrics import auc
from fedcrm.features.table import FeatureTable
from fedcrm.models.adaptation import adapt
from fedcrm.models.adapted import GlobalModel
from fedcrm.models.learner import Model, PublicFacts

STEPS: tuple[str, ...] = ("50", "200", "all")
"""Training units a newcomer adapts with."""
FEWEST = 3
"""Organisations below which nobody can be left out of a federation."""


@dataclass(frozen=True, slots=True)
class Grown:
    """AUC from so many training units: the adapted model, and the newcomer's own."""

    units: int
    adapted: float
    own: float


@dataclass(frozen=True, slots=True)
class Joined:
    """One newcomer on one split: AUC at once, and with its rows by step."""

    at_once: float
    grown: Mapping[str, Grown]


def newcomers(dataset: Dataset) -> tuple[str, ...]:
    """The largest, the median and the smallest organisation by units; nobody where fewer than three exist."""
    if len(dataset.tables) < FEWEST:
        return ()
    ordered = sorted(dataset.tables, key=lambda name: (-dataset.tables[name].units, name))
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def run_joining(
    outcomes: Sequence[DatasetOutcome], settings: Settings, *, progress: Progress, contest: Contest | None = None
) -> tuple[JoiningResult, ...]:
    """All newcomers of all tables, means over the settings' splits.

    Args:
        outcomes: The tables, and what the full federation reached on the same splits.
        settings: ε, splits.
        progress: Who is told.
        contest: What is trained, and by whom.
    """
    contest = contest or Contest()
    progress.plan(len(outcomes) * settings.seeds)
    with workers(sum(outcome.dataset.rows for outcome in outcomes)) as executor:
        return tuple(_table(outcome, settings, contest, executor, progress) for outcome in outcomes)


def _table(
    outcome: DatasetOutcome, settings: Settings, contest: Contest, executor: Executor, progress: Progress
) -> JoiningResult:
    dataset = outcome.dataset
    found: dict[str, list[Joined]] = {name: [] for name in newcomers(dataset)}
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        progress.start(f"{dataset.name}, joining, split {seed - settings.first_seed + 1} of {settings.seeds}")
        splits = split_dataset(dataset, settings.split, seed)
        for name, joined in found.items():
            progress.say(f"without {name}")
            model = _without(name, outcome, splits, contest, progress)
            joined.append(_joined(model, splits[name], seed, executor))
        progress.finish()
    full = outcome.result.models[OURS].auc_by_org
    told = [_newcomer(name, joined, full.get(name)) for name, joined in found.items()]
    return JoiningResult(name=dataset.name, epsilon=settings.epsilon, newcomers=told)


def _without(
    left_out: str, outcome: DatasetOutcome, splits: Mapping[str, Split], contest: Contest, progress: Progress
) -> Model:
    """The model that all others train."""
    dataset = outcome.dataset
    tables = {name: split.training for name, split in splits.items() if name != left_out}
    facts = PublicFacts(dataset.schema, len(tables), magnitude(dataset.units))
    task = dataset.task if dataset.task != "unstated" else dataset.name
    trained = contest.trainer(
        tables, contest.federated, facts, terms=outcome.terms, task=task, observe=progress.observe
    )
    return trained.model


def _joined(model: Model, split: Split, seed: int, executor: Executor) -> Joined:
    first = first_units(split.training, seed=seed)
    futures = {step: executor.submit(_grown, model, rows, split.held_out, seed) for step, rows in first.items()}
    return Joined(_area(split.held_out, model), {step: future.result() for step, future in futures.items()})


def first_units(training: FeatureTable, *, seed: int) -> dict[str, FeatureTable]:
    """Rows by step: the units that come first in a keyed hash of their ids, so that fewer are part of more."""
    order = np.argsort(hash_positions(training, seed=seed, purpose="joining"), kind="stable")
    few = {step: training.take_units(np.sort(order[: int(step)])) for step in STEPS[:-1] if int(step) < training.units}
    return {**few, STEPS[-1]: training}


def _grown(model: Model, rows: FeatureTable, held_out: FeatureTable, seed: int) -> Grown:
    """The model must offer its linear form (`GlobalModel`), or it cannot be adapted."""
    if held_out.rows == 0:
        return Grown(rows.units, float("nan"), float("nan"))
    own = auc(held_out.label, local_scores(rows, held_out, seed).best)
    return Grown(rows.units, _area(held_out, cast(Model, adapt(cast(GlobalModel, model), rows, seed=seed))), own)


def _area(rows: FeatureTable, model: Model) -> float:
    return auc(rows.label, model.predict(rows)) if rows.rows else float("nan")


def _newcomer(name: str, joined: Sequence[Joined], full: float | None) -> NewcomerResult:
    """Means over splits, of each step over the splits that have it."""
    with_rows = {}
    for step in STEPS:
        grown = [each.grown[step] for each in joined if step in each.grown]
        if grown:
            with_rows[step] = WithRowsResult(
                units=_mean([each.units for each in grown]),
                adapted=_mean([each.adapted for each in grown]),
                own=_mean([each.own for each in grown]),
            )
    at_once = _mean([each.at_once for each in joined])
    return NewcomerResult(organisation=name, at_once=at_once, with_rows=with_rows, full_federation=full)


def _mean(values: Sequence[float]) -> float:
    known = np.array([value for value in values if value == value])
    return float(known.mean()) if known.size else float("nan")
