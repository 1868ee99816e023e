"""Bootstrap over held-out privacy units: intervals, paired comparison of two scores, Holm's correction.

A unit is drawn with all its rows and in all splits it was held out in, and the same draws serve every model, so that
differences between models are paired. The intervals speak of the choice of held-out units; they say nothing about other
training rows. Randomness is seeded by the caller and guards nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.evaluation.metrics import RankedScores

_ROWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, repr=False)
class Panel:
    """One model's held-out scores in one split of one organisation.

    Attributes:
        label: int8 [rows].
        score: float64 [rows].
        unit: int64 [rows], the unit's number within the organisation, the same in every split and for every model.
    """

    label: NDArray[np.int8]
    score: NDArray[np.float64]
    unit: NDArray[np.int64]


def draw_counts(units: int, *, replicates: int, seed: int) -> NDArray[np.float64]:
    """How often each unit is drawn, float64 [replicates, units]; each row sums to `units`."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, max(units, 1), size=(replicates, units))
    flat = drawn + np.arange(replicates)[:, None] * units
    return np.bincount(flat.ravel(), minlength=replicates * units).reshape(replicates, units).astype(np.float64)


def bootstrap_auc(panels: Sequence[Panel], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean AUC over splits in each replicate, float64 [replicates].

    A split whose draw holds one class only is left out of that replicate; NaN when all are.
    """
    return mean_known(np.stack([_panel_auc(panel, counts) for panel in panels]))


def _panel_auc(panel: Panel, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    ranked = RankedScores.of(panel.label, panel.score)
    step = max(1, _ROWS_AT_ONCE // max(1, panel.label.size))
    parts = [ranked.auc(counts[at : at + step][:, panel.unit]) for at in range(0, counts.shape[0], step)]
    return np.concatenate(parts)


def mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over axis 0 of the values that are not NaN; NaN where none is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    number = known.sum(axis=0)
    means = np.full(total.shape, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    return means


def percentile_interval(samples: NDArray[np.float64], *, coverage: float = 0.95) -> tuple[float, float]:
    """The central part of the bootstrap distribution (percentile interval); NaN when there is none."""
    known = samples[~np.isnan(samples)]
    if known.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)


def p_value_worse(differences: NDArray[np.float64]) -> float:
    """One-sided bootstrap p-value of "the difference is not below zero"; NaN when no replicate has one.

    (1 + replicates at or above zero) / (replicates + 1): small means worse by more than noise.
    """
    known = differences[~np.isnan(differences)]
    if known.size == 0:
        return float("nan")
    return float((1 + np.count_nonzero(known >= 0)) / (known.size + 1))


def holm(p_values: Mapping[str, float], *, level: float = 0.05) -> frozenset[str]:
    """Names whose hypothesis is rejected at a family-wise `level` (Holm 1979). NaN is never rejected nor counted."""
    known = sorted((p, name) for name, p in p_values.items() if p == p)
    rejected: set[str] = set()
    for rank, (p, name) in enumerate(known):
        if p > level / (len(known) - rank):
            break
        rejected.add(name)
    return frozenset(rejected)
