"""`ThresholdScheme` over the lattice library (Lattigo). Byte strings in, byte strings out; nothing is kept."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.library import Bytes, call, lend, lend_integers, lend_list
from fedcrm.crypto.scheme import MAXIMUM_DIMENSION, MAXIMUM_HOLDERS, SchemeParameters
from fedcrm.errors import MalformedObjectError, ParameterError

_KEY_SHARE, _SHARE_SUM, _CIPHERTEXT, _OPENING_SHARE = 1, 2, 3, 4
_DIMENSION_AT, _HEADER_BYTES = slice(20, 24), 24


@dataclass(frozen=True)
class LatticeScheme:
    """The real scheme; see `fedcrm.crypto.scheme.ThresholdScheme` for what each operation does and demands."""

    parameters: SchemeParameters = field(default_factory=SchemeParameters)

    def deal(self, epoch_secret: bytes, *, threshold: int, holders: int) -> list[bytes]:
        """Key shares for the points 1 … k."""
        size = self._size(_KEY_SHARE, self._degree)
        out = bytearray(size * min(_unsigned(holders), MAXIMUM_HOLDERS + 1))
        call("lattice_deal", self._numbers, lend(epoch_secret), _unsigned(threshold), holders, lend(out))
        return [bytes(out[start : start + size]) for start in range(0, len(out), size)]

    def encrypt(
        self, epoch_secret: bytes, *, release_id: bytes, descriptor_digest: bytes, plaintext: NDArray[np.int64]
    ) -> bytes:
        """−a·s + e + T⁻¹·x, bit-packed."""
        values = _contiguous(plaintext)
        out = bytearray(self._size(_CIPHERTEXT, values.size))
        identity = lend(epoch_secret), lend(release_id), lend(descriptor_digest)
        call("lattice_encrypt", self._numbers, *identity, lend_integers(values), lend(out))
        return bytes(out)

    def add(self, ciphertexts: Sequence[bytes]) -> bytes:
        """Sum of ciphertexts of one dimension."""
        dimension = _stated_dimension(ciphertexts[0]) if ciphertexts else 0
        return self._sum(ciphertexts, _CIPHERTEXT, _CIPHERTEXT, dimension)

    def sum_shares(self, shares: Sequence[bytes]) -> bytes:
        """Sum of one holder's key shares."""
        return self._sum(shares, _KEY_SHARE, _SHARE_SUM, self._degree)

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
        """λ·(Σ s)·a + noise + masks."""
        points = np.array(sorted(active), dtype=np.int64)
        if set(masks) != set(active) - {point}:
            raise ParameterError(
                f"holder {point} has masks with {sorted(masks)}, the active set is {points.tolist()}",
                why="masks cancel only when every pair of the active set adds and subtracts the same one",
                fix="pass one mask key for every other holder of the active set",
            )
        keys = lend_list([masks.get(other, b"") for other in points.tolist()])
        out = bytearray(self._size(_OPENING_SHARE, dimension))
        named = lend(share_sum), lend(release_id), lend(descriptor_digest), _unsigned(dimension), _unsigned(point)
        call("lattice_open", self._numbers, *named, lend_integers(points), keys, lend(noise_key), lend(out))
        return bytes(out)

    def combine(
        self,
        ciphertext_sum: bytes,
        opening_shares: Mapping[int, bytes],
        *,
        dimension: int,
        threshold: int,
        contributors: int,
    ) -> NDArray[np.int64]:
        """The opened sum."""
        if len(opening_shares) != threshold:
            raise ParameterError(
                f"{len(opening_shares)} opening shares for a threshold of {threshold}",
                why="shares of another number of holders add up to noise",
                fix="combine exactly the shares of the active set",
            )
        bound = self.parameters.noise_bound(threshold=threshold, contributors=contributors)
        out = np.zeros(self._dimension(dimension), dtype=np.int64)
        shares = lend_list(list(opening_shares.values()))
        call("lattice_combine", self._numbers, lend(ciphertext_sum), shares, threshold, bound, lend_integers(out))
        return out

    def check_ciphertext(self, data: bytes, *, dimension: int) -> None:
        """Raise unless this is a ciphertext of this dimension."""
        self._check(data, _CIPHERTEXT, dimension)

    def check_key_share(self, data: bytes) -> None:
        """Raise unless this is a key share."""
        self._check(data, _KEY_SHARE, self._degree)

    def check_opening_share(self, data: bytes, *, dimension: int) -> None:
        """Raise unless this is an opening share of this dimension."""
        self._check(data, _OPENING_SHARE, dimension)

    @property
    def _degree(self) -> int:
        return 1 << self.parameters.log_degree

    @property
    def _numbers(self) -> Bytes:
        return lend(self.parameters.canonical())

    def _sum(self, objects: Sequence[bytes], source: int, target: int, dimension: int) -> bytes:
        if not objects:
            raise ParameterError(
                "a sum of nothing was asked for",
                why="it would open to noise",
                fix="add at least one object",
            )
        out = bytearray(self._size(target, dimension))
        call("lattice_add", self._numbers, lend_list(objects), len(objects), source, target, dimension, lend(out))
        return bytes(out)

    def _check(self, data: bytes, kind: int, dimension: int) -> None:
        call("lattice_check", self._numbers, lend(data), kind, self._dimension(dimension))

    def _size(self, kind: int, dimension: int) -> int:
        size = ctypes.c_uint64()
        call("lattice_object_size", self._numbers, kind, _unsigned(dimension), ctypes.byref(size))
        return size.value

    def _dimension(self, dimension: int) -> int:
        """Checked before an array of this length is made."""
        self._size(_CIPHERTEXT, dimension)
        return dimension


def _stated_dimension(data: bytes) -> int:
    """The dimension a ciphertext's header states; whether the rest fits it, the library checks."""
    dimension = int.from_bytes(data[_DIMENSION_AT], "little") if len(data) >= _HEADER_BYTES else 0
    if not 1 <= dimension <= MAXIMUM_DIMENSION:
        raise MalformedObjectError(
            "these bytes are not a ciphertext",
            why="an object that was not made by these rules can reveal what it is added to",
            fix="refuse it, name its sender, and ask for the object again",
        )
    return dimension


def _contiguous(plaintext: NDArray[np.int64]) -> NDArray[np.int64]:
    if plaintext.dtype != np.int64 or plaintext.ndim != 1:
        raise ParameterError(
            f"a plaintext is a vector of int64, not {plaintext.dtype} with shape {plaintext.shape}",
            why="a silent conversion could change the values or their noise",
            fix="encode with fedcrm.crypto.encoding first",
        )
    return np.ascontiguousarray(plaintext)


def _unsigned(number: int) -> int:
    """ctypes would wrap a negative or huge number around silently."""
    if not 0 <= number < 1 << 32:
        raise ParameterError(
            f"{number} is not a possible dimension, point or count",
            why="it would be read as another number by the library",
            fix="pass the number the manifest or descriptor states",
        )
    return number
