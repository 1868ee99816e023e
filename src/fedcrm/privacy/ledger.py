"""The privacy ledger: what was spent, written and synced before anything leaves. SQLite, hash-chained, append-only.

Rows are charges, budget changes and void marks (a restored copy cannot know what was given since, so its period counts
as spent). Each row's digest covers the row and the digest before it; the newest digest is kept beside, authenticated
with a key of the vault when there is one, so that rows missing at the end are noticed too.

Which releases still fit is decided by a privacy filter on ρ alone: the sum of ρ over the period may not exceed the ρ of
the budget's (ε, δ). A filter with that one bound, fixed beforehand, stays valid although later releases are chosen
after seeing earlier ones (Feldman, Zrnic 2021; Whitehouse, Ramdas, Rogers, Wu 2023); choosing the best Rényi order
after the fact would not. Guarantees of successive periods add up.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from fedcrm.errors import BudgetExceeded, ChargeConflict, LedgerUnwritable
from fedcrm.privacy.accountant import Accountant, ReleaseEvent
from fedcrm.privacy.budget import Budget, utc
from fedcrm.privacy.entries import GENESIS, BudgetChange, Charge, Entry, Void, body_of, damaged, digest_of, entry_from
from fedcrm.privacy.weights import BudgetForecast, forecast

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, release_id BLOB UNIQUE, body TEXT NOT NULL, digest BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS ledger_head (
    one INTEGER PRIMARY KEY, seq INTEGER NOT NULL, mac BLOB NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a period looks like at one moment, for the operator only.

    Attributes:
        budget: The budget in force; None when none is set or its first period has not begun.
        start: Charges from here on count; end: the period renews here.
        rho_budget: ρ of the budget. spent_rho: ρ charged in the period. remaining_rho: what is left, 0 when void.
        charges: Number of charges in the period (weight 0 included).
        void: The vault was restored from a backup within this period, so all of it counts as spent.
        spent_by_task: ρ charged in the period, per task.
    """

    budget: Budget | None
    start: datetime | None
    end: datetime | None
    rho_budget: float
    spent_rho: float
    remaining_rho: float
    charges: int
    void: bool
    spent_by_task: dict[str, float]


_NOTHING = Standing(
    budget=None,
    start=None,
    end=None,
    rho_budget=0.0,
    spent_rho=0.0,
    remaining_rho=0.0,
    charges=0,
    void=False,
    spent_by_task={},
)


class Ledger:
    """One participant's ledger, in a SQLite database that it may share with the vault.

    Args:
        connection: Open database in autocommit mode, WAL, synchronous=FULL (`configure` sets both).
        accountant: Says what an event costs.
        head_key: Secret that authenticates the newest digest; without it the chain alone is checked.

    Guarantee: a charge is durable before `charge` returns: a crash before the release costs budget, never privacy.
    Guarantee: one release id is charged at most once, whatever is repeated.
    Guarantee: the ρ charged within a period never exceeds the ρ of the budget's (ε, δ), nor a task's its cap.
    Guarantee: changing the budget never forgets what the running period has spent.
    Guarantee: any row changed, removed or added from outside is noticed and named by `verify`.

    Raises:
        LedgerDamaged: on opening, when the stored rows contradict each other.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, accountant: Accountant, head_key: bytes = b"", read_only: bool = False
    ) -> None:
        self._db, self._accountant, self._head_key = connection, accountant, head_key
        self._entries: list[Entry] = []
        if not read_only:
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
        self._entries = self._read()
        self._by_release = {e.release_id: e for e in self._entries if isinstance(e, Charge)}

    def charge(  # noqa: PLR0913 (every part is evidence of one charge)
        self,
        release_id: bytes,
        event: ReleaseEvent,
        *,
        run: str,
        round: int,
        attempt: int,
        manifest_digest: bytes,
        purpose: str,
        task: str,
        now: datetime,
    ) -> Charge:
        """Charge one release, durably, before it may leave.

        Returns:
            The stored charge. A release id charged before with the same event returns that charge; nothing is added.

        Raises:
            BudgetExceeded: the period's or the task's remaining ρ does not carry it. Nothing is written.
            ChargeConflict: the release id was charged for a different event.
        """
        charge = Charge(
            at=self._monotone(now),
            release_id=release_id,
            event=event,
            rho=self._accountant.rho(event),
            run=run,
            round=round,
            attempt=attempt,
            manifest_digest=manifest_digest,
            purpose=purpose,
            task=task,
        )
        with self._transaction() as added:
            before = self._by_release.get(release_id)
            if before is not None:
                return _same(before, charge)
            if charge.rho > 0:
                self._check_affordable(charge)
            added.append(self._append(charge))
        self._by_release[release_id] = charge
        return charge

    def set_budget(self, budget: Budget, *, now: datetime) -> None:
        """Put a budget in force. What the running period has spent stays counted, whatever start the new one names."""
        at = self._monotone(now)
        change = BudgetChange(at=at, budget=budget, carried=_running(self._change(), at))
        with self._transaction() as added:
            added.append(self._append(change))

    def void_period(self, *, reason: str, now: datetime) -> None:
        """Count the whole running period as spent (a restored copy cannot know what was given since)."""
        with self._transaction() as added:
            added.append(self._append(Void(at=self._monotone(now), reason=reason)))

    def standing(self, *, now: datetime) -> Standing:
        """Budget, spent and remaining ρ of the period that `now` lies in."""
        at = self._monotone(now)
        change, running = self._change(), _running(self._change(), at)
        if change is None or running is None or change.budget.period(at) is None:
            return _NOTHING
        start, end = running
        counted = [e for e in self._entries if start <= e.at < end]
        charges = [e for e in counted if isinstance(e, Charge)]
        void = any(isinstance(e, Void) for e in counted)
        rho_budget = self._accountant.rho_budget(epsilon=change.budget.epsilon, delta=change.budget.delta)
        spent = math.fsum(c.rho for c in charges)
        return Standing(
            budget=change.budget,
            start=start,
            end=end,
            rho_budget=rho_budget,
            spent_rho=spent,
            remaining_rho=0.0 if void else max(0.0, rho_budget - spent),
            charges=len(charges),
            void=void,
            spent_by_task=_by_task(charges),
        )

    def remaining_rho(self, *, task: str, now: datetime) -> float:
        """ρ that a task may still spend in the running period; 0 without a budget."""
        standing = self.standing(now=now)
        if standing.budget is None:
            return 0.0
        cap = standing.budget.task_share(task) * standing.rho_budget
        return max(0.0, min(standing.remaining_rho, cap - standing.spent_by_task.get(task, 0.0)))

    def forecast(self, *, planned_rho: float, task: str, now: datetime, quality: float = 1.0) -> BudgetForecast:
        """Whether the remaining budget carries an announced run, and at which weight; known before the first round."""
        remaining = self.remaining_rho(task=task, now=now)
        return forecast(planned_rho=planned_rho, remaining_rho=remaining, quality=quality)

    def spent(self, *, delta: float, now: datetime) -> float:
        """ε at δ of all charges of the running period, composed at once from their events; inf when void."""
        standing = self.standing(now=now)
        if standing.void:
            return math.inf
        return self._accountant.epsilon([c.event for c in self._counted(standing)], delta=delta)

    def spent_ever(self, *, delta: float) -> float:
        """ε at δ of all charges of all periods together."""
        return self._accountant.epsilon([c.event for c in self.charges()], delta=delta)

    def charges(self) -> tuple[Charge, ...]:
        """All charges of all periods, oldest first."""
        return tuple(e for e in self._entries if isinstance(e, Charge))

    def entries(self) -> tuple[Entry, ...]:
        """All rows, oldest first."""
        return tuple(self._entries)

    def charged(self, release_id: bytes) -> Charge | None:
        """The charge of a release, if there is one."""
        return self._by_release.get(release_id)

    def verify(self) -> int:
        """Read everything anew: hash chain, head, each ρ from its event, and the totals. Returns the number of rows.

        Raises:
            LedgerDamaged: naming the first row that does not fit.
        """
        entries = self._read()
        if entries != self._entries:
            raise damaged(len(entries), "the stored rows are not those this process wrote")
        return len(entries)

    def head_digest(self) -> bytes:
        """Digest of the newest row: whoever noted it can later tell that nothing before it was changed."""
        return self._head_digest()

    def export(self) -> list[dict[str, object]]:
        """Every row as plain values with its digest in hex, for an auditor; the chain can be recomputed from it."""
        rows = self._db.execute("SELECT seq, kind, body, digest FROM ledger ORDER BY seq")
        return [{"seq": seq, "kind": kind, "body": body, "digest": digest.hex()} for seq, kind, body, digest in rows]

    def _change(self) -> BudgetChange | None:
        return next((e for e in reversed(self._entries) if isinstance(e, BudgetChange)), None)

    def _check_affordable(self, charge: Charge) -> None:
        remaining = self.remaining_rho(task=charge.task, now=charge.at)
        if charge.rho <= remaining:
            return
        raise BudgetExceeded(
            f"release costs ρ {charge.rho:.6g}, {remaining:.6g} remains for task {charge.task!r}",
            why="giving it would break this organisation's own privacy budget; nothing was charged and nothing left",
            fix="send weight 0, wait for the next period, or raise the budget with `fedcrm budget set`",
            where=f"run {charge.run}, round {charge.round}, attempt {charge.attempt}",
        )

    def _counted(self, standing: Standing) -> list[Charge]:
        if standing.start is None or standing.end is None:
            return []
        return [c for c in self.charges() if standing.start <= c.at < standing.end]

    def _monotone(self, now: datetime) -> datetime:
        """A clock set back must not move a charge into a period gone by: time never runs before the newest row."""
        at = utc(now)
        return max(at, self._entries[-1].at) if self._entries else at

    def _append(self, entry: Entry) -> Entry:
        """Write one row and the new head inside the caller's transaction; remembered only once committed."""
        seq, previous = len(self._entries) + 1, self._head_digest()
        kind, body = body_of(entry)
        digest = digest_of(previous, seq, kind, body)
        release_id = entry.release_id if isinstance(entry, Charge) else None
        self._db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?)", (seq, kind, release_id, body, digest))
        head = (seq, self._mac(seq, digest))
        self._db.execute(
            "INSERT INTO ledger_head VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET seq = ?, mac = ?", head * 2
        )
        return entry

    def _head_digest(self) -> bytes:
        row = self._db.execute("SELECT seq, digest FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
        seq, digest = row or (0, GENESIS)
        if seq != len(self._entries):
            raise damaged(max(seq, len(self._entries)), "rows were added or removed while the ledger was open")
        return bytes(digest)

    def _mac(self, seq: int, digest: bytes) -> bytes:
        return hmac.digest(self._head_key, b"fedcrm ledger head 1" + seq.to_bytes(8, "big") + digest, hashlib.sha256)

    @contextmanager
    def _transaction(self) -> Iterator[list[Entry]]:
        """One durable transaction: all of it is on disk when it ends, or nothing is. Yields the rows it adds."""
        added: list[Entry] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield added
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise LedgerUnwritable(
                f"the ledger cannot be written ({error})",
                why="what is not on record may not leave",
                fix="make room on the disk and check the vault file's owner and mode",
            ) from error
        except BaseException:
            self._roll_back()
            raise
        self._entries.extend(added)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _read(self) -> list[Entry]:
        """All rows, each checked against the one before; raises LedgerDamaged."""
        try:
            rows = self._db.execute("SELECT seq, kind, release_id, body, digest FROM ledger ORDER BY seq").fetchall()
            head = self._db.execute("SELECT seq, mac FROM ledger_head").fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise damaged(0, f"the database cannot be read ({type(error).__name__})") from error
        previous, entries = GENESIS, []
        for expected, (seq, kind, release_id, body, digest) in enumerate(rows, start=1):
            if seq != expected:
                raise damaged(expected, "the row is missing")
            if not (isinstance(kind, str) and isinstance(body, str)) or digest != digest_of(previous, seq, kind, body):
                raise damaged(seq, "the row does not fit its digest and the row before")
            entries.append(self._checked(seq, entry_from(seq, kind, body), release_id))
            previous = digest
        self._check_head(len(rows), previous, head)
        return entries

    def _check_head(self, rows: int, digest: bytes, head: tuple[int, bytes] | None) -> None:
        if head is None and rows == 0:
            return
        if head is None or head != (rows, self._mac(rows, digest)):
            raise damaged(
                rows + 1, f"the ledger's head does not fit its {rows} rows: some at the end were lost or added"
            )

    def _checked(self, seq: int, entry: Entry, release_id: bytes | None) -> Entry:
        if isinstance(entry, Charge):
            exact = self._accountant.rho(entry.event)
            if not math.isclose(exact, entry.rho, rel_tol=1e-12):
                raise damaged(seq, "the charged ρ is not what its event costs")
            if release_id != entry.release_id:
                raise damaged(seq, "the release id is not the one charged")
        elif release_id is not None:
            raise damaged(seq, "a row that is no charge names a release")
        return entry


def configure(connection: sqlite3.Connection) -> None:
    """Set a connection to durable, write-ahead logged and erasing: WAL, synchronous=FULL, secure_delete."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


def _running(change: BudgetChange | None, at: datetime) -> tuple[datetime, datetime] | None:
    """The time whose charges count at `at`: the budget's period, and the one before a change until that is over."""
    if change is None:
        return None
    period, carried = change.budget.period(at), change.carried
    if period is None:
        return carried if carried is not None and at < carried[1] else None
    if carried is not None and period.start < carried[1]:
        return min(carried[0], period.start), max(carried[1], period.end)
    return period.start, period.end


def _same(before: Charge, now: Charge) -> Charge:
    if before.event == now.event and before.manifest_digest == now.manifest_digest:
        return before
    raise ChargeConflict(
        f"release {now.release_id.hex()[:16]} was charged before for a different event",
        why="one release id stands for one release; a second one under it would break the encryption and the account",
        fix="make a fresh attempt with a new release id; if this repeats, the coordinator is faulty or malicious",
        where=f"run {now.run}, round {now.round}, attempt {now.attempt}",
    )


def _by_task(charges: list[Charge]) -> dict[str, float]:
    tasks = sorted({c.task for c in charges})
    return {task: math.fsum(c.rho for c in charges if c.task == task) for task in tasks}
