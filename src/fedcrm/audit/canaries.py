"""Invented rows for the scratch federation, and canaries: units made to move every release as far as they can.

Nothing here looks at a record: values are drawn from the run's public columns alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fedcrm.features.columns import FeatureSchema, NumberColumn
from fedcrm.features.table import MISSING, FeatureTable
from fedcrm.models.learner import Learner, Query
from fedcrm.protocol.local_data import unit_by_unit

_PLAUSIBLE, _EXTREME, _MANY_ROWS = 300, 150, 20
_SWEEPS = 2
_BEYOND = 1e3
"""Extreme numbers lie this many ranges outside the declared one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A release a canary is made against.

    Attributes:
        query: What the learner was asked for.
        noise_sd: Standard deviation of the honest noise, in the learner's units.
    """

    query: Query
    noise_sd: float


def invented_rows(schema: FeatureSchema, *, units: int, stream: Generator, missing: float = 0.05) -> FeatureTable:
    """Units of one plausible row each, with some values missing."""
    numbers = np.zeros((units, len(schema.numbers)))
    for at, number in enumerate(schema.numbers):
        numbers[:, at] = _spread(number, stream.random(units))
    categories = np.zeros((units, len(schema.categories)), np.int32)
    for at, column in enumerate(schema.categories):
        categories[:, at] = stream.integers(0, column.levels + 1, units)
    numbers[stream.random(numbers.shape) < missing] = np.nan
    categories[stream.random(categories.shape) < missing] = MISSING
    label = stream.integers(0, 2, units).astype(np.int8)
    return FeatureTable(schema, numbers, categories, label, np.arange(units + 1, dtype=np.int64))


def strongest_canaries(
    learner: Learner, targets: Sequence[Target], schema: FeatureSchema, *, count: int, stream: Generator
) -> FeatureTable:
    """The units that move the given releases furthest against their noise, strongest first.

    Candidates are plausible rows, numbers far outside their range, and many rows in one unit; the best then has each of
    its columns tried at other values. Strength is Σ min(‖v‖, C)²/σ² over the releases; among equals the one whose raw
    vector is longest, so that a clip that does not hold is felt.
    """
    pool = joined([_plausible(schema, stream), _extreme(schema, stream), _crowds(schema, stream)])
    for _ in range(_SWEEPS):
        best = pool.take_units(_ranked(learner, targets, pool)[: 2 * count])
        pool = joined([best, _varied(best.take_units(np.zeros(1, np.int64)), stream)])
    return pool.take_units(_ranked(learner, targets, pool)[:count])


def joined(tables: Sequence[FeatureTable]) -> FeatureTable:
    """All units of several tables of one schema."""
    lengths = np.concatenate([np.diff(table.offsets) for table in tables])
    return FeatureTable(
        tables[0].schema,
        np.concatenate([table.numbers for table in tables]),
        np.concatenate([table.codes for table in tables]),
        np.concatenate([table.label for table in tables]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def _ranked(learner: Learner, targets: Sequence[Target], pool: FeatureTable) -> NDArray[np.int64]:
    """Candidates by strength; raw length, on a scale that never outweighs it, decides between equals."""
    strength, raw = np.zeros(pool.units), np.zeros(pool.units)
    for target in targets:
        norms = _norms(learner, target.query, pool)
        strength += np.minimum(norms, target.query.clipping_norm) ** 2 / target.noise_sd**2
        raw += np.minimum(norms / target.query.clipping_norm, 1e9)
    return np.lexsort((-raw, -np.round(strength / max(strength.max(), 1e-300), 4)))


def _norms(learner: Learner, query: Query, pool: FeatureTable) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.concatenate([np.linalg.norm(batch, axis=1) for batch in unit_by_unit(learner, query, pool)])
    return np.where(np.isfinite(norms), norms, 0.0)


def _plausible(schema: FeatureSchema, stream: Generator) -> FeatureTable:
    return invented_rows(schema, units=_PLAUSIBLE, stream=stream, missing=0.0)


def _extreme(schema: FeatureSchema, stream: Generator) -> FeatureTable:
    """Numbers at and far beyond the ends of their ranges, values outside every list."""
    table = invented_rows(schema, units=_EXTREME, stream=stream, missing=0.0)
    ends = stream.choice(np.array([0.0, 1.0, -_BEYOND, _BEYOND]), table.numbers.shape)
    for at, column in enumerate(schema.numbers):
        table.numbers[:, at] = _spread(column, ends[:, at])
    return table


def _crowds(schema: FeatureSchema, stream: Generator) -> FeatureTable:
    """Units of many equal rows, of both kinds."""
    one = joined([_plausible(schema, stream), _extreme(schema, stream)])
    chosen = np.repeat(stream.integers(0, one.units, 10), _MANY_ROWS)
    rows = one.take_units(chosen)
    offsets = np.arange(0, len(chosen) + 1, _MANY_ROWS, dtype=np.int64)
    return FeatureTable(schema, rows.numbers, rows.codes, rows.label, offsets)


def _varied(one: FeatureTable, stream: Generator) -> FeatureTable:
    """Copies of a unit, each with one column (or the label) at another value."""
    schema, rows = one.schema, one.rows
    copies = [one]
    for at, column in enumerate(schema.numbers):
        for value in _spread(column, np.concatenate([stream.random(6), [0.0, 1.0, _BEYOND]])):
            copies.append(_copy(one, number=(at, float(value))))
    for at, category in enumerate(schema.categories):
        levels = np.unique(stream.integers(0, category.levels + 1, 9))
        copies += [_copy(one, code=(at, int(level))) for level in levels]
    copies.append(FeatureTable(schema, one.numbers, one.codes, (1 - one.label).astype(np.int8), np.array([0, rows])))
    return joined(copies)


def _copy(
    one: FeatureTable, *, number: tuple[int, float] | None = None, code: tuple[int, int] | None = None
) -> FeatureTable:
    numbers, codes = one.numbers.copy(), one.codes.copy()
    if number is not None:
        numbers[:, number[0]] = number[1]
    if code is not None:
        codes[:, code[0]] = code[1]
    return FeatureTable(one.schema, numbers, codes, one.label, one.offsets)


def _spread(column: NumberColumn, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values at the given places of a column's public range (0 its low end, 1 its high end); [−100, 100] without."""
    low, high = (column.low, column.high) if column.low is not None and column.high is not None else (-100.0, 100.0)
    values = low + place * (high - low)
    return np.round(values) if column.whole else values
