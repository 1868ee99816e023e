"""The participant's role: deals its key, checks every descriptor, charges its ledger, then sends one encrypted sum.

The order within a release never changes: check, charge, compute, clip, weigh, encode, add the noise share, encrypt,
record, sign. Whoever cannot or will not contribute data sends weight 0: pure noise, which costs nothing and tells
nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.encoding import centred, clamp_bound
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.crypto.scheme import ThresholdScheme
from fedcrm.crypto.sealing import derive, seal
from fedcrm.errors import BudgetExceeded, DescriptorRefused, SecondUse
from fedcrm.models.bundle import Bundle
from fedcrm.models.learner import Learner, Query
from fedcrm.privacy.accountant import ReleaseEvent
from fedcrm.privacy.calibration import planned_rho
from fedcrm.privacy.mechanism import SumMechanism, sum_units
from fedcrm.privacy.weights import BudgetForecast, forecast
from fedcrm.protocol import vault as kinds
from fedcrm.protocol.digest import digest
from fedcrm.protocol.epoch import Epoch, probe_descriptor, public_vector, share_context, verified_epoch
from fedcrm.protocol.local_data import Books, LocalData, NoiseSource, unit_by_unit, why_unusable
from fedcrm.protocol.messages import (
    COORDINATOR,
    Announcement,
    Contribution,
    ContributionRequest,
    EpochKeys,
    Post,
    SealedShare,
    same,
)
from fedcrm.protocol.quality import Surveyor
from fedcrm.protocol.release import Descriptor, RunPlan
from fedcrm.protocol.vault import Vault

PAYLOAD = "query payload"


@dataclass(frozen=True, slots=True)
class Participant:
    """A participant before a run."""

    post: Post
    vault: Vault
    scheme: ThresholdScheme
    noise: NoiseSource = discrete_gaussian

    def enter(self, epoch_keys: bytes, *, run: bytes, fresh_secret: bytes) -> EpochParticipant:
        """The participant within the epoch of these keys, each verified.

        Args:
            epoch_keys: The coordinator's relayed keys.
            run: The run this participant is in.
            fresh_secret: 32 fresh random bytes; the epoch's first secret stays if there is one.

        Raises:
            EpochRefused: a key does not verify.
        """
        _, body = self.post.read(epoch_keys, EpochKeys, sender=COORDINATOR)
        same(run, body.run, what="run", sender=COORDINATOR)
        epoch = verified_epoch(self.post, run=run, holder_keys=body.holder_keys)
        secret = self.vault.record(kinds.EPOCH_SECRET, epoch.id, b"", fresh_secret)
        return EpochParticipant(self, epoch, secret)


@dataclass(frozen=True, slots=True, repr=False)
class EpochParticipant:
    """A participant within an epoch: deals its key once, answers test releases, accepts a plan."""

    participant: Participant
    epoch: Epoch
    secret: bytes

    def deal(self) -> tuple[bytes, ...]:
        """One signed, sealed key share for each holder of the epoch; the same ones each time."""
        post = self.participant.post
        k, t = len(post.manifest.committee), post.manifest.threshold
        shares = self.participant.scheme.deal(self.secret, threshold=t, holders=k)
        return tuple(
            self._sealed(holder, shares[post.manifest.point_of(holder) - 1]) for holder in self.epoch.holder_keys
        )

    def _sealed(self, holder: str, share: bytes) -> bytes:
        post = self.participant.post
        place = share_context(self.epoch.id, post.name, holder)
        sealed = seal(self.secret, self.epoch.holder_keys[holder], share, associated_data=place)
        return post.write(SealedShare(epoch=self.epoch.id, holder=holder, sealed=sealed))

    def probe(self, request: bytes) -> bytes:
        """The contribution to a test release: a public vector that anyone can recompute, under a test id.

        Raises:
            DescriptorRefused: the descriptor is not the epoch's test descriptor.
        """
        post = self.participant.post
        _, body = post.read(request, ContributionRequest, sender=COORDINATOR)
        parts = body.descriptor.parts
        if body.descriptor != probe_descriptor(self.epoch, index=parts.round, attempt=parts.attempt):
            raise _refused("the test descriptor is not the fixed one of this epoch")
        vector = np.array(public_vector(parts.release_id, post.name), np.int64)
        return encrypted(self, body.descriptor, vector)

    def accept(
        self, announcement: bytes, *, facts: bytes, data: LocalData, books: Books, now: datetime
    ) -> TrainingParticipant:
        """Take part in an announced run, with the weight that the remaining budget carries through all of it.

        Args:
            announcement: The coordinator's plan.
            facts: Digest of the public facts this participant was given.
            data: What it brings.
            books: Its ledger.
            now: The time.

        Raises:
            StaleMessage: the plan is of another federation, run or set of public facts.
            DescriptorRefused: a task or learner that is not allowed here.
        """
        post = self.participant.post
        _, body = post.read(announcement, Announcement, sender=COORDINATOR)
        plan = body.plan
        same(self.epoch.manifest, plan.manifest, what="federation", sender=COORDINATOR)
        same(self.epoch.run, plan.run, what="run", sender=COORDINATOR)
        same(facts, plan.facts, what="set of public facts", sender=COORDINATOR)
        stored = self.participant.vault.record(kinds.PLAN, self.epoch.id, b"", plan.digest)
        same(stored, plan.digest, what="plan", sender=COORDINATOR)
        if plan.task not in post.manifest.tasks or plan.learner not in data.learners:
            raise _refused(f"task {plan.task} with learner {plan.learner} is not allowed here")
        outlook = self._outlook(plan, data, books, now)
        data.tell(outlook.in_words())
        return TrainingParticipant(self, plan, data, books, outlook)

    def _outlook(self, plan: RunPlan, data: LocalData, books: Books, now: datetime) -> BudgetForecast:
        """The forecast made when the plan was first seen: a resumed run keeps its weight.

        Quality is charged and measured before: the budget for the rounds is what remains after it.
        """
        participant, planned = self.participant, _planned_rho(plan)
        surveyor = Surveyor(participant.vault, self.epoch, self.secret, participant.noise)
        quality = data.quality * surveyor.factor(plan, planned, data, books, now=now)
        remaining = books.remaining_rho(task=plan.task, now=now).hex().encode()
        first = participant.vault.record(kinds.PLAN, self.epoch.id, b"remaining", remaining)
        return forecast(planned_rho=planned, remaining_rho=float.fromhex(first.decode()), quality=quality)


@dataclass(frozen=True, slots=True, repr=False)
class TrainingParticipant:
    """A participant within an announced run. `outlook` is for its own operator."""

    within: EpochParticipant
    plan: RunPlan
    data: LocalData
    books: Books
    outlook: BudgetForecast

    def contribute(self, request: bytes, *, now: datetime) -> bytes:
        """The signed contribution to one release, charged and recorded before it is returned.

        Raises:
            DescriptorRefused, StaleMessage: the descriptor breaks the plan or a rule; nothing was computed.
            SecondUse: this release id was answered with other bytes before.
        """
        post = self.within.participant.post
        _, body = post.read(request, ContributionRequest, sender=COORDINATOR)
        descriptor = body.descriptor
        check_release(self.within.epoch, descriptor)
        mechanism = check_descriptor(post, self.plan, descriptor)
        check_payload(descriptor, body.payload)
        check_attempts(self.within, self.plan, descriptor)
        query = _query(descriptor, body.payload)
        weight = self._charged_weight(descriptor, mechanism, query, now)
        values = self._values(descriptor, mechanism, query, weight)
        return encrypted(self.within, descriptor, values + self._noise_share(descriptor, values))

    def _charged_weight(self, descriptor: Descriptor, mechanism: SumMechanism, query: Query, now: datetime) -> Fraction:
        """The weight, after the ledger has recorded its cost; 0 when budget or columns do not carry it.

        A repeated step keeps the weight it was charged at.
        """
        usable = self._columns_fit(descriptor, query)
        weights = (self.outlook.weight, Fraction(0)) if usable else (Fraction(0),)
        before = self.books.charged(descriptor.parts.release_id)
        for weight in weights:
            event = mechanism.event(weight)
            if before is not None and before.event != event:
                continue
            try:
                self._charge(descriptor, event, now)
                return weight
            except BudgetExceeded as error:
                self.data.tell(str(error))
        raise _refused("this release was charged for something else before")

    def _columns_fit(self, descriptor: Descriptor, query: Query) -> bool:
        """Whether the learner can use these columns: asked of an empty table, so no record has a say in it."""
        unusable = why_unusable(self._learner(descriptor), query, self.data.rows)
        if unusable is not None:
            self.data.tell(f"round {descriptor.parts.round}: only noise is sent ({unusable})")
        return unusable is None

    def _learner(self, descriptor: Descriptor) -> Learner:
        return self.data.learners[descriptor.learner]

    def _charge(self, descriptor: Descriptor, event: ReleaseEvent, now: datetime) -> None:
        parts = descriptor.parts
        self.books.charge(
            parts.release_id,
            event,
            run=parts.run.hex(),
            round=parts.round,
            attempt=parts.attempt,
            manifest_digest=parts.manifest,
            purpose=descriptor.purpose,
            task=descriptor.task,
            now=now,
        )

    def _values(
        self, descriptor: Descriptor, mechanism: SumMechanism, query: Query, weight: Fraction
    ) -> NDArray[np.int64]:
        """The clipped, weighted, encoded sum. A unit the learner fails on counts as zero, alone."""
        vectors = unit_by_unit(self._learner(descriptor), query, self.data.rows)
        encoded = sum_units(mechanism, vectors, weight=weight, unit_quality=self.data.unit_quality)
        if encoded.clamped or encoded.refused:
            self.data.tell(
                f"round {descriptor.parts.round}: {encoded.clamped} coordinates were clamped, "
                f"{encoded.refused} units without finite values counted as zero"
            )
        return encoded.values

    def _noise_share(self, descriptor: Descriptor, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """This participant's noise share: a PRF of the epoch secret, so a repeated step repeats its bytes."""
        place = (descriptor.parts.release_id, descriptor.digest, digest("encoded sum", values.tobytes()))
        key = derive(self.within.secret, "noise share", *place)
        return self.within.participant.noise(
            variance=descriptor.share_variance, size=descriptor.dimension, stream_key=key
        )


def _query(descriptor: Descriptor, payload: bytes) -> Query:
    bundle = Bundle.from_bytes(payload)
    norm = descriptor.clipping_norm
    return Query(descriptor.purpose, descriptor.dimension, norm, norm, bundle)


def encrypted(within: EpochParticipant, descriptor: Descriptor, values: NDArray[np.int64]) -> bytes:
    """Encrypt under (release id, descriptor digest), record the bytes' digest, then sign: one key, one id, one time."""
    participant = within.participant
    ciphertext = participant.scheme.encrypt(
        within.secret,
        release_id=descriptor.parts.release_id,
        descriptor_digest=descriptor.digest,
        plaintext=centred(values, plaintext_bits=participant.scheme.parameters.plaintext_bits),
    )
    contribute_once(participant.vault, within.epoch, descriptor, digest("contribution", descriptor.digest, ciphertext))
    body = Contribution(release_id=descriptor.parts.release_id, descriptor=descriptor.digest, ciphertext=ciphertext)
    return participant.post.write(body)


def _planned_rho(plan: RunPlan) -> float:
    multipliers = [planned.noise_multiplier for planned in plan.rounds]
    return planned_rho(multipliers, spare_attempts=plan.spare_attempts)


def check_release(epoch: Epoch, descriptor: Descriptor) -> None:
    """Refuse a release of another federation, run or epoch, and a test release that asks for real data."""
    same(epoch.manifest, descriptor.parts.manifest, what="federation", sender=COORDINATOR)
    same(epoch.run, descriptor.parts.run, what="run", sender=COORDINATOR)
    same(epoch.id, descriptor.parts.epoch, what="epoch", sender=COORDINATOR)
    if descriptor.parts.kind != "real":
        raise _refused("a test release asks for real data")


def check_descriptor(post: Post, plan: RunPlan, descriptor: Descriptor) -> SumMechanism:
    """The release's mechanism, when the descriptor keeps the announced plan and hides at least what was promised.

    Raises:
        DescriptorRefused: naming what does not fit.
    """
    if descriptor.parts.round >= len(plan.rounds):
        raise _refused(f"round {descriptor.parts.round} is not in the plan of {len(plan.rounds)} rounds")
    planned = plan.rounds[descriptor.parts.round]
    expected = (planned.purpose, plan.task, plan.learner)
    if (descriptor.purpose, descriptor.task, descriptor.learner) != expected:
        raise _refused(f"round {descriptor.parts.round} is announced as {planned.purpose} of {plan.learner}")
    mechanism = SumMechanism(
        dimension=descriptor.dimension,
        clipping_norm=descriptor.clipping_norm,
        grid_bits=descriptor.grid_bits,
        share_variance=descriptor.share_variance,
        honest_shares=post.manifest.honest_shares,
        clamp=descriptor.clamp,
    )
    check_noise(mechanism, planned.noise_multiplier)
    check_range(post, mechanism)
    return mechanism


def check_noise(mechanism: SumMechanism, noise_multiplier: float) -> None:
    """Refuse a release whose honest noise is below the announced multiple of its clipping norm, in exact arithmetic."""
    needed = (Fraction(noise_multiplier) * Fraction(mechanism.clipping_norm) * mechanism.grid_steps) ** 2
    if mechanism.share_variance * mechanism.honest_shares < needed:
        raise _refused("its noise is below what was announced")


def check_range(post: Post, mechanism: SumMechanism) -> None:
    """Refuse a clamp under which the sum of all participants and its noise could wrap around."""
    participants = len(post.manifest.members)
    sd = math.sqrt(mechanism.share_variance * participants)
    allowed = clamp_bound(
        participants=participants, noise_sd=sd, plaintext_bits=post.manifest.parameters.plaintext_bits
    )
    if mechanism.clamp > allowed:
        raise _refused(f"its clamp {mechanism.clamp} exceeds {allowed}, so the sum could wrap around")


def check_payload(descriptor: Descriptor, payload: bytes) -> None:
    """Refuse a payload other than the one the descriptor names."""
    same(descriptor.query, digest(PAYLOAD, payload), what="query", sender=COORDINATOR)


def check_attempts(within: EpochParticipant, plan: RunPlan, descriptor: Descriptor) -> None:
    """Refuse more release ids in a run than rounds and spare attempts were announced."""
    vault, release = within.participant.vault, descriptor.parts.release_id
    for slot in range(len(plan.rounds) + plan.spare_attempts):
        key = b"slot %d" % slot
        stored = vault.get(kinds.CONTRIBUTED, within.epoch.id, key)
        if (stored or vault.record(kinds.CONTRIBUTED, within.epoch.id, key, release)) == release:
            return
    raise _refused(f"all {len(plan.rounds)} rounds and {plan.spare_attempts} spare attempts are used up")


def contribute_once(vault: Vault, epoch: Epoch, descriptor: Descriptor, contribution: bytes) -> None:
    """Record a contribution's digest before it leaves; refuse other bytes for the same release id, for good."""
    stored = vault.record(kinds.CONTRIBUTED, epoch.id, descriptor.parts.release_id, contribution)
    if stored != contribution:
        raise SecondUse(
            f"round {descriptor.parts.round}, attempt {descriptor.parts.attempt} was contributed to with other bytes",
            why="two encryptions under one release id subtract to their plaintexts",
            fix="nothing is sent for this attempt; the coordinator makes a fresh one",
        )


def _refused(what: str) -> DescriptorRefused:
    return DescriptorRefused(
        f"the release is refused: {what}",
        why="a contribution is hidden only as well as the announced numbers say",
        fix="compare the coordinator's plan and manifest with those that were accepted",
        where=COORDINATOR,
    )
