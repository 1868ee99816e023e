"""The demo's one run: invented organisations with budgets of their own, through the benchmark's whole path."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from fedcrm.benchmark.federation import PrivacyTerms, train_locally
from fedcrm.benchmark.progress import Progress
from fedcrm.benchmark.report import Wording, write_benchmark
from fedcrm.benchmark.results import DatasetResult
from fedcrm.benchmark.run import Contest, Settings, run_benchmark
from fedcrm.benchmark.splits import SplitRule
from fedcrm.demo.organisations import budgets, invented_dataset
from fedcrm.engine.job import Observer, TrainingOutcome
from fedcrm.errors import RunStoreError
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, PublicFacts
from fedcrm.protocol.manifest import read_manifest
from fedcrm.runs.public_record import MANIFEST_FILE, STORE_FILE

REFERENCE_EPSILON = 4.0
RUN_FOLDER = "run"
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
        folder: Where results.json, report.html and the federated run go; an earlier demo's run is replaced.
        seed: Of the invented data and the split; keys and noise are never seeded.
        quick: Fewer accounts, one thread.
        progress: Who is told.
    """
    dataset = invented_dataset(seed=seed, scale=QUICK_SCALE if quick else 1.0)
    settings = Settings(epsilon=REFERENCE_EPSILON, seeds=1, split=SplitRule.HASH, first_seed=seed, budgets=budgets())
    contest = keeping_contest(folder / RUN_FOLDER)
    with threadpool_limits(1 if quick else None):  # on few rows threads wait for each other longer than they work
        outcomes = run_benchmark([dataset], settings, progress=progress, contest=contest)
    report = write_benchmark(folder, outcomes, settings, WORDING)
    accounts = {name: table.units for name, table in dataset.tables.items()}
    return DemoOutcome(outcomes[0].result, accounts, report)


def keeping_contest(folder: Path) -> Contest:
    """The benchmark's contest, with the federated learner's run kept so that it can be audited.

    Raises:
        RunStoreError: the folder holds a run that is not an earlier demo's.
        ManifestError: or one whose manifest cannot be read.
    """
    _make_room(folder)
    contest = Contest()

    def train(
        tables: Mapping[str, FeatureTable],
        learner: Learner,
        facts: PublicFacts,
        *,
        terms: PrivacyTerms,
        task: str,
        observe: Observer,
    ) -> TrainingOutcome:
        place = folder if learner is contest.federated else None
        return train_locally(tables, learner, facts, terms=terms, task=task, observe=observe, folder=place)

    return replace(contest, trainer=train)


def _make_room(folder: Path) -> None:
    """Remove an earlier demo's run, and no other: with a run go its participants' vaults, and what they have spent."""
    if not (folder / STORE_FILE).exists():
        return
    manifest = folder / MANIFEST_FILE
    if manifest.exists():
        roster = read_manifest(manifest.read_text(encoding="utf-8"), pinned=None, where=MANIFEST_FILE).participants
        if set(roster) != set(budgets()):
            raise RunStoreError(
                "the folder holds a run that is not a demo's",
                why="replacing it would delete its participants' ledgers, and so forget what was spent",
                fix="choose another output folder (--out)",
                where=str(folder),
            )
    shutil.rmtree(folder)
