"""Held-out units: chosen by each unit's id alone, held out whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.benchmark.splits import Split, hash_position, split_by_hash, split_by_time, time_cut
from fedcrm.errors import InputError
from fedcrm.features.table import FeatureTable
from twins.tables import invented_table, with_cells, with_label

TABLE = invented_table(60, seed=1, rows_each=2)


def _held(table: FeatureTable, seed: int) -> set[str]:
    return set(split_by_hash(table, seed=seed).held_out.unit_ids)


@settings(max_examples=40, deadline=None)
@given(chosen=st.lists(st.integers(0, 59), unique=True), seed=st.integers(0, 1000))
def test_a_units_side_depends_on_its_id_alone(chosen, seed):
    """Other units, their order and every value and label leave a unit's side as it is."""
    part = TABLE.take_units(np.array(chosen, dtype=np.int64))
    assert _held(part, seed) == _held(TABLE, seed) & set(part.unit_ids)
    changed = with_label(with_cells(TABLE, -TABLE.numbers), 1 - TABLE.label)
    assert _held(changed, seed) == _held(TABLE, seed)
    assert _held(TABLE, seed) == {unit for unit in TABLE.unit_ids if hash_position(unit, seed=seed) < 0.25}


def _check_apart(table: FeatureTable, split: Split) -> None:
    assert not set(split.training.unit_ids) & set(split.held_out.unit_ids)
    assert split.training.rows + split.held_out.rows + split.left_out_rows == table.rows
    assert tuple(table.unit_ids[u] for u in split.held_out_units) == split.held_out.unit_ids


def test_about_a_quarter_is_held_out_whole_and_otherwise_under_another_seed():
    """Over many units a quarter; no unit on both sides; the seed changes who."""
    table = invented_table(4000, seed=2)
    split = split_by_hash(table, seed=1)
    assert 0.22 < split.held_out.units / table.units < 0.28
    _check_apart(table, split)
    assert _held(table, 1) != _held(table, 2)


def test_purposes_are_drawn_apart():
    """Folds and hold-out do not share their hash."""
    assert hash_position("a", seed=1) != hash_position("a", seed=1, purpose="folds")
    assert all(0 <= hash_position(str(i), seed=3) < 1 for i in range(100))


@settings(max_examples=40, deadline=None)
@given(months=st.lists(st.integers(0, 9), min_size=120, max_size=120).filter(lambda m: len(set(m)) > 1))
def test_a_split_by_time_trains_on_the_past_and_judges_new_units(months):
    """Training holds rows before the cut only; held-out units have none before it."""
    time = np.array(months, dtype=np.int64)
    table = with_cells(TABLE, np.column_stack([time] * 3).astype(float))
    cut = time_cut({"org": time})
    split = split_by_time(table, time, cut=cut)
    _check_apart(table, split)
    assert (split.training.numbers < cut).all() and (split.held_out.numbers >= cut).all()
    assert (time >= cut).mean() <= 0.25 or cut == time.max()
    assert (time < cut).any()


def test_one_month_cannot_be_split_by_time():
    """There is no past to learn from."""
    with pytest.raises(InputError, match="all rows lie in one month"):
        time_cut({"a": np.array([4, 4]), "b": np.array([4])})
