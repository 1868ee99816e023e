"""The threshold scheme in the clear: the same interface and refusals, no secrecy whatever. For tests only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.encoding import centred
from fedcrm.crypto.scheme import MAXIMUM_DIMENSION, MAXIMUM_HOLDERS, SchemeParameters
from fedcrm.errors import MalformedObjectError, NoiseBoundError, ParameterError

_MAGIC = b"CLEAR"


@dataclass(frozen=True)
class ClearScheme:
    """Objects are JSON facts and, for ciphertexts, plain int64; what would decode to noise is compared and refused."""

    parameters: SchemeParameters = field(default_factory=SchemeParameters)

    def deal(self, epoch_secret: bytes, *, threshold: int, holders: int) -> list[bytes]:
        """Shares that name dealer, point and threshold."""
        _demand(len(epoch_secret) >= 32 and 1 <= threshold <= holders <= MAXIMUM_HOLDERS)
        return [
            self._write("key share", {"dealer": _name(epoch_secret), "point": point, "threshold": threshold})
            for point in range(1, holders + 1)
        ]

    def encrypt(
        self, epoch_secret: bytes, *, release_id: bytes, descriptor_digest: bytes, plaintext: NDArray[np.int64]
    ) -> bytes:
        """The plaintext, with dealer and release."""
        _demand(len(epoch_secret) >= 32 and plaintext.dtype == np.int64 and plaintext.ndim == 1)
        self._dimension(plaintext.size)
        _demand(bool(np.all(centred(plaintext, plaintext_bits=self.parameters.plaintext_bits) == plaintext)))
        release = _release(release_id, descriptor_digest)
        facts = {"dealers": [_name(epoch_secret)], "releases": [release], "dimension": plaintext.size}
        return self._write("ciphertext", facts, plaintext.tobytes())

    def add(self, ciphertexts: Sequence[bytes]) -> bytes:
        """Sums modulo T, all dealers kept."""
        _demand(len(ciphertexts) > 0)
        parts = [self._read(data, "ciphertext") for data in ciphertexts]
        dimension = parts[0][0]["dimension"]
        for data in ciphertexts:
            self.check_ciphertext(data, dimension=dimension)
        total = np.sum([np.frombuffer(raw, np.int64) for _, raw in parts], axis=0)
        facts = {
            "dealers": sorted(dealer for part, _ in parts for dealer in part["dealers"]),
            "releases": sorted({release for part, _ in parts for release in part["releases"]}),
            "dimension": dimension,
        }
        return self._write("ciphertext", facts, centred(total, plaintext_bits=self.parameters.plaintext_bits).tobytes())

    def sum_shares(self, shares: Sequence[bytes]) -> bytes:
        """The list of dealers at one point."""
        _demand(len(shares) > 0)
        parts = [self._read(data, "key share")[0] for data in shares]
        points = sorted({(part["point"], part["threshold"]) for part in parts})
        return self._write("share sum", {"dealers": sorted(part["dealer"] for part in parts), "points": points})

    def opening_share(  # noqa: PLR0913 - the seam's signature
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
        """The whole statement; masks as digests, to be compared pair by pair."""
        self._dimension(dimension)
        points = sorted(active)
        _demand(point in points and len(set(points)) == len(points) and set(masks) == set(points) - {point})
        _demand(points[0] >= 1 and points[-1] <= MAXIMUM_HOLDERS and len(noise_key) == 32)
        _demand(all(len(mask) == 32 for mask in masks.values()))
        facts = {
            "sum": self._read(share_sum, "share sum")[0],
            "point": point,
            "active": points,
            "masks": {str(other): _name(mask) for other, mask in masks.items()},
            "release": _release(release_id, descriptor_digest),
            "dimension": dimension,
        }
        return self._write("opening share", facts)

    def combine(
        self,
        ciphertext_sum: bytes,
        opening_shares: Mapping[int, bytes],
        *,
        dimension: int,
        threshold: int,
        contributors: int,
    ) -> NDArray[np.int64]:
        """The sum, when every fact of every share agrees with it."""
        _demand(len(opening_shares) == threshold and contributors >= 1)
        self.check_ciphertext(ciphertext_sum, dimension=dimension)
        for data in opening_shares.values():
            self.check_opening_share(data, dimension=dimension)
        facts, raw = self._read(ciphertext_sum, "ciphertext")
        answers = [self._read(data, "opening share")[0] for data in opening_shares.values()]
        if not _consistent(facts, answers, threshold):
            raise NoiseBoundError("the clear twin's answers disagree", why="it would be noise", fix="a fresh attempt")
        return np.frombuffer(raw, np.int64).copy()

    def check_ciphertext(self, data: bytes, *, dimension: int) -> None:
        """Kind, parameters, dimension and length."""
        self._dimension(dimension)
        facts, raw = self._read(data, "ciphertext")
        if facts["dimension"] != dimension or len(raw) != 8 * dimension:
            raise _malformed()

    def check_key_share(self, data: bytes) -> None:
        """Kind and parameters."""
        self._read(data, "key share")

    def check_opening_share(self, data: bytes, *, dimension: int) -> None:
        """Kind, parameters and dimension."""
        self._dimension(dimension)
        if self._read(data, "opening share")[0]["dimension"] != dimension:
            raise _malformed()

    def _dimension(self, dimension: int) -> None:
        _demand(1 <= dimension <= MAXIMUM_DIMENSION)

    def _write(self, kind: str, facts: Mapping[str, object], raw: bytes = b"") -> bytes:
        head = json.dumps([kind, self.parameters.digest().hex(), facts], sort_keys=True).encode()
        body = len(head).to_bytes(4, "big") + head + raw
        return _MAGIC + hashlib.sha256(body).digest() + body

    def _read(self, data: bytes, kind: str) -> tuple[dict, bytes]:
        body = data[len(_MAGIC) + 32 :]
        if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : len(_MAGIC) + 32]:
            raise _malformed()
        length = int.from_bytes(body[:4], "big")
        found, parameters, facts = json.loads(body[4 : 4 + length])
        if found != kind or parameters != self.parameters.digest().hex():
            raise _malformed()
        return facts, body[4 + length :]


def _consistent(facts: dict, answers: list[dict], threshold: int) -> bool:
    points = sorted(answer["point"] for answer in answers)
    pairs = [
        (answer["masks"].get(str(other["point"])), other["masks"].get(str(answer["point"])))
        for answer in answers
        for other in answers
        if answer is not other
    ]
    return all(left == right for left, right in pairs) and all(
        answer["active"] == points
        and [answer["release"]] == facts["releases"]
        and answer["sum"]["dealers"] == facts["dealers"]
        and answer["sum"]["points"] == [[answer["point"], threshold]]
        for answer in answers
    )


def _name(secret: bytes) -> str:
    return hashlib.sha256(b"name" + secret).hexdigest()


def _release(release_id: bytes, descriptor_digest: bytes) -> str:
    _demand(len(release_id) == len(descriptor_digest) == 32)
    return (release_id + descriptor_digest).hex()


def _demand(holds: bool) -> None:
    if not holds:
        raise ParameterError("the clear twin refuses this call", why="the real scheme does", fix="mend the call")


def _malformed() -> MalformedObjectError:
    return MalformedObjectError("not an object of the clear twin", why="it was changed", fix="ask for it again")
