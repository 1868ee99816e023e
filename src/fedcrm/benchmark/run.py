"""A benchmark from tables to figures: split, train every model, judge all of them on the same held-out rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from fedcrm.benchmark.adapted_scores import adapted_scores
from fedcrm.benchmark.baselines import Scores, baseline_scores
from fedcrm.benchmark.federation import PrivacyTerms, Trainer, train_locally
from fedcrm.benchmark.figures import Comparison, DatasetFigures, SeedScores, figures
from fedcrm.benchmark.progress import Progress
from fedcrm.benchmark.results import (
    FORMAT_VERSION,
    ComparisonResult,
    DatasetResult,
    DifferenceResult,
    Further,
    LedgerResult,
    Results,
    SecondsResult,
)
from fedcrm.benchmark.splits import Split, SplitRule, split_by_hash, split_by_time, time_cut
from fedcrm.benchmark.tables import Dataset
from fedcrm.benchmark.without_privacy import train_without_privacy
from fedcrm.benchmark.workers import workers
from fedcrm.engine.job import TrainingOutcome
from fedcrm.errors import InputError
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, Model, PublicFacts
from fedcrm.models.naive import NaiveLogisticLearner
from fedcrm.models.pairwise import PairwiseLearner

UNIT = "unit_id with all its rows"
"""The privacy unit of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is compared and how.

    Attributes:
        epsilon: ε of every organisation, and the reference ε of the federation.
        seeds: Number of splits (and of independent federated runs).
        split: How units are held out.
        first_seed: Seed of the first split; the others follow it.
        budgets: ε of single organisations, in place of `epsilon`.
    """

    epsilon: float
    seeds: int
    split: SplitRule
    first_seed: int = 1
    budgets: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stated = [self.epsilon, *self.budgets.values()]
        if not all(isfinite(epsilon) and epsilon > 0 for epsilon in stated):
            raise InputError(
                "a privacy budget ε is not above zero",
                why="without a positive ε nothing may leave an organisation, so there is nothing to train",
                fix="give --epsilon a number above 0 (typical: 0.25 to 8)",
            )
        if self.seeds < 1:
            raise InputError("no seeds", why="every figure is a mean over seeds", fix="give --seeds 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Contest:
    """The learners that take part, and who trains them."""

    federated: Learner = field(default_factory=PairwiseLearner)
    naive: Learner = field(default_factory=NaiveLogisticLearner)
    trainer: Trainer = train_locally


@dataclass(frozen=True, slots=True, repr=False)
class DatasetOutcome:
    """One table with all its figures.

    Attributes:
        dataset: The table.
        result: What results.json says.
        figures: What the report adds.
        terms: ε and δ.
        left_out_rows: Rows on neither side of a split by time.
    """

    dataset: Dataset
    result: DatasetResult
    figures: DatasetFigures
    terms: PrivacyTerms
    left_out_rows: int


def magnitude(units: int) -> int:
    """The number rounded up to a power of ten."""
    return int(10 ** int(np.ceil(np.log10(max(units, 1)))))


def public_facts(dataset: Dataset) -> PublicFacts:
    """What everyone may know of a table before the first round."""
    return PublicFacts(dataset.schema, len(dataset.tables), magnitude(dataset.units))


def run_benchmark(
    datasets: Sequence[Dataset], settings: Settings, *, progress: Progress, contest: Contest | None = None
) -> tuple[DatasetOutcome, ...]:
    """All figures of all tables.

    Raises:
        InputError: when a table has no time column and the split is by time.
    """
    _check_time(datasets, settings)
    contest = contest or Contest()
    progress.plan(len(datasets) * settings.seeds)
    with workers(sum(dataset.rows for dataset in datasets)) as executor:
        return tuple(_run_dataset(dataset, settings, contest, executor, progress) for dataset in datasets)


def results_of(outcomes: Sequence[DatasetOutcome], settings: Settings, further: Further | None = None) -> Results:
    """The contents of results.json."""
    further = further or Further()
    return Results(
        version=FORMAT_VERSION,
        seeds=settings.seeds,
        split=settings.split.value,
        datasets=[outcome.result for outcome in outcomes],
        ablation=[*further.weights] or None,
        joining=[*further.joining] or None,
    )


def _check_time(datasets: Sequence[Dataset], settings: Settings) -> None:
    without = [dataset.name for dataset in datasets if dataset.times is None]
    if settings.split is SplitRule.TIME and without:
        raise InputError(
            f"no time column in {', '.join(without)}",
            why="a split by time holds out the last months",
            fix="add a column month_index of whole numbers, or use --split hash",
        )


def _run_dataset(
    dataset: Dataset, settings: Settings, contest: Contest, executor: Executor, progress: Progress
) -> DatasetOutcome:
    terms = PrivacyTerms(epsilon=settings.epsilon, delta=1 / (10 * magnitude(dataset.units)), budgets=settings.budgets)
    runs, outcomes = [], []
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        splits = split_dataset(dataset, settings.split, seed)
        progress.start(f"{dataset.name}, split {seed - settings.first_seed + 1} of {settings.seeds}")
        outcome, exact, federated = _federated_scores(dataset, splits, contest, terms, progress)
        progress.say("adapting to each organisation")
        adapted = adapted_scores(outcome.model, exact, splits, seed=seed, executor=executor, advance=progress.say)
        plain = baseline_scores(splits, seed=seed, executor=executor, advance=progress.say)
        runs.append(SeedScores(splits, {**plain, **federated, **adapted}))
        outcomes.append(outcome)
        progress.finish()
    found = figures(runs, seed=settings.first_seed)
    left_out = sum(split.left_out_rows for split in runs[0].splits.values())
    return DatasetOutcome(dataset, _result(dataset, terms, found, outcomes), found, terms, left_out)


def split_dataset(dataset: Dataset, rule: SplitRule, seed: int) -> dict[str, Split]:
    """Every organisation's two sides."""
    if rule is SplitRule.HASH or dataset.times is None:
        return {name: split_by_hash(table, seed=seed) for name, table in dataset.tables.items()}
    cut = time_cut(dataset.times)
    return {name: split_by_time(table, dataset.times[name], cut=cut) for name, table in dataset.tables.items()}


def _federated_scores(
    dataset: Dataset, splits: Mapping[str, Split], contest: Contest, terms: PrivacyTerms, progress: Progress
) -> tuple[TrainingOutcome, Model, dict[str, Scores]]:
    tables = {name: split.training for name, split in splits.items()}
    facts = public_facts(dataset)
    task = dataset.task if dataset.task != "unstated" else dataset.name
    progress.say("federated, private and encrypted")
    ours = contest.trainer(tables, contest.federated, facts, terms=terms, task=task, observe=progress.observe)
    progress.say("naive private logistic regression")
    naive = contest.trainer(tables, contest.naive, facts, terms=terms, task=task, observe=progress.observe)
    progress.say("federated without privacy")
    exact = train_without_privacy(tables, contest.federated, facts)
    models: dict[str, Model] = {
        "naive_dp_logistic": naive.model,
        "federated_no_privacy": exact,
        "federated": ours.model,
    }
    return ours, exact, {name: _scores(model, splits) for name, model in models.items()}


def _scores(model: Model, splits: Mapping[str, Split]) -> Scores:
    return {name: _predict(model, split.held_out) for name, split in splits.items()}


def _predict(model: Model, rows: FeatureTable) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return model.predict(rows) if rows.rows else np.empty(0)


def _result(
    dataset: Dataset, terms: PrivacyTerms, found: DatasetFigures, outcomes: Sequence[TrainingOutcome]
) -> DatasetResult:
    first = outcomes[0]
    ledger = {
        name: LedgerResult(
            epsilon_budget=line.epsilon_budget,
            epsilon_spent=max(outcome.ledger[name].epsilon_spent for outcome in outcomes),
        )
        for name, line in first.ledger.items()
    }
    seconds = {key: float(np.mean([o.seconds[key] for o in outcomes])) for key in ("train", "crypto", "total")}
    return DatasetResult(
        name=dataset.name,
        task=dataset.task,
        rows=dataset.rows,
        orgs=len(dataset.tables),
        epsilon=terms.epsilon,
        delta=terms.delta,
        threshold=first.threshold,
        cohort_minimum=first.cohort_minimum,
        collusion_bound=first.collusion_bound,
        unit=UNIT,
        models={name: figure.result for name, figure in found.models.items()},
        ledger=ledger,
        rounds=first.rounds,
        seconds=SecondsResult(**seconds),
        bytes_up_per_org=round(float(np.mean([list(o.bytes_up.values()) for o in outcomes]))),
        comparison=_comparison(found.comparison),
        findings=_findings(outcomes),
    )


def _findings(outcomes: Sequence[TrainingOutcome]) -> list[str]:
    """What is to be known of the released models; of several splits, the first finding speaks for all that have one."""
    told = [outcome.model_finding for outcome in outcomes if outcome.model_finding is not None]
    if not told:
        return []
    runs = "" if len(told) == len(outcomes) else f"In {len(told)} of {len(outcomes)} splits "
    return [f"{runs}{told[0]}." if runs else f"{told[0][0].upper()}{told[0][1:]}."]


def _comparison(found: Comparison) -> ComparisonResult:
    return ComparisonResult(
        gain=DifferenceResult(mean=found.gain.mean, ci95=found.gain.interval),
        gap=DifferenceResult(mean=found.gap.mean, ci95=found.gap.interval),
        by_org={o: DifferenceResult(mean=d.mean, ci95=d.interval) for o, d in found.by_org.items()},
        worse=sorted(found.worse),
    )
