"""A vault in memory with the same first-wins rule; `copy` is a disk image an adversary may restore."""

from __future__ import annotations

import copy


class MemoryVault:
    """First value wins; an ended epoch refuses."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, bytes, bytes], bytes] = {}
        self.ended: set[bytes] = set()

    def record(self, kind: str, epoch: bytes, key: bytes, value: bytes) -> bytes:
        return self.values.setdefault((kind, epoch, key), value)

    def get(self, kind: str, epoch: bytes, key: bytes) -> bytes | None:
        return self.values.get((kind, epoch, key))

    def destroy_epoch(self, epoch: bytes) -> None:
        self.ended.add(epoch)
        self.values = {place: value for place, value in self.values.items() if place[1] != epoch}

    def image(self) -> MemoryVault:
        return copy.deepcopy(self)
