"""What an adversary can do with wire objects: unpack coefficients, compute modulo Q, decode without a check."""

from __future__ import annotations

from fedcrm.crypto.scheme import SchemeParameters

HEADER = 24
BITS = 60


def coefficients(data: bytes) -> list[int]:
    """All coefficients of a packed object."""
    number = int.from_bytes(data[HEADER:], "little")
    count = (len(data) - HEADER) * 8 // BITS
    return [(number >> (BITS * j)) & ((1 << BITS) - 1) for j in range(count)]


def packed(header: bytes, values: list[int]) -> bytes:
    """The object with these coefficients under another object's header."""
    number = sum(value << (BITS * j) for j, value in enumerate(values))
    return header[:HEADER] + number.to_bytes((len(values) * BITS + 7) // 8, "little")


def added(parameters: SchemeParameters, *objects: bytes, factors: list[int] | None = None) -> list[int]:
    """Σ factor·object, coefficient by coefficient modulo Q."""
    factors = factors or [1] * len(objects)
    columns = zip(*(coefficients(data) for data in objects), strict=True)
    return [sum(f * c for f, c in zip(factors, column, strict=True)) % parameters.modulus for column in columns]


def decoded(parameters: SchemeParameters, values: list[int], dimension: int) -> list[int]:
    """Plaintexts of Σ T⁻¹x + e, without looking at the size of e."""
    q, t = parameters.modulus, parameters.plaintext_modulus
    return [_centred(_centred(value * t % q, q) % t, t) for value in values[:dimension]]


def _centred(value: int, modulus: int) -> int:
    return value - modulus if value > modulus // 2 else value
