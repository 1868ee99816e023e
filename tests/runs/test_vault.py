"""The vault: first value wins, encrypted at rest, whole or refused, over when its epoch is over."""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcrm.errors import (
    BudgetExceeded,
    EpochEnded,
    FedCRMError,
    LedgerDamaged,
    VaultDamaged,
    VaultError,
    VaultInUse,
    VaultKeyError,
)
from fedcrm.privacy.accountant import ReleaseEvent
from fedcrm.privacy.budget import Budget
from fedcrm.protocol.vault import Vault
from fedcrm.runs.vault import Passphrase, SqliteVault, key_from_file, write_key_file

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = bytes(range(32))
EPOCH, OTHER, PAST = b"e" * 32, b"o" * 32, b"p" * 32
BUDGET = Budget(epsilon=1.0, delta=1e-6, period_start=date(2026, 1, 1), period_days=365)
MARKER = b"a secret that must not be found on disk"


def opened(path: Path, key=KEY, **how) -> SqliteVault:
    """The vault at a path."""
    return SqliteVault.open(path, key=key, now=NOW, **how)


def pay(vault: SqliteVault, number: int = 1) -> object:
    """Charge one release."""
    event = ReleaseEvent(dimension=3, sensitivity_squared=100, share_variance=10**4, honest_shares=5)
    return vault.ledger.charge(
        number.to_bytes(32, "big"),
        event,
        run="run",
        round=number,
        attempt=0,
        manifest_digest=b"m" * 32,
        purpose="step",
        task="churn",
        now=NOW,
    )


@pytest.fixture
def path(tmp_path):
    """A vault with a budget, one charge and two epochs' values."""
    path = tmp_path / "vault.sqlite"
    with opened(path, create=True) as vault:
        vault.ledger.set_budget(BUDGET, now=NOW)
        pay(vault)
        vault.record("epoch secret", EPOCH, b"", MARKER)
        vault.record("answered", OTHER, b"release", b"statement")
        vault.record("manifest", b"", b"pinned", b"digest")
        vault.destroy_epoch(PAST)
    return path


def test_it_is_the_vault_the_roles_ask_for(path):
    """The SQLite vault has the shape of the protocol's seam."""
    with opened(path) as opened_vault:
        vault: Vault = opened_vault
        assert vault.get("epoch secret", EPOCH, b"") == MARKER


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]), st.sampled_from([b"", EPOCH]), st.binary(max_size=2), st.binary(max_size=50)
        ),
        max_size=12,
    )
)
def test_the_first_value_wins_for_good(tmp_path, records):
    """Guarantee: `record` returns the first value recorded under a key, in this process and after opening again."""
    path, first = tmp_path / secrets.token_hex(8), {}
    with opened(path, create=True) as vault:
        for kind, epoch, key, value in records:
            first.setdefault((kind, epoch, key), value)
            assert vault.record(kind, epoch, key, value) == first[kind, epoch, key]
    with opened(path) as vault:
        for place, value in first.items():
            assert vault.get(*place) == value == vault.record(*place, b"another")
        assert vault.get("never", b"", b"") is None


def test_secrets_are_not_readable_on_disk(path):
    """Guarantee: no value is found in any file of the vault, and all are readable by their owner alone."""
    with opened(path) as vault:
        vault.record("key share", EPOCH, b"x", MARKER * 3)
        for file in path.parent.iterdir():
            assert MARKER not in file.read_bytes() and file.stat().st_mode & 0o077 == 0


def test_a_value_moved_to_another_place_is_refused(path):
    """Guarantee: a value is readable only as the kind, epoch and key it was recorded under."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE secrets SET kind = 'key share' WHERE kind = 'epoch secret'")
        db.commit()
    with pytest.raises(VaultDamaged, match="the value of key share of epoch 6565"):
        opened(path)


def test_another_key_does_not_open_it(path):
    """Guarantee: a wrong key, or a passphrase for a vault with a key file, is a three-part error."""
    for key in (bytes(32), Passphrase("wrong", log_cost=14)):
        with pytest.raises(VaultKeyError, match="FED-503"):
            opened(path, key=key)


def test_a_passphrase_opens_what_it_closed(tmp_path):
    """scrypt's salt and cost are in the file; the same passphrase opens it, any other is refused, none is shown."""
    path = tmp_path / "vault.sqlite"
    with opened(path, key=Passphrase("correct horse", log_cost=14), create=True) as vault:
        vault.record("a", EPOCH, b"", MARKER)
    with opened(path, key=Passphrase("correct horse")) as vault:
        assert vault.get("a", EPOCH, b"") == MARKER
    for key in (Passphrase("Correct horse"), KEY):
        with pytest.raises(VaultKeyError):
            opened(path, key=key)
    assert "horse" not in repr(Passphrase("correct horse"))


def test_an_ended_epoch_is_erased_and_refused(path):
    """Guarantee: after destroy_epoch the values are gone from the files, and every use of the epoch is refused."""
    with closing(sqlite3.connect(path)) as db:
        sealed = db.execute("SELECT value FROM secrets WHERE epoch = ?", (EPOCH,)).fetchone()[0]
    with opened(path) as vault:
        vault.record("key share", EPOCH, b"later", MARKER)
        vault.destroy_epoch(EPOCH)
        vault.destroy_epoch(EPOCH)
        for file in path.parent.iterdir():
            assert sealed[:24] not in file.read_bytes()
    with opened(path) as vault:
        for use in (lambda: vault.get("epoch secret", EPOCH, b""), lambda: vault.record("a", EPOCH, b"", b"v")):
            with pytest.raises(EpochEnded, match="FED-505"):
                use()
        assert vault.get("answered", OTHER, b"release") == b"statement"
        with pytest.raises(VaultError, match="empty epoch"):
            vault.destroy_epoch(b"")


def test_a_second_writer_is_refused_and_a_reader_is_not(path):
    """One writer at a time; looking at the ledger stays possible, recording through that view does not."""
    with opened(path) as vault:
        with pytest.raises(VaultInUse, match="FED-504"):
            opened(path)
        with opened(path, read_only=True) as reader:
            assert reader.ledger.verify() == 2
            with pytest.raises(VaultError):
                reader.record("a", EPOCH, b"", b"v")
        pay(vault, 2)
    with opened(path) as vault:
        assert len(vault.ledger.charges()) == 2


def test_a_missing_vault_is_not_made_silently(tmp_path):
    """A wrong path must not become an empty vault that has forgotten what was spent."""
    with pytest.raises(VaultError, match="does not exist"):
        opened(tmp_path / "vault.sqlite")
    with pytest.raises(VaultError, match="does not exist"):
        opened(tmp_path / "nowhere" / "vault.sqlite", create=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\x00" + bytes(5000)])
def test_a_file_that_is_no_vault_is_refused_and_left_alone(tmp_path, content):
    """Guarantee: an empty, foreign or hollow file is refused with what, why and fix, and not touched."""
    path = tmp_path / "vault.sqlite"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(VaultDamaged, match="restore the vault from its backup"):
        opened(path, create=True)
    assert path.read_bytes() == content


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_vault_is_refused_or_whole_and_never_changed(path, data):
    """Guarantee: a truncated or garbled file is refused untouched; if it still opens, all it holds is as it was."""
    whole = path.read_bytes()
    written = [at for at, byte in enumerate(whole) if byte]
    damaged = path.with_name("damaged.sqlite")
    if data.draw(st.booleans()):
        content = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at, flip = data.draw(st.sampled_from(written)), data.draw(st.integers(1, 255))
        content = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
    damaged.write_bytes(content)
    damaged.chmod(0o600)
    try:
        with opened(damaged) as vault:
            assert vault.get("epoch secret", EPOCH, b"") == MARKER
            assert vault.get("answered", OTHER, b"release") == b"statement"
            assert len(vault.ledger.charges()) == 1 and not vault.ledger.standing(now=NOW).void
            with pytest.raises(EpochEnded):
                vault.get("epoch secret", PAST, b"")
    except (VaultError, LedgerDamaged):
        assert damaged.read_bytes() == content


def test_a_vault_others_may_read_is_refused(path):
    """Modes beyond the owner's are refused, with the command that mends them."""
    path.chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        opened(path)


def test_a_backup_holds_no_epochs_keys_and_voids_what_it_restores(path, tmp_path):
    """Guarantee: the copy has no epoch's values; opened, its epochs are over and its running period counts as spent."""
    copy = tmp_path / "copy.sqlite"
    with opened(path) as vault:
        vault.backup(copy)
        with pytest.raises(VaultError, match="exists already"):
            vault.backup(copy)
        assert vault.ledger.remaining_rho(task="churn", now=NOW) > 0
    assert copy.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT kind FROM secrets").fetchall() == [("manifest",)]
    with pytest.raises(VaultError, match="never put to use"):
        opened(copy, read_only=True)
    for _ in range(2):
        with opened(copy) as restored:
            assert restored.get("manifest", b"", b"pinned") == b"digest"
            for epoch in (EPOCH, OTHER):
                with pytest.raises(EpochEnded):
                    restored.record("epoch secret", epoch, b"", b"fresh")
            assert restored.ledger.remaining_rho(task="churn", now=NOW) == 0
            assert restored.ledger.verify() == 3
            with pytest.raises(BudgetExceeded):
                pay(restored, 2)


def test_the_ledger_is_bound_to_the_vaults_key(path):
    """The newest ledger digest is authenticated with the vault's key: a ledger rolled back by hand is noticed."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM ledger WHERE seq = 2")
        db.execute("UPDATE ledger_head SET seq = 1")
        db.commit()
    with pytest.raises(LedgerDamaged, match="head"):
        opened(path)


def test_key_files_are_private_whole_and_never_overwritten(tmp_path):
    """A key file is written once with mode 0600; open modes, wrong lengths, other text and absence are refused."""
    path = tmp_path / "vault.key"
    write_key_file(path, KEY)
    assert key_from_file(path) == KEY and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_key_file(path, KEY)
    path.chmod(0o640)
    with pytest.raises(VaultKeyError, match="others than its owner"):
        key_from_file(path)
    path.chmod(0o600)
    for text in ("", "00" * 31, "not hex", "ü"):
        path.write_text(text)
        with pytest.raises(VaultKeyError, match="64 hexadecimal digits"):
            key_from_file(path)
    with pytest.raises(VaultKeyError):
        key_from_file(tmp_path / "missing.key")


def test_parameters_out_of_all_reason_are_refused(tmp_path):
    """A garbled scrypt cost must not make the machine derive for hours."""
    path = tmp_path / "vault.sqlite"
    opened(path, key=Passphrase("p", log_cost=14), create=True).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE facts SET value = replace(value, '\"log_n\": 14', '\"log_n\": 60') WHERE name = 'key'")
        db.commit()
    with pytest.raises(VaultDamaged, match="scrypt cost out of range"):
        opened(path, key=Passphrase("p"))


def test_no_half_written_vault_keeps_the_name(tmp_path, monkeypatch):
    """A creation that fails leaves nothing; what a killed creation left behind is cleared by the next."""
    path = tmp_path / "vault.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", _full_disk)
        with pytest.raises(OSError, match="no room"):
            opened(path, create=True)
    assert [file.name for file in tmp_path.iterdir()] == ["vault.sqlite.lock"]
    (tmp_path / ".vault.sqlite.unfinished").write_bytes(b"left behind by a kill")
    opened(path, create=True).close()
    assert not (tmp_path / ".vault.sqlite.unfinished").exists()


def _full_disk(*_: object) -> None:
    raise OSError("no room")


KILLED = textwrap.dedent("""
    import os, signal, sqlite3, sys
    sys.path.insert(0, {folder!r})
    from pathlib import Path
    import test_vault as t

    class Killing(sqlite3.Connection):
        def execute(self, statement, *rest):
            if {before!r} and statement.startswith({before!r}) and armed:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().execute(statement, *rest)

    armed = False
    connect = sqlite3.connect
    sqlite3.connect = lambda *a, **k: connect(*a, factory=Killing, **k)
    vault = t.opened(Path({path!r}))
    armed = True
    t.pay(vault, 2) if {step!r} == "charge" else vault.record("answered", t.EPOCH, b"release", b"first")
    os.kill(os.getpid(), signal.SIGKILL)
""")


@pytest.mark.parametrize("step", ["charge", "record"])
@pytest.mark.parametrize("before", ["COMMIT", ""], ids=["within the transaction", "right after it returned"])
def test_a_kill_loses_nothing_that_was_returned(path, step, before):
    """Guarantee: killed before the commit nothing was charged or recorded; killed after the return all of it was."""
    script = KILLED.format(folder=str(Path(__file__).parent), path=str(path), step=step, before=before)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    with opened(path) as vault:
        done = not before
        assert len(vault.ledger.charges()) == (2 if done and step == "charge" else 1)
        assert (vault.get("answered", EPOCH, b"release") == b"first") is (done and step == "record")
        assert vault.ledger.verify() == len(vault.ledger.entries())
        pay(vault, 2)
        assert len(vault.ledger.charges()) == 2


def test_every_vault_error_has_three_parts(tmp_path):
    """What, why and what to do, and the place: for the errors an operator meets first."""
    with pytest.raises(FedCRMError) as caught:
        opened(tmp_path / "vault.sqlite")
    error = caught.value
    assert error.what and error.why and error.fix and error.where.endswith("vault.sqlite")
