"""What an ablation does to its organisations: wrong labels, unequal budgets; chosen by a keyed hash of names alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fedcrm.benchmark.splits import hash_position, hash_positions
from fedcrm.features.table import FeatureTable

WRONG_SHARE = 0.4
"""Share of a corrupted organisation's units whose labels are flipped."""


def by_hash(names: Collection[str], *, seed: int, purpose: str) -> list[str]:
    """The names in an order that only they, the seed and the purpose decide."""
    return sorted(names, key=lambda name: (hash_position(name, seed=seed, purpose=purpose), name))


def corrupted_names(names: Collection[str], *, seed: int) -> tuple[str, ...]:
    """A third of the organisations (three of nine), drawn by the seed, sorted."""
    return tuple(sorted(by_hash(names, seed=seed, purpose="corrupted")[: len(names) // 3]))


def with_wrong_labels(
    tables: Mapping[str, FeatureTable], corrupted: Sequence[str], *, seed: int, share: float = WRONG_SHARE
) -> dict[str, FeatureTable]:
    """The tables, with about `share` of the units of these organisations flipped, a unit with all its rows."""
    return {
        name: _flipped(table, seed=seed, share=share) if name in corrupted else table for name, table in tables.items()
    }


def _flipped(table: FeatureTable, *, seed: int, share: float) -> FeatureTable:
    wrong = np.repeat(hash_positions(table, seed=seed, purpose="wrong label") < share, np.diff(table.offsets))
    return replace(table, label=np.where(wrong, 1 - table.label, table.label).astype(np.int8))


def spread_budgets(names: Collection[str], *, seed: int, strictest: float, fullest: float) -> dict[str, float]:
    """ε spread geometrically from the strictest to the fullest, given out by the seed."""
    order = by_hash(names, seed=seed, purpose="budgets")
    epsilons = np.geomspace(strictest, fullest, len(order)).tolist()
    return dict(zip(order, epsilons, strict=True)) if len(order) > 1 else dict.fromkeys(order, fullest)
