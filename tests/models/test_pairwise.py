"""The learner converges to the penalised optimum it states, finds pairs, continues from a released model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from fedcrm.benchmark.without_privacy import train_without_privacy
from fedcrm.evaluation.metrics import auc
from fedcrm.features.columns import FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable
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


def _opposed(units, *, seed):
    """A table whose label depends on the product of two columns' sides and on nothing else."""
    table = invented_table(units, seed=seed)
    stream = np.random.default_rng(seed)
    first, second = stream.uniform(0, 100, units), stream.uniform(0, 100, units)
    numbers = np.column_stack([first, second, table.numbers[:, 2]])
    odds = 0.4 * np.sign(first - 50) + 0.4 * np.sign(second - 50) + 2.0 * np.sign(first - 50) * np.sign(second - 50)
    schema = FeatureSchema((NumberColumn("a", 0, 100), NumberColumn("b", 0, 100), NumberColumn("c", 0, 100)))
    label = (stream.random(units) < expit(odds)).astype(np.int8)
    return FeatureTable(schema, numbers, table.codes[:, :0], label, table.offsets)


def test_an_interaction_is_found_and_named():
    """Where only the product of two columns matters, pairs rank well, columns alone do not, and the reason says so."""
    table, fresh = _opposed(3_000, seed=1), _opposed(2_000, seed=2)
    facts = PublicFacts(table.schema, 1, 10_000)
    alone, paired = (train_without_privacy({"org": table}, PairwiseLearner(pairs=p), facts) for p in (False, True))
    assert auc(fresh.label, paired.predict(fresh)) > auc(fresh.label, alone.predict(fresh)) + 0.1
    strongest = [told.reasons[0].feature for told in paired.explain(fresh.take_units(np.arange(50)))]
    assert strongest.count("a × b") > 30


def test_a_shared_value_has_an_effect_of_its_own():
    """An amount that many rows share and that behaves unlike its neighbours is learnt, not smoothed away."""
    stream = np.random.default_rng(3)
    amount = np.where(stream.random(4_000) < 0.1, 50_000.0, stream.uniform(0, 100_000, 4_000))
    label = (stream.random(4_000) < np.where(amount == 50_000.0, 0.8, 0.3)).astype(np.int8)
    schema = FeatureSchema((NumberColumn("amount", 0, 100_000),))
    table = FeatureTable(schema, amount[:, None], np.zeros((4_000, 0), np.int32), label, np.arange(4_001))
    model = train_without_privacy({"org": table}, PairwiseLearner(), PublicFacts(schema, 1, 10_000))
    asked = np.array([[50_000.0], [46_000.0], [54_000.0]])
    rows = FeatureTable(schema, asked, np.zeros((3, 0), np.int32), np.zeros(3, np.int8), np.arange(4))
    scores = model.predict(rows)
    assert scores[0] > 0.6 > 0.45 > scores[1:].max()
