"""Do weights earn their place? Mixed budgets, corrupted organisations and clean ones, through the real engine.

Three questions, each answered on the same splits and held-out rows as the benchmark itself:

- **mixed budgets**: ε spread geometrically from 0.25 to 8. Weights by budget, against everyone at 8, everyone at the
  strictest budget, and the strict organisations dropped (those whose ε is below 1).
- **wrong labels**: 40 % of the labels of a third of the organisations are flipped on the training side. Weights by
  quality, against volume (FedAvg by size) and equal weights.
- **clean labels**: the same schemes with nothing wrong: what quality costs when it is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np

from fedcrm.benchmark.corruption import corrupted_names, spread_budgets, with_wrong_labels
from fedcrm.benchmark.federation import PrivacyTerms
from fedcrm.benchmark.progress import Progress
from fedcrm.benchmark.results import AblationResult, QuestionResult, SchemeResult
from fedcrm.benchmark.run import Contest, Settings, magnitude, public_facts, split_dataset
from fedcrm.benchmark.schemes import (
    Federation,
    Scheme,
    Without,
    by_quality,
    by_quality_of_last_model,
    by_volume,
    equal,
)
from fedcrm.benchmark.splits import Split
from fedcrm.benchmark.tables import Dataset
from fedcrm.evaluation.metrics import auc
from fedcrm.features.table import FeatureTable
from fedcrm.models.adaptation import adapt
from fedcrm.models.adapted import GlobalModel
from fedcrm.models.learner import Learner, Model

ADAPTED = {(question, scheme) for question in ("wrong labels", "clean labels") for scheme in ("volume", "quality")}
"""Where adapted models are judged as well: adapting takes longer than training."""

STRICTEST, FULLEST, STRICT_BELOW = 0.25, 8.0, 1.0
"""ε of the mixed budgets, and where an organisation counts as strict."""

Areas = dict[str, float]
"""AUC of each organisation's held-out rows; NaN where it is not defined."""

Adapter: TypeAlias = Callable[[Model, FeatureTable], Model]
"""(global model, an organisation's training rows) → its own model."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A scheme's model on one split: as released, and as adapted (empty when nobody adapts)."""

    released: Areas
    adapted: Areas


@dataclass(frozen=True, slots=True, repr=False)
class Trial:
    """One scheme on one question.

    Attributes:
        question: What is asked.
        name: The scheme's name there.
        scheme: How it weighs.
        tables: Training rows.
        terms: Budgets.
    """

    question: str
    name: str
    scheme: Scheme
    tables: Mapping[str, FeatureTable]
    terms: PrivacyTerms


def run_ablation(
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    progress: Progress,
    learner: Learner | None = None,
    adapter: Adapter | None = None,
) -> tuple[AblationResult, ...]:
    """All questions on all tables, means over the settings' splits.

    Args:
        datasets: The tables.
        settings: ε, splits.
        progress: Who is told.
        learner: What is trained; the benchmark's when None.
        adapter: How organisations adapt the model; None judges global models alone, else see ADAPTED.

    Raises:
        InputError: when a table has no time column and the split is by time.
    """
    chosen = Contest().federated if learner is None else learner
    progress.plan(len(datasets) * settings.seeds)
    return tuple(_ablate(dataset, settings, chosen, adapter, progress) for dataset in datasets)


def _ablate(
    dataset: Dataset, settings: Settings, learner: Learner, adapter: Adapter | None, progress: Progress
) -> AblationResult:
    found: dict[tuple[str, str], list[Judged]] = {}
    corrupted: list[list[str]] = []
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        progress.start(f"{dataset.name}, weights, split {seed - settings.first_seed + 1} of {settings.seeds}")
        splits = split_dataset(dataset, settings.split, seed)
        corrupted.append(list(corrupted_names(splits, seed=seed)))
        for trial in _trials(dataset, splits, settings, seed):
            progress.say(f"{trial.question}: {trial.name}")
            model = trial.scheme(_federation(dataset, trial, learner, progress), trial.terms)
            key = (trial.question, trial.name)
            found.setdefault(key, []).append(_judged(model, splits, trial, adapter if key in ADAPTED else None))
        progress.finish()
    questions = {question: _question(question, found) for question, _ in found}
    return AblationResult(name=dataset.name, epsilon=settings.epsilon, corrupted=corrupted, questions=questions)


def _trials(dataset: Dataset, splits: Mapping[str, Split], settings: Settings, seed: int) -> list[Trial]:
    training = {name: split.training for name, split in splits.items()}
    delta = 1 / (10 * magnitude(dataset.units))
    stated = PrivacyTerms(epsilon=settings.epsilon, delta=delta, budgets={})
    wrong = with_wrong_labels(training, corrupted_names(training, seed=seed), seed=seed)
    by_scheme: dict[str, Scheme] = {
        "volume": by_volume,
        "equal": equal,
        "quality": by_quality,
        "quality, last model": by_quality_of_last_model,
    }
    labels = [
        Trial(question, name, scheme, tables, stated)
        for question, tables in (("wrong labels", wrong), ("clean labels", training))
        for name, scheme in by_scheme.items()
    ]
    return _mixed(training, delta=delta, seed=seed) + labels


def _mixed(training: Mapping[str, FeatureTable], *, delta: float, seed: int) -> list[Trial]:
    budgets = spread_budgets(training, seed=seed, strictest=STRICTEST, fullest=FULLEST)
    full = PrivacyTerms(epsilon=FULLEST, delta=delta, budgets={})
    strict = PrivacyTerms(epsilon=STRICTEST, delta=delta, budgets={})
    mixed = PrivacyTerms(epsilon=FULLEST, delta=delta, budgets=budgets)
    dropped = Without(frozenset(name for name, epsilon in budgets.items() if epsilon < STRICT_BELOW))
    return [
        Trial("mixed budgets", "everyone at the fullest", by_volume, training, full),
        Trial("mixed budgets", "weights by budget", by_volume, training, mixed),
        Trial("mixed budgets", "strict dropped", dropped, training, mixed),
        Trial("mixed budgets", "everyone at the strictest", by_volume, training, strict),
    ]


def _federation(dataset: Dataset, trial: Trial, learner: Learner, progress: Progress) -> Federation:
    task = dataset.task if dataset.task != "unstated" else dataset.name
    return Federation(
        tables=trial.tables, learner=learner, facts=public_facts(dataset), task=task, observe=progress.observe
    )


def adapted(model: Model, rows: FeatureTable) -> Model:
    """The model as an organisation adapts it; it must offer its linear form (`GlobalModel`)."""
    return cast(Model, adapt(cast(GlobalModel, model), rows, seed=1))


def _judged(model: Model, splits: Mapping[str, Split], trial: Trial, adapter: Adapter | None) -> Judged:
    released = {name: _area(model, split.held_out) for name, split in splits.items()}
    if adapter is None:
        return Judged(released, {})
    own = {name: _area(adapter(model, trial.tables[name]), split.held_out) for name, split in splits.items()}
    return Judged(released, own)


def _area(model: Model, rows: FeatureTable) -> float:
    return auc(rows.label, model.predict(rows)) if rows.rows else float("nan")


def _question(question: str, found: Mapping[tuple[str, str], list[Judged]]) -> QuestionResult:
    """Means over splits; each scheme's difference to the first one, paired by split."""
    runs = {name: judged for (asked, name), judged in found.items() if asked == question}
    first = next(iter(runs))
    means = {name: [_mean(list(each.released.values())) for each in judged] for name, judged in runs.items()}
    schemes = {
        name: SchemeResult(
            auc=_mean(means[name]),
            auc_by_org={org: _mean([each.released[org] for each in judged]) for org in judged[0].released},
            auc_by_split=[*means[name]],
            difference=_mean([one - other for one, other in zip(means[name], means[first], strict=True)]),
            auc_adapted=_mean([_mean(list(each.adapted.values())) for each in judged]),
        )
        for name, judged in runs.items()
    }
    return QuestionResult(compared_with=first, schemes=schemes)


def _mean(values: Sequence[float]) -> float:
    known = np.array([value for value in values if value == value])
    return float(known.mean()) if known.size else float("nan")
