"""Wall time by purpose, without touching what is measured: the scheme and the noise source are wrapped, not changed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.scheme import SchemeParameters, ThresholdScheme
from fedcrm.protocol.local_data import NoiseSource


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent per purpose."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def measure(self, purpose: str) -> Iterator[None]:
        """Add the time inside the block to a purpose."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[purpose] += time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class TimedNoise:
    """A noise source whose time is counted as "noise"."""

    source: NoiseSource
    watch: Stopwatch

    def __call__(self, *, variance: int, size: int, stream_key: bytes) -> NDArray[np.int64]:
        """Draw from the source."""
        with self.watch.measure("noise"):
            return self.source(variance=variance, size=size, stream_key=stream_key)


@dataclass(frozen=True, slots=True)
class TimedScheme:
    """A threshold scheme whose time is counted as "encryption"."""

    scheme: ThresholdScheme
    watch: Stopwatch

    @property
    def parameters(self) -> SchemeParameters:
        """The scheme's parameters."""
        return self.scheme.parameters

    def deal(self, epoch_secret: bytes, *, threshold: int, holders: int) -> list[bytes]:
        """See `ThresholdScheme.deal`."""
        with self.watch.measure("encryption"):
            return self.scheme.deal(epoch_secret, threshold=threshold, holders=holders)

    def encrypt(
        self, epoch_secret: bytes, *, release_id: bytes, descriptor_digest: bytes, plaintext: NDArray[np.int64]
    ) -> bytes:
        """See `ThresholdScheme.encrypt`."""
        with self.watch.measure("encryption"):
            return self.scheme.encrypt(
                epoch_secret, release_id=release_id, descriptor_digest=descriptor_digest, plaintext=plaintext
            )

    def add(self, ciphertexts: Sequence[bytes]) -> bytes:
        """See `ThresholdScheme.add`."""
        with self.watch.measure("encryption"):
            return self.scheme.add(ciphertexts)

    def sum_shares(self, shares: Sequence[bytes]) -> bytes:
        """See `ThresholdScheme.sum_shares`."""
        with self.watch.measure("encryption"):
            return self.scheme.sum_shares(shares)

    def opening_share(  # noqa: PLR0913 (one opening, as the scheme's seam has it)
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
        """See `ThresholdScheme.opening_share`."""
        with self.watch.measure("encryption"):
            return self.scheme.opening_share(
                share_sum,
                point=point,
                active=active,
                masks=masks,
                noise_key=noise_key,
                release_id=release_id,
                descriptor_digest=descriptor_digest,
                dimension=dimension,
            )

    def combine(
        self,
        ciphertext_sum: bytes,
        opening_shares: Mapping[int, bytes],
        *,
        dimension: int,
        threshold: int,
        contributors: int,
    ) -> NDArray[np.int64]:
        """See `ThresholdScheme.combine`."""
        with self.watch.measure("encryption"):
            return self.scheme.combine(
                ciphertext_sum, opening_shares, dimension=dimension, threshold=threshold, contributors=contributors
            )

    def check_ciphertext(self, data: bytes, *, dimension: int) -> None:
        """See `ThresholdScheme.check_ciphertext`."""
        with self.watch.measure("encryption"):
            self.scheme.check_ciphertext(data, dimension=dimension)

    def check_opening_share(self, data: bytes, *, dimension: int) -> None:
        """See `ThresholdScheme.check_opening_share`."""
        with self.watch.measure("encryption"):
            self.scheme.check_opening_share(data, dimension=dimension)

    def check_key_share(self, data: bytes) -> None:
        """See `ThresholdScheme.check_key_share`."""
        with self.watch.measure("encryption"):
            self.scheme.check_key_share(data)
