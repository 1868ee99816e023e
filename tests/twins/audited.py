"""A finished run of four participants with budgets of their own, to be audited."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from unittest import mock

from fedcrm.engine.job import FederationNumbers, LocalParticipant, TrainingJob
from fedcrm.engine.local import LocalEngine
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, PublicFacts
from fedcrm.privacy.budget import Budget
from twins.job import NOW, SCHEMA, invented_table, silent
from twins.learners import SumLearner

DELTA = 1e-5
BUDGETS = {"org 0": 4.0, "org 1": 4.0, "org 2": 1.0, "org 3": 4.0}
QUALITY = {"org 3": 0.5}


def sum_learner() -> SumLearner:
    return SumLearner(releases=3, dimension=20)


def trained(folder: Path, learner: Learner, tables: dict[str, FeatureTable]) -> Path:
    """Train a job over the tables with the budgets above; the run's folder."""
    participants = {
        name: LocalParticipant(
            table=table,
            budget=Budget(epsilon=BUDGETS[name], delta=DELTA, period_start=date(2026, 1, 1), period_days=365),
            quality=QUALITY.get(name, 1.0),
        )
        for name, table in tables.items()
    }
    schema = next(iter(tables.values())).schema
    job = TrainingJob(
        task="churn",
        learner=learner,
        facts=PublicFacts(schema, len(tables), 1000),
        participants=participants,
        numbers=FederationNumbers(reference_epsilon=4.0, reference_delta=DELTA),
    )
    with always_the_same():
        LocalEngine(folder=folder, clock=lambda: NOW, fresh=secrets.token_bytes).train(job, observe=silent)
    return folder


@contextmanager
def always_the_same() -> Iterator[None]:
    """Within it every secret, and so all noise, is the same on each run of the tests: no verdict hangs on chance."""
    numbers = itertools.count()

    def token_bytes(size: int) -> bytes:
        return hashlib.shake_256(next(numbers).to_bytes(8, "big")).digest(size)

    with mock.patch.object(secrets, "token_bytes", token_bytes):
        yield


def summed(folder: Path) -> Path:
    """A run of the learner that sums given numbers: nothing but the mechanism bounds them."""
    tables = {name: invented_table(20, seed=i) for i, name in enumerate(BUDGETS)}
    assert all(table.schema == SCHEMA for table in tables.values())
    return trained(folder, sum_learner(), tables)
