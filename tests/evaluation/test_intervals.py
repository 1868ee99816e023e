"""The bootstrap: seeded, by whole units, with intervals that cover what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fedcrm.evaluation.intervals import (
    Panel,
    bootstrap_auc,
    draw_counts,
    holm,
    mean_known,
    p_value_worse,
    percentile_interval,
)
from fedcrm.evaluation.metrics import auc


def _panel(units: int, *, seed: int, shift: float, rows_each: int = 1) -> Panel:
    """Normal scores whose means differ by `shift` between the classes."""
    stream = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), rows_each)
    label = (stream.random(unit.size) < 0.4).astype(np.int8)
    return Panel(label, stream.normal(size=unit.size) + shift * label, unit)


@settings(max_examples=30, deadline=None)
@given(units=st.integers(0, 40), replicates=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_draws_are_seeded_and_draw_as_many_units_as_there_are(units, replicates, seed):
    """Same seed, same draws; each replicate draws `units` units."""
    counts = draw_counts(units, replicates=replicates, seed=seed)
    assert counts.shape == (replicates, units) and (counts.sum(axis=1) == units).all()
    np.testing.assert_array_equal(counts, draw_counts(units, replicates=replicates, seed=seed))


def test_other_seeds_draw_otherwise():
    """The seed matters."""
    assert (draw_counts(50, replicates=5, seed=1) != draw_counts(50, replicates=5, seed=2)).any()


def test_a_replicate_is_the_auc_of_the_drawn_units_with_all_their_rows():
    """Counting rows by their unit's draws is repeating them, averaged over splits."""
    panels = [_panel(30, seed=s, shift=1.0, rows_each=3) for s in (1, 2)]
    counts = draw_counts(30, replicates=6, seed=3)
    found = bootstrap_auc(panels, counts)
    for value, drawn in zip(found, counts.astype(int), strict=True):
        areas = [auc(np.repeat(p.label, drawn[p.unit]), np.repeat(p.score, drawn[p.unit])) for p in panels]
        assert value == pytest.approx(np.mean(areas), abs=1e-12)


def test_batches_of_replicates_do_not_change_the_result(monkeypatch):
    """Bounded memory gives the same numbers."""
    panel, counts = _panel(40, seed=1, shift=0.5), draw_counts(40, replicates=11, seed=1)
    whole = bootstrap_auc([panel], counts)
    monkeypatch.setattr("fedcrm.evaluation.intervals._ROWS_AT_ONCE", 90)
    np.testing.assert_array_equal(bootstrap_auc([panel], counts), whole)


def test_intervals_cover_the_true_auc_about_as_often_as_stated():
    """Two normal populations with known AUC: 95 % intervals hold it in about 95 of 100 samples."""
    true = norm.cdf(1.0 / math.sqrt(2))
    covered = 0
    for seed in range(120):
        panel = _panel(200, seed=seed, shift=1.0)
        low, high = percentile_interval(bootstrap_auc([panel], draw_counts(200, replicates=300, seed=seed)))
        covered += low <= true <= high
    assert 106 <= covered <= 119


def test_one_class_only_gives_no_interval():
    """Undefined in every draw: NaN on both ends."""
    panel = Panel(np.ones(10, dtype=np.int8), np.linspace(0, 1, 10), np.arange(10))
    samples = bootstrap_auc([panel], draw_counts(10, replicates=20, seed=1))
    assert np.isnan(samples).all()
    assert all(math.isnan(end) for end in percentile_interval(samples))
    assert math.isnan(p_value_worse(samples))


def test_a_split_without_both_classes_is_left_out_of_the_mean():
    """The other split alone counts."""
    good, bad = _panel(20, seed=1, shift=1.0), Panel(np.zeros(20, dtype=np.int8), np.zeros(20), np.arange(20))
    counts = draw_counts(20, replicates=15, seed=1)
    np.testing.assert_array_equal(bootstrap_auc([good, bad], counts), bootstrap_auc([good], counts))


def test_mean_known_ignores_what_is_not_known():
    """Column means over known values; NaN only where nothing is."""
    nan = float("nan")
    np.testing.assert_array_equal(mean_known(np.array([[1.0, nan, nan], [3.0, 5.0, nan]])), [2.0, 5.0, nan])


def test_percentile_interval_takes_the_central_part():
    """0 … 1000: from 25 to 975; another coverage is narrower."""
    samples = np.arange(1001.0)
    assert percentile_interval(samples) == pytest.approx((25.0, 975.0))
    assert percentile_interval(samples, coverage=0.5) == pytest.approx((250.0, 750.0))


def test_p_value_counts_replicates_at_or_above_zero():
    """(1 + hits) / (replicates + 1), without the undefined ones."""
    assert p_value_worse(np.array([-1.0, -2.0, 0.0, float("nan")])) == pytest.approx(2 / 4)
    assert p_value_worse(np.full(999, -1.0)) == pytest.approx(1 / 1000)


def test_holm_steps_down_and_skips_the_undefined():
    """Rejects while p ≤ level / (remaining), then stops for good; NaN takes no part."""
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == {"a", "d"}
    assert holm({"a": 0.02, "b": 0.05}) == {"a", "b"}
    assert holm({"a": 0.026, "b": 0.001, "c": float("nan")}) == {"a", "b"}
    assert holm({"a": 0.03, "b": 0.03}) == frozenset() == holm({})
