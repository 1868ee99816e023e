"""The coordinator's role: relays keys, gathers contributions, asks for one opening, adds up. It never sees a record.

Each state has only the steps that make sense in it. This module imports nothing that can read a record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.scheme import ThresholdScheme
from fedcrm.errors import AttemptFailed, EpochRefused, NoiseBoundError, SecondUse
from fedcrm.protocol.epoch import Epoch, verified_epoch
from fedcrm.protocol.manifest import Manifest
from fedcrm.protocol.messages import (
    Contribution,
    ContributionRequest,
    DealersHeld,
    EpochKeys,
    OpeningShare,
    OpenRequest,
    Post,
    same,
)
from fedcrm.protocol.release import Descriptor, Statement


@dataclass(frozen=True, slots=True)
class EpochSetup:
    """Gathers the holders' keys of a run."""

    post: Post
    run: bytes

    def keys(self, holder_keys: Iterable[bytes]) -> tuple[Epoch, bytes]:
        """The epoch of these signed keys and the message that relays them.

        Raises:
            EpochRefused: a key does not verify or fewer than t holders answered.
        """
        relayed = tuple(holder_keys)
        epoch = verified_epoch(self.post, run=self.run, holder_keys=relayed)
        return epoch, self.post.write(EpochKeys(run=self.run, holder_keys=relayed))

    def committee(self, epoch: Epoch, lists: Iterable[bytes]) -> Committee:
        """Who holds whose shares, from the holders' signed lists."""
        held: dict[str, frozenset[str]] = {}
        for envelope in lists:
            holder, body = self.post.read(envelope, DealersHeld)
            same(epoch.id, body.epoch, what="epoch", sender=holder)
            held[holder] = frozenset(body.dealers)
        return Committee(epoch, held)


@dataclass(frozen=True, slots=True)
class Committee:
    """The holders of an epoch and the dealers each holds a share of."""

    epoch: Epoch
    held: dict[str, frozenset[str]]

    def without(self, *, dealers: Iterable[str] = (), holders: Iterable[str] = ()) -> Committee:
        """The committee that goes on without some dealers or holders."""
        gone, left_out = set(dealers), set(holders)
        held = {name: d - gone for name, d in self.held.items() if name not in left_out}
        return Committee(self.epoch, held)

    def dealers(self, threshold: int) -> tuple[str, ...]:
        """The largest sorted set of dealers that at least `threshold` holders hold all of.

        Raises:
            EpochRefused: when there is none.
        """
        if len(self.held) < threshold:
            raise _no_committee(f"{len(self.held)} holders are left, {threshold} are needed")
        fullest = sorted(self.held.values(), key=len, reverse=True)[:threshold]
        return tuple(sorted(frozenset.intersection(*fullest)))

    def able(self, contributors: Iterable[str]) -> tuple[str, ...]:
        """The holders who hold a share of every one of these contributors, sorted."""
        wanted = frozenset(contributors)
        return tuple(sorted(name for name, dealers in self.held.items() if wanted <= dealers))

    def active_set(
        self, manifest: Manifest, contributors: Iterable[str], *, answering: Iterable[str]
    ) -> tuple[int, ...]:
        """The points of t holders who can open a sum of these contributors and answered a moment ago.

        Raises:
            AttemptFailed: when fewer than t can.
        """
        names = set(self.able(contributors)) & set(answering)
        if len(names) < manifest.threshold:
            raise AttemptFailed(
                f"{len(names)} holders can open this sum, {manifest.threshold} are needed",
                why="fewer than the threshold cannot open anything, by design",
                fix="wait until more holders are back, then make a fresh attempt",
            )
        return tuple(sorted(manifest.point_of(name) for name in names)[: manifest.threshold])


@dataclass(frozen=True, slots=True)
class Gathering:
    """An attempt at a release that gathers contributions."""

    post: Post
    scheme: ThresholdScheme
    descriptor: Descriptor
    contributions: dict[str, bytes] = field(default_factory=dict)

    def request(self, payload: bytes) -> bytes:
        """The signed request that goes to every participant."""
        return self.post.write(ContributionRequest(descriptor=self.descriptor, payload=payload))

    def receive(self, envelope: bytes) -> str:
        """Verify and keep a contribution; returns its sender.

        Raises:
            StaleMessage, MalformedObjectError: another release or descriptor, or not a ciphertext of its dimension.
            SecondUse: the sender contributed other bytes before.
        """
        sender, body = self.post.read(envelope, Contribution)
        same(self.descriptor.parts.release_id, body.release_id, what="release", sender=sender)
        same(self.descriptor.digest, body.descriptor, what="descriptor", sender=sender)
        self.scheme.check_ciphertext(body.ciphertext, dimension=self.descriptor.dimension)
        if self.contributions.setdefault(sender, body.ciphertext) != body.ciphertext:
            raise SecondUse(
                f"{sender} contributed twice to round {self.descriptor.parts.round}",
                why="two encryptions under one release id subtract to their plaintexts",
                fix="ask the participant's operator whether its vault was restored from a copy",
                where=sender,
            )
        return sender

    def opening(self, contributors: Iterable[str], active: tuple[int, ...]) -> Opening:
        """The statement over these contributors (all of whom have contributed) for this active set.

        Raises:
            AttemptFailed: fewer than m contributors of a real release.
        """
        names = tuple(sorted(contributors))
        least = self.post.manifest.cohort_minimum if self.descriptor.parts.kind == "real" else 1
        if len(names) < least:
            raise AttemptFailed(
                f"{len(names)} participants contributed, {least} are needed",
                why="a smaller cohort would hide each contribution less than was promised",
                fix="wait until more participants are back, then make a fresh attempt",
            )
        statement = Statement(
            parts=self.descriptor.parts,
            descriptor=self.descriptor.digest,
            dimension=self.descriptor.dimension,
            contributors=names,
            active=active,
        )
        total = self.scheme.add([self.contributions[name] for name in names])
        return Opening(self.post, self.scheme, statement, total)


@dataclass(frozen=True, slots=True)
class Opening:
    """An attempt whose statement is fixed: gathers the active set's shares, then opens the sum."""

    post: Post
    scheme: ThresholdScheme
    statement: Statement
    ciphertext_sum: bytes
    shares: dict[int, bytes] = field(default_factory=dict)

    def request(self) -> bytes:
        """The signed request that goes to the active set."""
        return self.post.write(OpenRequest(statement=self.statement))

    def receive(self, envelope: bytes) -> str:
        """Verify and keep an opening share; returns its sender.

        Raises:
            StaleMessage, MalformedObjectError: another statement, or not a share of its dimension.
        """
        sender, body = self.post.read(envelope, OpeningShare)
        same(self.statement.digest, body.statement, what="statement", sender=sender)
        manifest = self.post.manifest
        point = manifest.point_of(sender) if sender in manifest.committee else 0
        if point not in self.statement.active:
            raise _no_committee(f"{sender} is not in the active set")
        self.scheme.check_opening_share(body.share, dimension=self.statement.dimension)
        self.shares[point] = body.share
        return sender

    def open(self) -> NDArray[np.int64]:
        """The opened sum, int64 [dimension].

        Raises:
            AttemptFailed: shares are missing, or the decoding noise is out of bounds.
        """
        missing = sorted(set(self.statement.active) - set(self.shares))
        if missing:
            names = ", ".join(self.post.manifest.committee[point - 1] for point in missing)
            raise _dead(f"no opening share of {names} has come")
        try:
            return self.scheme.combine(
                self.ciphertext_sum,
                self.shares,
                dimension=self.statement.dimension,
                threshold=self.post.manifest.threshold,
                contributors=len(self.statement.contributors),
            )
        except NoiseBoundError as error:
            raise _dead(
                "the decoding noise is out of bounds: a contribution or a share is not what it claims"
            ) from error


def _dead(what: str) -> AttemptFailed:
    return AttemptFailed(
        what,
        why="one missing or false piece leaves the sum closed, so that nothing else can open",
        fix="a fresh attempt is made while the run has attempts left; if they all fail, run epoch setup again",
    )


def _no_committee(what: str) -> EpochRefused:
    return EpochRefused(
        what,
        why="a sum opens only with enough holders who hold everyone's share",
        fix="bring more holders back, then start the run anew",
    )
