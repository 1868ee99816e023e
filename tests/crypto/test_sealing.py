"""Seals, pair keys and derivation: what fits opens, everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcrm.crypto.sealing import EpochKey, derive, open_seal, pair_mask_key, seal
from fedcrm.errors import ParameterError, SealError

SECRET = b"s" * 32
ONE, TWO = EpochKey(derive(SECRET, "one")), EpochKey(derive(SECRET, "two"))


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_a_seal_opens_for_its_recipient_and_place(plaintext, place):
    """What was sealed comes back with the same key and associated data."""
    sealed = seal(SECRET, ONE.public, plaintext, associated_data=place)
    assert open_seal(ONE, sealed, associated_data=place) == plaintext


def test_swapped_shares_are_refused():
    """A share sealed for one holder or dealer does not open as another's, nor in another epoch."""
    sealed = seal(SECRET, ONE.public, b"share", associated_data=b"epoch 1, dealer a, holder 1")
    for key, place in [
        (TWO, b"epoch 1, dealer a, holder 1"),
        (ONE, b"epoch 1, dealer b, holder 1"),
        (ONE, b"epoch 1, dealer a, holder 2"),
        (ONE, b"epoch 2, dealer a, holder 1"),
        (ONE, b""),
    ]:
        with pytest.raises(SealError, match="FED-304"):
            open_seal(key, sealed, associated_data=place)


def test_every_changed_byte_is_noticed():
    """Ephemeral key, ciphertext and tag are all bound; short and empty seals are refused."""
    sealed = seal(SECRET, ONE.public, b"share", associated_data=b"x")
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(SealError):
            open_seal(ONE, changed, associated_data=b"x")
    for length in (0, 31, 32, 47, len(sealed) - 1):
        with pytest.raises(SealError):
            open_seal(ONE, sealed[:length], associated_data=b"x")


def test_a_repeated_seal_repeats_its_bytes_and_another_shares_no_key():
    """The ephemeral key is a PRF of all inputs, so two plaintexts never meet under one key."""
    one = seal(SECRET, ONE.public, b"a", associated_data=b"x")
    assert one == seal(SECRET, ONE.public, b"a", associated_data=b"x")
    others = [
        seal(SECRET, ONE.public, b"b", associated_data=b"x"),
        seal(SECRET, ONE.public, b"a", associated_data=b"y"),
        seal(SECRET, TWO.public, b"a", associated_data=b"x"),
        seal(b"t" * 32, ONE.public, b"a", associated_data=b"x"),
    ]
    assert len({data[:32] for data in [one, *others]}) == 5


@pytest.mark.parametrize("public", [bytes(32), (1).to_bytes(32, "little"), b"short"])
def test_keys_without_a_secret_are_refused(public):
    """Points of small order and wrong lengths yield no shared secret."""
    with pytest.raises(SealError):
        seal(SECRET, public, b"share", associated_data=b"x")
    with pytest.raises(SealError):
        pair_mask_key(ONE, public, statement=b"s", points=(1, 2))


def test_both_holders_get_the_same_mask_key():
    """The pair key is symmetric and bound to statement and points."""
    key = pair_mask_key(ONE, TWO.public, statement=b"s", points=(1, 2))
    assert key == pair_mask_key(TWO, ONE.public, statement=b"s", points=(2, 1))
    assert len(key) == 32
    three = EpochKey(derive(SECRET, "three"))
    others = {
        pair_mask_key(ONE, TWO.public, statement=b"t", points=(1, 2)),
        pair_mask_key(ONE, TWO.public, statement=b"s", points=(1, 3)),
        pair_mask_key(ONE, three.public, statement=b"s", points=(1, 2)),
    }
    assert len(others | {key}) == 4


def test_a_mask_with_oneself_is_refused():
    """It would be added and never subtracted."""
    with pytest.raises(ParameterError):
        pair_mask_key(ONE, ONE.public, statement=b"s", points=(2, 2))


def test_derived_keys_do_not_collide():
    """Framing keeps labels, types and boundaries of parts apart."""
    found = [
        derive(SECRET, "a"),
        derive(SECRET, "b"),
        derive(b"t" * 32, "a"),
        derive(SECRET, "a", b""),
        derive(SECRET, "a", b"xy"),
        derive(SECRET, "a", b"x", b"y"),
        derive(SECRET, "a", "xy"),
        derive(SECRET, "a", 1),
        derive(SECRET, "a", "1"),
        derive(SECRET, "a", b"1"),
        derive(SECRET, "a", 1, 2),
        derive(SECRET, "a", 12),
    ]
    assert len(set(found)) == len(found)
    assert {len(key) for key in found} == {32}


def test_short_secrets_are_refused():
    """Keys are not derived from what can be guessed, and a key has 32 bytes."""
    with pytest.raises(ParameterError):
        derive(b"s" * 31, "a")
    with pytest.raises(ParameterError):
        EpochKey(b"s" * 31)


def test_secrets_are_not_shown():
    """repr holds a piece of the public key and nothing of the private one."""
    private = derive(SECRET, "one")
    assert private.hex()[:8] not in repr(ONE)
    assert repr(ONE).startswith("EpochKey(public=")
    assert EpochKey(ONE.private_bytes()).public == ONE.public
    assert EpochKey.generate().public != EpochKey.generate().public
