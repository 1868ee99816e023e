"""The rows of the privacy ledger as values, their one text form and their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from fedcrm.errors import FedCRMError, LedgerDamaged
from fedcrm.privacy.accountant import ReleaseEvent
from fedcrm.privacy.budget import Budget

GENESIS = hashlib.sha256(b"fedcrm ledger 1").digest()
"""What the first row's digest builds on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One release, paid for: what it was, what it cost, and where it belongs. Consumed by the release it paid for."""

    at: datetime
    release_id: bytes
    event: ReleaseEvent
    rho: float
    run: str
    round: int
    attempt: int
    manifest_digest: bytes
    purpose: str
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetChange:
    """A budget put in force; `carried` is the period that ran until then: its charges count until it is over."""

    at: datetime
    budget: Budget
    carried: tuple[datetime, datetime] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """The running period counts as spent from here on."""

    at: datetime
    reason: str


Entry: TypeAlias = Charge | BudgetChange | Void


def body_of(entry: Entry) -> tuple[str, str]:
    """A row's kind and its canonical JSON. Floats are written so that they read back bit for bit."""
    if isinstance(entry, Charge):
        facts: dict[str, Any] = {
            "release_id": entry.release_id.hex(),
            "event": json.loads(entry.event.to_json()),
            "rho": entry.rho,
            "run": entry.run,
            "round": entry.round,
            "attempt": entry.attempt,
            "manifest_digest": entry.manifest_digest.hex(),
            "purpose": entry.purpose,
            "task": entry.task,
        }
        return "charge", _canonical(entry.at, facts)
    if isinstance(entry, BudgetChange):
        carried = [time.isoformat() for time in entry.carried] if entry.carried else None
        return "budget", _canonical(entry.at, {"budget": json.loads(entry.budget.to_json()), "carried": carried})
    return "void", _canonical(entry.at, {"reason": entry.reason})


def entry_from(seq: int, kind: str, body: str) -> Entry:
    """The row back from its text; raises LedgerDamaged, naming the row, when it is not what `body_of` writes."""
    try:
        facts = json.loads(body)
        at = datetime.fromisoformat(facts.pop("at"))
        return _READERS[kind](at, facts)
    except (KeyError, TypeError, ValueError, AttributeError, FedCRMError) as error:
        raise damaged(seq, "the row cannot be read") from error


def damaged(seq: int, what: str) -> LedgerDamaged:
    """The error for a row that contradicts the others."""
    return LedgerDamaged(
        what,
        why="what was spent can no longer be told for certain, so nothing more may be given",
        fix="keep the file for inspection and restore the vault's backup; the running period then counts as spent",
        where=f"ledger row {seq}",
    )


def digest_of(previous: bytes, seq: int, kind: str, body: str) -> bytes:
    """SHA-256 over the digest before, the row's number, kind and text, each with its length."""
    parts = (previous, str(seq).encode(), kind.encode(), body.encode())
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def _charge(at: datetime, facts: dict[str, Any]) -> Charge:
    event = ReleaseEvent(**facts.pop("event"))
    release_id, manifest = bytes.fromhex(facts.pop("release_id")), bytes.fromhex(facts.pop("manifest_digest"))
    return Charge(at=at, release_id=release_id, manifest_digest=manifest, event=event, **facts)


def _budget(at: datetime, facts: dict[str, Any]) -> BudgetChange:
    budget = Budget.from_json(json.dumps(facts["budget"]))
    if facts["carried"] is None:
        return BudgetChange(at=at, budget=budget, carried=None)
    start, end = (datetime.fromisoformat(text) for text in facts["carried"])
    return BudgetChange(at=at, budget=budget, carried=(start, end))


def _void(at: datetime, facts: dict[str, Any]) -> Void:
    return Void(at=at, reason=facts["reason"])


_READERS: dict[str, Callable[[datetime, dict[str, Any]], Entry]] = {"charge": _charge, "budget": _budget, "void": _void}


def _canonical(at: datetime, facts: dict[str, Any]) -> str:
    return json.dumps({"at": at.isoformat(), **facts}, sort_keys=True, separators=(",", ":"), allow_nan=False)
