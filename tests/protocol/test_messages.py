"""Messages: what is tampered with, replayed, unsigned or foreign is refused with the sender and the cause named."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcrm.errors import FedCRMError, MalformedMessage, SignatureRefused
from fedcrm.protocol.messages import COORDINATOR, DealersHeld, HolderKey, OpenRequest, Post
from fedcrm.protocol.release import ReleaseParts, Statement
from twins.federation import Federation

FEDERATION = Federation(4)
BODY = DealersHeld(epoch=bytes(32), dealers=("org00", "org01"))


@pytest.fixture
def post() -> Post:
    """One member's post."""
    return FEDERATION.post("org00")


def test_a_message_comes_back_as_it_was_written(post: Post) -> None:
    """Writing and reading a message is the identity, and the sender is the signer."""
    sender, body = FEDERATION.post("org01").read(post.write(BODY), DealersHeld)
    assert (sender, body) == ("org00", BODY)


def test_every_flipped_byte_is_refused(post: Post) -> None:
    """No byte of an envelope can change without the message being refused."""
    envelope = post.write(BODY)
    for place in range(len(envelope)):
        changed = envelope[:place] + bytes([envelope[place] ^ 1]) + envelope[place + 1 :]
        with pytest.raises(FedCRMError):
            post.read(changed, DealersHeld)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_crash_the_reader(noise: bytes) -> None:
    """Whatever arrives, the answer is a message or a typed refusal."""
    with pytest.raises((MalformedMessage, SignatureRefused)):
        FEDERATION.post("org00").read(noise, DealersHeld)


@given(
    st.recursive(st.none() | st.integers(0, 9) | st.text(max_size=5) | st.binary(max_size=5), st.lists, max_leaves=9)
)
def test_well_formed_but_wrong_structures_are_refused(value: object) -> None:
    """Valid msgpack of another shape is no message either."""
    with pytest.raises((MalformedMessage, SignatureRefused)):
        FEDERATION.post("org00").read(msgpack.packb(value), DealersHeld)


def test_another_kind_of_message_is_refused(post: Post) -> None:
    """A message cannot be taken for one of another kind."""
    with pytest.raises(MalformedMessage, match="holder-key was expected"):
        post.read(post.write(BODY), HolderKey)


def test_a_relabelled_sender_is_refused(post: Post) -> None:
    """The name in the envelope must be the one whose key signed."""
    version, kind, _, raw, signature = msgpack.unpackb(post.write(BODY))
    for name in ("org01", COORDINATOR, "stranger"):
        with pytest.raises(SignatureRefused, match=name):
            post.read(msgpack.packb([version, kind, name, raw, signature]), DealersHeld)


def test_a_message_of_another_federation_is_refused(post: Post) -> None:
    """Signatures cover the manifest's digest, so the same key in another federation signs other messages."""
    other = FEDERATION.manifest.model_copy(update={"reference_epsilon": 9.0})
    foreign = Post(other, "org00", FEDERATION.identities["org00"])
    with pytest.raises(SignatureRefused, match="org00"):
        post.read(foreign.write(BODY), DealersHeld)


def test_an_unsigned_message_is_refused(post: Post) -> None:
    """An empty signature is no signature."""
    version, kind, name, raw, _ = msgpack.unpackb(post.write(BODY))
    with pytest.raises(SignatureRefused):
        post.read(msgpack.packb([version, kind, name, raw, b""]), DealersHeld)


def test_only_the_expected_sender_is_heard(post: Post) -> None:
    """A participant cannot speak as the coordinator."""
    with pytest.raises(SignatureRefused, match="org00"):
        post.read(post.write(BODY), DealersHeld, sender=COORDINATOR)


def test_an_unknown_version_or_field_is_refused(post: Post) -> None:
    """Bodies are read strictly: other versions and unknown keys are errors."""
    version, kind, name, raw, signature = msgpack.unpackb(post.write(BODY))
    with pytest.raises(MalformedMessage, match="version 2"):
        post.read(msgpack.packb([2, kind, name, raw, signature]), DealersHeld)
    padded = msgpack.packb({**msgpack.unpackb(raw), "extra": 1})
    signed = FEDERATION.identities["org00"].sign("message", post._signed(kind, name, padded))
    with pytest.raises(MalformedMessage, match="extra"):
        post.read(msgpack.packb([version, kind, name, padded, signed]), DealersHeld)


def test_the_size_of_a_request_does_not_depend_on_records() -> None:
    """A statement's size depends on the roster alone."""
    parts = ReleaseParts(kind="real", manifest=bytes(32), epoch=bytes(32), run=bytes(32), round=3, attempt=0)
    sizes = {
        len(
            FEDERATION.post(COORDINATOR).write(
                OpenRequest(
                    statement=Statement(
                        parts=parts, descriptor=bytes(32), dimension=d, contributors=FEDERATION.names, active=(1, 2, 3)
                    )
                )
            )
        )
        for d in (1000, 2000, 60000)
    }
    assert len(sizes) == 1
