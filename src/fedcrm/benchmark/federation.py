"""The one place where the benchmark meets an engine: tables and budgets in, a model and its cost out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from fedcrm.engine.job import FederationNumbers, LocalParticipant, Observer, TrainingJob, TrainingOutcome
from fedcrm.engine.local import LocalEngine
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, PublicFacts
from fedcrm.privacy.budget import Budget

PERIOD_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyTerms:
    """ε and δ of a benchmark run.

    Attributes:
        epsilon: Reference ε, and every organisation's budget that `budgets` does not name.
        delta: δ of the reference and of every budget.
        budgets: ε of single organisations.
    """

    epsilon: float
    delta: float
    budgets: Mapping[str, float]

    def budget(self, organisation: str, *, now: datetime) -> Budget:
        """What an organisation allows for the one period the run lies in."""
        epsilon = self.budgets.get(organisation, self.epsilon)
        return Budget(epsilon=epsilon, delta=self.delta, period_start=now.date(), period_days=PERIOD_DAYS)


class Trainer(Protocol):
    """Trains a learner over organisations under full privacy and encryption."""

    def __call__(
        self,
        tables: Mapping[str, FeatureTable],
        learner: Learner,
        facts: PublicFacts,
        *,
        terms: PrivacyTerms,
        task: str,
        observe: Observer,
    ) -> TrainingOutcome:
        """Train once, with fresh keys, fresh noise and a fresh ledger."""
        ...


def train_locally(
    tables: Mapping[str, FeatureTable],
    learner: Learner,
    facts: PublicFacts,
    *,
    terms: PrivacyTerms,
    task: str,
    observe: Observer,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> TrainingOutcome:
    """All organisations in this process: real messages, cryptography and ledgers, in a folder removed afterwards."""
    now = clock()
    participants = {
        name: LocalParticipant(table=table, budget=terms.budget(name, now=now)) for name, table in tables.items()
    }
    numbers = FederationNumbers(reference_epsilon=terms.epsilon, reference_delta=terms.delta)
    job = TrainingJob(task=task, learner=learner, facts=facts, participants=participants, numbers=numbers)
    with tempfile.TemporaryDirectory(prefix="fedcrm-benchmark-") as folder:
        return LocalEngine(folder=Path(folder), clock=clock).train(job, observe=observe)
