"""The threshold-encryption seam: public parameters with their checks, and what every scheme can do.

Additively homomorphic encryption with a common reference a = H(release id, descriptor digest, block): a contribution
is −a·s + e + T⁻¹·x in Z_Q[X]/(X^N + 1), its key s dealt by Shamir to the holders, who together open one sum. The
pattern is LERNA's (Li, Lin, Polychroniadou, Tessaro 2023) with the threshold layer of Mouchet, Bertrand, Hubaux (2022).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedcrm.errors import ParameterError

MAXIMUM_HOLDERS = 32
MAXIMUM_PARTICIPANTS = 1000
MAXIMUM_DIMENSION = 1 << 24
MODULUS_BITS = 60
# 60 bits stay inside the 128-bit limit for ternary keys at these degrees (2018 standard: 109 bits at 2^12; 2025
# guidelines: 106 bits).
SECURE_LOG_DEGREES = range(12, 15)
_PARAMETER_LABEL = b"fedcrm/1/lattice parameters\x00"
_MILLER_RABIN_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)  # decide every number below 2^64


@dataclass(frozen=True, slots=True)
class SchemeParameters:
    """Public numbers of the scheme, fixed by the manifest and bound into every object by their digest.

    Attributes:
        log_degree: log₂ N of the ring's degree.
        modulus: Q, a 60-bit prime with Q ≡ 1 mod 2N.
        plaintext_bits: log₂ T; sums are exact modulo T.
        holder_noise_bits: log₂ σ_h, standard deviation of the noise that hides a sum's encryption errors.
    """

    log_degree: int = 12
    modulus: int = 0xFFFFFFFFFFE8001
    plaintext_bits: int = 32
    holder_noise_bits: int = 20

    @property
    def plaintext_modulus(self) -> int:
        """T = 2^plaintext_bits."""
        return 1 << self.plaintext_bits

    def canonical(self) -> bytes:
        """The bytes the digest is taken of, and that the lattice library reads."""
        numbers = (self.log_degree, self.plaintext_bits, self.holder_noise_bits, self.modulus)
        try:
            return _PARAMETER_LABEL + struct.pack("<BBBQ", *numbers)
        except struct.error:
            raise _refused(["a number is negative or far too large"]) from None

    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes; every object starts with its first 16 bytes."""
        return hashlib.sha256(self.canonical()).digest()

    def noise_bound(self, *, threshold: int, contributors: int) -> int:
        """Largest decoding error of an honest sum: ⌊9·σ_h·√t⌋ + 20·n.

        Each error of an encryption is at most 19.2 (the sampler cuts at six of its standard deviations 3.2); the sum
        of t holder noises exceeds nine of its standard deviations with probability below 2^-60 a coefficient.
        """
        return math.isqrt(81 * (1 << 2 * self.holder_noise_bits) * threshold) + 20 * contributors

    def check(self, *, threshold: int, holders: int, participants: int) -> None:
        """Refuse numbers that are insecure or do not always decode, naming all that is wrong.

        Args:
            threshold: t, holders that open a sum.
            holders: k, key holders.
            participants: n, the most contributors of one sum.

        Raises:
            ParameterError: a number is out of range, or 9·σ_h·√t + 20·n < Q/2T does not hold.
        """
        problems = self._ring_problems() + _roster_problems(threshold, holders, participants)
        if not problems:
            bound = self.noise_bound(threshold=threshold, contributors=participants)
            limit = self.modulus // (2 * self.plaintext_modulus)
            if bound >= limit:
                problems.append(f"decoding errors up to {bound} do not stay below Q/2T = {limit}")
        if problems:
            raise _refused(problems)

    def _ring_problems(self) -> list[str]:
        rules = [
            (
                self.log_degree in SECURE_LOG_DEGREES,
                f"log_degree {self.log_degree} is not in {SECURE_LOG_DEGREES.start} … {SECURE_LOG_DEGREES.stop - 1}",
            ),
            (self.modulus.bit_length() == MODULUS_BITS, f"the modulus has not {MODULUS_BITS} bits"),
            (16 <= self.plaintext_bits <= 40, f"plaintext_bits {self.plaintext_bits} is not in 16 … 40"),
            (20 <= self.holder_noise_bits <= 26, f"holder_noise_bits {self.holder_noise_bits} is not in 20 … 26"),
        ]
        problems = [problem for holds, problem in rules if not holds]
        if not problems and (self.modulus % (2 << self.log_degree) != 1 or not _is_prime(self.modulus)):
            problems.append("the modulus is not a prime with remainder 1 modulo 2N")
        return problems


class ThresholdScheme(Protocol):
    """Dealing, encrypting, adding and opening; every value that travels is bytes. Stateless and deterministic.

    What may be done once only (one encryption per key and release id, one statement per holder and release id) is
    the caller's to keep: protocol roles record before anything leaves.
    """

    @property
    def parameters(self) -> SchemeParameters:
        """The public numbers every object is bound to."""
        ...

    def deal(self, epoch_secret: bytes, *, threshold: int, holders: int) -> list[bytes]:
        """Key shares of this participant for the holder points 1 … k, in order.

        Args:
            epoch_secret: 32 secret bytes of the epoch; key and polynomial are a PRF of it.
            threshold: t, how many holders open a sum.
            holders: k.
        """
        ...

    def encrypt(
        self, epoch_secret: bytes, *, release_id: bytes, descriptor_digest: bytes, plaintext: NDArray[np.int64]
    ) -> bytes:
        """A contribution. **A key encrypts once per release id**: two contributions subtract to their plaintexts.

        Args:
            epoch_secret: As in `deal`.
            release_id: 32 bytes.
            descriptor_digest: 32 bytes.
            plaintext: int64 [d], values in (−T/2, T/2]; 1 ≤ d ≤ 2^24.
        """
        ...

    def add(self, ciphertexts: Sequence[bytes]) -> bytes:
        """Sum of contributions (or of sums) of one dimension.

        Raises:
            MalformedObjectError: one of them is not a ciphertext under these parameters and of the first's dimension.
        """
        ...

    def sum_shares(self, shares: Sequence[bytes]) -> bytes:
        """Σ_{i∈S} s_{i,j}: one holder's key shares of the dealers in S, added.

        Raises:
            MalformedObjectError: one of them is not a key share under these parameters.
        """
        ...

    def opening_share(  # noqa: PLR0913 - the parts of a statement, each of them bound
        self,
        share_sum: bytes,
        *,
        point: int,
        active: Sequence[int],
        masks: Mapping[int, bytes],
        noise_key: bytes,
        release_id: bytes,
        descriptor_digest: bytes,
        dimension: int,
    ) -> bytes:
        """What holder `point` sends to open a sum. **A holder answers one statement per release id.**

        Args:
            share_sum: From `sum_shares`.
            point: This holder's Shamir point, a member of `active`.
            active: A, the t holders that answer, distinct points.
            masks: For every other point of A the 32-byte pair key of this statement.
            noise_key: 32 bytes, a PRF of the epoch secret over this statement.
            release_id: 32 bytes.
            descriptor_digest: 32 bytes.
            dimension: d of the release.
        """
        ...

    def combine(
        self,
        ciphertext_sum: bytes,
        opening_shares: Mapping[int, bytes],
        *,
        dimension: int,
        threshold: int,
        contributors: int,
    ) -> NDArray[np.int64]:
        """The opened sum, int64 [d], values in (−T/2, T/2].

        Args:
            ciphertext_sum: Σ of the contributions of S.
            opening_shares: Point of each member of A → its opening share; exactly t of them.
            dimension: d.
            threshold: t.
            contributors: |S|.

        Raises:
            NoiseBoundError: the decoding error is not that of honest contributions and shares of one statement.
            MalformedObjectError: an object is not what it should be.
        """
        ...

    def check_ciphertext(self, data: bytes, *, dimension: int) -> None:
        """Raise MalformedObjectError unless this is a ciphertext of this dimension, every coefficient below Q."""
        ...

    def check_key_share(self, data: bytes) -> None:
        """Raise MalformedObjectError unless this is a key share, every coefficient below Q."""
        ...

    def check_opening_share(self, data: bytes, *, dimension: int) -> None:
        """Raise MalformedObjectError unless this is an opening share of this dimension, every coefficient below Q."""
        ...


def _roster_problems(threshold: int, holders: int, participants: int) -> list[str]:
    rules = [
        (1 <= holders <= MAXIMUM_HOLDERS, f"{holders} key holders are not in 1 … {MAXIMUM_HOLDERS}"),
        (1 <= threshold <= holders, f"threshold {threshold} is not in 1 … {holders}"),
        (1 <= participants <= MAXIMUM_PARTICIPANTS, f"{participants} participants are over {MAXIMUM_PARTICIPANTS}"),
    ]
    return [problem for holds, problem in rules if not holds]


def _refused(problems: Sequence[str]) -> ParameterError:
    return ParameterError(
        "; ".join(problems),
        why="with these numbers sums could be decrypted by others or open to wrong values",
        fix="use the default scheme parameters, at most 32 key holders and 1,000 participants",
    )


def _is_prime(number: int) -> bool:
    """Miller–Rabin with bases that leave no error below 2^64."""
    odd, halvings = number - 1, 0
    while odd % 2 == 0:
        odd, halvings = odd // 2, halvings + 1
    return all(_passes(number, pow(base, odd, number), halvings) for base in _MILLER_RABIN_BASES)


def _passes(number: int, power: int, halvings: int) -> bool:
    if power in (1, number - 1):
        return True
    for _ in range(halvings - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False
