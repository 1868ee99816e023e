"""What a released model says of itself: signal is told from noise by the model alone."""

from __future__ import annotations

import numpy as np
import pytest

from fedcrm.benchmark.without_privacy import exact_sum, train_without_privacy
from fedcrm.models.evidence import Evidence, evidence, finding
from fedcrm.models.learner import OpenedSum, PublicFacts
from fedcrm.models.naive import NaiveLogisticLearner
from fedcrm.models.pairwise import PairwiseLearner
from twins.tables import invented_table, with_label

LEARNER = PairwiseLearner(pairs=False, gradients=4)


def noisy(table, *, noise, seed=1):
    """A model whose every release has `noise` clipping norms of noise at a share of one."""
    stream, facts = np.random.default_rng(seed), PublicFacts(table.schema, 3, 1000)
    state, shares = LEARNER.begin(facts), iter(LEARNER.rounds(facts))
    while (query := LEARNER.query(state)) is not None:
        sd = noise * query.clipping_norm / next(shares).share ** 0.5
        total = exact_sum(LEARNER, query, table) + stream.normal(0.0, 1.0, query.dimension) * sd
        state = LEARNER.update(state, OpenedSum(total, sd))
    return LEARNER.finish(state)


@pytest.mark.parametrize("seed", range(4))
def test_a_learnt_process_is_more_than_the_base_rate(seed):
    """Little noise on many units: nothing to tell."""
    model = noisy(invented_table(2000, seed=seed), noise=1.0, seed=seed)
    assert evidence(model).says_more_than_base_rate and finding(model) is None


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [1.0, 300.0, 1e5])
def test_labels_without_meaning_are_the_base_rate(noise, seed):
    """Whatever the noise, a model of shuffled labels says that it knows nothing."""
    table = invented_table(2000, seed=seed)
    shuffled = with_label(table, np.random.default_rng(seed).permutation(table.label))
    model = noisy(shuffled, noise=noise, seed=seed)
    assert not evidence(model).says_more_than_base_rate and "base rate" in finding(model)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [300.0, 1e5])
def test_a_drowned_process_is_the_base_rate(noise, seed):
    """However strong the process, under such noise nobody could have seen it."""
    assert finding(noisy(invented_table(2000, seed=seed), noise=noise, seed=seed)) is not None


def test_a_model_without_a_posterior_says_nothing_of_itself():
    """The naive reference carries no uncertainty, so there is nothing to judge."""
    table = invented_table(100, seed=1)
    model = train_without_privacy({"a": table}, NaiveLogisticLearner(), PublicFacts(table.schema, 1, 100))
    assert evidence(model) is None and finding(model) is None and finding(object()) is None


@pytest.mark.parametrize("fault", [{"explained": 0.1}, {"clarity": 2.0}, {"counted": 5.0}])
def test_each_of_three_doubts_is_enough(fault):
    """Explaining less than is left open, no clearer than noise, counts within their noise."""
    good = {"explained": 0.4, "uncertain": 0.2, "clarity": 9.0, "counted": 50.0}
    assert Evidence(**good).says_more_than_base_rate
    assert not Evidence(**(good | fault)).says_more_than_base_rate
