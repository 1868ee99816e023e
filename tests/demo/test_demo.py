"""`fedcrm demo --quick`: one command, nine invented organisations, a table and a report."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from fedcrm.audit.statements import read_statements
from fedcrm.benchmark.results import read_results
from fedcrm.cli.main import app
from fedcrm.demo.organisations import ORGANISATIONS, SCHEMA, budgets, invented_dataset
from fedcrm.demo.run import keeping_contest
from fedcrm.engine.local import LocalEngine
from fedcrm.errors import RunStoreError
from fedcrm.runs.public_record import read_public_record
from twins import job as twin


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the command printed and the folder it wrote."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    result = CliRunner().invoke(app, ["demo", "--quick", "--seed", "3", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return result, folder


def test_the_demo_writes_results_and_a_report(demo):
    """Both files and the run, and nothing beside them; nine organisations under their own budgets."""
    folder = demo[1]
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "results.json", "run"]
    results = read_results(folder / "results.json")
    (found,) = results.datasets
    assert (results.seeds, found.orgs) == (1, 9) and set(found.models) >= {"local_best", "federated"}
    assert {name: line.epsilon_budget for name, line in found.ledger.items()} == budgets()
    assert all(0 < line.epsilon_spent <= line.epsilon_budget for line in found.ledger.values())
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Demo: nine invented organisations" in page and all(o.name in page for o in ORGANISATIONS)
    assert 'src="http' not in page and 'href="http' not in page


def test_the_demo_tells_what_it_did(demo):
    """A line per organisation (the first word of its name fits any width), the warning, where the report is."""
    said = demo[0].stdout
    assert all(organisation.name.split()[0] in said for organisation in ORGANISATIONS)
    assert "The organisations are invented" in said and "Report:" in said


def test_invented_rows_depend_on_the_seed_alone():
    """The same seed gives the same rows; another gives others."""
    one, again, other = (invented_dataset(seed=seed, scale=0.05) for seed in (3, 3, 4))
    for name, table in one.tables.items():
        np.testing.assert_array_equal(table.numbers, again.tables[name].numbers)
        np.testing.assert_array_equal(table.label, again.tables[name].label)
    first = ORGANISATIONS[0].name
    assert not np.array_equal(one.tables[first].numbers, other.tables[first].numbers, equal_nan=True)


def test_invented_rows_keep_to_their_declaration():
    """Known values lie in the declared ranges and lists; a column an organisation lacks is empty there."""
    dataset = invented_dataset(seed=1, scale=0.1)
    for organisation in ORGANISATIONS:
        table = dataset.tables[organisation.name]
        for at, column in enumerate(SCHEMA.numbers):
            known = table.numbers[~np.isnan(table.numbers[:, at]), at]
            assert (known.size == 0) == (column.name in organisation.without)
            assert ((known >= column.low) & (known <= column.high)).all()
        for at, column in enumerate(SCHEMA.categories):
            codes = table.codes[:, at]
            assert (codes.max() < 0) == (column.name in organisation.without) and codes.max() < column.levels
        assert 0 < table.label.mean() < 1 and table.units >= 40


def test_the_demos_run_can_be_audited(demo):
    """What is kept states for each organisation what the results say it spent."""
    run = demo[1] / "run"
    record = read_public_record(run)
    stated = read_statements(run, record, now=datetime.now(UTC))
    (found,) = read_results(demo[1] / "results.json").datasets
    assert {s.participant: s.epsilon for s in stated} == {n: line.epsilon_spent for n, line in found.ledger.items()}
    assert len(record.requests) == found.rounds


def test_a_second_demo_replaces_the_run_of_the_first(tmp_path):
    """The folder of an earlier run is emptied; a folder that is no run is left alone."""
    for name in ("mine.txt", "coordinator.sqlite"):
        (tmp_path / name).touch()
        keeping_contest(tmp_path)
        assert tmp_path.exists() == (name == "mine.txt")


def test_a_demo_never_replaces_a_run_of_others(tmp_path):
    """With it would go vaults, and with them what was spent: refused, and every file is still there."""
    LocalEngine(folder=tmp_path, clock=lambda: twin.NOW).train(twin.job(), observe=twin.silent)
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(RunStoreError, match="not a demo's"):
        keeping_contest(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_a_demo_replaces_an_earlier_demo(demo, tmp_path):
    """A finished demo's run is known by its roster."""
    copy = shutil.copytree(demo[1] / "run", tmp_path / "run")
    keeping_contest(copy)
    assert not copy.exists()
