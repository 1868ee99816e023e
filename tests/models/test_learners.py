"""Conformance suite of the learner seam, and what every learner survives."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.benchmark.plain_models import pool
from fedcrm.benchmark.without_privacy import exact_sum, train_without_privacy
from fedcrm.features.columns import CategoryColumn, FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable
from fedcrm.models.bundle import Bundle
from fedcrm.models.hyperparameters import hyperparameters
from fedcrm.models.learner import Learner, OpenedSum, PublicFacts, Query
from fedcrm.models.naive import NaiveLogisticLearner
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.models.scorecard import LogisticModel
from twins.tables import OPEN_SCHEMA, SCHEMA, invented_table, with_cells, with_label

LEARNERS: tuple[Learner, ...] = (
    PairwiseLearner(gradients=4),
    PairwiseLearner(gradients=3, pairs=False),
    NaiveLogisticLearner(),
)
every_learner = pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.name)
every_schema = pytest.mark.parametrize("schema", [SCHEMA, OPEN_SCHEMA], ids=["declared", "undeclared"])


@pytest.fixture(scope="module", autouse=True)
def _few_products():
    """Fewer products of pairs than by default, chosen early enough to be asked for, so that the suite is quick."""

    def small(schema, *, pairs, **given):
        found = hyperparameters(schema, pairs=pairs, **given)
        return replace(found, most_products=60, pairs_after=2) if pairs else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedcrm.models.pairwise.hyperparameters", small)
        yield


def _facts(schema: FeatureSchema) -> PublicFacts:
    return PublicFacts(schema, 3, 1000)


def _through_bytes(query: Query) -> Query:
    payload = Bundle.from_bytes(query.payload.to_bytes())
    return Query(query.purpose, query.dimension, query.clipping_norm, query.coordinate_bound, payload)


def _train(learner: Learner, tables: list[FeatureTable], *, noise: float = 0.0, bytewise: bool = False):
    """The model from sums with Gaussian noise of `noise` clipping norms; the state may travel as bytes each round."""
    stream, state = np.random.default_rng(5), learner.begin(_facts(tables[0].schema))
    while (query := learner.query(state)) is not None:
        if bytewise:
            state, query = Bundle.from_bytes(state.to_bytes()), _through_bytes(query)
        total = np.sum([exact_sum(learner, query, table) for table in tables], axis=0)
        sd = noise * query.clipping_norm
        state = learner.update(state, OpenedSum(total + stream.normal(0.0, 1.0, query.dimension) * sd, sd))
    return learner.finish(state)


def _queries(learner: Learner, table: FeatureTable) -> list[Query]:
    """Every query of a run over one table without noise."""
    state, found = learner.begin(_facts(table.schema)), []
    while (query := learner.query(state)) is not None:
        found.append(query)
        state = learner.update(state, OpenedSum(exact_sum(learner, query, table), 0.0))
    return found


def _vectors(learner: Learner, query: Query, table: FeatureTable):
    return np.concatenate([np.zeros((0, query.dimension)), *learner.unit_vectors(query, table)])


@every_schema
@every_learner
def test_queries_follow_the_plan_and_its_shares_sum_to_one(learner, schema):
    """Each planned release is asked for once, in order; the shares are positive and are all of the privacy loss."""
    planned = learner.rounds(_facts(schema))
    assert math.fsum(r.share for r in planned) == pytest.approx(1.0, abs=1e-12)
    assert all(r.share > 0 for r in planned)
    asked = [query.purpose for query in _queries(learner, invented_table(40, seed=1, schema=schema))]
    assert asked == [r.purpose for r in planned]
    assert len(set(asked)) == len(asked)


@every_schema
@every_learner
def test_vectors_have_the_stated_dimension_constant_and_norm(learner, schema):
    """One vector per unit, coordinate 0 one positive constant, norm within C."""
    table = invented_table(60, seed=2, schema=schema, rows_each=3)
    for query in _queries(learner, table):
        vectors = _vectors(learner, query, table)
        assert vectors.shape == (table.units, query.dimension)
        assert np.isfinite(vectors).all()
        assert vectors[0, 0] > 0 and np.ptp(vectors[:, 0]) <= 1e-12 * vectors[0, 0]
        assert np.linalg.norm(vectors, axis=1).max() <= query.clipping_norm * (1 + 1e-9)


@cache
def _asked(learner: Learner, rows_each: int, undeclared: bool) -> tuple[FeatureTable, list[Query]]:
    table = invented_table(30, seed=3, schema=OPEN_SCHEMA if undeclared else SCHEMA, rows_each=rows_each)
    return table, _queries(learner, table)


@every_learner
@settings(max_examples=12, deadline=None)
@given(kept=st.sets(st.integers(0, 29), min_size=1), rows_each=st.integers(1, 4), undeclared=st.booleans())
def test_a_units_vector_is_its_own(learner, kept, rows_each, undeclared):
    """A unit's vector stays the same to the bit when any other units' rows vanish."""
    chosen = np.array(sorted(kept))
    table, queries = _asked(learner, rows_each, undeclared)
    assert not isinstance(learner, PairwiseLearner) or not learner.pairs or "pairs.of" in queries[-1].payload.arrays
    for query in queries:
        whole, part = _vectors(learner, query, table), _vectors(learner, query, table.take_units(chosen))
        np.testing.assert_array_equal(part, whole[chosen])


@every_learner
def test_an_empty_table_gives_no_vectors(learner):
    """No units, no vectors, and no failure for a reason that is not public."""
    table = invented_table(20, seed=4)
    nobody = table.take_units(np.zeros(0, dtype=np.int64))
    for query in _queries(learner, table):
        assert _vectors(learner, query, nobody).shape == (0, query.dimension)


@every_schema
@every_learner
def test_a_run_may_travel_as_bytes(learner, schema):
    """State and query written to bytes and read back each round give the same model, byte for byte."""
    tables = [invented_table(80, seed=5, schema=schema)]
    straight, travelled = _train(learner, tables, noise=0.5), _train(learner, tables, noise=0.5, bytewise=True)
    assert straight.to_bundle().to_bytes() == travelled.to_bundle().to_bytes()


@every_schema
@every_learner
def test_sums_over_organisations_are_training_on_pooled_rows(learner, schema):
    """Exact sums over organisations of unlike sizes give the pooled rows' parameters."""
    sizes = (200, 7, 90, 33)
    tables = {f"org{i}": invented_table(n, seed=i, schema=schema, rows_each=2) for i, n in enumerate(sizes)}
    facts = _facts(schema)
    apart = train_without_privacy(tables, learner, facts)
    together = train_without_privacy({"all": pool(tables)}, learner, facts)
    assert apart.base == pytest.approx(together.base, abs=1e-6)
    np.testing.assert_allclose(apart.parts, together.parts, atol=1e-6)
    assert np.abs(together.parts).max() > 0.1


def _broken_tables() -> dict[str, FeatureTable]:
    """Tables that a real organisation may well have."""
    table = invented_table(60, seed=6, rows_each=2)
    stream = np.random.default_rng(0)
    wild = table.numbers.copy()
    wild[::2], wild[1::3] = stream.choice([np.inf, -np.inf, np.nan, 1e300, -1e300, 0.0], (60, 3)), np.nan
    undeclared = invented_table(60, seed=6, schema=OPEN_SCHEMA)
    no_columns = FeatureSchema(())
    one_category = FeatureSchema((CategoryColumn("plan", ("only",)),))
    one_value = FeatureSchema((NumberColumn("a", 3, 3), NumberColumn("b", 0, 1, whole=True), NumberColumn("c", -1, 1)))
    n, offsets = table.rows, table.offsets
    return {
        "constant columns": with_cells(table, np.full_like(table.numbers, 7.0), np.full_like(table.codes, 1)),
        "all missing": with_cells(table, np.full_like(table.numbers, np.nan), np.full_like(table.codes, -1)),
        "unseen category": with_cells(table, codes=np.full_like(table.codes, 3)),
        "values outside the range": with_cells(table, table.numbers * 1e6 - 1e5),
        "one class, 0": with_label(table, np.zeros_like(table.label)),
        "one class, 1": with_label(table, np.ones_like(table.label)),
        "NaN and infinities": with_cells(table, wild),
        "undeclared columns": undeclared,
        "undeclared, NaN and infinities": with_cells(undeclared, wild[:60]),
        "undeclared, all missing": with_cells(undeclared, np.full_like(undeclared.numbers, np.nan)),
        "nobody": table.take_units(np.zeros(0, dtype=np.int64)),
        "one unit": table.take_units(np.array([3])),
        "no columns": FeatureTable(no_columns, np.zeros((n, 0)), table.codes[:, :0], table.label, offsets),
        "one category of one value": FeatureTable(one_category, np.zeros((n, 0)), table.codes, table.label, offsets),
        "a range of one value": FeatureTable(one_value, table.numbers, table.codes[:, :0], table.label, offsets),
    }


BROKEN = _broken_tables()


@pytest.mark.parametrize("noise", [0.0, 2.0, 1e6], ids=["exact", "noisy", "drowned"])
@pytest.mark.parametrize("case", BROKEN)
@every_learner
def test_broken_tables_still_give_usable_scores(learner, case, noise):
    """Whatever one table holds, every score of it and of a healthy table is finite and inside (0, 1)."""
    table = BROKEN[case]
    model = _train(learner, [table], noise=noise)
    rows = [table]
    if table.schema in (SCHEMA, OPEN_SCHEMA):
        rows.append(invented_table(40, seed=7, schema=table.schema))
    for scored in rows:
        scores = model.predict(scored)
        assert scores.shape == (scored.rows,)
        assert np.isfinite(scores).all() and (scores > 0).all() and (scores < 1).all()


@pytest.mark.parametrize("case", [name for name, table in BROKEN.items() if table.schema == SCHEMA])
@every_learner
def test_one_broken_organisation_does_not_spoil_the_others(learner, case):
    """Beside healthy organisations the model still ranks their rows well."""
    healthy = [invented_table(300, seed=8), invented_table(300, seed=9)]
    fresh = invented_table(400, seed=10)
    scores = _train(learner, [*healthy, BROKEN[case]]).predict(fresh)
    gap = scores[fresh.label == 1].mean() - scores[fresh.label == 0].mean()
    assert gap > 0.1


@every_learner
def test_the_released_model_is_all_it_takes_to_score(learner):
    """Written as a bundle and read back from its bytes it predicts and explains identically."""
    table = invented_table(150, seed=11)
    model = _train(learner, [table], noise=1.0)
    again = LogisticModel.from_bundle(Bundle.from_bytes(model.to_bundle().to_bytes()))
    fresh = with_cells(invented_table(50, seed=12), codes=np.arange(50, dtype=np.int32)[:, None] % 6 - 1)
    np.testing.assert_array_equal(again.predict(fresh), model.predict(fresh))
    assert again.explain(fresh) == model.explain(fresh)
    assert again.kind == learner.name
