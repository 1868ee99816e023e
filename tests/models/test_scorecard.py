"""The released model: explanations add up, foreign rows are refused, damaged bundles are not read."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.benchmark.without_privacy import train_without_privacy
from fedcrm.errors import InputError, SchemaMismatch
from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import PublicFacts
from fedcrm.models.naive import NaiveLogisticLearner
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.models.scorecard import LogisticModel
from twins.tables import OPEN_SCHEMA, invented_table, with_cells


@cache
def trained(learner):
    """Trained on one invented table, once."""
    table = invented_table(300, seed=1)
    return train_without_privacy({"org": table}, learner, PublicFacts(table.schema, 1, 1000))


@pytest.fixture(scope="module", params=[PairwiseLearner(), NaiveLogisticLearner()], ids=lambda learner: learner.name)
def model(request):
    """A trained model of each learner."""
    return trained(request.param)


@settings(max_examples=40, deadline=None)
@given(
    number=st.lists(st.floats(width=64) | st.floats(-100, 2000), min_size=3, max_size=3),
    code=st.integers(-1, 2**31 - 1),
)
def test_base_and_reasons_add_up_to_the_log_odds(model, number, code):
    """For any row: base + parts is the score, the probability follows from it, the strongest reason comes first."""
    row = with_cells(invented_table(1, seed=2), np.array([number]), np.array([[code]], dtype=np.int32))
    (told,) = model.explain(row)
    added = told.base + sum(reason.contribution for reason in told.reasons)
    assert added == pytest.approx(told.log_odds, abs=1e-9)
    assert told.log_odds == pytest.approx(float(model.log_odds(row)[0]), abs=1e-9)
    assert model.predict(row)[0] == pytest.approx(1 / (1 + np.exp(-told.log_odds)), abs=1e-12)
    strength = [abs(reason.contribution) for reason in told.reasons]
    assert strength == sorted(strength, reverse=True)
    assert {reason.feature for reason in told.reasons} >= {"age", "plan", "revenue", "balance"}
    assert all(np.isfinite(reason.sd) and reason.sd >= 0 for reason in told.reasons)


def test_rows_of_other_columns_are_refused(model):
    """A score over other columns would mean nothing."""
    for ask in (model.predict, model.log_odds, model.explain):
        with pytest.raises(SchemaMismatch, match="do not have the model's 4"):
            ask(invented_table(3, seed=1, schema=OPEN_SCHEMA))


def test_the_design_times_the_mean_is_the_score():
    """Linear form, components and prior variances fit each other, whatever the rows."""
    table, model = invented_table(300, seed=1), trained(PairwiseLearner())
    design = model.design(table)
    np.testing.assert_allclose(design @ model.mean, model.log_odds(table), atol=1e-9)
    assert model.covariance.shape == (design.shape[1], design.shape[1])
    assert model.prior_variance.shape == model.component_of.shape == (design.shape[1] - 1,)
    found = [model.components[c] for c in np.unique(model.component_of)]
    assert found[:4] == ["age", "plan", "revenue", "balance"] and "age × revenue" in found[4:]
    assert model.design(table.take_units(np.zeros(0, dtype=np.int64))).shape == (0, design.shape[1])


def test_a_rows_score_is_the_same_to_the_last_bit_whatever_rows_are_around_it(model):
    """Guarantee of `log_odds`: a score moved by a neighbour's presence could carry a unit over the edge of a cell."""
    table = invented_table(301, seed=4)
    whole = model.log_odds(table)
    for gone in range(1, 9):
        assert np.array_equal(model.log_odds(table.take_units(np.arange(gone, 301))), whole[gone:])
        assert np.array_equal(model.log_odds(table.take_units(np.arange(301 - gone))), whole[:-gone])


def test_no_rows_give_no_scores(model):
    """An empty table is answered emptily."""
    nobody = invented_table(3, seed=1).take_units(np.zeros(0, dtype=np.int64))
    assert model.predict(nobody).shape == (0,) and model.explain(nobody) == []


def test_repr_shows_no_points(model):
    """What is printed in a log is sizes only."""
    assert repr(model) == f"LogisticModel(columns=4, cells={model.parts.shape[0]})"


@pytest.mark.parametrize("name", ["schema", "base", "grid", "kind", "ranges", "parts", "deviations"])
def test_a_model_with_a_part_missing_is_not_read(model, name):
    """Each fact and array is needed."""
    bundle = model.to_bundle()
    facts = {key: value for key, value in bundle.facts.items() if key != name}
    arrays = {key: value for key, value in bundle.arrays.items() if key != name}
    with pytest.raises(InputError, match="not an additive logistic model"):
        LogisticModel.from_bundle(Bundle(facts, arrays))


@pytest.mark.parametrize("change", [{"schema": "[]"}, {"schema": "{"}, {"base": "much"}, {"grid": 3}])
def test_a_model_that_contradicts_itself_is_not_read(model, change):
    """Facts that do not fit the arrays are refused."""
    bundle = model.to_bundle()
    with pytest.raises(InputError, match="not an additive logistic model"):
        LogisticModel.from_bundle(Bundle({**bundle.facts, **change}, bundle.arrays))
