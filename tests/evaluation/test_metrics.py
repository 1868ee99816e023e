"""Figures of merit against scikit-learn, and NaN where the data define none."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from fedcrm.evaluation.metrics import RankedScores, accuracy, auc, calibration, calibration_error, log_loss

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 4)), min_size=2, max_size=60)


def _both(label) -> bool:
    return 0 < sum(label) < len(label)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS.filter(lambda rows: _both([row[0] for row in rows])))
def test_auc_counts_ties_one_half(rows):
    """With many equal scores it is scikit-learn's AUC, and the mean over all pairs."""
    label, score = [row[0] for row in rows], [row[1] / 7 for row in rows]
    scored = list(zip(score, label, strict=True))
    pairs = [(p > n) + (p == n) / 2 for p, y in scored for n, z in scored if y > z]
    assert auc(label, score) == pytest.approx(reference.roc_auc_score(label, score), abs=1e-12)
    assert auc(label, score) == pytest.approx(np.mean(pairs), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS)
def test_weighted_auc_counts_a_row_as_often_as_drawn(rows):
    """Whole weights are repeated rows; a class without weight leaves the figure undefined."""
    label, score, often = (np.array(column) for column in zip(*rows, strict=True))
    found = RankedScores.of(label, score).auc(np.array([often, np.ones(len(rows))], dtype=float))
    for value, times in zip(found, (often, np.ones(len(rows), dtype=int)), strict=True):
        drawn_label, drawn_score = np.repeat(label, times), np.repeat(score, times)
        if _both(drawn_label.tolist()):
            assert value == pytest.approx(reference.roc_auc_score(drawn_label, drawn_score), abs=1e-12)
        else:
            assert math.isnan(value)


@pytest.mark.parametrize(("label", "score"), [([], []), ([1, 1, 1], [0.1, 0.5, 0.2]), ([0], [0.3]), ([1], [0.3])])
def test_auc_without_both_classes_is_not_a_number(label, score):
    """One class or no rows: NaN, not ½ and not a crash."""
    assert math.isnan(auc(label, score))


def test_auc_of_clear_cases():
    """A perfect order is 1, its reverse 0, equal scores ½."""
    label = [0, 0, 1, 1]
    assert (auc(label, [1, 2, 3, 4]), auc(label, [4, 3, 2, 1]), auc(label, [5, 5, 5, 5])) == (1.0, 0.0, 0.5)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
def test_accuracy_and_log_loss_are_the_usual_ones(rows):
    """Threshold ½ counts as positive; probabilities of 0 and 1 stay finite."""
    label, said = (np.array(column) for column in zip(*rows, strict=True))
    inside = np.clip(said, 1e-12, 1 - 1e-12)
    assert accuracy(label, said) == pytest.approx(reference.accuracy_score(label, said >= 0.5))
    assert log_loss(label, said) == pytest.approx(reference.log_loss(label, inside, labels=[0, 1]), abs=1e-9)
    assert math.isfinite(log_loss(label, 1 - label))


def test_no_rows_define_no_figure():
    """Every figure on no rows is NaN, and there are no calibration bins."""
    assert all(math.isnan(figure([], [])) for figure in (auc, accuracy, log_loss, calibration_error))
    assert calibration([], []) == ()


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=80), bins=st.integers(1, 12))
def test_calibration_bins_hold_every_row_once_in_order(rows, bins):
    """Bins differ by at most one row, rise in probability and keep the totals."""
    label, said = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    parts = calibration(label, said, bins=bins)
    sizes = [part.rows for part in parts]
    assert sum(sizes) == len(rows) and max(sizes) - min(sizes) <= 1 and len(parts) == min(bins, len(rows))
    assert all(a.predicted <= b.predicted + 1e-12 for a, b in pairwise(parts))
    assert sum(part.rows * part.observed for part in parts) == pytest.approx(label.sum())
    assert 0 <= calibration_error(label, said, bins=bins) <= 1


def test_calibration_error_of_known_cases():
    """Saying the base rate is calibrated; saying 0.9 where half are positive is off by 0.4."""
    label = np.tile([0, 1], 50)
    assert calibration_error(label, np.full(100, 0.5), bins=10) == pytest.approx(0.0)
    assert calibration_error(label, np.full(100, 0.9), bins=10) == pytest.approx(0.4)
