"""results.json: checked when written and read, there whole or not at all."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from fedcrm.benchmark.results import ModelResult, Results, read_results, write_whole
from fedcrm.errors import InputError

NAN = float("nan")


def _results() -> Results:
    model = ModelResult(
        auc=0.7, accuracy=0.8, log_loss=0.4, auc_by_org={"a": 0.7, "b": NAN}, auc_pooled=0.7, ci95=(NAN, 0.8)
    )
    return Results.model_validate(
        {
            "version": 1,
            "seeds": 2,
            "split": "hash",
            "datasets": [
                {
                    "name": "t",
                    "task": "churn",
                    "rows": 10,
                    "orgs": 2,
                    "epsilon": 2.0,
                    "delta": 1e-5,
                    "threshold": 2,
                    "cohort_minimum": 2,
                    "collusion_bound": 1,
                    "unit": "unit_id",
                    "models": {"federated": model},
                    "ledger": {"a": {"epsilon_budget": 2.0, "epsilon_spent": 1.9}},
                    "rounds": 8,
                    "seconds": {"train": 1.0, "crypto": 0.5, "total": 2.0},
                    "bytes_up_per_org": 1000,
                    "comparison": {
                        "gain": {"mean": 0.01, "ci95": [0.0, 0.02]},
                        "gap": {"mean": 0.01, "ci95": [0.0, 0.02]},
                        "by_org": {},
                        "worse": [],
                    },
                }
            ],
        }
    )


def test_results_come_back_with_undefined_figures_as_null(tmp_path):
    """NaN is written as null, never as a number or as text that is not JSON."""
    path = tmp_path / "deep" / "results.json"
    write_whole(path, _results().to_json())
    model = json.loads(path.read_text(), parse_constant=pytest.fail)["datasets"][0]["models"]["federated"]
    assert model["auc_by_org"] == {"a": 0.7, "b": None} and model["ci95"] == [None, 0.8]
    assert read_results(path).to_json() == _results().to_json()


def test_other_shapes_are_refused(tmp_path):
    """An unknown key, a missing one, text for a number, no file: one error that says what to do."""
    whole = json.loads(_results().to_json())
    for broken in ({**whole, "extra": 1}, {k: v for k, v in whole.items() if k != "seeds"}, {**whole, "seeds": "two"}):
        with pytest.raises(ValidationError):
            Results.model_validate(broken)
        write_whole(tmp_path / "results.json", json.dumps(broken))
        with pytest.raises(InputError, match="not a benchmark's results"):
            read_results(tmp_path / "results.json")
    with pytest.raises(InputError, match="not a benchmark's results"):
        read_results(tmp_path / "none.json")


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    """Text that breaks off half-way (a lone surrogate after much text) changes nothing on disk."""
    path = tmp_path / "results.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new" * 100_000 + "\ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    write_whole(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
