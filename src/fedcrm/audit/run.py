"""The whole audit of a run: read what was told and stated, rehearse, attack, compare."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from fedcrm.audit.bounds import Scores, lower_bounds
from fedcrm.audit.canaries import Target, invented_rows, joined, strongest_canaries
from fedcrm.audit.model_attack import Trainings, attack_model
from fedcrm.audit.outcome import CONFIDENCE, AuditOutcome, Finding
from fedcrm.audit.scratch import Actor, rehearse
from fedcrm.audit.statements import PrivacyStatement, mechanism_of, read_statements
from fedcrm.audit.transcript_attack import Victims, attack_transcript, reach, too_far, victims
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.crypto.sealing import derive
from fedcrm.errors import AuditRefused
from fedcrm.features.table import FeatureTable
from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import Learner, Query
from fedcrm.models.registry import LEARNERS
from fedcrm.protocol.local_data import NoiseSource
from fedcrm.runs.public_record import PublicRecord, read_public_record

DEFAULT_TRIALS = 2000
TRIALS_PER_TRAINING = 50
FEWEST_TRIALS = 400
_UNITS = 40
_SIDES = 4
"""Two pairs of neighbours, each without and with the canary."""
_ATTACKS = 2
"""Transcript and model: both bounds of all participants hold together."""


class Watcher(Protocol):
    """Who is told how far an audit has come."""

    def start(self, what: str, steps: int) -> None:
        """A part of so many steps begins."""
        ...

    def advance(self) -> None:
        """One step is done."""
        ...


class Unwatched:
    """Tells nobody."""

    def start(self, what: str, steps: int) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an audit is made.

    Attributes:
        trials: Draws of a whole transcript's noise; each makes one transcript without the canary and one with it.
        trainings: Released models attacked, half of them with the canary, a multiple of four, or 0; None for as many as
            take about the time that the transcripts took.
        noise: The noise source under audit; discrete_gaussian everywhere but in tests.
        learners: Learners by the name in plans.
        key: 32 secret bytes that noise, canaries and invented rows follow from.
    """

    trials: int = DEFAULT_TRIALS
    trainings: int | None = None
    noise: NoiseSource = discrete_gaussian
    learners: Mapping[str, Callable[[], Learner]] = field(default_factory=lambda: LEARNERS)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        if self.trials < FEWEST_TRIALS:
            raise AuditRefused(
                f"{self.trials} trials are too few",
                why="with few trials no attack shows anything, and an audit that shows nothing looks like a good one",
                fix=f"ask for {FEWEST_TRIALS} trials or more",
            )


def audit_run(folder: Path, terms: Terms, *, watcher: Watcher) -> AuditOutcome:
    """Audit every participant whose vault the folder of a run holds.

    Raises:
        RunStoreError, AuditRefused: the folder cannot be audited.
    """
    record = read_public_record(folder)
    statements = read_statements(folder, record, now=datetime.now(UTC))
    learner = _learner(record, terms)
    canaries = _canaries(record, learner, len(statements), terms)
    actors = _actors(record, statements, canaries, terms)
    watcher.start("scratch federation, encrypted", _SIDES * len(record.requests))
    rehearsals = rehearse(record, learner, actors, noise=terms.noise, advance=watcher.advance)
    targets = victims(rehearsals, statements, record.manifest)
    start = time.perf_counter()
    seen = _attacked_transcripts(targets, terms, watcher)
    trainings = _trainings(record, learner, statements, canaries, terms)
    models = _attacked_models(trainings, terms, watcher, seconds=time.perf_counter() - start)
    return AuditOutcome(
        record=record,
        findings=_findings(statements, targets, seen, models),
        trials=terms.trials,
        trainings=max((len(scores) for scores in models.values()), default=0),
    )


def _findings(
    statements: Sequence[PrivacyStatement],
    targets: Victims,
    seen: Mapping[str, Scores],
    models: Mapping[str, Scores],
) -> tuple[Finding, ...]:
    error = (1 - CONFIDENCE) / (_ATTACKS * len(statements))
    return tuple(
        Finding(
            statement=s,
            reach=reach(targets[s.participant]) / s.rho if s.rho else 0.0,
            too_far=too_far(targets[s.participant]),
            transcript=lower_bounds(seen[s.participant], delta=s.delta, error=error),
            model=lower_bounds(models[s.participant], delta=s.delta, error=error) if models else None,
        )
        for s in statements
    )


def _learner(record: PublicRecord, terms: Terms) -> Learner:
    if record.plan.learner not in terms.learners:
        raise AuditRefused(
            f"the run's learner {record.plan.learner!r} is not one of {', '.join(sorted(terms.learners))}",
            why="the replay computes canaries' vectors with the learner that was trained",
            fix="audit with the version of FedCRM that made the run",
        )
    return terms.learners[record.plan.learner]()


def _canaries(record: PublicRecord, learner: Learner, count: int, terms: Terms) -> FeatureTable:
    """As many canaries as participants are audited, the strongest first."""
    targets = []
    for request in record.requests.values():
        descriptor, mechanism = request.descriptor, mechanism_of(request, record.manifest)
        norm = descriptor.clipping_norm
        query = Query(descriptor.purpose, descriptor.dimension, norm, norm, Bundle.from_bytes(request.payload))
        targets.append(Target(query, mechanism.noise_sd(mechanism.honest_shares)))
    stream = _stream(terms, "canaries")
    return strongest_canaries(learner, targets, record.facts.schema, count=count, stream=stream)


def _actors(
    record: PublicRecord, statements: Sequence[PrivacyStatement], canaries: FeatureTable, terms: Terms
) -> dict[str, Actor]:
    """Everyone of the roster at its stated weight, or at 0 where no ledger is readable.

    Once the canary joins plausible rows, once its own twins: if the weight moves with the data, the one shows it
    answering to a row that is unlike the others, the other moves the longest sum there can be.
    """
    weights, stream = {s.participant: s.weight for s in statements}, _stream(terms, "rows")
    strongest, actors = canaries.take_units(np.zeros(1, np.int64)), {}
    for name in record.manifest.participants:
        plausible = invented_rows(record.facts.schema, units=_UNITS, stream=stream)
        twins = joined([strongest] * _UNITS)
        neighbours = tuple((rows, joined([rows, strongest])) for rows in (plausible, twins))
        actors[name] = Actor(weights.get(name, Fraction(0)), neighbours)
    return actors


def _trainings(
    record: PublicRecord,
    learner: Learner,
    statements: Sequence[PrivacyStatement],
    canaries: FeatureTable,
    terms: Terms,
) -> Trainings:
    """Audited participants alone, with few rows: the fewer there are, the more of a model one canary is."""
    stream, names = _stream(terms, "model rows"), [s.participant for s in statements]
    rows = {name: invented_rows(record.facts.schema, units=_UNITS, stream=stream) for name in names}
    owned = {name: canaries.take_units(np.array([at % canaries.units])) for at, name in enumerate(names)}
    weights = {s.participant: s.weight for s in statements}
    return Trainings(record, learner, weights, rows, owned, terms.noise)


def _attacked_transcripts(targets: Victims, terms: Terms, watcher: Watcher) -> dict[str, Scores]:
    watcher.start("attack on the transcript", terms.trials)
    key = derive(terms.key, "audit transcripts")
    return attack_transcript(targets, trials=terms.trials, noise=terms.noise, key=key, advance=watcher.advance)


def _attacked_models(trainings: Trainings, terms: Terms, watcher: Watcher, *, seconds: float) -> dict[str, Scores]:
    """Scores of released models; none when the learner, begun anew, would not make the run's rounds."""
    if terms.trainings == 0 or not trainings.possible():
        return {}
    most = max(4, terms.trials // TRIALS_PER_TRAINING)
    count = terms.trainings or trainings.affordable(seconds=seconds, most=most)
    watcher.start("attack on the released model", count)
    key, stream = derive(terms.key, "audit models"), _stream(terms, "coins")
    return attack_model(trainings, count=count, key=key, stream=stream, advance=watcher.advance)


def _stream(terms: Terms, purpose: str) -> np.random.Generator:
    """Invented values only; no noise and no key comes from it."""
    return np.random.default_rng(int.from_bytes(derive(terms.key, "audit invented", purpose), "big"))
