"""What each participant's own ledger states about a run: its weight, its events, and the ε they come to.

Only vaults that lie in the run's folder are read, with their key files, without writing to them: on one participant's
machine that is its own. Weights and budgets are its owner's secrets; nothing here prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

from fedcrm.crypto.identity import Identity
from fedcrm.errors import AuditRefused
from fedcrm.privacy.accountant import ReleaseEvent, ZcdpAccountant
from fedcrm.privacy.entries import BudgetChange, Charge, Entry
from fedcrm.privacy.mechanism import WEIGHT_BITS, SumMechanism
from fedcrm.protocol.manifest import Manifest
from fedcrm.protocol.messages import ContributionRequest
from fedcrm.runs.public_record import PublicRecord
from fedcrm.runs.vault import SqliteVault, key_from_file


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PrivacyStatement:
    """What one participant's ledger says it gave in a run.

    Attributes:
        participant: Its name in the roster.
        epsilon: ε at `delta` of all its charges of the run, composed once.
        delta: δ of the budget under which it was charged.
        rho: Zero-concentrated privacy loss of the charges that belong to requests.
        weight: The weight it gave data at; 0 when it sent noise only.
        given: Releases charged at that weight, with the squared sensitivity charged (grid²); at others it sent noise.
        unseen: Charges of the run that belong to no request, so that the replay cannot attack them.
    """

    participant: str
    epsilon: float
    delta: float
    rho: float
    weight: Fraction
    given: Mapping[bytes, int]
    unseen: int

    def __repr__(self) -> str:
        return f"PrivacyStatement({self.participant!r})"


def read_statements(folder: Path, record: PublicRecord, *, now: datetime) -> tuple[PrivacyStatement, ...]:
    """The statements of all participants whose vaults the folder holds, in roster order.

    Raises:
        AuditRefused: there is no such vault, none was charged, or a charge does not fit the run's requests.
        VaultError: a vault is damaged or does not open.
    """
    ledgers: dict[str, Sequence[Entry]] = {}
    for place in sorted((folder / "participants").glob("*/vault.sqlite")):
        name = _owner(place.parent, record.manifest)
        if name is not None:
            key = key_from_file(place.parent / "vault.key")
            with SqliteVault.open(place, key=key, now=now, read_only=True) as vault:
                ledgers[name] = vault.ledger.entries()
    found = [_statement(name, ledgers[name], record) for name in record.manifest.participants if name in ledgers]
    statements = tuple(statement for statement in found if statement is not None)
    if not statements:
        raise _nothing_stated(folder)
    return statements


def mechanism_of(request: ContributionRequest, manifest: Manifest) -> SumMechanism:
    """The mechanism a request's descriptor describes."""
    descriptor = request.descriptor
    return SumMechanism(
        dimension=descriptor.dimension,
        clipping_norm=descriptor.clipping_norm,
        grid_bits=descriptor.grid_bits,
        share_variance=descriptor.share_variance,
        honest_shares=manifest.honest_shares,
        clamp=descriptor.clamp,
    )


def _owner(place: Path, manifest: Manifest) -> str | None:
    """The roster's name for the identity in a participant's folder."""
    if not (place / "identity.key").is_file() or not (place / "vault.key").is_file():
        return None
    public = Identity(key_from_file(place / "identity.key")).public
    return next((member.name for member in manifest.members if member.identity == public), None)


def _statement(name: str, entries: Sequence[Entry], record: PublicRecord) -> PrivacyStatement | None:
    """What a ledger says of the run; None when it was not charged at all."""
    run = record.plan.run.hex()
    charges = [entry for entry in entries if isinstance(entry, Charge) and entry.run == run]
    if not charges:
        return None
    delta = _delta(entries, charges[-1], reference=record.manifest.reference_delta)
    accountant = ZcdpAccountant()
    seen = {charge.release_id: charge.event for charge in charges if charge.release_id in record.requests}
    given = {release: event for release, event in seen.items() if event.sensitivity_squared}
    return PrivacyStatement(
        participant=name,
        epsilon=accountant.epsilon([charge.event for charge in charges], delta=delta),
        delta=delta,
        rho=sum(accountant.rho(event) for event in seen.values()),
        weight=_weight(name, given, record),
        given={release: event.sensitivity_squared for release, event in given.items()},
        unseen=len(charges) - len(seen),
    )


def _delta(entries: Sequence[Entry], last: Charge, *, reference: float) -> float:
    """δ of the budget in force at the run's last charge; the reference without one (nothing can be given then)."""
    changes = [entry for entry in entries if isinstance(entry, BudgetChange) and entry.at <= last.at]
    return changes[-1].budget.delta if changes else reference


def _weight(name: str, given: Mapping[bytes, ReleaseEvent], record: PublicRecord) -> Fraction:
    """The one weight on the grid at which every charged event is exactly what the request's mechanism costs."""
    mechanisms = {release: mechanism_of(record.requests[release], record.manifest) for release in given}
    candidates = {weight for release, event in given.items() for weight in _near(mechanisms[release], event)}
    fitting = [w for w in candidates if all(mechanisms[r].event(w) == event for r, event in given.items())]
    if given and not fitting:
        raise AuditRefused(
            f"the ledger's charges of this run are at no one weight what {len(given)} requests would cost",
            why="an audit attacks the mechanism that was charged for; here requests and ledger contradict each other",
            fix="check that vault and run belong together; if they do, treat the ledger's statement as disproved",
            where=name,
        )
    return max(fitting, default=Fraction(0))


def _near(mechanism: SumMechanism, event: ReleaseEvent) -> list[Fraction]:
    """Weights about √sensitivity² / (γ·C)."""
    full = float(mechanism.grid_steps * Fraction(mechanism.clipping_norm))
    nearest = round(float(event.sensitivity_squared) ** 0.5 / full * 2**WEIGHT_BITS)
    return [Fraction(k, 2**WEIGHT_BITS) for k in range(nearest - 1, nearest + 2) if 0 < k <= 2**WEIGHT_BITS]


def _nothing_stated(folder: Path) -> AuditRefused:
    return AuditRefused(
        "no vault in the folder was charged for this run",
        why="an audit compares an attack with what a participant's own ledger states",
        fix="give a run's folder with participants/NNN/vault.sqlite and its key files of at least one participant",
        where=str(folder),
    )
