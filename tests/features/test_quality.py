"""Data quality metrics: their definitions on small tables, and that unit factors stay inside their unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcrm.features.columns import CategoryColumn, FeatureSchema, NumberColumn
from fedcrm.features.quality import completeness, in_words, metrics, score, uniqueness, unit_factors, validity
from fedcrm.features.table import MISSING, FeatureTable
from fedcrm.privacy.calibration import mechanism_for
from fedcrm.privacy.mechanism import integer_bound, sum_units
from twins.tables import invented_table

SCHEMA = FeatureSchema((NumberColumn("age", 0, 100), CategoryColumn("plan", ("a", "b"))))


def _table(ages: list[float], plans: list[int], offsets: list[int]) -> FeatureTable:
    label = np.zeros(len(ages), np.int8)
    numbers, codes = np.array(ages, float)[:, None], np.array(plans, np.int32)[:, None]
    return FeatureTable(SCHEMA, numbers, codes, label, np.array(offsets, np.int64))


def test_completeness_counts_each_unit_once():
    """Unit one: two rows, three of four cells known; unit two: one row, none. Mean of ¾ and 0."""
    table = _table([1, np.nan, np.nan], [0, 1, MISSING], [0, 2, 3])
    assert completeness(table).value == pytest.approx(0.375)


def test_validity_is_about_known_cells_only():
    """An age of 200 and a plan outside the list are invalid; missing cells say nothing."""
    table = _table([200, np.nan, 5], [0, 2, MISSING], [0, 1, 2, 3])
    assert validity(table).value == pytest.approx((0.5 + 0.0 + 1.0) / 3)
    assert validity(_table([np.nan], [MISSING], [0, 1])).value == 1.0


def test_uniqueness_counts_exact_repeats_of_whole_units():
    """Three units, two of them equal in every cell and row; missing values are equal to each other."""
    table = _table([1, np.nan, 1, np.nan, 3], [0, 1, 0, 1, 0], [0, 2, 4, 5])
    assert uniqueness(table).value == pytest.approx(2 / 3)


def test_an_empty_table_has_nothing_wrong_with_it():
    """No rows, no complaints; units without rows do not break anything."""
    assert [metric.value for metric in metrics(_table([], [], [0]))] == [1.0, 1.0, 1.0]
    assert uniqueness(_table([1, 2], [0, 0], [0, 1, 1, 2])).value == 1.0


def test_the_score_is_the_product_and_nothing_prints_a_value():
    """One documented function; a metric's repr names it and holds no number."""
    found = metrics(_table([200, np.nan], [0, 0], [0, 1, 2]))
    assert score(found) == pytest.approx(0.75 * 0.75 * 1.0)
    assert not any(character.isdigit() for character in repr(found))


def test_the_operator_reads_every_metric_with_what_it_means():
    """One text with the score, each metric's name, its value and its sentence."""
    found = metrics(_table([200, np.nan], [0, 0], [0, 1, 2]))
    said = in_words(found)
    assert "Data quality 56.2 %" in said and "completeness 75.0 %" in said
    assert all(metric.sentence in said for metric in found)


@given(units=st.integers(2, 8), rows_each=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_units_factor_comes_from_its_own_rows(units, rows_each, seed):
    """Guarantee of `unit_factors`: other units' rows change nothing; factors lie in [0, 1]."""
    table = invented_table(units, seed=seed, rows_each=rows_each)
    changed = replace(table, numbers=table.numbers.copy())
    changed.numbers[rows_each:] = np.nan
    before, after = unit_factors(table), unit_factors(changed)
    assert before[0] == after[0] and ((before >= 0) & (before <= 1)).all()


@given(units=st.integers(1, 8), gone=st.integers(0, 7), seed=st.integers(0, 99))
def test_one_unit_moves_the_sum_by_at_most_its_bound_with_unit_factors(units, gone, seed):
    """From raw rows: with factors computed anew without the unit, the integer sum moves by at most γ·w·C."""
    table = invented_table(units, seed=seed)
    kept = table.take_units(np.array([unit for unit in range(units) if unit != gone % units], np.int64))
    mechanism = mechanism_for(
        dimension=3,
        clipping_norm=1.0,
        coordinate_bound=1.0,
        noise_multiplier=4.0,
        honest_shares=5,
        participants=9,
        units_magnitude=1000,
    )
    sums = [
        sum_units(mechanism, [np.nan_to_num(t.numbers)], weight=0.5, unit_quality=unit_factors(t)).values
        for t in (table, kept)
    ]
    assert sum(int(v) ** 2 for v in sums[0] - sums[1]) <= integer_bound(mechanism, 0.5)
