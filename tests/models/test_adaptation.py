"""Adaptation: never fails, harms nobody on constructed data, adds up, repeats itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcrm.benchmark.without_privacy import exact_sum, train_without_privacy
from fedcrm.errors import SchemaMismatch
from fedcrm.evaluation.metrics import auc, log_loss
from fedcrm.features.columns import CategoryColumn, FeatureSchema, NumberColumn
from fedcrm.features.table import MISSING, FeatureTable
from fedcrm.models.adaptation import adapt
from fedcrm.models.adapted import PATTERN
from fedcrm.models.learner import OpenedSum, PublicFacts
from fedcrm.models.pairwise import PairwiseLearner
from twins.tables import OPEN_SCHEMA, invented_table, with_cells, with_label


def trained(*tables):
    """A global model on these tables, without noise."""
    named = {str(i): table for i, table in enumerate(tables)}
    return train_without_privacy(named, PairwiseLearner(), PublicFacts(tables[0].schema, len(tables), 10_000))


def counted(table):
    """A global model after its first release only: a base rate and a basis, no effects yet."""
    learner = PairwiseLearner()
    state = learner.begin(PublicFacts(table.schema, 1, 10_000))
    query = learner.query(state)
    return learner.finish(learner.update(state, OpenedSum(exact_sum(learner, query, table), 0.0)))


@pytest.fixture(scope="module")
def model():
    """A global model that is right about the invented process."""
    return trained(*(invented_table(1500, seed=i) for i in range(3)))


def local_process(units, *, seed):
    """Rows whose label follows an interaction that no additive model sees."""
    table = invented_table(units, seed=seed)
    inside = (np.nan_to_num(table.numbers[:, 2]) > 0) == (np.nan_to_num(table.numbers[:, 0], nan=40.0) > 40)
    stream = np.random.default_rng(seed)
    return with_label(table, (stream.random(units) < np.where(inside, 0.85, 0.15)).astype(np.int8))


def without_knowledge(model):
    """A global model that learnt nothing: the prior, and no effect of any column."""
    mean = np.zeros_like(model.mean)
    covariance = np.diag(np.concatenate([[1.0], model.prior_variance]))
    return replace(
        model,
        base=0.0,
        parts=np.zeros_like(model.parts),
        extras={**model.extras, "mean": mean, "covariance": covariance},
    )


@pytest.fixture(scope="module")
def rich(model):
    """An adapted model in which trees take part."""
    return adapt(model, local_process(1500, seed=5), seed=1)


@pytest.mark.parametrize("rows_each", [1, 3])
@pytest.mark.parametrize("units", [0, 1, 3, 30])
def test_no_organisation_is_too_small(model, units, rows_each):
    """From no unit to thirty, with one row or several each: finite scores, close to the global model's order."""
    adapted = adapt(model, invented_table(units, seed=9, rows_each=rows_each), seed=1)
    held_out = invented_table(200, seed=10)
    assert np.isfinite(adapted.log_odds(held_out)).all()
    assert auc(held_out.label, adapted.predict(held_out)) > auc(held_out.label, model.predict(held_out)) - 0.02


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_moves_the_base_only(model, label):
    """Where every row has one label, order stays and the level follows it."""
    table = invented_table(400, seed=3)
    adapted = adapt(model, with_label(table, np.full(400, label, dtype=np.int8)), seed=1)
    shift = adapted.log_odds(table) - model.log_odds(table)
    assert np.ptp(shift) < 1e-9
    assert (shift[0] > 0) == (label == 1)


def test_empty_columns_do_no_harm(model):
    """Training rows of which nothing is known still give a model for rows of which something is."""
    table = invented_table(500, seed=4)
    blank = with_cells(table, np.full_like(table.numbers, np.nan), np.full_like(table.codes, MISSING))
    adapted = adapt(model, blank, seed=1)
    assert np.isfinite(adapted.log_odds(table)).all()
    assert auc(table.label, adapted.predict(table)) > auc(table.label, model.predict(table)) - 0.02


@pytest.mark.parametrize(("columns", "category"), [(1, False), (500, False), (1, True), (20, True)])
def test_narrow_and_wide_tables(columns, category):
    """One number or five hundred, one category of 200 levels or twenty, with foreign codes: finite scores."""
    stream, units = np.random.default_rng(1), 120
    values = tuple(str(i) for i in range(200))
    schema = FeatureSchema(
        tuple(CategoryColumn(f"c{i}", values) if category else NumberColumn(f"c{i}", 0, 1) for i in range(columns))
    )
    numbers = stream.random((units, 0 if category else columns))
    codes = stream.integers(-1, 201, (units, columns if category else 0)).astype(np.int32)
    label = (stream.random(units) < 0.4).astype(np.int8)
    table = FeatureTable(schema, numbers, codes, label, np.arange(units + 1, dtype=np.int64))
    adapted = adapt(counted(table), table, seed=1)
    assert np.isfinite(adapted.log_odds(table)).all()


def test_a_useless_global_model_leaves_an_organisation_its_own(model):
    """Where the global model knows nothing, the adapted one is as good as what the organisation learns alone."""
    held_out = local_process(1500, seed=6)
    adapted = adapt(without_knowledge(model), local_process(1500, seed=5), seed=1)
    assert auc(held_out.label, adapted.predict(held_out)) > 0.75
    assert adapted.weights["own trees"] + adapted.weights["trees on global"] > 0.5


def test_a_right_global_model_stays_with_a_small_organisation(model):
    """Forty rows cannot talk a good global model away: order and calibration stay."""
    held_out = invented_table(2000, seed=77)
    for seed in range(4):
        adapted = adapt(model, invented_table(40, seed=seed + 20), seed=seed)
        assert auc(held_out.label, adapted.predict(held_out)) > auc(held_out.label, model.predict(held_out)) - 0.01
        assert (
            log_loss(held_out.label, adapted.predict(held_out))
            < log_loss(held_out.label, model.predict(held_out)) + 0.03
        )


def test_labels_without_meaning_move_little(model):
    """Permuted labels give no reason to leave the global order for noise."""
    table = invented_table(800, seed=8)
    noise = with_label(table, np.random.default_rng(0).permutation(table.label))
    adapted = adapt(without_knowledge(model), noise, seed=1)
    assert np.std(adapted.log_odds(invented_table(500, seed=9))) < 0.35


def test_base_and_reasons_add_up_to_the_score(rich):
    """Every row's reasons, the own pattern among them, sum to its score; the strongest comes first."""
    rows = invented_table(60, seed=12)
    told = rich.explain(rows)
    np.testing.assert_allclose([e.log_odds for e in told], rich.log_odds(rows), atol=1e-9)
    for explanation in told:
        assert explanation.base + sum(r.contribution for r in explanation.reasons) == pytest.approx(
            explanation.log_odds
        )
        assert {r.feature for r in explanation.reasons} == {*rich.model.components, PATTERN}
        assert {"age", "plan", "revenue", "balance"} <= set(rich.model.components)
        assert all(np.isfinite(r.sd) and r.sd >= 0 for r in explanation.reasons)
        strength = [abs(r.contribution) for r in explanation.reasons]
        assert strength == sorted(strength, reverse=True)
    assert rich.explain(rows.take_units(np.zeros(0, dtype=np.int64))) == []


def test_the_same_seed_gives_the_same_model(model):
    """Folds and trees are drawn from the seed alone."""
    table, rows = local_process(400, seed=2), invented_table(50, seed=3)
    one, two, other = (adapt(model, table, seed=seed).log_odds(rows) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_unit_weighs_one_whatever_its_rows(model):
    """Telling every unit's row three times is no more evidence than telling it once."""
    table = invented_table(8, seed=2)
    told = np.repeat(np.arange(8), 3)
    often = FeatureTable(table.schema, table.numbers[told], table.codes[told], table.label[told], table.offsets * 3)
    one, three = (adapt(model, rows, seed=1).coefficients for rows in (table, often))
    np.testing.assert_allclose(one, three, atol=1e-12)
    assert not np.array_equal(one[0], model.mean)


def test_rows_of_other_columns_are_refused(model, rich):
    """Neither adapting to them nor scoring them would mean anything."""
    foreign = invented_table(30, seed=1, schema=OPEN_SCHEMA)
    with pytest.raises(SchemaMismatch):
        adapt(model, foreign, seed=1)
    for ask in (rich.predict, rich.log_odds, rich.explain):
        with pytest.raises(SchemaMismatch):
            ask(foreign)


def test_repr_and_summary_show_no_record(rich):
    """Sizes and shares only."""
    assert repr(rich).startswith("AdaptedModel(")
    assert "own trees" in rich.summary() and "%" in rich.summary()
