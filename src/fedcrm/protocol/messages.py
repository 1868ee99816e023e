"""Signed messages: one envelope, one byte form, parsed once at the door into frozen values.

An envelope is msgpack of [version, kind, sender, body, signature]; the signature covers the kind, the sender, the
federation's manifest digest and the body's bytes, so a message of another federation never verifies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeVar

import msgpack
from pydantic import Field, ValidationError

from fedcrm.crypto.identity import Identity, verify
from fedcrm.errors import MalformedMessage, SignatureRefused, StaleMessage
from fedcrm.protocol.digest import digest
from fedcrm.protocol.manifest import Manifest
from fedcrm.protocol.release import Descriptor, Digest, RunPlan, Statement, Value

MESSAGE_VERSION = 1
COORDINATOR = "coordinator"
SIGNATURE_DOMAIN = "message"
LARGEST_MESSAGE = 1 << 28

PublicKey = Annotated[bytes, Field(min_length=32, max_length=32)]


class Message(Value):
    """A body that can travel; `KIND` names it on the wire."""

    KIND: ClassVar[str]


class HolderKey(Message):
    """A holder's fresh X25519 key for one run."""

    KIND: ClassVar[str] = "holder-key"
    run: Digest
    public_key: PublicKey


class EpochKeys(Message):
    """The holders' signed keys, relayed unchanged; every participant verifies each itself."""

    KIND: ClassVar[str] = "epoch-keys"
    run: Digest
    holder_keys: tuple[bytes, ...]


class SealedShare(Message):
    """One dealer's key share for one holder, sealed to the holder's epoch key."""

    KIND: ClassVar[str] = "sealed-share"
    epoch: Digest
    holder: str
    sealed: bytes


class DealersHeld(Message):
    """The dealers whose shares a holder has opened, checked and stored."""

    KIND: ClassVar[str] = "dealers-held"
    epoch: Digest
    dealers: tuple[str, ...]


class Announcement(Message):
    """The plan of a run, before its first round."""

    KIND: ClassVar[str] = "announcement"
    plan: RunPlan


class ContributionRequest(Message):
    """A release's descriptor and the query's payload it is about."""

    KIND: ClassVar[str] = "contribution-request"
    descriptor: Descriptor
    payload: bytes


class Contribution(Message):
    """One participant's encrypted, noised, weighted sum."""

    KIND: ClassVar[str] = "contribution"
    release_id: Digest
    descriptor: Digest
    ciphertext: bytes


class OpenRequest(Message):
    """The statement holders are asked to answer."""

    KIND: ClassVar[str] = "open-request"
    statement: Statement


class OpeningShare(Message):
    """One holder's answer to one statement."""

    KIND: ClassVar[str] = "opening-share"
    statement: Digest
    share: bytes


Body = TypeVar("Body", bound=Message)


@dataclass(frozen=True, slots=True)
class Post:
    """How one party signs its messages and reads those of others.

    Attributes:
        manifest: The accepted manifest; its roster says who may sign as whom.
        name: This party's name in it (or `COORDINATOR`).
        identity: This party's signing identity.
    """

    manifest: Manifest
    name: str
    identity: Identity

    def write(self, body: Message) -> bytes:
        """The signed envelope of a body."""
        raw = msgpack.packb(_packable(body.model_dump()))
        signature = self.identity.sign(SIGNATURE_DOMAIN, self._signed(body.KIND, self.name, raw))
        envelope: bytes = msgpack.packb([MESSAGE_VERSION, body.KIND, self.name, raw, signature])
        return envelope

    def read(self, data: bytes, kind: type[Body], *, sender: str | None = None) -> tuple[str, Body]:
        """Verify an envelope and parse its body.

        Args:
            data: The envelope.
            kind: The body's class; any other kind is refused.
            sender: Who must have sent it; None for anyone of the roster.

        Returns:
            The verified sender and the body.

        Raises:
            MalformedMessage: not an envelope, another version or kind, or a body with wrong fields.
            SignatureRefused: unknown sender, another sender than expected, or a signature that does not fit.
        """
        name, raw, signature = _envelope(data, kind.KIND)
        key = self.manifest.coordinator if name == COORDINATOR else self.manifest.identity_of(name)
        if key is None or (sender is not None and name != sender):
            raise _refused(name, f"sent a {kind.KIND} that {sender or 'the roster'} should have sent")
        if not verify(key, SIGNATURE_DOMAIN, self._signed(kind.KIND, name, raw), signature):
            raise _refused(name, "has a signature that does not fit its bytes or this federation")
        return name, _body(raw, kind, name)

    def _signed(self, kind: str, sender: str, raw: bytes) -> bytes:
        return digest("message", self.manifest.digest, kind, sender, raw)


def same(expected: bytes, given: bytes, *, what: str, sender: str) -> None:
    """Refuse a message of another run, epoch, release or statement.

    Raises:
        StaleMessage: naming the sender and what differs.
    """
    if expected != given:
        raise StaleMessage(
            f"a message of {sender} belongs to another {what}",
            why="answering a replayed or foreign message could answer one release twice",
            fix="none needed when it is late; otherwise ask the sender which run it is in",
            where=sender,
        )


def _envelope(data: bytes, kind: str) -> tuple[str, bytes, bytes]:
    if len(data) > LARGEST_MESSAGE:
        raise _malformed(f"{len(data)} bytes are more than any message has", "")
    try:
        version, given, name, raw, signature = msgpack.unpackb(data, use_list=False)
        fits = [isinstance(version, int), isinstance(given, str), isinstance(name, str)]
        if not (all(fits) and isinstance(raw, bytes) and isinstance(signature, bytes)):
            raise ValueError("fields of the wrong type")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise _malformed(f"bytes are not a message ({type(error).__name__})", "") from error
    if version != MESSAGE_VERSION:
        raise _malformed(f"the message has version {version}, this program speaks {MESSAGE_VERSION}", name)
    if given != kind:
        raise _malformed(f"a {kind} was expected, this is another kind of message", name)
    return name, raw, signature


def _body(raw: bytes, kind: type[Body], sender: str) -> Body:
    try:
        return kind.model_validate(msgpack.unpackb(raw, use_list=False))
    except (ValidationError, ValueError, TypeError, msgpack.UnpackException) as error:
        fields = [".".join(map(str, e["loc"])) for e in error.errors()] if isinstance(error, ValidationError) else []
        raise _malformed(f"its fields do not fit: {', '.join(fields) or type(error).__name__}", sender) from error


def _packable(value: object) -> object:
    if isinstance(value, dict):
        return {key: _packable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_packable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        raise OverflowError("an integer does not fit the wire")
    return value


def _malformed(what: str, sender: str) -> MalformedMessage:
    return MalformedMessage(
        what,
        why="a message that is read loosely can be made to mean two things",
        fix="check that both sides run the same version of FedCRM",
        where=sender,
    )


def _refused(sender: str, what: str) -> SignatureRefused:
    return SignatureRefused(
        f"{sender} {what}",
        why="only signed messages of the roster can be trusted to be what was sent",
        fix="check that both sides accepted the same manifest; if they did, someone is changing messages",
        where=sender,
    )
