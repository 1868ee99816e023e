"""The ablation: what it does to tables and budgets, that schemes stay within them, and what it writes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from fedcrm.benchmark.ablation import ADAPTED, run_ablation
from fedcrm.benchmark.corruption import corrupted_names, spread_budgets, with_wrong_labels
from fedcrm.benchmark.federation import PrivacyTerms
from fedcrm.benchmark.progress import Silent
from fedcrm.benchmark.report_ablation import QUESTIONS, ablation_table, ablation_view
from fedcrm.benchmark.results import AblationResult, Results
from fedcrm.benchmark.run import Settings, public_facts
from fedcrm.benchmark.schemes import Federation, Qualities, part, train
from fedcrm.benchmark.splits import SplitRule
from fedcrm.cli.main import app
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Model, UnitRows
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.models.reliability import Reference
from fedcrm.privacy.accountant import ZcdpAccountant
from twins.tables import invented_dataset

SETTINGS = Settings(epsilon=4.0, seeds=1, split=SplitRule.HASH)
SCHEMES = {
    "mixed budgets": {"everyone at the fullest", "weights by budget", "strict dropped", "everyone at the strictest"},
    "wrong labels": {"volume", "equal", "quality", "quality, last model"},
    "clean labels": {"volume", "equal", "quality", "quality, last model"},
}


def test_wrong_labels_are_at_the_chosen_organisations_alone_and_by_unit():
    """About 40 % of the units of a third of the organisations, all rows of a unit; the rest is the same object."""
    tables = invented_dataset(9, 200, seed=1, rows_each=2).tables
    corrupted = corrupted_names(tables, seed=5)
    assert len(corrupted) == 3 and corrupted == corrupted_names(list(tables)[::-1], seed=5)
    assert len({corrupted_names(tables, seed=seed) for seed in range(20)}) > 5
    for name, table in with_wrong_labels(tables, corrupted, seed=5).items():
        if name not in corrupted:
            assert table is tables[name]
            continue
        wrong = (table.label != tables[name].label).reshape(-1, 2)
        assert (wrong[:, 0] == wrong[:, 1]).all() and 0.25 < wrong.mean() < 0.55


def test_mixed_budgets_are_geometric_and_given_out_by_the_seed():
    """Nine budgets from 0.25 to 8, each ratio the same; another seed gives them to others."""
    names = [f"org{i}" for i in range(9)]
    budgets = spread_budgets(names, seed=1, strictest=0.25, fullest=8.0)
    ordered = np.sort(list(budgets.values()))
    assert ordered[0] == pytest.approx(0.25) and ordered[-1] == pytest.approx(8.0)
    np.testing.assert_allclose(ordered[1:] / ordered[:-1], 32 ** (1 / 8))
    assert budgets != spread_budgets(names, seed=2, strictest=0.25, fullest=8.0)


@settings(max_examples=15)
@given(shares=st.lists(st.floats(0.02, 1.0), min_size=2, max_size=4), epsilon=st.floats(0.25, 8))
def test_parts_of_a_budget_together_cost_no_more_than_it(shares, epsilon):
    """Guarantee of `part`: runs whose allowed shares sum to 1 compose to at most ε at δ, for named budgets as well."""
    terms, accountant = PrivacyTerms(epsilon=epsilon, delta=1e-6, budgets={"b": epsilon / 2}), ZcdpAccountant()
    for name, whole in (("a", epsilon), ("b", epsilon / 2)):
        parts = [part(terms, ("a", "b"), planned=s, allowed=s / sum(shares)).budgets[name] for s in shares]
        spent = sum(accountant.rho_budget(epsilon=each, delta=1e-6) for each in parts)
        assert spent <= accountant.rho_budget(epsilon=whole, delta=1e-6) * (1 + 1e-6)


def test_a_measured_run_keeps_to_its_budget_and_lowers_the_weight_of_wrong_labels():
    """Through the engine: labels at random at one organisation; its rounds cost nothing, its measurement something."""
    dataset = invented_dataset(3, 1_500, seed=4)
    random = np.random.default_rng(0).integers(0, 2, 1_500).astype(np.int8)
    tables = {**dataset.tables, "org1": replace(dataset.tables["org1"], label=random)}
    clean = Federation(
        tables=dataset.tables,
        learner=PairwiseLearner(gradients=1, pairs=False),
        facts=public_facts(dataset),
        task="churn",
        observe=Silent().observe,
    )
    terms = PrivacyTerms(epsilon=8.0, delta=1e-6, budgets={})
    with threadpool_limits(1):
        model = train(clean, terms, Qualities()).model
        outcome = train(replace(clean, tables=tables), terms, Qualities(reference=Reference(model, 0.05)))
    spent = {name: line.epsilon_spent for name, line in outcome.ledger.items()}
    assert 0 < spent["org1"] < 0.5 * spent["org0"] and max(spent.values()) <= 8.0
    assert any("only noise will be sent" in line or "at weight 0" in line for line in outcome.findings["org1"])


class Backwards:
    """A model turned round: its AUC is one minus the other's."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, rows: UnitRows) -> NDArray[np.float64]:
        """One minus the other's probability."""
        return 1 - self.model.predict(rows)


@pytest.fixture(scope="module")
def ablated() -> AblationResult:
    """All questions once, on three small organisations, one of them with wrong labels; adapting turns models round."""
    dataset, shown = invented_dataset(3, 80, seed=2), []

    def adapter(model: Model, rows: FeatureTable) -> Model:
        shown.append(rows.label)
        return Backwards(model)  # type: ignore[return-value]

    with threadpool_limits(1):
        (result,) = run_ablation(
            [dataset], SETTINGS, progress=Silent(), learner=PairwiseLearner(gradients=1, pairs=False), adapter=adapter
        )
    corrupted = int(result.corrupted[0][0].removeprefix("org"))
    wrong, clean = shown[:3], shown[6:9]
    assert len(shown) == 3 * len(ADAPTED)
    assert all((wrong[org] == clean[org]).all() == (org != corrupted) for org in range(3))
    return result


def test_every_question_has_every_scheme(ablated):
    """Each with a mean AUC, an AUC per organisation, its difference to the first scheme, and the adapted models'."""
    assert {question: set(answer.schemes) for question, answer in ablated.questions.items()} == SCHEMES
    assert len(ablated.corrupted) == 1 and len(ablated.corrupted[0]) == 1
    for question, answer in ablated.questions.items():
        first = answer.schemes[answer.compared_with]
        for name, scheme in answer.schemes.items():
            assert scheme.auc == pytest.approx(np.mean(list(scheme.auc_by_org.values())))
            assert scheme.auc_by_split == [scheme.auc]
            assert scheme.auc_adapted == (pytest.approx(1 - scheme.auc) if (question, name) in ADAPTED else None)
            assert scheme.difference == pytest.approx(scheme.auc - first.auc)


def test_results_hold_the_ablation_only_when_there_is_one(ablated):
    """The key is beside the others or absent, and what was written reads back the same."""
    bare = Results(version=1, seeds=1, split="hash", datasets=[])
    assert "ablation" not in json.loads(bare.to_json())
    whole = bare.model_copy(update={"ablation": [ablated]})
    assert Results.model_validate_json(whole.to_json()) == whole


def test_page_and_terminal_show_every_scheme_of_every_question(ablated):
    """Every question has its words; a row a scheme; the one compared with shows no difference."""
    assert set(QUESTIONS) == set(SCHEMES)
    view = ablation_view(ablated)
    assert [len(question["schemes"]) for question in view["questions"]] == [4, 4, 4]
    assert [question["schemes"][0]["difference"] for question in view["questions"]] == ["", "", ""]
    assert ablation_table([ablated]).row_count == 12


def test_the_command_knows_the_option():
    """`fedcrm benchmark --help` names --ablation."""
    assert "--ablation" in CliRunner().invoke(app, ["benchmark", "--help"], env={"COLUMNS": "200"}).output
