"""A scratch federation: the run's requests put to real participants with invented rows, without and with a canary.

Real roles, messages, encryption, ledgers and openings in a temporary folder. What each participant hands to the
encryption and asks of the noise source is overheard, so that the trials repeat exactly what was done here.
"""

from __future__ import annotations

import itertools
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np

from fedcrm.audit.overhearing import Answer, Ear, OverheardScheme
from fedcrm.engine.release import Attempt
from fedcrm.engine.setup import Parties, Stage, set_up_epoch
from fedcrm.engine.site import Site, coordinator_identity, open_site
from fedcrm.errors import AttemptFailed, AuditFailed, AuditRefused
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import Learner
from fedcrm.privacy.budget import Budget
from fedcrm.protocol.digest import digest
from fedcrm.protocol.local_data import LocalData, NoiseSource
from fedcrm.protocol.manifest import Manifest, Member, check_manifest
from fedcrm.protocol.messages import COORDINATOR, Announcement, ContributionRequest, Post
from fedcrm.protocol.participant import TrainingParticipant
from fedcrm.protocol.release import Descriptor, ReleaseParts, RunPlan
from fedcrm.runs.public_record import PublicRecord
from fedcrm.runs.store import RunStore

_PERIOD_DAYS = 36525


@dataclass(frozen=True, slots=True, repr=False)
class Actor:
    """A participant of the scratch federation.

    Attributes:
        weight: The weight it takes part at.
        neighbours: Pairs of invented rows, without the canary and with it; as many as every other actor has.
    """

    weight: Fraction
    neighbours: tuple[tuple[FeatureTable, FeatureTable], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Rehearsal:
    """One release of the run, replayed on every side of every pair of neighbours.

    Attributes:
        release: The run's release id.
        request: The run's request.
        answers: For each pair the answers by participant, without the canary and with it.
    """

    release: bytes
    request: ContributionRequest
    answers: tuple[tuple[Mapping[str, Answer], Mapping[str, Answer]], ...]


def rehearse(
    record: PublicRecord,
    learner: Learner,
    actors: Mapping[str, Actor],
    *,
    noise: NoiseSource,
    advance: Callable[[], None],
) -> tuple[Rehearsal, ...]:
    """Put every request of the run to the scratch federation, without and with the canary, for each pair of neighbours.

    Guarantee: each opened sum equals the sum of the overheard plaintexts to the last integer, and no two noise shares
    were drawn under one key; otherwise AuditFailed.

    Args:
        record: The run's public record.
        learner: The run's learner.
        actors: Everyone of the roster.
        noise: The noise source under audit.
        advance: Called after each of the scratch federation's releases, two for each pair and request.

    Raises:
        AuditRefused: a participant does not answer a request of the run.
        AuditFailed: the sums differ, or a noise key came twice.
    """
    ear = Ear(noise)
    with tempfile.TemporaryDirectory(prefix="fedcrm-audit-") as folder:
        sites = _open_sites(Path(folder), record, actors)
        try:
            with RunStore(Path(folder) / "coordinator.sqlite") as store:
                return _Scratch(Path(folder), record, learner, actors, sites, store, ear).play(advance)
        finally:
            for site in sites.values():
                site.vault.close()


class _Scratch:
    """The scratch federation while it runs."""

    def __init__(
        self,
        folder: Path,
        record: PublicRecord,
        learner: Learner,
        actors: Mapping[str, Actor],
        sites: Mapping[str, Site],
        store: RunStore,
        ear: Ear,
    ) -> None:
        self._record, self._learner, self._actors = record, learner, actors
        self._sites, self._store, self._ear = sites, store, ear
        self._scheme = OverheardScheme(record.manifest.parameters, ear)
        identity = coordinator_identity(folder)
        self._post = Post(_manifest(record.manifest, identity.public, sites), COORDINATOR, identity)
        self._pairs = len(next(iter(actors.values())).neighbours)
        self._plan = _plan(record, self._post.manifest, times=2 * self._pairs)
        self._keys: set[bytes] = set()

    def play(self, advance: Callable[[], None]) -> tuple[Rehearsal, ...]:
        """Set up keys, then replay every request; attempts are numbered so that no release id comes twice."""
        parties = Parties(self._post, self._scheme, self._ear, self._sites, secrets.token_bytes)
        stage = set_up_epoch(parties, run=self._plan.run, attempt=0, rule="dealer")
        self._ear.collect()
        casts = [self._accepted(stage, pair, side) for pair in range(self._pairs) for side in (0, 1)]
        replayed = []
        attempts = itertools.count()
        for release, request in self._record.requests.items():
            answers = []
            for cast in casts:
                answers.append(self._answers(stage, cast, request, next(attempts)))
                advance()
            replayed.append(Rehearsal(release, request, tuple(zip(answers[0::2], answers[1::2], strict=True))))
        return tuple(replayed)

    def _accepted(self, stage: Stage, pair: int, side: int) -> dict[str, TrainingParticipant]:
        announcement = self._post.write(Announcement(plan=self._plan))
        return {
            name: within.accept(
                announcement,
                facts=self._plan.facts,
                data=self._data(name, pair, side),
                books=self._sites[name].vault.ledger,
                now=_now(),
            )
            for name, within in stage.participants.items()
        }

    def _data(self, name: str, pair: int, side: int) -> LocalData:
        actor = self._actors[name]
        return LocalData(
            rows=actor.neighbours[pair][side],
            learners={self._plan.learner: self._learner},
            quality=float(actor.weight),
            unit_quality=None,
            tell=self._sites[name].findings.append,
        )

    def _answers(
        self, stage: Stage, cast: Mapping[str, TrainingParticipant], request: ContributionRequest, attempt: int
    ) -> dict[str, Answer]:
        place = f"round {request.descriptor.parts.round}"
        try:
            _, opened = self._attempt(stage, cast).run(self._descriptor(stage, request, attempt), request.payload)
        except AttemptFailed as error:
            raise self._unanswered(place, cast) from error
        answers, total, keys = self._ear.collect()
        if len(answers) < len(cast):
            raise self._unanswered(place, cast)
        if not np.array_equal(opened, total) or len(keys) < len(answers) or keys & self._keys:
            raise _unlike(place)
        self._keys |= keys
        return {name: answers[participant.within.secret] for name, participant in cast.items()}

    def _attempt(self, stage: Stage, cast: Mapping[str, TrainingParticipant]) -> Attempt:
        return Attempt(
            post=self._post,
            scheme=self._scheme,
            store=self._store,
            sites=self._sites,
            stage=stage,
            training=cast,
            present=lambda phase, name: True,
            passed=lambda phase, name: None,
            clock=_now,
        )

    def _descriptor(self, stage: Stage, request: ContributionRequest, attempt: int) -> Descriptor:
        """The run's descriptor under the scratch federation's ids; every number stays as it was."""
        parts = ReleaseParts(
            kind="real",
            manifest=self._post.manifest.digest,
            epoch=stage.epoch.id,
            run=self._plan.run,
            round=request.descriptor.parts.round,
            attempt=attempt,
        )
        return request.descriptor.model_copy(update={"parts": parts})

    def _unanswered(self, place: str, cast: Mapping[str, TrainingParticipant]) -> AuditRefused:
        told = [said for name in cast for said in self._sites[name].findings if said.startswith("[FED-")]
        because = f", because: {told[0].splitlines()[0]}" if told else ""
        return AuditRefused(
            f"participants of the scratch federation do not answer a request of the run{because}",
            why="what cannot be replayed cannot be attacked",
            fix="audit with the version of FedCRM that made the run",
            where=place,
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _open_sites(folder: Path, record: PublicRecord, actors: Mapping[str, Actor]) -> dict[str, Site]:
    """Fresh vaults whose budgets carry everything, so that the weight is the actor's."""
    epsilon = 100.0 * (1.0 + record.manifest.reference_epsilon)
    budget = Budget(
        epsilon=epsilon,
        delta=record.manifest.reference_delta,
        period_start=_now().date(),
        period_days=_PERIOD_DAYS,
    )
    sites = {}
    for index, name in enumerate(actors):
        sites[name] = open_site(folder / "participants" / f"{index:03d}", name, now=_now())
        sites[name].grant(budget, now=_now())
    return sites


def _manifest(original: Manifest, coordinator: bytes, sites: Mapping[str, Site]) -> Manifest:
    """The run's manifest with the scratch federation's identities."""
    members = tuple(Member(name=name, identity=site.identity.public) for name, site in sites.items())
    return check_manifest(original.model_copy(update={"coordinator": coordinator, "members": members}))


def _plan(record: PublicRecord, manifest: Manifest, *, times: int) -> RunPlan:
    """The run's plan with room for every request so many times."""
    spare = times * len(record.requests) + record.plan.spare_attempts
    changes = {"manifest": manifest.digest, "run": digest("run", secrets.token_bytes(32)), "spare_attempts": spare}
    return record.plan.model_copy(update=changes)


def _unlike(place: str) -> AuditFailed:
    return AuditFailed(
        f"the opened sum of {place} is not the sum of what was handed to the encryption, or two noise shares are one",
        why="what leaves a participant must be what it encodes plus fresh noise, to the last integer",
        fix="take part in no further run and report it: this is a fault of FedCRM",
        where=place,
    )
