"""The demo's one run: invented organisations with budgets of their own, through the benchmark's whole path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from fedcrm.benchmark.progress import Progress
from fedcrm.benchmark.report import Wording, write_benchmark
from fedcrm.benchmark.results import DatasetResult
from fedcrm.benchmark.run import Settings, run_benchmark
from fedcrm.benchmark.splits import SplitRule
from fedcrm.demo.organisations import budgets, invented_dataset

REFERENCE_EPSILON = 4.0
QUICK_SCALE = 0.3

WORDING = Wording(
    title="Demo: nine invented organisations",
    lead=(
        "Nine made-up organisations train one churn model together. Every sum was weighted, noised and encrypted; each "
        "organisation kept to its own privacy budget. The data are invented: they show how the product works and are "
        "no evidence about real companies."
    ),
)


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demo shows: the figures, the organisations' sizes (invented, so they may be shown) and the report."""

    result: DatasetResult
    accounts: dict[str, int]
    report: Path


def run_demo(folder: Path, *, seed: int, quick: bool, progress: Progress) -> DemoOutcome:
    """Train, judge and write the report.

    Args:
        folder: Where results.json and report.html go.
        seed: Of the invented data and the split; keys and noise are never seeded.
        quick: Fewer accounts, one thread.
        progress: Who is told.
    """
    dataset = invented_dataset(seed=seed, scale=QUICK_SCALE if quick else 1.0)
    settings = Settings(epsilon=REFERENCE_EPSILON, seeds=1, split=SplitRule.HASH, first_seed=seed, budgets=budgets())
    with threadpool_limits(1 if quick else None):  # on few rows threads wait for each other longer than they work
        outcomes = run_benchmark([dataset], settings, progress=progress)
    report = write_benchmark(folder, outcomes, settings, WORDING)
    accounts = {name: table.units for name, table in dataset.tables.items()}
    return DemoOutcome(outcomes[0].result, accounts, report)
