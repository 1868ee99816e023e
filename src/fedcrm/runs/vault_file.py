"""The vault's file: made whole or not at all, checked without being written, locked for one writer."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fedcrm.errors import VaultDamaged, VaultError, VaultInUse

VERSION = "1"
RESTORE = "restore the vault from its backup (the running period then counts as spent) and keep this file"
_MAGIC = b"SQLite format 3\x00"


@contextmanager
def half_written(path: Path) -> Iterator[Path]:
    """A file of mode 0600 beside `path` that gets its name once it is whole and synced; removed when anything fails."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield unfinished
        _sync(unfinished)
        os.link(unfinished, path)
        _sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def locked(path: Path) -> int:
    """An exclusive lock on the file beside the vault, held until the process ends or closes it."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise VaultInUse(
            "another process has this vault open for writing",
            why="two writers could answer twice for one release id, and so give away what is encrypted",
            fix="wait for the other process to end, or end it",
            where=str(path),
        ) from None
    return descriptor


def check_whole(path: Path) -> dict[str, str | bytes | int]:
    """Check without writing that the file is a whole vault; the facts in its header.

    Raises:
        VaultError: it is no file, or others may read it.
        VaultDamaged: it is truncated, garbled or of another version.
    """
    _check_file(path)
    try:
        with closing(connect(path, read_only=True)) as db:
            findings = db.execute("PRAGMA integrity_check").fetchall()
            if findings != [("ok",)]:
                raise damaged(path, f"the database is not whole ({len(findings)} findings)")
            facts = dict(db.execute("SELECT name, value FROM facts"))
    except (sqlite3.Error, UnicodeDecodeError) as error:  # sqlite3 may fail to decode its own message about a name
        raise damaged(path, f"the database cannot be read ({error})") from error
    if not {"version", "key", "check"} <= facts.keys() <= {"version", "key", "check", "copy"}:
        raise damaged(path, "its header was changed")
    if facts["version"] != VERSION:
        raise damaged(path, f"its version is {facts['version']!r}, not {VERSION!r}")
    return facts


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise refused(path, "is not a file", "give the path of the vault file")
    if path.stat().st_mode & 0o077:
        raise refused(path, "may be read by others than its owner", f"chmod 600 {path}")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise damaged(path, "the file does not begin like a SQLite database")


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode; the file must exist."""
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def refused(path: Path, what: str, fix: str) -> VaultError:
    """The error for a vault that cannot be used as asked."""
    return VaultError(
        f"the vault {what}",
        why="the vault decides what may still leave; without it nothing is answered",
        fix=fix,
        where=str(path),
    )


def damaged(path: Path, what: str) -> VaultDamaged:
    """The error for a vault that is not whole."""
    return VaultDamaged(
        what,
        why="what was spent and answered can no longer be told for certain, so nothing more may be given",
        fix=RESTORE,
        where=str(path),
    )
