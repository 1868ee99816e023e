"""Joining an existing model: who joins, with which rows, that training never saw them, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fedcrm.benchmark.federation import train_locally
from fedcrm.benchmark.joining import STEPS, first_units, newcomers, run_joining
from fedcrm.benchmark.progress import Silent
from fedcrm.benchmark.report import Wording, report_html
from fedcrm.benchmark.report_joining import joining_table, joining_view
from fedcrm.benchmark.results import Further, Results
from fedcrm.benchmark.run import Contest, Settings, results_of, run_benchmark
from fedcrm.benchmark.splits import SplitRule
from fedcrm.benchmark.without_privacy import train_without_privacy
from fedcrm.models.pairwise import PairwiseLearner
from twins.tables import invented_dataset, invented_table

SETTINGS = Settings(epsilon=8.0, seeds=1, split=SplitRule.HASH)
LEARNER = PairwiseLearner(gradients=2, pairs=False)


def _dataset():
    """Four organisations of four sizes."""
    sizes = {"org0": 90, "org1": 400, "org2": 150, "org3": 40}
    tables = {name: invented_table(units, seed=at, name=name) for at, (name, units) in enumerate(sizes.items())}
    return replace(invented_dataset(1, 10, seed=1), tables=tables)


@pytest.fixture(scope="module")
def joined():
    """The benchmark's outcome, the joining's result, and the organisations of every training it did.

    The joining's models are exact, so that what is said of newcomers' scores hangs on no chance.
    """
    trained = []

    def trainer(tables, learner, facts, **rest):
        trained.append((set(tables), facts.participants))
        outcome = train_locally(tables, learner, facts, **rest)
        return replace(outcome, model=train_without_privacy(tables, learner, facts))

    contest = Contest(federated=LEARNER, naive=LEARNER)
    with threadpool_limits(1):
        outcomes = run_benchmark([_dataset()], SETTINGS, progress=Silent(), contest=contest)
        watched = Contest(federated=LEARNER, naive=LEARNER, trainer=trainer)
        (result,) = run_joining(outcomes, SETTINGS, progress=Silent(), contest=watched)
    return outcomes, result, trained


def test_the_largest_median_and_smallest_join_and_two_organisations_let_nobody_join():
    """By units; a federation of two has nobody to spare."""
    assert newcomers(_dataset()) == ("org1", "org0", "org3")
    assert newcomers(invented_dataset(2, 30, seed=1)) == ()


def test_fewer_rows_are_part_of_more_and_follow_the_units_ids_alone():
    """50 units are among the 200, 200 among all; the order of the units has no say; missing steps are left out."""
    table = invented_table(260, seed=3)
    first = first_units(table, seed=1)
    assert [(step, rows.units) for step, rows in first.items()] == [("50", 50), ("200", 200), ("all", 260)]
    assert set(first["50"].unit_ids) < set(first["200"].unit_ids) < set(first["all"].unit_ids)
    backwards = first_units(table.take_units(np.arange(260)[::-1]), seed=1)
    assert set(backwards["50"].unit_ids) == set(first["50"].unit_ids) != set(first_units(table, seed=2)["50"].unit_ids)
    assert list(first_units(invented_table(50, seed=3), seed=1)) == ["all"]


def test_a_newcomer_takes_no_part_in_the_training_it_joins(joined):
    """One federation a newcomer, of the three others."""
    everyone = {"org0", "org1", "org2", "org3"}
    assert joined[2] == [(everyone - {name}, 3) for name in ("org1", "org0", "org3")]


def test_a_newcomer_is_scored_well_at_once_and_beside_what_it_has_alone(joined):
    """Every step it has units for, with both figures; the full federation's is the benchmark's own."""
    outcomes, result, _ = joined
    largest, _, smallest = result.newcomers
    assert list(largest.with_rows) == list(STEPS) and list(smallest.with_rows) == ["all"]
    assert largest.with_rows["50"].units == 50 and largest.at_once > 0.6
    assert largest.with_rows["50"].adapted > largest.with_rows["50"].own - 0.05
    assert {n.organisation: n.full_federation for n in result.newcomers} == {
        n.organisation: outcomes[0].result.models["fedcrm"].auc_by_org[n.organisation] for n in result.newcomers
    }


def test_results_page_and_terminal_hold_joining_only_when_there_is_some(joined):
    """The key, the section and a row a newcomer; a step without units is a dash."""
    outcomes, result, _ = joined
    assert "joining" not in json.loads(results_of(outcomes, SETTINGS).to_json())
    further = Further(joining=(result,))
    whole = results_of(outcomes, SETTINGS, further)
    assert Results.model_validate_json(whole.to_json()) == whole and whole.joining == [result]
    with_joining = report_html(outcomes, SETTINGS, Wording(), further)
    assert 'id="joining"' in with_joining and 'id="joining"' not in report_html(outcomes, SETTINGS, Wording())
    assert all(newcomer.organisation in with_joining for newcomer in result.newcomers)
    assert joining_view(result)["newcomers"][2]["steps"][0] == {"adapted": "–", "own": ""}
    assert joining_table([result]).row_count == 3
