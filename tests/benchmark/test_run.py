"""The benchmark from a table file to results.json and report.html, through the real federation."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from fedcrm.benchmark.figures import REPLICATES
from fedcrm.benchmark.plain_models import pool
from fedcrm.benchmark.progress import Silent
from fedcrm.benchmark.report import write_benchmark
from fedcrm.benchmark.results import read_results
from fedcrm.benchmark.run import Settings, public_facts, run_benchmark
from fedcrm.benchmark.splits import SplitRule, split_by_hash, split_by_time
from fedcrm.benchmark.tables import read_dataset
from fedcrm.benchmark.without_privacy import train_without_privacy
from fedcrm.errors import InputError
from fedcrm.evaluation.intervals import Panel, bootstrap_auc, draw_counts, mean_known, percentile_interval
from fedcrm.evaluation.metrics import auc
from fedcrm.models.pairwise import PairwiseLearner
from twins.tables import invented_dataset, permuted

MODELS = {
    "local_logistic",
    "local_boosted",
    "local_best",
    "centralised_logistic",
    "centralised_boosted",
    "naive_dp_logistic",
    "federated_no_privacy",
    "fedcrm_no_privacy",
    "federated",
    "fedcrm",
    "mr_mtl",
}
NOISY = {"naive_dp_logistic", "federated", "fedcrm", "mr_mtl"}
ORGANISATIONS = ("R&D <north>", "one class", "several rows", "tiny")
SETTINGS = Settings(epsilon=4.0, seeds=1, split=SplitRule.HASH, first_seed=3)
SCHEMA = """task = "churn"
[columns.age]
kind = "number"
low = 20
high = 60
whole = true
[columns.plan]
kind = "category"
values = ["basic", "team"]
[columns.empty]
kind = "number"
low = 0
high = 1
"""


def _table() -> pl.DataFrame:
    """Four awkward organisations: see ORGANISATIONS; ages outside the range, an undeclared plan, an empty column."""
    stream = np.random.default_rng(7)
    org = np.repeat(ORGANISATIONS, [150, 150, 150, 20])
    at = np.arange(org.size)
    age, revenue = stream.integers(10, 90, org.size), np.exp(stream.normal(4, 1, org.size)).round(2)
    label = (stream.random(org.size) < 1 / (1 + np.exp(-0.08 * (age - 45)))).astype(int)
    label[org == "one class"] = 0
    unit = np.where(org == "several rows", at // 3, at)
    return pl.DataFrame(
        {
            "unit_id": [f"{o}-{u}" for o, u in zip(org, unit, strict=True)],
            "org": org,
            "label": label,
            "age": age,
            "plan": stream.choice(["basic", "team", "never declared"], org.size),
            "revenue": revenue,
            "empty": [None] * org.size,
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole benchmark once: its table, its outcome and the folder it wrote."""
    folder = tmp_path_factory.mktemp("benchmark")
    _table().write_csv(folder / "t.csv")
    (folder / "t.schema.toml").write_text(SCHEMA)
    dataset = read_dataset(folder / "t.csv")
    with threadpool_limits(1):
        outcomes = run_benchmark([dataset], SETTINGS, progress=Silent())
        write_benchmark(folder / "out", outcomes, SETTINGS)
    return dataset, outcomes[0], folder / "out"


def test_results_hold_every_model_and_every_organisation(run):
    """The file validates, with all eleven models and each organisation's AUC."""
    dataset, outcome, folder = run
    (found,) = read_results(folder / "results.json").datasets
    assert found == outcome.result
    assert (found.name, found.task, found.rows, found.orgs) == ("t", "churn", dataset.rows, 4)
    assert set(found.models) == MODELS
    for name, model in found.models.items():
        assert set(model.auc_by_org) == set(ORGANISATIONS)
        assert model.auc is not None and 0 <= model.auc <= 1 and model.log_loss is not None
        low, high = model.ci95
        assert low is not None and high is not None and low <= high
        assert name in NOISY or low <= model.auc <= high
    assert found.models["federated_no_privacy"].auc > 0.6


def test_one_class_gives_null_and_is_left_out_of_the_mean(run):
    """AUC is undefined there for every model; the mean is over the others."""
    for model in run[1].result.models.values():
        known = [area for area in model.auc_by_org.values() if area is not None]
        assert model.auc_by_org["one class"] is None
        assert model.auc == pytest.approx(np.mean(known))
    assert "one class" in run[1].figures.comparison.undefined


def test_no_organisation_spends_more_than_its_budget(run):
    """The ledger names every organisation; something was spent, never more than allowed."""
    found = run[1].result
    assert set(found.ledger) == set(ORGANISATIONS)
    for line in found.ledger.values():
        assert 0 < line.epsilon_spent <= line.epsilon_budget == SETTINGS.epsilon
    planned = PairwiseLearner().rounds(public_facts(run[0]))
    assert found.rounds == len(planned) and planned[0].purpose == "survey"
    assert found.bytes_up_per_org > 0 and found.seconds.total > 0


def test_federation_without_privacy_is_training_on_pooled_rows(run):
    """The benchmark's federated_no_privacy is the same learner on the pooled training rows, to 1e-6."""
    dataset, outcome, _ = run
    splits = {name: split_by_hash(table, seed=SETTINGS.first_seed) for name, table in dataset.tables.items()}
    training, facts = {name: split.training for name, split in splits.items()}, public_facts(dataset)
    apart = train_without_privacy(training, PairwiseLearner(), facts)
    pooled = train_without_privacy({"all": pool(training)}, PairwiseLearner(), facts)
    for name, split in splits.items():
        scores = pooled.predict(split.held_out)
        np.testing.assert_allclose(apart.predict(split.held_out), scores, atol=1e-6)
        stated, area = outcome.result.models["federated_no_privacy"].auc_by_org[name], auc(split.held_out.label, scores)
        assert area == pytest.approx(float("nan") if stated is None else stated, abs=1e-6, nan_ok=True)


class _Requests(HTMLParser):
    """Everything a page would fetch, and the elements it has."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        fetching = {"src", "srcset", "href", "xlink:href", "action", "data", "poster"}
        self.fetched += [value or "" for name, value in attrs if name in fetching]


def test_the_report_is_one_file_without_outside_requests(run):
    """No address but the names of XML's own vocabularies; links lead inside the page; nothing is fetched."""
    page = (run[2] / "report.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in run[2].iterdir()) == ["report.html", "results.json"]
    seen = _Requests()
    seen.feed(page)
    assert "svg" in seen.tags and not seen.tags & {"link", "iframe", "object", "embed"}
    assert all(value.startswith(("#", "data:")) for value in seen.fetched)
    assert not re.search(r"https?://", re.sub(r'xmlns(:\w+)?="http://www\.w3\.org/[^"]+"', "", page))
    assert not re.search(r"@import|url\((?!['\"]?(#|data:))", page)


def test_the_report_escapes_names_and_shows_the_figures(run):
    """An organisation's name is text, not markup; every organisation is there."""
    page = (run[2] / "report.html").read_text(encoding="utf-8")
    assert "<north>" not in page and "R&amp;D &lt;north&gt;" in page
    assert all(name in page for name in ORGANISATIONS[1:])
    assert f"{REPLICATES:,}" in page


def _exact_auc(dataset, *, seed: int) -> tuple[float, tuple[float, float]]:
    """Mean AUC of federation without privacy over organisations, with its interval."""
    splits = {name: split_by_hash(table, seed=seed) for name, table in dataset.tables.items()}
    training = {name: split.training for name, split in splits.items()}
    model = train_without_privacy(training, PairwiseLearner(), public_facts(dataset))
    areas, draws = [], []
    for at, split in enumerate(splits.values()):
        rows = split.held_out
        scores, unit = model.predict(rows), np.repeat(np.arange(rows.units), np.diff(rows.offsets))
        areas.append(auc(rows.label, scores))
        draws.append(bootstrap_auc([Panel(rows.label, scores, unit)], draw_counts(rows.units, replicates=400, seed=at)))
    return float(np.mean(areas)), percentile_interval(mean_known(np.stack(draws)))


def test_permuted_labels_leave_nothing_to_learn():
    """With labels permuted within organisations the interval holds ½; with the true ones it lies well above."""
    dataset = invented_dataset(4, 400, seed=1)
    mean, (low, high) = _exact_auc(permuted(dataset, seed=2), seed=1)
    assert low <= 0.5 <= high and abs(mean - 0.5) < 0.06
    mean, (low, high) = _exact_auc(dataset, seed=1)
    assert 0.7 < low <= mean <= high


def test_a_split_by_time_needs_a_time_column():
    """The table without one is named before any training starts."""
    settings = Settings(epsilon=1.0, seeds=1, split=SplitRule.TIME)
    with pytest.raises(InputError, match="no time column in invented"):
        run_benchmark([invented_dataset(2, 10, seed=1)], settings, progress=Silent())


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0.0},
        {"epsilon": -1.0},
        {"epsilon": float("nan")},
        {"epsilon": float("inf")},
        {"seeds": 0},
        {"budgets": {"a": 0.0}},
    ],
)
def test_settings_without_meaning_are_refused(wrong):
    """No positive ε, or no seed: nothing to compare."""
    with pytest.raises(InputError):
        Settings(**({"epsilon": 1.0, "seeds": 1, "split": SplitRule.HASH} | wrong))


def test_time_splits_leave_rows_out_of_both_sides():
    """Later rows of a unit that is trained on are counted as left out."""
    table = invented_dataset(1, 3, seed=1, rows_each=2).tables["org0"]
    split = split_by_time(table, np.array([0, 9, 0, 1, 9, 9]), cut=5)
    assert (split.training.rows, split.held_out.rows, split.left_out_rows) == (3, 2, 1)
    assert split.held_out.unit_ids == ("org0/2",)
