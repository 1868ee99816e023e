"""One way to hash structured values: SHA-256 over a label and length-prefixed parts, so no two values collide."""

from __future__ import annotations

import hashlib

LABEL_PREFIX = b"fedcrm/1/"


def digest(label: str, *parts: bytes | str | int) -> bytes:
    """SHA-256 of the label and the parts, each with its type and length; 32 bytes.

    Args:
        label: What the digest is of; digests under different labels never coincide.
        parts: Bytes, text (UTF-8) or integers (decimal text).
    """
    hasher = hashlib.sha256(LABEL_PREFIX + label.encode() + b"\x00")
    for part in parts:
        kind, raw = _encoded(part)
        hasher.update(kind + len(raw).to_bytes(8, "big") + raw)
    return hasher.digest()


def _encoded(part: bytes | str | int) -> tuple[bytes, bytes]:
    if isinstance(part, bytes):
        return b"b", part
    if isinstance(part, str):
        return b"s", part.encode()
    return b"i", str(part).encode()
