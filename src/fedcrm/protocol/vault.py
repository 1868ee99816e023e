"""The seam to a party's vault: an encrypted, durable store in which the first value recorded under a key stays."""

from __future__ import annotations

from typing import Protocol

EPOCH_SECRET = "epoch secret"  # noqa: S105 (names a kind)
HOLDER_SECRET = "holder secret"  # noqa: S105 (names a kind)
KEY_SHARE = "key share"
CONTRIBUTED = "contributed"
ANSWERED = "answered"
PLAN = "plan"
QUALITY = "quality"


class Vault(Protocol):
    """What the roles need of a vault (`fedcrm.runs.vault.SqliteVault` is the one that is deployed)."""

    def record(self, kind: str, epoch: bytes, key: bytes, value: bytes) -> bytes:
        """Store durably before returning; the first value wins. Returns the value that is stored."""
        ...

    def get(self, kind: str, epoch: bytes, key: bytes) -> bytes | None:
        """The stored value, or None."""
        ...

    def destroy_epoch(self, epoch: bytes) -> None:
        """Destroy everything stored under an epoch and refuse it from now on."""
        ...
