"""All models without privacy: every organisation alone, and all rows in one place. Shared out over processes.

Centralised boosting is tried with and without the organisation as a feature, on raw and on quantile-binned numbers; the
variant of the best mean out-of-fold AUC over organisations, on training rows, is the one judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedcrm.benchmark.choice import best_of, local_scores, mean_auc_by, out_of_fold, tuned_logistic
from fedcrm.benchmark.plain_models import fit_boosted, pool, with_organisation
from fedcrm.benchmark.splits import Split
from fedcrm.features.table import FeatureTable

Scores = dict[str, NDArray[np.float64]]
"""Held-out scores by organisation."""

_BINS = 32
VARIANTS = tuple((organisation, bins) for organisation in (False, True) for bins in (None, _BINS))
"""Variants of centralised boosting: organisation as a feature, quantile bins."""


@dataclass(frozen=True, slots=True, repr=False)
class Pooled:
    """All training rows in one place.

    Attributes:
        training: The rows.
        group: int64 [rows], number of each row's organisation.
        held_out: Held-out rows by organisation.
    """

    training: FeatureTable
    group: NDArray[np.int64]
    held_out: Mapping[str, FeatureTable]

    @classmethod
    def of(cls, splits: Mapping[str, Split], *, organisation: bool) -> Pooled:
        """Pool the training sides; with the organisation as a feature, or without."""
        names = tuple(splits)
        mark = partial(with_organisation, names=names) if organisation else lambda table, _: table
        training = pool({name: mark(split.training, name) for name, split in splits.items()})
        group = np.repeat(np.arange(len(names)), [split.training.rows for split in splits.values()])
        return cls(training, group, {name: mark(split.held_out, name) for name, split in splits.items()})


def baseline_scores(
    splits: Mapping[str, Split], *, seed: int, executor: Executor, advance: Callable[[str], None]
) -> dict[str, Scores]:
    """Held-out scores of the five models without privacy, by model and organisation."""
    variants = {v: executor.submit(_variant_auc, splits, v, seed) for v in VARIANTS}
    logistic = executor.submit(_centralised_logistic, splits, seed)
    largest_first = sorted(splits, key=lambda name: -splits[name].training.rows)
    alone = {n: executor.submit(local_scores, splits[n].training, splits[n].held_out, seed) for n in largest_first}
    names = {_variant_name(v): v for v in VARIANTS}
    chosen = best_of({name: variants[v].result() for name, v in names.items()})
    boosted = executor.submit(_centralised_boosted, splits, names[chosen], seed)
    advance("centralised models")
    local = {name: alone[name].result() for name in splits}
    advance("local models")
    return {
        "local_logistic": {name: scores.logistic for name, scores in local.items()},
        "local_boosted": {name: scores.boosted for name, scores in local.items()},
        "local_best": {name: scores.best for name, scores in local.items()},
        "centralised_logistic": logistic.result(),
        "centralised_boosted": boosted.result(),
    }


def _variant_name(variant: tuple[bool, int | None]) -> str:
    organisation, bins = variant
    return f"{'with' if organisation else 'without'} organisation, {'raw' if bins is None else f'{bins} bins'}"


def _variant_auc(splits: Mapping[str, Split], variant: tuple[bool, int | None], seed: int) -> float:
    pooled = Pooled.of(splits, organisation=variant[0])
    scores = out_of_fold(pooled.training, partial(fit_boosted, bins=variant[1]), seed=seed)
    return mean_auc_by(pooled.group, pooled.training.label, scores)


def _centralised_boosted(splits: Mapping[str, Split], variant: tuple[bool, int | None], seed: int) -> Scores:
    pooled = Pooled.of(splits, organisation=variant[0])
    model = fit_boosted(pooled.training, seed, bins=variant[1])
    return {name: model.predict(rows) for name, rows in pooled.held_out.items()}


def _centralised_logistic(splits: Mapping[str, Split], seed: int) -> Scores:
    pooled = Pooled.of(splits, organisation=False)
    model = tuned_logistic(pooled.training, seed=seed).model
    return {name: model.predict(rows) for name, rows in pooled.held_out.items()}
