"""A participant's folder on this machine: identity key, vault key, vault. Keys are files only their owner reads."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fedcrm.crypto.identity import Identity
from fedcrm.crypto.scheme import ThresholdScheme
from fedcrm.engine.job import LedgerSummary
from fedcrm.privacy.budget import Budget
from fedcrm.protocol.holder import Holder
from fedcrm.protocol.local_data import NoiseSource
from fedcrm.protocol.manifest import Manifest
from fedcrm.protocol.messages import Post
from fedcrm.protocol.participant import Participant
from fedcrm.runs.vault import SqliteVault, key_from_file, write_key_file


@dataclass(slots=True)
class Site:
    """One participant with its vault open.

    Attributes:
        name: Its name in the roster.
        identity: Its signing identity.
        vault: Its vault, which holds its ledger.
        findings: What was told to its own operator.
        bytes_up: Bytes it has sent.
    """

    name: str
    identity: Identity
    vault: SqliteVault
    findings: list[str] = field(default_factory=list)
    bytes_up: int = 0

    def participant(self, manifest: Manifest, scheme: ThresholdScheme, noise: NoiseSource) -> Participant:
        """Its participant role in a federation."""
        return Participant(Post(manifest, self.name, self.identity), self.vault, scheme, noise)

    def holder(self, manifest: Manifest, scheme: ThresholdScheme) -> Holder:
        """Its holder role in a federation."""
        return Holder(Post(manifest, self.name, self.identity), self.vault, scheme)

    def sends(self, envelope: bytes) -> bytes:
        """Count an envelope on its way out."""
        self.bytes_up += len(envelope)
        return envelope

    def grant(self, budget: Budget, *, now: datetime) -> None:
        """Set the budget when the ledger has none; a budget that is there stays as its owner set it."""
        if self.vault.ledger.standing(now=now).budget is None:
            self.vault.ledger.set_budget(budget, now=now)

    def summary(self, *, now: datetime) -> LedgerSummary:
        """Budget and spending of the running period."""
        budget = self.vault.ledger.standing(now=now).budget
        if budget is None:
            return LedgerSummary(0.0, 0.0, 0.0)
        spent = self.vault.ledger.spent(delta=budget.delta, now=now)
        return LedgerSummary(budget.epsilon, spent, budget.delta)


def open_site(folder: Path, name: str, *, now: datetime) -> Site:
    """Open a participant's folder, or make it with fresh keys.

    The identity is written last: with it there, a vault that is missing is an error and never made anew, because a new
    vault would forget what was spent.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = not (folder / "identity.key").exists()
    key = _secret_file(folder / "vault.key")
    vault = SqliteVault.open(folder / "vault.sqlite", key=key, now=now, create=fresh)
    return Site(name, Identity(_secret_file(folder / "identity.key")), vault)


def coordinator_identity(folder: Path) -> Identity:
    """The coordinator's identity of a run's folder, made when there is none."""
    return Identity(_secret_file(folder / "coordinator.key"))


def _secret_file(path: Path) -> bytes:
    """32 secret bytes of a file only its owner reads; made when absent."""
    if not path.exists():
        write_key_file(path, secrets.token_bytes(32))
    return key_from_file(path)
