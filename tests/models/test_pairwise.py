"""The learner converges to the penalised optimum it states, finds pairs, continues from a released model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from fedcrm.benchmark.without_privacy import train_without_privacy
from fedcrm.models.basis import AdditiveBasis
from fedcrm.models.learner import PublicFacts
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.models.posterior import BASE_VARIANCE
from twins.tables import invented_table


@pytest.fixture(scope="module")
def table():
    """A table small enough to be learnt to the last digit."""
    return invented_table(500, seed=1)


@pytest.fixture(scope="module")
def problem(table):
    """The converged model, its design matrix [1, φ] and the prior precision of each parameter."""
    learner = PairwiseLearner(gradients=180, pairs=False, row_bound=100.0)
    with threadpool_limits(1):
        model = train_without_privacy({"org": table}, learner, PublicFacts(table.schema, 1, 1000))
    basis = AdditiveBasis.from_arrays(model.extras)
    design = np.column_stack([np.ones(table.rows), basis.expand(model.cells.locate(table), model.cells.offsets)])
    variance = np.concatenate([[BASE_VARIANCE], model.extras["group_variance"][basis.column_of]])
    return model, design, 1.0 / variance


def test_many_exact_gradients_reach_the_posterior_mode(table, problem):
    """Without noise the parameters are those of a general-purpose optimiser on the same basis and prior."""
    model, design, precision = problem

    def objective(theta):
        odds = design @ theta
        loss = np.logaddexp(0.0, odds).sum() - table.label @ odds + 0.5 * precision @ theta**2
        return loss, precision * theta - design.T @ (table.label - expit(odds))

    start = np.zeros(design.shape[1])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-8}).x
    np.testing.assert_allclose(model.extras["mean"], found, atol=1e-6)
    assert np.abs(objective(model.extras["mean"])[1]).max() < 1e-4 < np.abs(objective(start)[1]).max()


def test_the_model_scores_what_its_parameters_say(table, problem):
    """The released points per cell are the basis times the parameters."""
    model, design, _ = problem
    np.testing.assert_allclose(model.log_odds(table), design @ model.extras["mean"], atol=1e-9)


def test_more_gradients_come_closer(table, problem):
    """Six exact gradients are closer to the optimum than one."""
    model, facts = problem[0], PublicFacts(table.schema, 1, 1000)
    far = [
        train_without_privacy(
            {"org": table}, PairwiseLearner(gradients=g, pairs=False, row_bound=100.0), facts
        ).log_odds(table)
        - model.log_odds(table)
        for g in (1, 6)
    ]
    assert np.abs(far[1]).max() < np.abs(far[0]).max() / 2
