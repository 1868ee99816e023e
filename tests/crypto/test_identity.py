"""Signing identities: a signature is for one key, one domain and one message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.crypto.identity import Identity, verify
from fedcrm.errors import ParameterError

ONE, TWO = Identity(b"1" * 32), Identity(b"2" * 32)


@settings(deadline=None)
@given(st.text(max_size=20), st.binary(max_size=100))
def test_a_signature_verifies(domain, message):
    """What was signed verifies under the same key and domain, and repeats its bytes."""
    signature = ONE.sign(domain, message)
    assert verify(ONE.public, domain, message, signature)
    assert signature == ONE.sign(domain, message)


def test_a_signature_is_for_nothing_else():
    """Another key, domain, message or byte, and a boundary moved between domain and message, do not verify."""
    signature = ONE.sign("message", b"text")
    assert not verify(TWO.public, "message", b"text", signature)
    assert not verify(ONE.public, "manifest", b"text", signature)
    assert not verify(ONE.public, "message", b"Text", signature)
    assert not verify(ONE.public, "messaget", b"ext", signature)
    for place in range(64):
        changed = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        assert not verify(ONE.public, "message", b"text", changed)


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), b"\xff" * 32])
def test_odd_keys_verify_nothing(public):
    """A key of wrong length or off the curve is not an exception but a no."""
    assert not verify(public, "message", b"text", ONE.sign("message", b"text"))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_odd_signatures_do_not_verify(length):
    """A signature has 64 bytes."""
    assert not verify(ONE.public, "message", b"text", bytes(length))


def test_identities_are_kept_and_not_shown():
    """Private bytes make the same identity again; repr holds the public key's start only; short keys are refused."""
    assert Identity(ONE.private_bytes()).public == ONE.public
    assert (b"1" * 32).hex()[:8] not in repr(ONE)
    assert Identity.generate().public != Identity.generate().public
    with pytest.raises(ParameterError):
        Identity(b"short")
