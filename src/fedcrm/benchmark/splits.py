"""Which units are held out. A unit is held out whole, by a rule that no other unit can move.

`hash`: a keyed hash of the unit's id alone (HMAC-SHA256 under the seed) holds out about a quarter of the units.

`time`: the cut is the first month at or after which at most a quarter of all rows lie. A unit whose every row is at or
after the cut is held out; a unit with rows before the cut is trained on with those rows. Rows after the cut of a unit
that is trained on are left out of both sides, so that training sees only the past and held-out units are new. The cut
is one number read off the rows of all units, hence part of the benchmark's set-up and outside the privacy guarantee.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fedcrm.errors import InputError
from fedcrm.features.table import FeatureTable

HOLDOUT_SHARE = 0.25
"""Share of the units (hash) or rows (time) held out."""


class SplitRule(StrEnum):
    """How held-out units are chosen."""

    HASH = "hash"
    TIME = "time"


@dataclass(frozen=True, slots=True, repr=False)
class Split:
    """One organisation's two sides.

    Attributes:
        training: Rows a model may learn from.
        held_out: Rows it is judged on; no unit is on both sides.
        held_out_units: int64 [held-out units], their numbers in the whole table.
        left_out_rows: Rows on neither side (`time` only).
    """

    training: FeatureTable
    held_out: FeatureTable
    held_out_units: NDArray[np.int64]
    left_out_rows: int = 0


def hash_position(unit_id: str, *, seed: int, purpose: str = "holdout") -> float:
    """The unit's place in [0, 1) under this seed: 53 bits of HMAC-SHA256(purpose and seed; unit id)."""
    digest = hmac.new(f"fedcrm/{purpose}/{seed}".encode(), unit_id.encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / float(1 << 53)


def hash_positions(table: FeatureTable, *, seed: int, purpose: str = "holdout") -> NDArray[np.float64]:
    """`hash_position` of every unit, float64 [units]."""
    return np.array([hash_position(unit, seed=seed, purpose=purpose) for unit in table.unit_ids], dtype=np.float64)


def split_by_hash(table: FeatureTable, *, seed: int) -> Split:
    """Hold out the units whose hash falls in the first quarter."""
    held = hash_positions(table, seed=seed) < HOLDOUT_SHARE
    inside, outside = np.flatnonzero(~held), np.flatnonzero(held)
    return Split(table.take_units(inside), table.take_units(outside), outside)


def time_cut(times: Mapping[str, NDArray[np.int64]]) -> int:
    """First month at or after which at most a quarter of all rows lie.

    Raises:
        InputError: when every row lies in one month, so that no cut leaves rows on both sides.
    """
    every = np.sort(np.concatenate(list(times.values())))
    months, first = np.unique(every, return_index=True)
    later = (every.size - first) / max(every.size, 1)
    fitting = months[(later <= HOLDOUT_SHARE) & (first > 0)]
    if fitting.size:
        return int(fitting[0])
    if months.size > 1:
        return int(months[-1])
    raise InputError(
        "all rows lie in one month",
        why="a split by time needs rows before and after a cut",
        fix="use --split hash, or give rows of several months",
    )


def split_by_time(table: FeatureTable, time: NDArray[np.int64], *, cut: int) -> Split:
    """Hold out the units that begin at or after the cut; keep only the earlier rows of the others."""
    later = time >= cut
    per_unit = np.add.reduceat(np.r_[later, False].astype(np.int64), table.offsets[:-1]) if table.units else later[:0]
    held = per_unit == np.diff(table.offsets)
    outside = np.flatnonzero(held)
    past = ~later & ~np.repeat(held, np.diff(table.offsets))
    training = _take_rows(table, past, np.flatnonzero(~held))
    left_out = table.rows - int(past.sum()) - int(np.diff(table.offsets)[held].sum())
    return Split(training, table.take_units(outside), outside, left_out)


def _take_rows(table: FeatureTable, rows: NDArray[np.bool_], units: NDArray[np.int64]) -> FeatureTable:
    kept = np.concatenate([[0], np.cumsum(rows)])
    lengths = kept[table.offsets[units + 1]] - kept[table.offsets[units]]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = tuple(table.unit_ids[u] for u in units)
    return FeatureTable(table.schema, table.numbers[rows], table.codes[rows], table.label[rows], offsets, ids)
