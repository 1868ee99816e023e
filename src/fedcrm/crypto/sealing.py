"""Sealed values between holders, masks' pair keys, and the one way secrets are derived from an epoch's secret.

A seal is X25519 (RFC 7748) to the recipient's epoch key, HKDF-SHA256 (RFC 5869) and ChaCha20-Poly1305 (RFC 8439).
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcrm.errors import ParameterError, SealError

KEY_BYTES = 32
_LABEL = b"fedcrm/1/"
_TAG_BYTES = 16
_NONCE = bytes(12)  # every seal has a key of its own, so the nonce may be constant


def derive(secret: bytes, label: str, *parts: bytes | str | int) -> bytes:
    """32 bytes of HKDF-SHA256 from a secret, for one purpose and the parts that name it; a PRF of label and parts.

    Args:
        secret: At least 32 secret bytes.
        label: The purpose; outputs under different labels are independent.
        parts: Bytes, text or integers, framed with type and length so that no two lists collide.
    """
    if len(secret) < KEY_BYTES:
        raise ParameterError(
            f"a secret of {len(secret)} bytes was given to derive from",
            why="fewer than 32 bytes can be guessed",
            fix="derive from the epoch secret or another 32-byte key",
        )
    info = _LABEL + label.encode() + b"\x00" + b"".join(_framed(part) for part in parts)
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


class EpochKey:
    """A holder's X25519 key for one epoch: it opens sealed shares and agrees on masks' pair keys."""

    __slots__ = ("_key", "public")

    def __init__(self, private: bytes) -> None:
        """Take 32 private bytes: `generate`, or derived from the epoch secret, so that a repeated step repeats them."""
        if len(private) != KEY_BYTES:
            raise ParameterError(
                f"an epoch key has {len(private)} bytes, not {KEY_BYTES}",
                why="a key of another length is not an X25519 key",
                fix="derive the key from the epoch secret",
            )
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> EpochKey:
        """A fresh key from the operating system's randomness."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def private_bytes(self) -> bytes:
        """The 32 secret bytes, for the vault alone."""
        return self._key.private_bytes_raw()

    def agree(self, other_public: bytes) -> bytes:
        """The 32-byte X25519 secret shared with another key; only ever used through `derive`.

        Raises:
            SealError: when the other key is not a point that yields a secret (wrong length or small order).
        """
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(other_public))
        except ValueError:
            raise SealError(
                "an epoch key of another party yields no shared secret",
                why="a key of small order or wrong length would make the agreed key public",
                fix="refuse that party's epoch key and name it",
            ) from None

    def __repr__(self) -> str:
        return f"EpochKey(public={self.public.hex()[:16]}…)"


def seal(secret: bytes, recipient: bytes, plaintext: bytes, *, associated_data: bytes) -> bytes:
    """Ephemeral public key, ciphertext and tag: only the recipient's epoch key opens it, only with the same data.

    The ephemeral key is a PRF of the secret over recipient, associated data and plaintext: the same input repeats its
    bytes, and two different inputs never share a key (as SIV modes do), even on a restored disk.

    Args:
        secret: The sender's epoch secret, at least 32 bytes.
        recipient: X25519 public epoch key, 32 bytes.
        plaintext: What is sealed.
        associated_data: What it belongs to (epoch, dealer, holder); not stored in the seal.
    """
    digests = (hashlib.sha256(associated_data).digest(), hashlib.sha256(plaintext).digest())
    ephemeral = EpochKey(derive(secret, "seal ephemeral", recipient, *digests))
    key = _seal_key(ephemeral.agree(recipient), ephemeral.public, recipient)
    return ephemeral.public + ChaCha20Poly1305(key).encrypt(_NONCE, plaintext, associated_data)


def open_seal(own: EpochKey, sealed: bytes, *, associated_data: bytes) -> bytes:
    """The plaintext of a seal made for this key with this associated data.

    Raises:
        SealError: when the bytes are too short, changed, made for another key or for other associated data.
    """
    if len(sealed) < KEY_BYTES + _TAG_BYTES:
        raise _refused(f"{len(sealed)} bytes are too short to be a seal")
    ephemeral = sealed[:KEY_BYTES]
    key = _seal_key(own.agree(ephemeral), ephemeral, own.public)
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed[KEY_BYTES:], associated_data)
    except InvalidTag:
        raise _refused("the seal was made for another key or place, or its bytes were changed") from None


def pair_mask_key(own: EpochKey, other_public: bytes, *, statement: bytes, points: tuple[int, int]) -> bytes:
    """The 32-byte key of the mask between two holders for one statement; both sides get the same.

    Args:
        own: This holder's epoch key.
        other_public: The other holder's public epoch key.
        statement: Canonical bytes of release id, descriptor digest, S and A.
        points: The two holders' Shamir points, in either order.
    """
    low, high = sorted(points)
    if low == high:
        raise ParameterError(
            f"a mask of holder {low} with itself was asked for",
            why="a mask that nobody subtracts spoils the opening",
            fix="ask for masks with the other members of the active set only",
        )
    publics = sorted((own.public, other_public))
    return derive(own.agree(other_public), "pair mask", statement, low, high, *publics)


def _seal_key(shared: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    return derive(shared, "seal key", ephemeral, recipient)


def _refused(what: str) -> SealError:
    return SealError(
        what,
        why="a share that is not authentic could open another sum than the one agreed on",
        fix="ask the sender to send it again; when that fails too, name the sender and go on without it",
    )


def _framed(part: bytes | str | int) -> bytes:
    raw, kind = (
        (part, b"b") if isinstance(part, bytes) else (str(part).encode(), b"s" if isinstance(part, str) else b"i")
    )
    return kind + len(raw).to_bytes(8, "big") + raw
