"""What one release is: its id, its descriptor, and the statement holders answer. All are values with digests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedcrm.protocol.digest import digest

Digest = Annotated[bytes, Field(min_length=32, max_length=32)]
Count = Annotated[int, Field(ge=0)]
Kind = Literal["real", "test"]

LONGEST_VECTOR = 1 << 24
"""Largest dimension a release may have: 32 MB of float16, far above any vocabulary's needs."""


class Value(BaseModel):
    """A frozen value that travels in messages: unknown keys and loose types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ReleaseParts(Value):
    """The parts everyone recomputes a release id from.

    Attributes:
        kind: "real", or "test" for a public vector; the two never share an id.
        manifest: Digest of the manifest.
        epoch: The epoch of keys.
        run: The run.
        round: Index of the planned round, from 0.
        attempt: Index of the attempt at this round, from 0.
    """

    kind: Kind
    manifest: Digest
    epoch: Digest
    run: Digest
    round: Count
    attempt: Count

    @property
    def release_id(self) -> bytes:
        """H(kind, manifest digest, epoch, run, round, attempt); 32 bytes."""
        return digest("release", self.kind, self.manifest, self.epoch, self.run, self.round, self.attempt)


class Descriptor(Value):
    """Everything about a release that a participant checks before it contributes. All of it is public.

    Attributes:
        parts: What the release id is made of.
        task: The task being trained; "test" for test releases.
        purpose: The planned round's purpose.
        learner: Name of the learner whose sum this is.
        query: Digest of the query's payload (current parameters, bins …).
        dimension: d.
        clipping_norm: C, bound of one privacy unit's vector.
        grid_bits: log2 of the grid steps per unit.
        share_variance: Variance of one noise share, in grid steps squared.
        clamp: Public bound on each coordinate of one participant's sum, in grid steps.
        deadline: Seconds the phase lasts.
    """

    parts: ReleaseParts
    task: str
    purpose: str
    learner: str
    query: Digest
    dimension: Annotated[int, Field(gt=0, le=LONGEST_VECTOR)]
    clipping_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    grid_bits: Annotated[int, Field(ge=-64, le=64)]
    share_variance: Annotated[int, Field(ge=0)]
    clamp: Annotated[int, Field(gt=0)]
    deadline: Annotated[int, Field(gt=0)]

    @property
    def digest(self) -> bytes:
        """SHA-256 over every field; `a` and every encryption are bound to it."""
        return digest(
            "descriptor",
            self.parts.release_id,
            self.task,
            self.purpose,
            self.learner,
            self.query,
            self.dimension,
            self.clipping_norm.hex(),
            self.grid_bits,
            self.share_variance,
            self.clamp,
            self.deadline,
        )


class Statement(Value):
    """What one opening is about: which release, whose sum S, which active set A.

    Attributes:
        parts: What the release id is made of.
        descriptor: Digest of the release's descriptor.
        dimension: d.
        contributors: S, names in ascending order.
        active: A, Shamir points in ascending order.
    """

    parts: ReleaseParts
    descriptor: Digest
    dimension: Annotated[int, Field(gt=0, le=LONGEST_VECTOR)]
    contributors: tuple[str, ...]
    active: tuple[int, ...]

    @property
    def digest(self) -> bytes:
        """SHA-256 over every field; masks and holder noise are bound to it."""
        return digest(
            "statement",
            self.parts.release_id,
            self.descriptor,
            self.dimension,
            len(self.contributors),
            *self.contributors,
            len(self.active),
            *self.active,
        )


class PlannedRound(Value):
    """One announced round: what it is for and the noise multiplier σ/C a full-weight participant gets."""

    purpose: str
    noise_multiplier: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RunPlan(Value):
    """What the coordinator announces before the first round; participants size their weight by it.

    Attributes:
        manifest: Digest of the manifest.
        run: The run.
        task: The task to be trained.
        learner: Name of the learner.
        facts: Digest of the public facts (columns, orders of magnitude) the learner starts from.
        rounds: All planned rounds, in order.
        spare_attempts: How many failed attempts the whole run may have.
    """

    manifest: Digest
    run: Digest
    task: str
    learner: str
    facts: Digest
    rounds: tuple[PlannedRound, ...]
    spare_attempts: Count

    @property
    def digest(self) -> bytes:
        """SHA-256 over every field."""
        rounds = [part for r in self.rounds for part in (r.purpose, r.noise_multiplier.hex())]
        return digest(
            "plan", self.manifest, self.run, self.task, self.learner, self.facts, self.spare_attempts, *rounds
        )
