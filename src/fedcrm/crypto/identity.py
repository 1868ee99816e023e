"""Signing identities: Ed25519 keys that a manifest's roster names; every signature belongs to one domain."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedcrm.errors import ParameterError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_PREFIX = b"fedcrm/1/signature/"


class Identity:
    """A party's Ed25519 signing key (RFC 8032). Signing is deterministic, so a repeated step repeats its bytes."""

    __slots__ = ("_key", "public")

    def __init__(self, private: bytes) -> None:
        """Take the 32 private bytes as `generate` or `private_bytes` gave them."""
        if len(private) != KEY_BYTES:
            raise ParameterError(
                f"an identity key has {len(private)} bytes, not {KEY_BYTES}",
                why="a key of another length is not an Ed25519 key",
                fix="use the key file that was written when the identity was made",
            )
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Identity:
        """A fresh identity from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def private_bytes(self) -> bytes:
        """The 32 secret bytes, for the vault alone."""
        return self._key.private_bytes_raw()

    def sign(self, domain: str, message: bytes) -> bytes:
        """64-byte signature of the message within the domain; it verifies under no other domain."""
        return self._key.sign(_framed(domain, message))

    def __repr__(self) -> str:
        return f"Identity(public={self.public.hex()[:16]}…)"


def verify(public: bytes, domain: str, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the public key's over this message in this domain. Odd bytes are simply not a signature.

    Args:
        public: Ed25519 public key, 32 bytes.
        domain: What kind of statement was signed.
        message: The signed bytes.
        signature: 64 bytes.
    """
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _framed(domain, message))
    except (InvalidSignature, ValueError):
        return False
    return True


def _framed(domain: str, message: bytes) -> bytes:
    raw = domain.encode()
    return _PREFIX + len(raw).to_bytes(4, "big") + raw + message
