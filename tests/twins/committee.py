"""Dealers and holders of the bare scheme, without roles and messages: what an honest run of it does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.scheme import ThresholdScheme
from fedcrm.crypto.sealing import derive


def named(*parts: object) -> bytes:
    """32 bytes that stand for a release id, a digest or a secret."""
    return hashlib.sha256(repr(parts).encode()).digest()


@dataclass
class Committee:
    """n dealers with shares at k holders, t of which open."""

    scheme: ThresholdScheme
    dealers: int
    threshold: int
    holders: int
    secrets: list[bytes] = field(init=False)
    shares: list[list[bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.secrets = [named("secret", dealer) for dealer in range(self.dealers)]
        self.shares = [
            self.scheme.deal(secret, threshold=self.threshold, holders=self.holders) for secret in self.secrets
        ]

    def encrypt(self, dealer: int, values: NDArray[np.int64], release: object = 1) -> bytes:
        """Dealer's contribution to a release."""
        return self.scheme.encrypt(
            self.secrets[dealer], release_id=named(release), descriptor_digest=named("d"), plaintext=values
        )

    def encrypt_all(self, vectors: Sequence[NDArray[np.int64]], release: object = 1) -> bytes:
        """Sum of the first dealers' contributions."""
        return self.scheme.add([self.encrypt(dealer, values, release) for dealer, values in enumerate(vectors)])

    def share(
        self,
        point: int,
        dealers: Iterable[int],
        active: Sequence[int],
        *,
        dimension: int,
        release: object = 1,
        statement: object = None,
    ) -> bytes:
        """Holder's honest answer about S and A, or about another statement when one is named."""
        members = list(dealers)
        about = statement if statement is not None else (members, sorted(active), release)
        keys = {
            other: derive(named("pairs"), "pair", repr(about), min(point, other), max(point, other))
            for other in active
            if other != point
        }
        return self.scheme.opening_share(
            self.scheme.sum_shares([self.shares[dealer][point - 1] for dealer in members]),
            point=point,
            active=active,
            masks=keys,
            noise_key=named("noise", point, about),
            release_id=named(release),
            descriptor_digest=named("d"),
            dimension=dimension,
        )

    def answers(self, dealers: Iterable[int], active: Sequence[int], *, dimension: int) -> dict[int, bytes]:
        """The answers of every member of A about S."""
        members = list(dealers)
        return {point: self.share(point, members, active, dimension=dimension) for point in active}

    def combine(self, ciphertext: bytes, answers: dict[int, bytes], *, dimension: int) -> NDArray[np.int64]:
        """Open with the bound for all dealers."""
        return self.scheme.combine(
            ciphertext, answers, dimension=dimension, threshold=self.threshold, contributors=self.dealers
        )
