"""The holder's role: keeps one key share per dealer and answers one statement per release id.

A holder never sees a ciphertext, so nothing a participant or the coordinator chooses is ever multiplied by a key.
Each rule is a function of its own, named after what it refuses; SECURITY.md has the attack behind each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fedcrm.crypto.scheme import ThresholdScheme
from fedcrm.crypto.sealing import EpochKey, derive, open_seal, pair_mask_key
from fedcrm.errors import FedCRMError, SecondUse, StatementRefused
from fedcrm.protocol import vault as kinds
from fedcrm.protocol.epoch import Epoch, share_context, verified_epoch
from fedcrm.protocol.manifest import Manifest
from fedcrm.protocol.messages import (
    COORDINATOR,
    DealersHeld,
    EpochKeys,
    HolderKey,
    OpeningShare,
    OpenRequest,
    Post,
    SealedShare,
    same,
)
from fedcrm.protocol.release import ReleaseParts, Statement
from fedcrm.protocol.vault import Vault


@dataclass(frozen=True, slots=True)
class Holder:
    """A key holder before a run: it can announce a fresh key, then enter the epoch made of all holders' keys."""

    post: Post
    vault: Vault
    scheme: ThresholdScheme

    def announce(self, *, run: bytes, fresh_secret: bytes) -> bytes:
        """The signed key for this run, drawn from 32 fresh random bytes; asked again, it repeats the first one."""
        secret = self.vault.record(kinds.HOLDER_SECRET, run, b"", fresh_secret)
        return self.post.write(HolderKey(run=run, public_key=_epoch_key(secret).public))

    def enter(self, epoch_keys: bytes, *, run: bytes) -> EpochHolder:
        """The holder within the epoch of these keys.

        Raises:
            EpochRefused: a key does not verify, or this holder's own key is not among them.
        """
        _, body = self.post.read(epoch_keys, EpochKeys, sender=COORDINATOR)
        same(run, body.run, what="run", sender=COORDINATOR)
        epoch = verified_epoch(self.post, run=run, holder_keys=body.holder_keys)
        secret = self.vault.get(kinds.HOLDER_SECRET, run, b"")
        if secret is None or epoch.holder_keys.get(self.post.name) != _epoch_key(secret).public:
            raise _refused(self.post.name, "the epoch does not hold this holder's own key")
        return EpochHolder(self, epoch, secret)


@dataclass(frozen=True, slots=True, repr=False)
class EpochHolder:
    """A holder within an epoch: stores shares, says whose it holds, answers statements."""

    holder: Holder
    epoch: Epoch
    secret: bytes
    _sums: dict[tuple[str, ...], bytes] = field(default_factory=dict)

    def receive(self, envelopes: Iterable[bytes]) -> list[FedCRMError]:
        """Open, check and store sealed shares (the first per dealer wins); returns what was refused, and why."""
        refused: list[FedCRMError] = []
        for envelope in envelopes:
            try:
                self._store(envelope)
            except FedCRMError as error:
                refused.append(error)
        return refused

    def dealers_held(self) -> bytes:
        """The signed list of dealers whose shares are stored."""
        return self.holder.post.write(DealersHeld(epoch=self.epoch.id, dealers=tuple(self._held())))

    def answer(self, request: bytes) -> bytes:
        """The signed opening share for a statement, after every check and after recording it.

        Raises:
            StatementRefused: the statement breaks a rule.
            SecondUse: another statement was answered for this release id.
        """
        _, body = self.holder.post.read(request, OpenRequest, sender=COORDINATOR)
        statement = body.statement
        manifest, own = self.holder.post.manifest, self.holder.post.name
        check_parts(self.epoch, statement.parts)
        check_contributors(manifest, statement)
        check_cohort(manifest, statement)
        check_dealers(set(self._held()), statement)
        check_active(manifest, self.epoch, statement, own)
        answer_once(self.holder.vault, self.epoch, statement, own)
        share = self._share(statement)
        return self.holder.post.write(OpeningShare(statement=statement.digest, share=share))

    def _store(self, envelope: bytes) -> None:
        post, holder = self.holder.post, self.holder.post.name
        dealer, body = post.read(envelope, SealedShare)
        same(self.epoch.id, body.epoch, what="epoch", sender=dealer)
        if body.holder != holder:
            raise _refused(dealer, f"a share for {body.holder} was brought to {holder}")
        place = share_context(self.epoch.id, dealer, holder)
        share = open_seal(_epoch_key(self.secret), body.sealed, associated_data=place)
        self.holder.scheme.check_key_share(share)
        self.holder.vault.record(kinds.KEY_SHARE, self.epoch.id, dealer.encode(), share)

    def _held(self) -> list[str]:
        names = self.holder.post.manifest.participants
        return [name for name in names if self._key_share(name) is not None]

    def _key_share(self, dealer: str) -> bytes | None:
        return self.holder.vault.get(kinds.KEY_SHARE, self.epoch.id, dealer.encode())

    def _share_sum(self, contributors: tuple[str, ...]) -> bytes:
        if contributors not in self._sums:
            shares = [share for name in contributors if (share := self._key_share(name)) is not None]
            self._sums.clear()
            self._sums[contributors] = self.holder.scheme.sum_shares(shares)
        return self._sums[contributors]

    def _share(self, statement: Statement) -> bytes:
        manifest, own = self.holder.post.manifest, self.holder.post.name
        return self.holder.scheme.opening_share(
            self._share_sum(statement.contributors),
            point=manifest.point_of(own),
            active=statement.active,
            masks=self._masks(statement, manifest.point_of(own)),
            noise_key=derive(self.secret, "holder noise", statement.digest),
            release_id=statement.parts.release_id,
            descriptor_digest=statement.descriptor,
            dimension=statement.dimension,
        )

    def _masks(self, statement: Statement, own: int) -> Mapping[int, bytes]:
        key, committee = _epoch_key(self.secret), self.holder.post.manifest.committee
        others = {point: self.epoch.holder_keys[committee[point - 1]] for point in statement.active if point != own}
        return {
            point: pair_mask_key(key, public, statement=statement.digest, points=(own, point))
            for point, public in others.items()
        }


def _epoch_key(secret: bytes) -> EpochKey:
    return EpochKey(derive(secret, "holder epoch key"))


def check_parts(epoch: Epoch, parts: ReleaseParts) -> None:
    """Refuse a release of another federation, run or epoch; the id itself is recomputed, never taken."""
    same(epoch.manifest, parts.manifest, what="federation", sender=COORDINATOR)
    same(epoch.run, parts.run, what="run", sender=COORDINATOR)
    same(epoch.id, parts.epoch, what="epoch", sender=COORDINATOR)


def check_contributors(manifest: Manifest, statement: Statement) -> None:
    """Refuse contributors that are not distinct, in order and of the roster."""
    names = statement.contributors
    if list(names) != sorted(set(names)) or not names:
        raise _refused(COORDINATOR, "the contributors are not distinct and in order")
    if not set(names) <= set(manifest.participants):
        raise _refused(COORDINATOR, "a contributor is not in the roster")


def check_cohort(manifest: Manifest, statement: Statement) -> None:
    """Refuse to open a real release of fewer than m contributors."""
    if statement.parts.kind == "real" and len(statement.contributors) < manifest.cohort_minimum:
        raise _refused(
            COORDINATOR, f"{len(statement.contributors)} contributors are fewer than m = {manifest.cohort_minimum}"
        )


def check_dealers(held: set[str], statement: Statement) -> None:
    """Refuse a contributor whose key share is not held."""
    missing = sorted(set(statement.contributors) - held)
    if missing:
        raise _refused(COORDINATOR, f"no key share is held of {', '.join(missing)}")


def check_active(manifest: Manifest, epoch: Epoch, statement: Statement, own: str) -> None:
    """Refuse an active set that is not t distinct holders of this epoch with this one among them."""
    active = statement.active
    allowed = {manifest.point_of(name) for name in epoch.holder_keys}
    if list(active) != sorted(set(active)) or len(active) != manifest.threshold or not set(active) <= allowed:
        raise _refused(COORDINATOR, f"the active set is not {manifest.threshold} distinct holders of this epoch")
    if manifest.point_of(own) not in active:
        raise _refused(COORDINATOR, f"{own} is not in the active set")


def answer_once(vault: Vault, epoch: Epoch, statement: Statement, own: str) -> None:
    """Record the statement for its release id before anything leaves; refuse a second, different one."""
    stored = vault.record(kinds.ANSWERED, epoch.id, statement.parts.release_id, statement.digest)
    if stored != statement.digest:
        raise SecondUse(
            f"{own} has answered another statement for round {statement.parts.round}, "
            f"attempt {statement.parts.attempt} already",
            why="two openings of one release can be subtracted and show a single contribution",
            fix="make a fresh attempt; this one is dead",
            where=own,
        )


def _refused(sender: str, what: str) -> StatementRefused:
    return StatementRefused(
        what,
        why="opening it could show less than a whole cohort's sum",
        fix="the coordinator must name a statement that keeps the manifest's numbers",
        where=sender,
    )
