"""The one place where the benchmark meets an engine: tables and budgets in, a model and its cost out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
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
    folder: Path | None = None,
) -> TrainingOutcome:
    """All organisations in this process: real messages, cryptography and ledgers.

    The run's folder is removed afterwards, unless one is given to keep it in.
    """
    now = _now()
    participants = {
        name: LocalParticipant(table=table, budget=terms.budget(name, now=now)) for name, table in tables.items()
    }
    numbers = FederationNumbers(reference_epsilon=terms.epsilon, reference_delta=terms.delta)
    job = TrainingJob(task=task, learner=learner, facts=facts, participants=participants, numbers=numbers)
    if folder is not None:
        return LocalEngine(folder=folder, clock=_now).train(job, observe=observe)
    with tempfile.TemporaryDirectory(prefix="fedcrm-benchmark-") as passing:
        return LocalEngine(folder=Path(passing), clock=_now).train(job, observe=observe)


def _now() -> datetime:
    return datetime.now(UTC)
