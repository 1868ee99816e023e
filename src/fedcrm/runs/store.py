"""The coordinator's run store: SQLite, one file a run; what is needed to go on after a kill, and the transcript.

Everything that decides what leaves is recorded before it leaves: which attempt is being made, which statement was put
to the holders. A checkpoint (learner state and transcript entry) is one transaction.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from fedcrm.errors import RunStoreError

_TABLES = """
create table if not exists facts (name text primary key, value blob not null) strict;
create table if not exists dead_attempts (
  round integer, attempt integer, cause text, primary key (round, attempt)) strict;
create table if not exists statements (release blob primary key, request blob not null) strict;
create table if not exists checkpoints (round integer primary key, state blob not null) strict;
create table if not exists transcript (
  round integer primary key, attempt integer not null, release blob not null, statement blob not null,
  opened blob not null, previous blob not null, hash blob not null) strict;
"""
_START = bytes(32)

SETUP = -1
"""The round index under which epoch setups are counted."""


@dataclass(frozen=True, slots=True)
class TranscriptEntry:
    """One opened release, as any participant may fetch and verify it."""

    round: int
    attempt: int
    release: bytes
    statement: bytes
    opened: bytes

    def chained(self, previous: bytes) -> bytes:
        """SHA-256 over the previous entry's hash and this entry."""
        numbers = self.round.to_bytes(8, "big") + self.attempt.to_bytes(8, "big")
        parts = (previous, numbers, self.release, self.statement, hashlib.sha256(self.opened).digest())
        return hashlib.sha256(b"".join(parts)).digest()


class RunStore:
    """The store of one run. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open or create the store.

        Raises:
            RunStoreError: the file is damaged or is not a run store.
        """
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            if self._db.execute("pragma quick_check").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("quick_check failed")
            self._db.executescript(_TABLES)
        except sqlite3.Error as error:
            raise _damaged(path, f"is not a whole run store ({error})") from error

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def remember(self, name: str, value: bytes) -> bytes:
        """Keep a fact of the run; the first value stays. Returns the stored one."""
        self._db.execute("insert or ignore into facts values (?, ?)", (name, value))
        stored: bytes = self._db.execute("select value from facts where name = ?", (name,)).fetchone()[0]
        return stored

    def recall(self, name: str) -> bytes | None:
        """A fact of the run, or None."""
        row = self._db.execute("select value from facts where name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def facts(self) -> tuple[tuple[str, bytes], ...]:
        """All facts of the run, oldest first."""
        rows = self._db.execute("select name, value from facts order by rowid")
        return tuple((str(name), bytes(value)) for name, value in rows)

    def attempt(self, round_index: int) -> int:
        """The attempt to make at a round: one after the last dead one."""
        row = self._db.execute("select max(attempt) from dead_attempts where round = ?", (round_index,)).fetchone()
        return 0 if row[0] is None else int(row[0]) + 1

    def dead_attempts(self) -> int:
        """How many attempts at releases are dead in the whole run."""
        return int(self._db.execute("select count(*) from dead_attempts where round >= 0").fetchone()[0])

    def bury(self, round_index: int, attempt: int, *, cause: str) -> None:
        """Record that an attempt is dead."""
        self._db.execute("insert or ignore into dead_attempts values (?, ?, ?)", (round_index, attempt, cause))

    def statement(self, release: bytes) -> bytes | None:
        """The signed request to answer a release id's statement, as it was recorded, or None."""
        row = self._db.execute("select request from statements where release = ?", (release,)).fetchone()
        return None if row is None else bytes(row[0])

    def record_statement(self, release: bytes, request: bytes) -> None:
        """Record the one signed request for a release id before it is put to any holder."""
        self._db.execute("insert or ignore into statements values (?, ?)", (release, request))

    def checkpoint(self, entry: TranscriptEntry, state: bytes) -> None:
        """Record an opened release and the learner's state after it, in one transaction."""
        previous = self._last_hash()
        row = (entry.round, entry.attempt, entry.release, entry.statement, entry.opened, previous)
        self._db.execute("begin immediate")
        try:
            self._db.execute("insert into transcript values (?, ?, ?, ?, ?, ?, ?)", (*row, entry.chained(previous)))
            self._db.execute("insert into checkpoints values (?, ?)", (entry.round, state))
            self._db.execute("delete from checkpoints where round < ?", (entry.round,))
            self._db.execute("commit")
        except sqlite3.Error:
            self._db.execute("rollback")
            raise

    def latest(self) -> tuple[int, bytes] | None:
        """Index of the last opened round and the learner's state after it, or None before the first."""
        row = self._db.execute("select round, state from checkpoints order by round desc limit 1").fetchone()
        return None if row is None else (int(row[0]), row[1])

    def transcript(self) -> tuple[TranscriptEntry, ...]:
        """All opened releases in order, after verifying the hash chain.

        Raises:
            RunStoreError: the chain is broken.
        """
        entries: list[TranscriptEntry] = []
        expected = _START
        for *fields, previous, stored in self._db.execute("select * from transcript order by round"):
            entry = TranscriptEntry(*fields)
            if previous != expected or stored != entry.chained(previous):
                raise _damaged(self._path, f"has a transcript changed at round {entry.round}")
            entries.append(entry)
            expected = stored
        return tuple(entries)

    def _last_hash(self) -> bytes:
        row = self._db.execute("select hash from transcript order by round desc limit 1").fetchone()
        return _START if row is None else bytes(row[0])


def _damaged(path: Path, what: str) -> RunStoreError:
    return RunStoreError(
        f"{path.name} {what}",
        why="going on from a damaged record could release the same sum twice",
        fix="keep the file for inspection and start a new run in an empty folder",
        where=str(path),
    )
