"""A participant's vault: one SQLite file with its encrypted secrets and its privacy ledger.

Values are encrypted with ChaCha20-Poly1305 under a key derived from the vault's root key; what they belong to (kind,
epoch, key) is authenticated with them. The first value recorded under a key stays. When an epoch ends its rows are
deleted and overwritten, the write-ahead log is emptied, and a mark remains, so that nothing is ever answered for it
again. What the file system or the disk keeps of overwritten blocks is beyond a program's reach, and so is a machine
rolled back to an earlier snapshot.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedcrm.crypto.sealing import derive
from fedcrm.errors import EpochEnded, VaultError, VaultKeyError
from fedcrm.privacy.accountant import ZcdpAccountant
from fedcrm.privacy.ledger import Ledger, configure
from fedcrm.runs.vault_file import RESTORE, VERSION, check_whole, connect, damaged, half_written, locked, refused
from fedcrm.runs.vault_key import Passphrase, VaultKey, key_from_file, new_parameters, root_key, write_key_file

__all__ = ["Passphrase", "SqliteVault", "VaultKey", "key_from_file", "write_key_file"]

_NONCE_BYTES = 12
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
CREATE TABLE secrets (
    kind TEXT, epoch BLOB, key BLOB, value BLOB NOT NULL, PRIMARY KEY (kind, epoch, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE ended (epoch BLOB PRIMARY KEY, seal BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""


class SqliteVault:
    """An open vault. One writer at a time; to be used from one thread at a time. Use as a context manager, or `close`.

    Guarantee: `record` returns only what is on disk, and the first value recorded under a key is returned for ever.
    Guarantee: a value is readable only with the vault's key, and only as the kind, epoch and key it was recorded under.
    Guarantee: after `destroy_epoch` the epoch's values are gone from the file and every later use of it is refused.
    Guarantee: a truncated or changed file is refused on opening and left as it is.
    Guarantee: a backup holds no epoch's keys; once opened, all its epochs are over and its running period is spent.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, root: bytes, *, lock: int | None) -> None:
        """Not for use: see `open`."""
        self._path, self._db, self._lock = path, db, lock
        if lock is not None:
            configure(db)
        self._cipher, self._root = ChaCha20Poly1305(derive(root, "vault values")), root
        head_key = derive(root, "ledger head")
        self.ledger = Ledger(db, accountant=ZcdpAccountant(), head_key=head_key, read_only=lock is None)

    @classmethod
    def open(
        cls, path: Path, *, key: VaultKey, now: datetime, create: bool = False, read_only: bool = False
    ) -> SqliteVault:
        """Open a vault after checking that it is whole.

        Args:
            path: The file; its lock is `path` + ".lock" beside it.
            key: What opens it.
            now: The time; a restored copy voids the period that it lies in.
            create: Make a new, empty vault when there is none.
            read_only: Take no lock and refuse to record; for looking at the ledger while a run is on.

        Raises:
            VaultError: there is no such file, or others may read it.
            VaultDamaged: it is truncated, garbled or changed; it is left as it is.
            VaultKeyError: it does not open with this key.
            VaultInUse: another process has it open for writing.
            LedgerDamaged: its ledger contradicts itself.
        """
        if not path.parent.is_dir() or not (create or path.exists()):
            raise refused(path, "does not exist", "check the path; a new vault is made only when asked for (create)")
        lock = None if read_only else locked(path)
        try:
            if create and not path.exists():
                _create(path, key)
            return cls._opened(path, key, now, lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    @classmethod
    def _opened(cls, path: Path, key: VaultKey, now: datetime, lock: int | None) -> SqliteVault:
        """Check everything through a connection that cannot write; only then open for writing."""
        facts = check_whole(path)
        root = _matching_root(path, key, facts)
        with closing(connect(path, read_only=True)) as db:
            cls(path, db, root, lock=None)._check_values()
        db = connect(path, read_only=lock is None)
        try:
            vault = cls(path, db, root, lock=lock)
            if "copy" in facts:
                vault._restore(now)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            db.close()
            raise damaged(path, f"the database cannot be used ({error})") from error
        except BaseException:
            db.close()
            raise
        return vault

    def __enter__(self) -> SqliteVault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the lock."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def record(self, kind: str, epoch: bytes, key: bytes, value: bytes) -> bytes:
        """Store a value durably before returning; the first value under a key wins. Returns the stored one.

        Raises:
            EpochEnded: the epoch's keys are destroyed.
            VaultError: the file cannot be written.
        """
        with self._transaction():
            self._check_not_ended(epoch)
            stored = self._get(kind, epoch, key)
            if stored is None:
                nonce = secrets.token_bytes(_NONCE_BYTES)
                sealed = nonce + self._cipher.encrypt(nonce, value, _place(kind, epoch, key))
                self._db.execute("INSERT INTO secrets VALUES (?, ?, ?, ?)", (kind, epoch, key, sealed))
        return value if stored is None else stored

    def get(self, kind: str, epoch: bytes, key: bytes) -> bytes | None:
        """The stored value, or None. Raises EpochEnded when the epoch's keys are destroyed."""
        self._check_not_ended(epoch)
        return self._get(kind, epoch, key)

    def destroy_epoch(self, epoch: bytes) -> None:
        """Erase everything recorded under an epoch and refuse it from now on; repeating it changes nothing."""
        if not epoch:
            raise VaultError(
                "the empty epoch cannot be destroyed",
                why="what belongs to no epoch (identities, pinned manifests) is kept for as long as the vault",
                fix="name the epoch that has ended",
            )
        with self._transaction():
            self._db.execute("DELETE FROM secrets WHERE epoch = ?", (epoch,))
            self._db.execute("INSERT OR IGNORE INTO ended VALUES (?, ?)", (epoch, self._seal_of_end(epoch)))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def backup(self, to: Path) -> None:
        """Write a copy without any epoch's keys, marked as a copy, to a new file; never overwrites.

        Raises:
            VaultError: there is a file already.
        """
        if to.exists():
            raise refused(to, "exists already", "choose a new file for the backup")
        with half_written(to) as unfinished, closing(connect(unfinished)) as copy:
            copy.executescript(_SCHEMA)
            Ledger(copy, accountant=ZcdpAccountant())
            copy.execute("BEGIN")
            self._copy_rows(copy)
            copy.execute("COMMIT")

    def _copy_rows(self, copy: sqlite3.Connection) -> None:
        for table, kept in (
            ("facts", "1"),
            ("secrets", "epoch = x''"),
            ("ended", "1"),
            ("ledger", "1"),
            ("ledger_head", "1"),
        ):
            for row in self._db.execute(f"SELECT * FROM {table} WHERE {kept}"):  # noqa: S608 (fixed names)
                copy.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        for (epoch,) in self._db.execute("SELECT DISTINCT epoch FROM secrets WHERE epoch <> x''"):
            copy.execute("INSERT INTO ended VALUES (?, ?)", (epoch, self._seal_of_end(epoch)))
        copy.execute("INSERT OR REPLACE INTO facts VALUES ('copy', 1)")

    def _restore(self, now: datetime) -> None:
        """A marked copy becomes the vault: its running period is spent. The mark goes last, so a crash repeats this."""
        if self._lock is None:
            raise refused(
                self._path,
                "is a backup that was never put to use",
                "look at the original, or restore this copy by opening it for writing (`fedcrm budget set`)",
            )
        self.ledger.void_period(reason="restored from a backup", now=now)
        with self._transaction():
            self._db.execute("DELETE FROM facts WHERE name = 'copy'")

    def _get(self, kind: str, epoch: bytes, key: bytes) -> bytes | None:
        row = self._db.execute(
            "SELECT value FROM secrets WHERE kind = ? AND epoch = ? AND key = ?", (kind, epoch, key)
        ).fetchone()
        return None if row is None else self._unsealed(kind, epoch, key, row[0])

    def _unsealed(self, kind: str, epoch: bytes, key: bytes, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(kind, epoch, key))
        except (InvalidTag, ValueError, TypeError):
            place = f"{kind} of epoch {epoch.hex()[:16]}, key {key.hex()[:16]}"
            raise damaged(self._path, f"the value of {place} was changed") from None

    def _check_values(self) -> None:
        """Every value and every mark of an ended epoch is as it was written; raises VaultDamaged."""
        try:
            for kind, epoch, key, sealed in self._db.execute("SELECT kind, epoch, key, value FROM secrets"):
                if not (isinstance(kind, str) and isinstance(epoch, bytes) and isinstance(key, bytes)):
                    raise damaged(self._path, "the place of a value was changed")
                self._unsealed(kind, epoch, key, sealed)
            for epoch, seal in self._db.execute("SELECT epoch, seal FROM ended"):
                if not isinstance(epoch, bytes) or seal != self._seal_of_end(epoch):
                    raise damaged(self._path, "the mark of an ended epoch was changed")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise damaged(self._path, f"the database cannot be read ({error})") from error

    def _seal_of_end(self, epoch: bytes) -> bytes:
        return derive(self._root, "ended epoch", epoch)

    def _check_not_ended(self, epoch: bytes) -> None:
        if self._db.execute("SELECT 1 FROM ended WHERE epoch = ?", (epoch,)).fetchone() is not None:
            raise EpochEnded(
                f"epoch {epoch.hex()[:16]} has ended",
                why="its keys are destroyed, so nothing may be answered for it any more",
                fix="start a new run; it has an epoch of its own",
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise refused(
                self._path, f"cannot be written ({error})", "make room on the disk and check the file's owner and mode"
            ) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _create(path: Path, key: VaultKey) -> None:
    """Make an empty vault under another name, then give it its own: a half-written vault never has the vault's name."""
    parameters = new_parameters(key)
    cipher = ChaCha20Poly1305(derive(root_key(key, parameters), "vault values"))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    check = nonce + cipher.encrypt(nonce, b"", _key_check(parameters))
    with half_written(path) as unfinished, closing(connect(unfinished)) as db:
        db.executescript(_SCHEMA)
        db.executemany("INSERT INTO facts VALUES (?, ?)", [("version", VERSION), ("key", parameters), ("check", check)])
        Ledger(db, accountant=ZcdpAccountant())


def _matching_root(path: Path, key: VaultKey, facts: dict[str, str | bytes | int]) -> bytes:
    """The root key, when it is the one the vault was made with."""
    parameters, check = str(facts["key"]), facts["check"]
    root = root_key(key, parameters)
    try:
        if not isinstance(check, bytes):
            raise InvalidTag
        cipher = ChaCha20Poly1305(derive(root, "vault values"))
        cipher.decrypt(check[:_NONCE_BYTES], check[_NONCE_BYTES:], _key_check(parameters))
    except (InvalidTag, ValueError):
        raise VaultKeyError(
            "the vault does not open with this key",
            why="a wrong passphrase or key file, or the vault's header was changed",
            fix="give the key this vault was made with; if it is certainly the right one, " + RESTORE,
            where=str(path),
        ) from None
    return root


def _place(kind: str, epoch: bytes, key: bytes) -> bytes:
    """Associated data: what a value belongs to, each part with its length."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in (kind.encode(), epoch, key))


def _key_check(parameters: str) -> bytes:
    return b"fedcrm vault 1 key check" + parameters.encode()
