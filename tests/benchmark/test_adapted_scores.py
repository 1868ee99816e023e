"""What organisations make of a federated model: adapted and MR-MTL, on their own rows only."""

from __future__ import annotations

import numpy as np
import pytest

from fedcrm.benchmark.adapted_scores import adapted_scores
from fedcrm.benchmark.mean_regularised import STRENGTHS, fit_mean_regularised
from fedcrm.benchmark.splits import split_by_hash
from fedcrm.benchmark.without_privacy import train_without_privacy
from fedcrm.benchmark.workers import InThisProcess
from fedcrm.evaluation.metrics import auc
from fedcrm.models.learner import PublicFacts
from fedcrm.models.pairwise import PairwiseLearner
from twins.tables import invented_table, with_label


@pytest.fixture(scope="module")
def model():
    """A global model that is right about the invented process."""
    table = invented_table(3000, seed=1)
    return train_without_privacy({"all": table}, PairwiseLearner(), PublicFacts(table.schema, 1, 10_000))


def turned(units, *, seed):
    """An organisation where everything is the other way round."""
    table = invented_table(units, seed=seed)
    return with_label(table, (1 - table.label).astype(np.int8))


def test_mr_mtl_stays_with_a_mean_model_that_is_right(model):
    """Nothing is gained by leaving it, so λ is large and coefficients hardly move."""
    found = fit_mean_regularised(model, invented_table(300, seed=5), seed=1)
    assert found.strength >= STRENGTHS[2]
    assert np.abs(found.coefficients - model.mean).max() < 0.5


def test_mr_mtl_leaves_a_mean_model_that_is_wrong(model):
    """λ is small, and held-out rows are ordered the organisation's way."""
    found, held_out = fit_mean_regularised(model, turned(2000, seed=5), seed=1), turned(1000, seed=6)
    assert found.strength <= STRENGTHS[1]
    assert auc(held_out.label, found.predict(held_out)) > 0.75 > 0.25 > auc(held_out.label, model.predict(held_out))


@pytest.mark.parametrize("units", [0, 1])
def test_mr_mtl_of_hardly_any_rows_is_the_mean_model(model, units):
    """No evidence, no change."""
    found, rows = fit_mean_regularised(model, invented_table(units, seed=3), seed=1), invented_table(50, seed=4)
    np.testing.assert_allclose(found.predict(rows), model.predict(rows), atol=0.2)


def test_every_organisation_gets_scores_of_both_kinds(model):
    """One probability per held-out row, however few rows an organisation has."""
    tables = {"a": invented_table(300, seed=7, name="a"), "b": invented_table(4, seed=8, name="b")}
    splits = {name: split_by_hash(table, seed=1) for name, table in tables.items()}
    told: list[str] = []
    scores = adapted_scores(model, model, splits, seed=1, executor=InThisProcess(), advance=told.append)
    assert set(scores) == {"fedcrm", "mr_mtl", "fedcrm_no_privacy"} and told
    for by_organisation in scores.values():
        for name, split in splits.items():
            assert by_organisation[name].shape == (split.held_out.rows,)
            assert ((by_organisation[name] > 0) & (by_organisation[name] < 1)).all()
