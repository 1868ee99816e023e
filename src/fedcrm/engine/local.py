"""All roles in one process: real messages (serialised and parsed), real cryptography, real ledgers, a real run store.

The folder of a run holds `manifest.toml`, `coordinator.sqlite` and one folder per participant with its vault and keys.
A run that was killed goes on from there: every step repeats its bytes or was never sent.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.lattice import LatticeScheme
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.crypto.scheme import SchemeParameters, ThresholdScheme
from fedcrm.engine.job import Observer, Presence, Step, TrainingJob, TrainingOutcome
from fedcrm.engine.release import Attempt
from fedcrm.engine.setup import Parties, Stage, set_up_epoch
from fedcrm.engine.site import Site, coordinator_identity, open_site
from fedcrm.engine.stopwatch import Stopwatch, TimedNoise, TimedScheme
from fedcrm.errors import AttemptFailed, FedCRMError, RunFailed, RunStoreError
from fedcrm.features.quality import in_words, metrics
from fedcrm.models.bundle import Bundle
from fedcrm.models.evidence import finding
from fedcrm.models.learner import OpenedSum, Query
from fedcrm.privacy.accountant import ZcdpAccountant
from fedcrm.privacy.calibration import mechanism_for, plan_releases
from fedcrm.privacy.mechanism import SumMechanism
from fedcrm.protocol.digest import digest
from fedcrm.protocol.local_data import LocalData, NoiseSource
from fedcrm.protocol.manifest import Manifest, Member, check_manifest, default_numbers, read_manifest, write_manifest
from fedcrm.protocol.messages import COORDINATOR, Announcement, Post
from fedcrm.protocol.participant import PAYLOAD, TrainingParticipant
from fedcrm.protocol.release import Descriptor, PlannedRound, ReleaseParts, RunPlan, Statement
from fedcrm.runs.public_record import facts_digest, keep_announcement
from fedcrm.runs.store import SETUP, RunStore, TranscriptEntry

PHASE_SECONDS = 600
VOCABULARY_VERSION = "1"
MOST_HOLDERS = 32


def always_present(phase: str, round_index: int, party: str) -> bool:
    """Nobody is ever missing."""
    del phase, round_index, party
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngine:
    """Trains jobs in this process.

    Attributes:
        folder: Where the run lives; an empty or new folder, or one holding the same run.
        clock: The time for ledgers.
        scheme: The threshold scheme; LatticeScheme everywhere but in tests and benchmarks.
        noise: The noise source; discrete_gaussian everywhere but in tests and benchmarks.
        present: Who can be reached when; everyone everywhere but in tests of dropout.
        fresh: Source of secret bytes.
        participants: Where participants live that outlast the run, each in a folder named after it: one vault, so one
            ledger, over all runs. None keeps them in the run's own folder, in roster order.
    """

    folder: Path
    clock: Callable[[], datetime]
    scheme: ThresholdScheme = field(default_factory=lambda: LatticeScheme(SchemeParameters()))
    noise: NoiseSource = discrete_gaussian
    present: Presence = always_present
    fresh: Callable[[int], bytes] = secrets.token_bytes
    participants: Path | None = None

    def train(self, job: TrainingJob, *, observe: Observer) -> TrainingOutcome:
        """Run the job to its end, or go on with it where it stopped.

        Raises:
            ManifestError: the numbers break a rule of the protocol.
            RunStoreError: the folder holds another run, or a damaged one.
            RunFailed: attempts are used up.
        """
        start = time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        with RunStore(self.folder / "coordinator.sqlite") as store:
            check_same_run(store, job)
            sites = self._open_sites(job)
            try:
                run = _Run(self, job, store, sites, observe)
                state = run.train()
                return run.outcome(state, time.perf_counter() - start)
            finally:
                for site in sites.values():
                    site.vault.close()

    def _open_sites(self, job: TrainingJob) -> dict[str, Site]:
        sites: dict[str, Site] = {}
        for index, (name, participant) in enumerate(job.participants.items()):
            site = open_site(self._place(index, name), name, now=self.clock())
            site.grant(participant.budget, now=self.clock())
            sites[name] = site
        return sites

    def _place(self, index: int, name: str) -> Path:
        """A participant's folder; one that outlasts the run goes by name, as the next roster may be another."""
        if self.participants is None:
            return self.folder / "participants" / f"{index:03d}"
        return self.participants / digest("participant", name).hex()[:32]


class _Run:
    """One run while it runs."""

    def __init__(
        self, engine: LocalEngine, job: TrainingJob, store: RunStore, sites: dict[str, Site], observe: Observer
    ) -> None:
        self._engine, self._job, self._store, self._sites, self._observe = engine, job, store, sites, observe
        self._watch = Stopwatch()
        self._scheme = TimedScheme(engine.scheme, self._watch)
        identity = coordinator_identity(engine.folder)
        self._post = Post(_manifest(engine, job, sites, store), COORDINATOR, identity)
        self._run = store.remember("run", digest("run", engine.fresh(32)))
        self._plan = _plan(job, self._post.manifest, self._run)
        self._announcement = self._post.write(Announcement(plan=self._plan))
        keep_announcement(store, self._announcement, job.facts)

    def train(self) -> Bundle:
        """All rounds that are not done yet; the learner's final state."""
        latest = self._store.latest()
        done = -1 if latest is None else latest[0]
        state = self._job.learner.begin(self._job.facts) if latest is None else Bundle.from_bytes(latest[1])
        if done + 1 < len(self._plan.rounds):
            stage = self._set_up()
            training = self._accepted(stage)
            for index in range(done + 1, len(self._plan.rounds)):
                state = self._round(index, state, stage, training)
        self._destroy()
        self._step("done", len(self._plan.rounds))
        return state

    def outcome(self, state: Bundle, total: float) -> TrainingOutcome:
        """What the run gives."""
        with self._watch.measure("train"):
            model = self._job.learner.finish(state)
        now, seconds, manifest = self._engine.clock(), self._watch.seconds, self._post.manifest
        return TrainingOutcome(
            model=model,
            rounds=len(self._plan.rounds),
            seconds={
                "train": total - seconds["encryption"] - seconds["noise"],
                "crypto": seconds["encryption"] + seconds["noise"],
                "encryption": seconds["encryption"],
                "noise": seconds["noise"],
                "total": total,
            },
            bytes_up={name: site.bytes_up for name, site in self._sites.items()},
            ledger={name: site.summary(now=now) for name, site in self._sites.items()},
            threshold=manifest.threshold,
            cohort_minimum=manifest.cohort_minimum,
            collusion_bound=manifest.collusion_bound,
            findings={name: tuple(site.findings) for name, site in self._sites.items()},
            model_finding=finding(model),
        )

    def _step(self, phase: str, index: int, party: str = "") -> None:
        self._observe(Step(phase, index, len(self._plan.rounds), party))

    def _set_up(self) -> Stage:
        """Epoch setup; counted, so that a setup after a kill uses test release ids of its own."""
        attempt = self._store.attempt(SETUP)
        self._store.bury(SETUP, attempt, cause="a setup was begun")
        self._step("setup", SETUP)
        sites = {name: site for name, site in self._sites.items() if self._engine.present("setup", SETUP, name)}
        noise = TimedNoise(self._engine.noise, self._watch)
        parties = Parties(self._post, self._scheme, noise, sites, self._engine.fresh)
        stage = set_up_epoch(parties, run=self._run, attempt=attempt, rule="dealer")
        self._store.remember(f"epoch {attempt}", stage.epoch.id)
        return stage

    def _accepted(self, stage: Stage) -> dict[str, TrainingParticipant]:
        """Every participant's acceptance of the announced plan; who refuses is told and does not take part."""
        accepted: dict[str, TrainingParticipant] = {}
        for name, within in stage.participants.items():
            site = self._sites[name]
            try:
                accepted[name] = within.accept(
                    self._announcement,
                    facts=self._plan.facts,
                    data=self._data(name),
                    books=site.vault.ledger,
                    now=self._engine.clock(),
                )
            except FedCRMError as error:
                site.findings.append(str(error))
        return accepted

    def _data(self, name: str) -> LocalData:
        own, tell = self._job.participants[name], self._sites[name].findings.append
        tell(in_words(metrics(own.table)))
        return LocalData(
            rows=own.table,
            learners={self._job.learner.name: self._job.learner},
            quality=own.quality,
            unit_quality=own.unit_quality,
            tell=tell,
            reference=own.reference,
        )

    def _round(self, index: int, state: Bundle, stage: Stage, training: dict[str, TrainingParticipant]) -> Bundle:
        """One planned release, with fresh attempts while there are any; the learner's next state, checkpointed."""
        query = self._query(index, state)
        while True:
            if self._store.dead_attempts() > self._plan.spare_attempts:
                raise _used_up(self._plan.spare_attempts)
            attempt = self._store.attempt(index)
            mechanism, descriptor = self._described(query, stage, index, attempt)
            try:
                statement, opened = self._attempt(stage, training, index).run(descriptor, query.payload.to_bytes())
            except AttemptFailed as error:
                self._store.bury(index, attempt, cause=error.what)
                continue
            return self._checkpoint(mechanism, statement, opened, state)

    def _query(self, index: int, state: Bundle) -> Query:
        query = self._job.learner.query(state)
        if query is None or query.purpose != self._plan.rounds[index].purpose:
            raise _off_plan(self._job.learner.name, index)
        return query

    def _described(self, query: Query, stage: Stage, index: int, attempt: int) -> tuple[SumMechanism, Descriptor]:
        manifest = self._post.manifest
        mechanism = mechanism_for(
            dimension=query.dimension,
            clipping_norm=query.clipping_norm,
            coordinate_bound=query.coordinate_bound,
            noise_multiplier=self._plan.rounds[index].noise_multiplier,
            honest_shares=manifest.honest_shares,
            participants=len(manifest.members),
            units_magnitude=self._job.facts.units_magnitude,
        )
        parts = ReleaseParts(
            kind="real",
            manifest=manifest.digest,
            epoch=stage.epoch.id,
            run=self._run,
            round=index,
            attempt=attempt,
        )
        descriptor = Descriptor(
            parts=parts,
            task=self._plan.task,
            purpose=query.purpose,
            learner=self._plan.learner,
            query=digest(PAYLOAD, query.payload.to_bytes()),
            dimension=mechanism.dimension,
            clipping_norm=mechanism.clipping_norm,
            grid_bits=mechanism.grid_bits,
            share_variance=mechanism.share_variance,
            clamp=mechanism.clamp,
            deadline=PHASE_SECONDS,
        )
        return mechanism, descriptor

    def _attempt(self, stage: Stage, training: dict[str, TrainingParticipant], index: int) -> Attempt:
        return Attempt(
            post=self._post,
            scheme=self._scheme,
            store=self._store,
            sites=self._sites,
            stage=stage,
            training=training,
            present=lambda phase, name: self._engine.present(phase, index, name),
            passed=lambda phase, name: self._step(phase, index, name),
            clock=self._engine.clock,
        )

    def _checkpoint(
        self, mechanism: SumMechanism, statement: Statement, opened: NDArray[np.int64], state: Bundle
    ) -> Bundle:
        total = OpenedSum(mechanism.decode(opened), mechanism.noise_sd(len(statement.contributors)))
        following = self._job.learner.update(state, total)
        parts = statement.parts
        entry = TranscriptEntry(parts.round, parts.attempt, parts.release_id, statement.digest, opened.tobytes())
        self._store.checkpoint(entry, following.to_bytes())
        self._step("checkpoint", parts.round)
        return following

    def _destroy(self) -> None:
        """The run is over: all keys of its epochs are destroyed."""
        epochs = [self._store.recall(f"epoch {attempt}") for attempt in range(self._store.attempt(SETUP))]
        for epoch in {self._run, *filter(None, epochs)}:
            for site in self._sites.values():
                site.vault.destroy_epoch(epoch)


def check_same_run(store: RunStore, job: TrainingJob) -> None:
    """Refuse a folder that holds another run.

    Raises:
        RunStoreError: the job differs from the one the run was begun with.
    """
    numbers = repr(job.numbers)
    names = [part for name in job.participants for part in ("participant", name)]
    fingerprint = digest("job", job.task, job.learner.name, facts_digest(job.facts), numbers, *names)
    if store.remember("job", fingerprint) != fingerprint:
        raise RunStoreError(
            "the folder holds another run",
            why="going on with other settings would mix two runs in one ledger and one transcript",
            fix="use an empty folder, or the settings the run was begun with",
        )


def _plan(job: TrainingJob, manifest: Manifest, run: bytes) -> RunPlan:
    rounds = job.learner.rounds(job.facts)
    multipliers = plan_releases(
        [planned.share for planned in rounds],
        spare_attempts=job.numbers.spare_attempts,
        epsilon=manifest.reference_epsilon,
        delta=manifest.reference_delta,
        accountant=ZcdpAccountant(),
    )
    return RunPlan(
        manifest=manifest.digest,
        run=run,
        task=job.task,
        learner=job.learner.name,
        facts=facts_digest(job.facts),
        rounds=tuple(
            PlannedRound(purpose=planned.purpose, noise_multiplier=multiplier)
            for planned, multiplier in zip(rounds, multipliers, strict=True)
        ),
        spare_attempts=job.numbers.spare_attempts,
    )


def _manifest(engine: LocalEngine, job: TrainingJob, sites: dict[str, Site], store: RunStore) -> Manifest:
    """The manifest the run was begun with, or a new one; its digest is pinned in the run store."""
    identity, path = coordinator_identity(engine.folder), engine.folder / "manifest.toml"
    pinned = store.recall("manifest")
    if pinned is not None:
        return read_manifest(path.read_text(), pinned=pinned, where=path.name)
    numbers, defaults = job.numbers, default_numbers(participants=len(sites), holders=min(len(sites), MOST_HOLDERS))
    names = tuple(sites)
    manifest = check_manifest(
        Manifest(
            federation="local",
            coordinator=identity.public,
            members=tuple(Member(name=name, identity=site.identity.public) for name, site in sites.items()),
            committee=names[:MOST_HOLDERS],
            threshold=defaults.threshold if numbers.threshold is None else numbers.threshold,
            collusion_bound=defaults.collusion_bound if numbers.collusion_bound is None else numbers.collusion_bound,
            cohort_minimum=defaults.cohort_minimum if numbers.cohort_minimum is None else numbers.cohort_minimum,
            vocabulary_version=VOCABULARY_VERSION,
            tasks=(job.task,),
            reference_epsilon=numbers.reference_epsilon,
            reference_delta=numbers.reference_delta,
            parameters=engine.scheme.parameters,
        )
    )
    path.write_text(write_manifest(manifest, identity))
    store.remember("manifest", manifest.digest)
    return manifest


def _used_up(spare: int) -> RunFailed:
    return RunFailed(
        f"the run's {spare} spare attempts are used up",
        why="every attempt is charged to the participants' budgets, so their number was fixed before the first round",
        fix="find out why attempts fail (`findings` of the run name who did not answer), then start a new run",
    )


def _off_plan(learner: str, index: int) -> RunFailed:
    return RunFailed(
        f"learner {learner} asks for another sum than was announced for round {index}",
        why="participants sized their weights by the announced rounds",
        fix="mend the learner: `rounds` and `query` must agree",
    )
