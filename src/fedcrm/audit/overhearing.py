"""What a participant hands to the encryption and asks of the noise source, noted on its way and not changed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.lattice import LatticeScheme
from fedcrm.protocol.local_data import NoiseSource


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What one participant gave to one request, before encryption.

    Attributes:
        values: Its clipped, weighted, encoded sum, int64 [d].
        noise_variance: The variance it asked the noise source for.
    """

    values: NDArray[np.int64]
    noise_variance: int


@dataclass(slots=True, repr=False)
class Ear:
    """Notes what is asked of the noise source and handed to the encryption; changes neither."""

    source: NoiseSource
    drawn: list[tuple[int, bytes, NDArray[np.int64]]] = field(default_factory=list)
    answers: dict[bytes, Answer] = field(default_factory=dict)
    total: int | NDArray[np.int64] = 0

    def __call__(self, *, variance: int, size: int, stream_key: bytes) -> NDArray[np.int64]:
        """The source's draw, noted."""
        share = self.source(variance=variance, size=size, stream_key=stream_key)
        self.drawn.append((variance, stream_key, share))
        return share

    def hear(self, secret: bytes, plaintext: NDArray[np.int64]) -> None:
        """A participant's plaintext; the share it just drew is in it."""
        if len(self.drawn) == len(self.answers) + 1:
            variance, _, share = self.drawn[-1]
            self.answers[secret] = Answer(plaintext - share, variance)
            self.total = self.total + plaintext

    def collect(self) -> tuple[dict[bytes, Answer], int | NDArray[np.int64], set[bytes]]:
        """Answers by epoch secret, the sum of the plaintexts and the noise keys since the last call; then forgotten."""
        heard = self.answers, self.total, {key for _, key, _ in self.drawn}
        self.drawn, self.answers, self.total = [], {}, 0
        return heard


@dataclass(frozen=True)
class OverheardScheme(LatticeScheme):
    """The real scheme; the ear hears each plaintext of a release."""

    ear: Ear | None = None

    def encrypt(
        self, epoch_secret: bytes, *, release_id: bytes, descriptor_digest: bytes, plaintext: NDArray[np.int64]
    ) -> bytes:
        """As the real scheme."""
        if self.ear is not None:
            self.ear.hear(epoch_secret, plaintext)
        return super().encrypt(
            epoch_secret, release_id=release_id, descriptor_digest=descriptor_digest, plaintext=plaintext
        )
