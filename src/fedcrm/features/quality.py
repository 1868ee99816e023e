"""Data quality of one organisation's table, for its own operator: measured and shown locally, never sent.

None of these numbers may set a weight: a weight that moves with the data moves the whole sum. Two ways are lawful. A
factor of each **unit**, from the unit's own rows, scales its vector before clipping (`unit_factors`). A factor of the
**organisation** has to be a charged, noisy measurement; label reliability is the one that earns it
(`fedcrm.models.reliability`). Completeness as unit factors did not: on tables with 60 % of the cells of three of nine
organisations blanked it moved the mean AUC by −0.1, 0.0 and +0.2 points, so it is off unless an operator sets it.

Freshness, label maturity and mapping confidence need dates and a mapping, which a feature table does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.table import FeatureTable


@dataclass(frozen=True, slots=True, repr=False)
class QualityMetric:
    """One metric of a table.

    Attributes:
        name: Its name.
        value: In [0, 1]; 1 is as it should be.
        sentence: What it says, without a number, for the operator.
    """

    name: str
    value: float
    sentence: str

    def __repr__(self) -> str:
        return f"QualityMetric({self.name})"


def completeness(table: FeatureTable) -> QualityMetric:
    """Share of a row's cells that are known, mean over units (a unit counts once); 1 for an empty table."""
    known = np.hstack([~np.isnan(table.numbers), table.codes >= 0])
    return QualityMetric("completeness", _mean_over_units(table, known), "Share of cells that hold a value.")


def validity(table: FeatureTable) -> QualityMetric:
    """Share of known cells inside the declared range or list, mean over units; 1 where nothing is known.

    Columns without a declaration count as valid.
    """
    sentence = "Share of known cells that lie inside the declared range or list of values."
    return QualityMetric("validity", _mean_over_units(table, valid_cells(table)), sentence)


def uniqueness(table: FeatureTable) -> QualityMetric:
    """Units that repeat no other unit, over all units: 1 − repeats/units, a repeat being a unit whose every cell equals
    an earlier unit's.

    Few, coarse columns make different customers look the same; then it says little.
    """
    if not table.units:
        return QualityMetric("uniqueness", 1.0, _UNIQUE)
    starts = table.offsets[:-1][np.diff(table.offsets) > 0]
    cells = np.hstack([table.numbers, table.codes.astype(np.float64)])
    pieces = np.split(cells, starts[1:])
    distinct = {piece.tobytes() for piece in pieces}
    return QualityMetric("uniqueness", len(distinct) / max(len(pieces), 1), _UNIQUE)


_UNIQUE = "Share of accounts that are not an exact repeat of another account."


def metrics(table: FeatureTable) -> tuple[QualityMetric, ...]:
    """All metrics a feature table can give."""
    return completeness(table), validity(table), uniqueness(table)


def score(found: tuple[QualityMetric, ...]) -> float:
    """One number of several metrics: their product, the share of the data that would pass all of them if failing one
    said nothing about failing another. For the operator only."""
    return float(np.prod([metric.value for metric in found]))


def in_words(found: tuple[QualityMetric, ...]) -> str:
    """All of it as one text for the operator, and for nobody else."""
    lines = [f"{metric.name} {100 * metric.value:.1f} % ({metric.sentence})" for metric in found]
    return f"Data quality {100 * score(found):.1f} %, shown here only: {'; '.join(lines)}"


def unit_factors(table: FeatureTable) -> NDArray[np.float64]:
    """Each unit's share of cells that are known and valid, mean over its rows, float64 [units]; 0 without rows.

    Guarantee: a unit's factor does not change when any other unit's rows do.
    """
    known = np.hstack([~np.isnan(table.numbers), table.codes >= 0])
    return np.nan_to_num(_unit_shares(table, np.where(known, valid_cells(table), 0.0)))


def valid_cells(table: FeatureTable) -> NDArray[np.float64]:
    """1 where a cell is inside its declaration, 0 outside, NaN where it is missing; float64 [rows, columns]."""
    low = np.array([-np.inf if c.low is None else c.low for c in table.schema.numbers])
    high = np.array([np.inf if c.high is None else c.high for c in table.schema.numbers])
    inside = np.where(np.isnan(table.numbers), np.nan, (table.numbers >= low) & (table.numbers <= high))
    levels = np.array([c.levels for c in table.schema.categories], dtype=np.int64)
    listed = np.where(table.codes < 0, np.nan, table.codes < levels)
    return np.hstack([inside, listed])


def _mean_over_units(table: FeatureTable, cells: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    shares = _unit_shares(table, cells)
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if known.size else 1.0


def _unit_shares(table: FeatureTable, cells: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean of each unit's cells, NaN cells left out; NaN for a unit without any."""
    given = ~np.isnan(cells.astype(np.float64))
    sums = np.where(given, cells, 0.0).sum(axis=1)
    unit = np.repeat(np.arange(table.units), np.diff(table.offsets))
    total = np.bincount(unit, weights=sums, minlength=table.units)
    count = np.bincount(unit, weights=given.sum(axis=1), minlength=table.units)
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
