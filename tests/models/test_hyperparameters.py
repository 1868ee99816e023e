"""Shares of a run, and water-filling against a general-purpose optimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from fedcrm.models.hyperparameters import PRIOR_ENERGY, hyperparameters, water_fill
from twins.tables import OPEN_SCHEMA, SCHEMA

WORTHS = st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=12).map(np.array)


@pytest.mark.parametrize("schema", [SCHEMA, OPEN_SCHEMA], ids=["declared", "undeclared"])
@pytest.mark.parametrize("gradients", [1, 2, 10])
@pytest.mark.parametrize("continued", [False, True])
def test_rounds_share_exactly_the_privacy_loss(schema, gradients, continued):
    """Whatever is asked for, the shares are positive and sum to one, with one gradient before the second moment."""
    found = hyperparameters(schema, gradients=gradients, pairs=True, continued=continued)
    assert math.fsum(r.share for r in found.rounds) == pytest.approx(1.0, abs=1e-12)
    assert all(r.share > 0 for r in found.rounds)
    purposes = [r.purpose for r in found.rounds if r.purpose != "survey"]
    fixed = [] if continued else ["histogram", "gradient 1", "moment"]
    assert purposes == fixed + [f"gradient {i + 1}" for i in range(0 if continued else 1, gradients)]


def test_many_columns_cannot_all_matter():
    """The prior of all columns together does not grow with their number."""
    found = hyperparameters(SCHEMA, gradients=10, pairs=True)
    assert found.column_variance * len(SCHEMA.columns) == pytest.approx(PRIOR_ENERGY)


@settings(max_examples=60, deadline=None)
@given(worth=WORTHS, noise=st.floats(1e-6, 10.0))
def test_water_filling_is_the_least_expected_error(worth, noise):
    """No split of the norm that an optimiser finds leaves less error; shares are not negative and sum to one."""
    share = water_fill(worth, noise)
    assert share.min() >= 0 and share.sum() == pytest.approx(1.0)

    def error(x):
        x = np.abs(x) / np.abs(x).sum()
        return float((worth / (1.0 + x * worth / noise)).sum())

    start = np.full(worth.shape[0], 1.0 / worth.shape[0])
    found = minimize(error, start, method="Nelder-Mead", options={"maxiter": 400})
    assert error(share) <= found.fun * (1 + 1e-9)
    assert error(share) <= error(start) * (1 + 1e-9)


def test_what_is_worth_less_than_its_noise_is_not_asked_for():
    """Under much noise the strongest coordinate takes all; under little everyone takes part."""
    worth = np.array([1.0, 0.1, 0.01])
    np.testing.assert_array_equal(water_fill(worth, 10.0), [1.0, 0.0, 0.0])
    assert (water_fill(worth, 1e-6) > 0).all()
    assert water_fill(np.zeros(0), 1.0).shape == (0,)
    assert water_fill(np.zeros(3), 1.0).sum() == pytest.approx(1.0)
