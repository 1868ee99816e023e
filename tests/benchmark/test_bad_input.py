"""Whatever organisations bring: the whole federation trains, every organisation scores, nobody pays for another."""

from __future__ import annotations

import math
import resource
import time
from datetime import UTC, date, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from fedcrm.benchmark.progress import Silent
from fedcrm.benchmark.report import write_benchmark
from fedcrm.benchmark.run import Contest, Settings, run_benchmark
from fedcrm.benchmark.splits import SplitRule, split_by_hash
from fedcrm.benchmark.tables import Dataset
from fedcrm.cli import main
from fedcrm.engine.job import FederationNumbers, LocalParticipant, TrainingJob, TrainingOutcome
from fedcrm.engine.local import LocalEngine
from fedcrm.evaluation.metrics import auc
from fedcrm.features.columns import CategoryColumn, FeatureSchema, NumberColumn
from fedcrm.features.table import MISSING, FeatureTable
from fedcrm.models.adaptation import adapt
from fedcrm.models.learner import PublicFacts
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.privacy.budget import Budget
from twins.clear_scheme import ClearScheme
from twins.job import silent
from twins.tables import SCHEMA, invented_table, with_cells, with_label

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def healthy(units: int = 450) -> dict[str, FeatureTable]:
    """Three organisations as they should be."""
    return {f"org{i}": invented_table(units, seed=i, name=f"org{i}") for i in range(3)}


def train(folder, tables, *, epsilon=8.0, learner=None) -> TrainingOutcome:
    """One run of the real engine with real noise, messages and ledgers; sums are added in the clear."""
    budget = Budget(epsilon=epsilon, delta=1e-6, period_start=date(2026, 1, 1), period_days=365)
    schema = next(iter(tables.values())).schema
    job = TrainingJob(
        task="churn",
        learner=learner or PairwiseLearner(),
        facts=PublicFacts(schema, len(tables), 10_000),
        participants={name: LocalParticipant(table=table, budget=budget) for name, table in tables.items()},
        numbers=FederationNumbers(reference_epsilon=epsilon, reference_delta=1e-6),
    )
    return LocalEngine(folder=folder, clock=lambda: NOW, scheme=ClearScheme()).train(job, observe=silent)


def all_score(outcome, tables):
    """Every organisation takes part, and its global and adapted scores are probabilities; adapted models by name."""
    adapted = {}
    for name, table in tables.items():
        assert 0 < outcome.ledger[name].epsilon_spent <= outcome.ledger[name].epsilon_budget
        adapted[name] = adapt(outcome.model, table, seed=1)
        for model in (outcome.model, adapted[name]):
            scores = model.predict(table)
            assert scores.shape == (table.rows,) and ((scores > 0) & (scores < 1)).all()
    return adapted


def still_ranks(outcome):
    """Rows nobody trained on are still ranked well by the global model."""
    fresh = invented_table(800, seed=77)
    assert auc(fresh.label, outcome.model.predict(fresh)) > 0.7


def test_organisations_with_one_class(tmp_path):
    """They train with the others; their adapted models lean to their class and stay probabilities."""
    odd = invented_table(80, seed=9)
    lonely = {"all 0": with_label(odd, np.zeros_like(odd.label)), "all 1": with_label(odd, np.ones_like(odd.label))}
    tables = healthy() | lonely
    outcome = train(tmp_path, tables)
    adapted = all_score(outcome, tables)
    still_ranks(outcome)
    shared = outcome.model.predict(odd).mean()
    assert adapted["all 0"].predict(odd).mean() < shared < adapted["all 1"].predict(odd).mean()


def test_an_organisation_with_three_units(tmp_path):
    """It gets the global model, hardly changed by its three units."""
    tables = healthy() | {"tiny": invented_table(3, seed=9, rows_each=2)}
    outcome = train(tmp_path, tables)
    adapted = all_score(outcome, tables)
    still_ranks(outcome)
    fresh = invented_table(800, seed=78)
    assert auc(fresh.label, adapted["tiny"].predict(fresh)) > 0.7


def test_a_column_nobody_else_has(tmp_path):
    """All others have it missing: it harms nobody, and its owner's adapted model uses it."""
    schema = FeatureSchema((*SCHEMA.columns, NumberColumn("extra", 0, 1)))
    tables, stream = {}, np.random.default_rng(5)
    for name, table in healthy().items():
        own = stream.random((table.rows, 1)) if name == "org0" else np.full((table.rows, 1), np.nan)
        label = (own[:, 0] > 0.5).astype(np.int8) if name == "org0" else table.label
        numbers = np.hstack([table.numbers, own])
        tables[name] = FeatureTable(schema, numbers, table.codes, label, table.offsets, table.unit_ids)
    splits = {name: split_by_hash(table, seed=1) for name, table in tables.items()}
    outcome = train(tmp_path, {name: split.training for name, split in splits.items()})
    adapted = all_score(outcome, {name: split.training for name, split in splits.items()})
    owner, other = splits["org0"].held_out, splits["org1"].held_out
    assert auc(owner.label, adapted["org0"].predict(owner)) > 0.9
    assert auc(other.label, adapted["org1"].predict(other)) > 0.7


def test_a_category_nobody_declared(tmp_path):
    """Undeclared values share one place, of one organisation or of all."""
    tables = healthy()
    tables["org0"] = with_cells(tables["org0"], codes=np.full_like(tables["org0"].codes, 3))
    outcome = train(tmp_path, tables)
    all_score(outcome, tables)
    still_ranks(outcome)


def _narrow(table: FeatureTable) -> FeatureTable:
    schema = FeatureSchema(SCHEMA.columns[:1])
    return FeatureTable(schema, table.numbers[:, :1], table.codes[:, :0], table.label, table.offsets, table.unit_ids)


def test_one_column(tmp_path):
    """No pairs are possible; the one column is learnt."""
    tables = {name: _narrow(table) for name, table in healthy().items()}
    outcome = train(tmp_path, tables)
    all_score(outcome, tables)
    fresh = _narrow(invented_table(800, seed=77))
    assert auc(fresh.label, outcome.model.predict(fresh)) > 0.65


def _wide(table: FeatureTable, columns: int, *, seed: int) -> FeatureTable:
    stream = np.random.default_rng(seed)
    schema = FeatureSchema((*SCHEMA.columns, *(NumberColumn(f"x{i}", 0, 1) for i in range(columns - 4))))
    numbers = np.hstack([table.numbers, stream.random((table.rows, columns - 4))])
    return FeatureTable(schema, numbers, table.codes, table.label, table.offsets, table.unit_ids)


def test_five_hundred_columns(tmp_path):
    """Time and memory stay bounded, however many coordinates there might be."""
    tables = {name: _wide(table, 500, seed=i) for i, (name, table) in enumerate(healthy(150).items())}
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = train(tmp_path, tables)
    rows = tables["org0"]
    scores = adapt(outcome.model, rows, seed=1).predict(rows)
    assert scores.shape == (rows.rows,) and ((scores > 0) & (scores < 1)).all()
    assert outcome.model.mean.shape[0] <= 1 + 256 + 800
    assert time.process_time() - start < 90
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000


def test_all_columns_missing_at_one_organisation(tmp_path):
    """It has labels alone: it scores everybody alike, and spoils no other's model."""
    empty = invented_table(300, seed=9)
    empty = with_cells(empty, np.full_like(empty.numbers, np.nan), np.full_like(empty.codes, MISSING))
    tables = healthy() | {"empty": empty}
    outcome = train(tmp_path, tables)
    adapted = all_score(outcome, tables)
    still_ranks(outcome)
    scores = adapted["empty"].predict(empty)
    assert np.ptp(scores) < 1e-9 and abs(scores.mean() - empty.label.mean()) < 0.1


def test_a_category_of_two_hundred_levels(tmp_path):
    """Rare levels are taken together; the other columns are learnt as well as ever."""
    stream = np.random.default_rng(3)
    columns = (*SCHEMA.columns, CategoryColumn("city", tuple(f"v{i}" for i in range(200))))
    tables = {}
    for name, table in healthy().items():
        codes = np.hstack([table.codes, (200 * stream.beta(0.5, 3.0, (table.rows, 1))).astype(np.int32)])
        tables[name] = FeatureTable(
            FeatureSchema(columns), table.numbers, codes, table.label, table.offsets, table.unit_ids
        )
    splits = {name: split_by_hash(table, seed=1) for name, table in tables.items()}
    outcome = train(tmp_path, {name: split.training for name, split in splits.items()})
    all_score(outcome, tables)
    areas = [auc(s.held_out.label, outcome.model.predict(s.held_out)) for s in splits.values()]
    assert np.mean(areas) > 0.7


def test_with_hardly_any_epsilon_the_model_says_so_and_adaptation_gives_each_its_own(tmp_path):
    """ε = 0.01: the finding is told; adapted models rank as well as the organisations' own rows allow."""
    tables = healthy()
    outcome = train(tmp_path / "none", tables, epsilon=0.01)
    assert outcome.model_finding is not None and "base rate" in outcome.model_finding
    fresh, plenty = invented_table(1500, seed=77), train(tmp_path / "much", tables, epsilon=50.0)
    assert plenty.model_finding is None
    areas = [auc(fresh.label, adapt(o.model, tables["org0"], seed=1).predict(fresh)) for o in (outcome, plenty)]
    assert areas[0] > areas[1] - 0.06


@pytest.fixture(scope="module")
def hopeless():
    """A whole benchmark of organisations with all of the above, at ε = 0.01."""
    odd = invented_table(60, seed=9)
    tables = healthy(120) | {
        "one class": with_label(odd, np.zeros_like(odd.label)),
        "three units": invented_table(3, seed=8, name="t"),
        "nothing known": with_cells(odd, np.full_like(odd.numbers, np.nan), np.full_like(odd.codes, MISSING)),
        "undeclared": with_cells(odd, codes=np.full_like(odd.codes, 3)),
    }
    named = {
        n: FeatureTable(t.schema, t.numbers, t.codes, t.label, t.offsets, tuple(f"{n}/{i}" for i in range(t.units)))
        for n, t in tables.items()
    }
    settings = Settings(epsilon=0.01, seeds=1, split=SplitRule.HASH)
    quick = Contest(federated=PairwiseLearner(gradients=4))
    return run_benchmark([Dataset("hopeless", "churn", named)], settings, progress=Silent(), contest=quick), settings


def test_the_report_and_the_results_say_that_nothing_was_learnt(hopeless, tmp_path):
    """The page and results.json tell what the global model is worth; every model has scores."""
    outcomes, settings = hopeless
    (told,) = outcomes[0].result.findings
    assert "base rate" in told and all(not math.isnan(m.log_loss) for m in outcomes[0].result.models.values())
    page = write_benchmark(tmp_path, outcomes, settings).read_text(encoding="utf-8")
    assert "hardly more than the base rate" in page
    assert "hardly more than the base rate" in (tmp_path / "results.json").read_text(encoding="utf-8")


def test_the_terminal_says_so_too(hopeless, tmp_path, monkeypatch):
    """`fedcrm benchmark` prints the finding under its table, and keeps it out of nothing but --json's figures."""
    monkeypatch.setattr("fedcrm.cli.benchmark.read_dataset", lambda path: hopeless[0][0].dataset)
    monkeypatch.setattr("fedcrm.cli.benchmark.run_benchmark", lambda *given, **named: hopeless[0])
    out = CliRunner().invoke(main.app, ["benchmark", "x.csv", "--out", str(tmp_path), "--epsilon", "0.01"])
    assert out.exit_code == 0, out.output
    assert "hardly more than the base rate" in " ".join(out.output.split())
