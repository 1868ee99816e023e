"""A small federation of real roles over memory vaults and the real lattice, one message at a time."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.identity import Identity
from fedcrm.crypto.lattice import LatticeScheme
from fedcrm.crypto.scheme import SchemeParameters
from fedcrm.protocol import participant as participant_role
from fedcrm.protocol.coordinator import EpochSetup, Gathering, Opening
from fedcrm.protocol.digest import digest
from fedcrm.protocol.epoch import Epoch
from fedcrm.protocol.holder import EpochHolder, Holder
from fedcrm.protocol.manifest import Manifest, Member, Numbers, default_numbers
from fedcrm.protocol.messages import COORDINATOR, EpochKeys, Post
from fedcrm.protocol.participant import EpochParticipant, Participant
from fedcrm.protocol.release import Descriptor, ReleaseParts
from twins.memory_vault import MemoryVault

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TASK = "churn"
SCHEME = LatticeScheme(SchemeParameters())


def no_noise(*, variance: int, size: int, stream_key: bytes) -> NDArray[np.int64]:
    """The noise share of tests that compare integers."""
    del variance, stream_key
    return np.zeros(size, np.int64)


@dataclass
class Federation:
    """n members; the first k hold key shares. Numbers may break the rules: nothing here checks them."""

    n: int
    k: int | None = None
    numbers: Numbers | None = None
    run: bytes = field(default_factory=lambda: digest("run", secrets.token_bytes(8)))

    def __post_init__(self) -> None:
        holders = self.k or self.n
        numbers = self.numbers or default_numbers(participants=self.n, holders=holders)
        self.names = tuple(f"org{i:02d}" for i in range(self.n))
        self.identities = {name: Identity.generate() for name in (*self.names, COORDINATOR)}
        self.vaults = {name: MemoryVault() for name in self.names}
        self.manifest = Manifest(
            federation="test",
            coordinator=self.identities[COORDINATOR].public,
            members=tuple(Member(name=name, identity=self.identities[name].public) for name in self.names),
            committee=self.names[:holders],
            threshold=numbers.threshold,
            collusion_bound=numbers.collusion_bound,
            cohort_minimum=numbers.cohort_minimum,
            vocabulary_version="1",
            tasks=(TASK,),
            reference_epsilon=2.0,
            reference_delta=1e-6,
            parameters=SCHEME.parameters,
        )

    def post(self, name: str) -> Post:
        return Post(self.manifest, name, self.identities[name])

    def participant(self, name: str) -> Participant:
        return Participant(self.post(name), self.vaults[name], SCHEME, no_noise)

    def holder(self, name: str) -> Holder:
        return Holder(self.post(name), self.vaults[name], SCHEME)

    def set_up(self) -> Running:
        """Epoch setup by the book, everyone present."""
        setup = EpochSetup(self.post(COORDINATOR), self.run)
        announced = [
            self.holder(name).announce(run=self.run, fresh_secret=secrets.token_bytes(32))
            for name in self.manifest.committee
        ]
        epoch, relayed = setup.keys(announced)
        holders = {name: self.holder(name).enter(relayed, run=self.run) for name in self.manifest.committee}
        participants = {
            name: self.participant(name).enter(relayed, run=self.run, fresh_secret=secrets.token_bytes(32))
            for name in self.names
        }
        for dealer in participants.values():
            for holder, envelope in zip(epoch.holder_keys, dealer.deal(), strict=True):
                assert holders[holder].receive([envelope]) == []
        return Running(self, epoch, relayed, participants, holders)


@dataclass
class Running:
    """A federation within an epoch."""

    federation: Federation
    epoch: Epoch
    relayed: bytes
    participants: Mapping[str, EpochParticipant]
    holders: Mapping[str, EpochHolder]

    def descriptor(
        self, *, round_index: int = 0, attempt: int = 0, dimension: int = 70, **changes: object
    ) -> Descriptor:
        parts = ReleaseParts(
            kind="real",
            manifest=self.epoch.manifest,
            epoch=self.epoch.id,
            run=self.epoch.run,
            round=round_index,
            attempt=attempt,
        )
        fields: dict[str, object] = {
            "parts": parts,
            "task": TASK,
            "purpose": f"sum {round_index}",
            "learner": "sum",
            "query": digest("query"),
            "dimension": dimension,
            "clipping_norm": 10.0,
            "grid_bits": 4,
            "share_variance": 4096,
            "clamp": 1 << 20,
            "deadline": 60,
        }
        return Descriptor(**{**fields, **changes})  # type: ignore[arg-type]

    def gathering(self, descriptor: Descriptor) -> Gathering:
        return Gathering(self.federation.post(COORDINATOR), SCHEME, descriptor)

    def contribution(self, name: str, descriptor: Descriptor, values: NDArray[np.int64]) -> bytes:
        """What a participant sends for a vector: encrypted, recorded and signed by the role's own step."""
        return participant_role.encrypted(self.participants[name], descriptor, values)

    def gathered(self, descriptor: Descriptor, vectors: Mapping[str, NDArray[np.int64]]) -> Gathering:
        gathering = self.gathering(descriptor)
        for name, values in vectors.items():
            gathering.receive(self.contribution(name, descriptor, values))
        return gathering

    def points(self, holders: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted(self.federation.manifest.point_of(name) for name in holders))

    def active(self, first: int = 0) -> tuple[str, ...]:
        """t neighbouring holders from the given index."""
        committee, t = self.federation.manifest.committee, self.federation.manifest.threshold
        return committee[first : first + t]

    def answered(self, opening: Opening) -> Opening:
        """Collect the active set's honest answers."""
        for point in opening.statement.active:
            holder = self.federation.manifest.committee[point - 1]
            opening.receive(self.holders[holder].answer(opening.request()))
        return opening

    def opened(
        self, descriptor: Descriptor, vectors: Mapping[str, NDArray[np.int64]], *, holders: Iterable[str] | None = None
    ) -> list[int]:
        """A whole release by the book."""
        gathering = self.gathered(descriptor, vectors)
        opening = gathering.opening(vectors, self.points(holders or self.active()))
        return [int(value) for value in self.answered(opening).open()]


def vectors_for(names: Iterable[str], *, dimension: int, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Small made-up integer vectors, one per name."""
    generator = np.random.default_rng(seed)
    return {name: generator.integers(-1000, 1000, dimension) for name in names}


def total(vectors: Mapping[str, NDArray[np.int64]]) -> list[int]:
    return [int(value) for value in np.sum(list(vectors.values()), axis=0)]


__all__ = ["NOW", "SCHEME", "TASK", "EpochKeys", "Federation", "Running", "no_noise", "total", "vectors_for"]
