"""A small training job over invented tables, and a program that runs it and may be killed at a step."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from fedcrm.engine.job import FederationNumbers, LocalParticipant, Step, TrainingJob, TrainingOutcome
from fedcrm.engine.local import LocalEngine
from fedcrm.features.columns import FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import PublicFacts
from fedcrm.privacy.budget import Budget
from twins.learners import SumLearner

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SCHEMA = FeatureSchema((NumberColumn("x", 0, 1), NumberColumn("y", 0, 1)))
RELEASES = 3
DIMENSION = 70


def invented_table(units: int, *, seed: int, marker: str = "unit") -> FeatureTable:
    generator = np.random.default_rng(seed)
    numbers = generator.integers(0, 2, (units, 2)).astype(float)
    label = generator.integers(0, 2, units).astype(np.int8)
    ids = tuple(f"{marker}{i}" for i in range(units))
    return FeatureTable(
        SCHEMA, numbers, np.zeros((units, 0), np.int32), label, np.arange(units + 1, dtype=np.int64), ids
    )


def job(*, participants: int = 9, spare: int = 1, epsilon: float = 2.0, marker: str = "unit") -> TrainingJob:
    budget = Budget(epsilon=epsilon, delta=1e-6, period_start=date(2026, 1, 1), period_days=365)
    tables = {f"org {i}": invented_table(20 + i, seed=i, marker=marker) for i in range(participants)}
    return TrainingJob(
        task="churn",
        learner=SumLearner(releases=RELEASES, dimension=DIMENSION),
        facts=PublicFacts(SCHEMA, participants, 1000),
        participants={name: LocalParticipant(table=table, budget=budget) for name, table in tables.items()},
        numbers=FederationNumbers(reference_epsilon=2.0, reference_delta=1e-6, spare_attempts=spare),
    )


def silent(step: Step) -> None:
    del step


def run(folder: Path, *, kill_at: int | None = None) -> TrainingOutcome:
    """Run the job; the process kills itself at its n-th step, if one is given."""
    steps = 0

    def observe(step: Step) -> None:
        nonlocal steps
        del step
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

    return LocalEngine(folder=folder, clock=lambda: NOW).train(job(), observe=observe)


if __name__ == "__main__":
    run(Path(sys.argv[1]), kill_at=int(sys.argv[2]))
