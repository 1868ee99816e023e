"""Continuing from a released model: its posterior is the prior of the next run, which asks for gradients alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fedcrm.benchmark.without_privacy import exact_sum
from fedcrm.errors import SchemaMismatch
from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import OpenedSum, PublicFacts
from fedcrm.models.naive import NaiveLogisticLearner
from fedcrm.models.pairwise import FORGETTING, PairwiseLearner
from fedcrm.models.scorecard import LogisticModel
from twins.tables import OPEN_SCHEMA, SCHEMA, invented_table, with_label

FACTS = PublicFacts(SCHEMA, 1, 10_000)
NOISE, GRADIENTS = 12.0, 6
"""Standard deviation in clipping norms, about that of ε = 2; gradients of a continued run."""


def _paired(units, *, seed):
    """A table whose label leans on a product of two columns as well, and the true log-odds of its rows."""
    table, stream = invented_table(units, seed=seed), np.random.default_rng(seed + 1000)
    age = np.nan_to_num((table.numbers[:, 0] - 40) / 23)
    revenue = np.nan_to_num(np.log(table.numbers[:, 1]) - 4)
    odds = 1.2 * age - 0.8 * revenue + 1.0 * age * revenue - 0.3
    label = (stream.random(units) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    return with_label(table, label), odds


@pytest.fixture(scope="module")
def rows():
    """What is trained on."""
    return _paired(2_500, seed=1)[0]


def _run(learner, table, *, seed, noise=NOISE, bytewise=False):
    """The model from noisy sums; state and query may travel as bytes, read by a participant without the prior."""
    stream, state, participant = np.random.default_rng(seed), learner.begin(FACTS), PairwiseLearner()
    with threadpool_limits(1):
        while (query := learner.query(state)) is not None:
            if bytewise:
                state = Bundle.from_bytes(state.to_bytes())
                query = replace(query, payload=Bundle.from_bytes(query.payload.to_bytes()))
            sd = noise * query.clipping_norm
            total = exact_sum(participant, query, table) + stream.normal(0.0, 1.0, query.dimension) * sd
            state = learner.update(state, OpenedSum(total, sd))
        return learner.finish(state)


@pytest.fixture(scope="module")
def released(rows):
    """A first run's model for each of four draws of the noise."""
    return [_run(PairwiseLearner(), rows, seed=seed) for seed in range(4)]


def _same(one, other):
    assert one.to_bundle().to_bytes() == other.to_bundle().to_bytes()


def test_a_continued_run_asks_for_gradients_alone(released):
    """No survey, histogram or moment is paid for again; the gradients share everything; columns and pairs stay."""
    learner = PairwiseLearner(gradients=3, prior=released[0])
    rounds = learner.rounds(FACTS)
    assert [r.purpose for r in rounds] == ["gradient 1", "gradient 2", "gradient 3"]
    assert sum(r.share for r in rounds) == pytest.approx(1.0)
    continued = _run(learner, invented_table(50, seed=9), seed=1)
    assert continued.components == released[0].components and len(continued.components) > len(SCHEMA.columns)


def test_it_begins_with_the_last_posterior_a_little_widened(released):
    """Before any release the parameters are the last ones, and the prior's precision is theirs times FORGETTING."""
    begun = PairwiseLearner(prior=released[0]).begin(FACTS)
    np.testing.assert_array_equal(begun.arrays["mean"], released[0].mean)
    np.testing.assert_array_equal(begun.arrays["prior_mean"], released[0].mean)
    product = begun.arrays["prior_precision"] @ released[0].covariance
    np.testing.assert_allclose(product, FORGETTING * np.eye(product.shape[0]), atol=1e-6)


def test_state_and_queries_travel_as_bytes(released, rows):
    """Byte by byte the same model; participants compute from the query alone and need no released model."""
    learner = PairwiseLearner(gradients=2, prior=released[0])
    _same(_run(learner, rows, seed=2, bytewise=True), _run(learner, rows, seed=2))


def test_a_model_read_back_from_its_bundle_continues_identically(released, rows):
    """All that a next run needs is in the released bundle."""
    again = LogisticModel.from_bundle(Bundle.from_bytes(released[0].to_bundle().to_bytes()))
    _same(
        _run(PairwiseLearner(gradients=2, prior=again), rows, seed=3),
        _run(PairwiseLearner(gradients=2, prior=released[0]), rows, seed=3),
    )


def test_a_second_run_of_the_same_budget_improves_on_the_first(released, rows):
    """Expected squared error of the true log-odds over draws of the noise, and the stated uncertainty of scores."""
    fresh, odds = _paired(2_000, seed=50)
    share = (GRADIENTS / len(PairwiseLearner().rounds(FACTS))) ** 0.5

    def error(model):
        return float(np.mean((model.log_odds(fresh) - odds) ** 2))

    def uncertainty(model):
        design = model.design(fresh)
        return float(np.mean(np.sum(design @ model.covariance * design, axis=1)))

    continued = [
        _run(PairwiseLearner(gradients=GRADIENTS, prior=model), rows, seed=100 + at, noise=share * NOISE)
        for at, model in enumerate(released)
    ]
    first, second = (np.array([error(model) for model in models]) for models in (released, continued))
    assert second.mean() < 0.95 * first.mean() and (second < first).sum() > len(released) / 2
    assert all(uncertainty(c) < 0.95 * uncertainty(m) for c, m in zip(continued, released, strict=True))


def test_a_continued_run_under_heavy_noise_keeps_what_is_known(released, rows):
    """Noise a hundred times larger moves the scores by next to nothing: the prior holds."""
    continued = _run(PairwiseLearner(gradients=2, prior=released[0]), rows, seed=4, noise=100 * NOISE)
    moved = continued.log_odds(rows) - released[0].log_odds(rows)
    assert np.abs(moved).mean() < 0.05 * np.std(released[0].log_odds(rows))


@pytest.mark.parametrize("other", ["columns", "learner"])
def test_a_model_that_cannot_be_continued_is_refused(released, rows, other):
    """Other columns, or a model without a posterior: an error before the first release, not a number."""
    if other == "columns":
        model, facts = released[0], PublicFacts(OPEN_SCHEMA, 1, 10_000)
    else:
        naive, state = NaiveLogisticLearner(), NaiveLogisticLearner().begin(FACTS)
        while (query := naive.query(state)) is not None:
            state = naive.update(state, OpenedSum(exact_sum(naive, query, rows), 0.0))
        model, facts = naive.finish(state), FACTS
    with pytest.raises(SchemaMismatch):
        PairwiseLearner(prior=model).begin(facts)
