"""Ways to weigh organisations against each other, each trained through the real engine: full privacy and encryption.

The weight of a participant is min(quality, what its budget carries). A scheme says what quality is: 1 for everyone
(**volume**: sums are added up, so size counts by itself, as in FedAvg by size), proportional to one over the size
(**equal**: every organisation counts the same; only a benchmark may do this, as sizes are records' business), or
measured (**quality**: a pilot run, then a charged measurement of label reliability against the pilot's model). The
measured scheme pays for all of it from the same budget: a share for the pilot, a share for the measurement, the rest
for the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from fedcrm.benchmark.federation import PrivacyTerms
from fedcrm.engine.job import FederationNumbers, LocalParticipant, Observer, TrainingJob, TrainingOutcome
from fedcrm.engine.local import LocalEngine
from fedcrm.errors import InputError
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner, Model, PublicFacts
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.models.reliability import Reference, ReferenceModel
from fedcrm.privacy.accountant import ZcdpAccountant

PILOT_SHARE, MEASUREMENT_SHARE = 0.10, 0.03
"""Shares of the privacy loss ρ: simulated, less of either misses wrong labels, more costs the run itself too much."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Federation:
    """Who trains what.

    Attributes:
        tables: Each organisation's training rows.
        learner: What is trained.
        facts: What everyone may know.
        task: Name of the task.
        observe: Who is told of the progress.
    """

    tables: Mapping[str, FeatureTable]
    learner: Learner
    facts: PublicFacts
    task: str
    observe: Observer


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Qualities:
    """What each organisation's quality is in one run.

    Attributes:
        constant: Quality by organisation; 1 where it is not named.
        reference: What labels are measured against, or None.
    """

    constant: Mapping[str, float] = field(default_factory=dict)
    reference: Reference | None = None


class Scheme(Protocol):
    """A way to weigh organisations."""

    def __call__(self, federation: Federation, terms: PrivacyTerms) -> Model:
        """The model it gives within these budgets."""
        ...


def train(federation: Federation, terms: PrivacyTerms, qualities: Qualities) -> TrainingOutcome:
    """One run with fresh keys, noise and ledgers, in a folder removed afterwards."""
    now = _now()
    participants = {
        name: LocalParticipant(
            table=table,
            budget=terms.budget(name, now=now),
            quality=qualities.constant.get(name, 1.0),
            reference=qualities.reference,
        )
        for name, table in federation.tables.items()
    }
    job = TrainingJob(
        task=federation.task,
        learner=federation.learner,
        facts=federation.facts,
        participants=participants,
        numbers=FederationNumbers(reference_epsilon=terms.epsilon, reference_delta=terms.delta),
    )
    with tempfile.TemporaryDirectory(prefix="fedcrm-ablation-") as folder:
        return LocalEngine(folder=Path(folder), clock=_now).train(job, observe=federation.observe)


def by_volume(federation: Federation, terms: PrivacyTerms) -> Model:
    """Sums are added up: every unit counts the same, as far as its organisation's budget carries it."""
    return train(federation, terms, Qualities()).model


def equal(federation: Federation, terms: PrivacyTerms) -> Model:
    """Every organisation counts the same: quality is the smallest size over its own. Not lawful outside a benchmark."""
    sizes = {name: table.units for name, table in federation.tables.items() if table.units}
    smallest = min(sizes.values(), default=1)
    return train(federation, terms, Qualities(constant={name: smallest / size for name, size in sizes.items()})).model


@dataclass(frozen=True, slots=True)
class Without:
    """By volume, without some organisations: they send noise alone and spend nothing."""

    left_out: frozenset[str]

    def __call__(self, federation: Federation, terms: PrivacyTerms) -> Model:
        """The model of the others."""
        return train(federation, terms, Qualities(constant=dict.fromkeys(self.left_out, 0.0))).model


def by_quality(federation: Federation, terms: PrivacyTerms) -> Model:
    """By volume and by label reliability, measured against a pilot; all of it within each organisation's budget.

    The pilot is the additive learner with two gradients. The run begins anew after it: a longer pilot with pairs, whose
    posterior the run continued, kept the wrong labels it had learnt and lost on clean tables too.
    """
    first = part(terms, federation.tables, planned=PILOT_SHARE, allowed=PILOT_SHARE)
    pilot = train(replace(federation, learner=PairwiseLearner(gradients=2, pairs=False)), first, Qualities()).model
    return _measured(federation, terms, pilot, left=1.0 - PILOT_SHARE)


def by_quality_of_last_model(federation: Federation, terms: PrivacyTerms) -> Model:
    """The same against the last released model, from an earlier budget period: only the measurement is paid for.

    That model was trained by volume on the same rows, wrong labels included.
    """
    return _measured(federation, terms, by_volume(federation, terms), left=1.0)


def _measured(federation: Federation, terms: PrivacyTerms, model: Model, *, left: float) -> Model:
    """The model of a run whose participants first measure their labels against a reference model.

    Raises:
        InputError: the model cannot be compared with labels.
    """
    if not isinstance(model, ReferenceModel):
        raise InputError(
            "the reference model gives no log-odds",
            why="labels are compared with a score",
            fix="use a learner whose model has `log_odds` and `base`",
        )
    planned = left - MEASUREMENT_SHARE
    run = part(terms, federation.tables, planned=planned, allowed=left)
    return train(federation, run, Qualities(reference=Reference(model, MEASUREMENT_SHARE / planned))).model


def part(terms: PrivacyTerms, names: Collection[str], *, planned: float, allowed: float) -> PrivacyTerms:
    """Terms of a run that may take a part of the privacy loss.

    Args:
        terms: All there is.
        names: Every organisation.
        planned: Share of the reference's ρ that the run's rounds are planned for.
        allowed: Share of every budget's ρ that the run may spend.

    Guarantee: runs whose `allowed` sum to 1 together cost no organisation more than its ε at δ.
    """
    budgets = {name: _scaled(terms.budgets.get(name, terms.epsilon), terms.delta, allowed) for name in names}
    return PrivacyTerms(epsilon=_scaled(terms.epsilon, terms.delta, planned), delta=terms.delta, budgets=budgets)


def _scaled(epsilon: float, delta: float, share: float) -> float:
    """The ε whose ρ at δ is at most `share` of the ρ of `epsilon`."""
    accountant = ZcdpAccountant()
    return accountant.epsilon_of(share * accountant.rho_budget(epsilon=epsilon, delta=delta), delta=delta)


def _now() -> datetime:
    return datetime.now(UTC)
