"""Linear fits under a prior: the optimum, the folds, the limits of a tight and a wide prior."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from fedcrm.models.local_prior import FoldedRows, Prior, fit_all


def invented(rows, *, seed, folds=3):
    """Rows of a logistic process with four coefficients."""
    stream = np.random.default_rng(seed)
    design = np.column_stack([np.ones(rows), stream.normal(size=(rows, 3))])
    label = (stream.random(rows) < expit(design @ [0.5, 1.0, -1.0, 0.0])).astype(np.float64)
    return FoldedRows(design, np.zeros(rows), label, np.ones(rows), np.arange(rows) % folds, folds)


def fitted(rows, variance):
    """All fits under N(0, variance)."""
    prior = Prior.of(np.zeros(4), variance * np.eye(4))
    return fit_all(rows, prior, rows.curvatures(prior.mean)), prior


@pytest.mark.parametrize("variance", [1e-6, 0.1, 10.0])
def test_the_slope_vanishes_where_it_ends(variance):
    """Every fit is a stationary point of its own posterior."""
    rows = invented(300, seed=1)
    fits, prior = fitted(rows, variance)
    for weight, at in zip(rows.weights, fits.coefficients, strict=True):
        slope = rows.design.T @ (weight * (expit(rows.design @ at) - rows.label)) + prior.precision @ at
        assert np.abs(slope).max() < 0.1


def test_a_tight_prior_stays_and_a_wide_one_learns():
    """The prior's width decides who speaks."""
    rows = invented(3000, seed=2)
    assert np.abs(fitted(rows, 1e-8)[0].coefficients).max() < 1e-3
    np.testing.assert_allclose(fitted(rows, 100.0)[0].coefficients[-1], [0.5, 1.0, -1.0, 0.0], atol=0.2)


def test_a_fold_is_judged_by_a_fit_that_left_it_out():
    """Other labels in a fold change every fit but its own."""
    rows = invented(90, seed=3)
    turned = FoldedRows(
        rows.design, rows.offset, np.where(rows.fold == 1, 1 - rows.label, rows.label), rows.weight, rows.fold, 3
    )
    curvatures = rows.curvatures(np.zeros(4))
    prior = Prior.of(np.zeros(4), np.eye(4))
    one, two = (fit_all(r, prior, curvatures).coefficients for r in (rows, turned))
    np.testing.assert_array_equal(one[1], two[1])
    assert all(not np.allclose(one[k], two[k]) for k in (0, 2, 3))


def test_out_of_fold_scores_come_from_the_fits_named():
    """Each row's score is its own fold's coefficients on its design, offset included."""
    rows = invented(60, seed=4)
    moved = FoldedRows(rows.design, np.full(60, 0.3), rows.label, rows.weight, rows.fold, 3)
    fits, _ = fitted(moved, 1.0)
    for row in range(60):
        expected = 0.3 + rows.design[row] @ fits.coefficients[rows.fold[row]]
        assert fits.out_of_fold[row] == pytest.approx(expected)


def test_a_start_far_off_still_arrives():
    """Where the prior is certain of the wrong answer, damping keeps the steps from running away."""
    rows = invented(400, seed=5)
    prior = Prior.of(np.array([25.0, 0.0, 0.0, 0.0]), 100.0 * np.eye(4))
    fits = fit_all(rows, prior, rows.curvatures(prior.mean))
    assert np.isfinite(fits.coefficients).all()
