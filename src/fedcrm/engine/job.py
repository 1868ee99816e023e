"""What an engine is asked to do, what it reports on the way, what it gives back. Every engine takes the same job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, Model, PublicFacts
from fedcrm.models.reliability import Reference
from fedcrm.privacy.budget import Budget
from fedcrm.protocol.probing import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationNumbers:
    """The numbers a manifest is made from; t, c and m take the manifest's defaults when None.

    Attributes:
        reference_epsilon: ε at which a participant's weight is full.
        reference_delta: δ belonging to it.
        spare_attempts: Failed attempts the whole run may have; they are planned into the budget.
        threshold, collusion_bound, cohort_minimum: t, c, m.
    """

    reference_epsilon: float
    reference_delta: float
    spare_attempts: int = 1
    threshold: int | None = None
    collusion_bound: int | None = None
    cohort_minimum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LocalParticipant:
    """One organisation as the in-process engine sees it.

    Attributes:
        table: Its records.
        budget: Its privacy budget, set in its ledger when the ledger has none.
        quality: Its organisation-level quality factor, a constant that no record has a say in.
        unit_quality: Factors q in [0, 1] of its units, each from the unit's own rows; None is 1 for all.
        reference: The released model its labels are measured against before the first round, which is charged.
    """

    table: FeatureTable
    budget: Budget
    quality: float = 1.0
    unit_quality: NDArray[np.float64] | None = None
    reference: Reference | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TrainingJob:
    """A run: which learner is trained for which task on whose records."""

    task: str
    learner: Learner
    facts: PublicFacts
    participants: Mapping[str, LocalParticipant]
    numbers: FederationNumbers


@dataclass(frozen=True, slots=True)
class Step:
    """Where a run is, for a progress bar: a phase, and rounds done of all.

    Attributes:
        phase: "setup", "contribute", "open", "checkpoint" or "done".
        round: Index of the round (−1 during setup).
        rounds: Number of planned rounds.
        party: Who has just acted.
    """

    phase: str
    round: int
    rounds: int
    party: str = ""


Observer: TypeAlias = Callable[[Step], None]
Presence: TypeAlias = Callable[[str, int, str], bool]
"""(phase, round, participant) → whether the participant can be reached just now."""


@dataclass(frozen=True, slots=True, repr=False)
class LedgerSummary:
    """One participant's budget and what this period has spent of it."""

    epsilon_budget: float
    epsilon_spent: float
    delta: float


@dataclass(frozen=True, slots=True, repr=False)
class TrainingOutcome:
    """What a run gives: the model, and what it cost.

    Attributes:
        model: The released model.
        rounds: Releases opened.
        seconds: Wall time: "train" (learners), "crypto" (encryption and noise), "total".
        bytes_up: Bytes each participant sent.
        ledger: Budget and spending per participant.
        findings: What was told to each participant's own operator.
        threshold, cohort_minimum, collusion_bound: t, m, c of the manifest.
        model_finding: What everyone should be told of the released model, from the model alone; None when nothing.
    """

    model: Model
    rounds: int
    seconds: Mapping[str, float]
    bytes_up: Mapping[str, int]
    ledger: Mapping[str, LedgerSummary]
    threshold: int
    cohort_minimum: int
    collusion_bound: int
    findings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model_finding: str | None = None


class Engine(Protocol):
    """Runs a training job over some transport."""

    def train(self, job: TrainingJob, *, observe: Observer) -> TrainingOutcome:
        """Run the job to its end, or go on with it where it stopped."""
        ...


__all__ = [
    "Engine",
    "FederationNumbers",
    "LedgerSummary",
    "LocalParticipant",
    "Observer",
    "Presence",
    "Rule",
    "Step",
    "TrainingJob",
    "TrainingOutcome",
]
