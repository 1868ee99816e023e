"""The in-process engine: the same integers as in the clear, dropout, kills at every kind of step, nothing printed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedcrm.engine.local import LocalEngine
from fedcrm.engine.site import open_site
from fedcrm.errors import ManifestError, RunFailed, RunStoreError, VaultDamaged
from fedcrm.models.bundle import Bundle
from fedcrm.privacy.accountant import ZcdpAccountant
from fedcrm.runs.store import RunStore
from twins import job as twin
from twins.federation import no_noise
from twins.job import DIMENSION, NOW, RELEASES, silent

PER_ROUND = 9 + 7 + 1
KILLS = {"setup": 0, "first contribution": 1, "middle contribution": 5, "last contribution": 9, "first share": 10}
KILLS |= {"last share": 16, "checkpoint": 17, "second round": 18 + 4, "last round": 2 * PER_ROUND + 12, "done": 52}


def _in_the_clear() -> np.ndarray:
    tables = [p.table for p in twin.job().participants.values()]
    sums = np.zeros(DIMENSION)
    sums[0] = sum(table.units for table in tables)
    sums[1:3] = sum(table.numbers.sum(axis=0) for table in tables)
    return sums


def _sums(model: object) -> np.ndarray:
    assert isinstance(model, Bundle)
    return model.arrays["sums"]


def _charges(folder: Path) -> list[int]:
    counts = []
    for index in range(9):
        site = open_site(folder / "participants" / f"{index:03d}", f"org {index}", now=NOW)
        counts.append(len(site.vault.ledger.charges()))
        site.vault.ledger.verify()
        site.vault.close()
    return counts


def test_encrypted_sums_equal_plain_sums_to_the_last_integer(tmp_path: Path) -> None:
    """With noise injected as zero the opened sums are exactly those of the pooled rows."""
    outcome = LocalEngine(folder=tmp_path, clock=lambda: NOW, noise=no_noise).train(twin.job(), observe=silent)
    assert np.array_equal(_sums(outcome.model), np.tile(_in_the_clear(), (RELEASES, 1)))


def test_the_stated_loss_is_that_of_the_recorded_events(tmp_path: Path) -> None:
    """Accounting over the ledger's recorded events gives what the outcome states, within the budget."""
    outcome = LocalEngine(folder=tmp_path, clock=lambda: NOW).train(twin.job(), observe=silent)
    site = open_site(tmp_path / "participants" / "000", "org 0", now=NOW)
    events = [charge.event for charge in site.vault.ledger.charges()]
    site.vault.close()
    stated = outcome.ledger["org 0"].epsilon_spent
    assert len(events) == RELEASES
    assert ZcdpAccountant().epsilon(events, delta=1e-6) == pytest.approx(stated, rel=1e-12)
    assert 1.5 < stated <= 2.0


@pytest.mark.parametrize("step", KILLS.values(), ids=KILLS.keys())
def test_a_killed_run_goes_on_and_charges_once(tmp_path: Path, step: int) -> None:
    """Killed at any kind of step and started again, the run ends with every release charged once."""
    program = [sys.executable, str(Path(twin.__file__)), str(tmp_path), str(step)]
    tests = str(Path(twin.__file__).parents[1])
    killed = subprocess.run(program, env={"PYTHONPATH": tests, "PATH": ""}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    outcome = twin.run(tmp_path)
    assert _charges(tmp_path) == [RELEASES] * 9
    assert _sums(outcome.model)[:, :3] == pytest.approx(np.tile(_in_the_clear()[:3], (RELEASES, 1)), abs=2500)
    with RunStore(tmp_path / "coordinator.sqlite") as store:
        assert [entry.attempt for entry in store.transcript()] == [0] * RELEASES


def test_a_finished_run_is_given_again_without_a_charge(tmp_path: Path) -> None:
    """Running a finished folder again returns the same model and spends nothing."""
    first = twin.run(tmp_path)
    again = twin.run(tmp_path)
    assert np.array_equal(_sums(first.model), _sums(again.model))
    assert _charges(tmp_path) == [RELEASES] * 9


def test_one_contributor_and_two_holders_may_be_missing(tmp_path: Path) -> None:
    """For nine with t = 7 and m = 8 a release survives one missing contributor and two missing holders."""

    def present(phase: str, round_index: int, party: str) -> bool:
        missing = {"contribute": {"org 4"}, "open": {"org 0", "org 8"}}.get(phase, set())
        return round_index != 1 or party not in missing

    engine = LocalEngine(folder=tmp_path, clock=lambda: NOW, noise=no_noise, present=present)
    sums = _sums(engine.train(twin.job(), observe=silent).model)
    without = _in_the_clear()[0] - twin.job().participants["org 4"].table.units
    assert list(sums[:, 0]) == [_in_the_clear()[0], without, _in_the_clear()[0]]


def test_a_holder_lost_after_the_statement_costs_a_spare_attempt(tmp_path: Path) -> None:
    """Losing one of the active set kills the attempt; a fresh one is made, charged again, and opens."""
    asked: list[str] = []

    def present(phase: str, round_index: int, party: str) -> bool:
        if (phase, round_index, party) == ("open", 0, "org 2"):
            asked.append(party)
            return len(asked) not in {2, 3}
        return True

    outcome = LocalEngine(folder=tmp_path, clock=lambda: NOW, present=present).train(twin.job(), observe=silent)
    assert outcome.rounds == RELEASES
    assert _charges(tmp_path) == [RELEASES + 1] * 9
    assert outcome.ledger["org 0"].epsilon_spent <= 2.0


def test_too_few_contributors_end_the_run_after_the_spare_attempts(tmp_path: Path) -> None:
    """With two contributors missing for good the run fails closed and says why."""
    engine = LocalEngine(
        folder=tmp_path, clock=lambda: NOW, present=lambda phase, _, party: phase != "contribute" or party > "org 1"
    )
    with pytest.raises(RunFailed, match="spare attempts are used up"):
        engine.train(twin.job(), observe=silent)


def test_too_few_holders_do_not_set_up_an_epoch(tmp_path: Path) -> None:
    """Six of nine holders cannot make an epoch with a threshold of seven."""
    engine = LocalEngine(folder=tmp_path, clock=lambda: NOW, present=lambda *place: place[2] > "org 2")
    with pytest.raises(Exception, match="7 are needed"):
        engine.train(twin.job(), observe=silent)


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    """A folder holds one run: other settings are refused, and the first run stays whole."""
    twin.run(tmp_path)
    with pytest.raises(RunStoreError, match="another run"):
        LocalEngine(folder=tmp_path, clock=lambda: NOW).train(twin.job(spare=2), observe=silent)


def test_a_federation_of_one_is_refused(tmp_path: Path) -> None:
    """One participant has nobody to hide among."""
    with pytest.raises(ManifestError):
        LocalEngine(folder=tmp_path, clock=lambda: NOW).train(twin.job(participants=1), observe=silent)


def test_a_damaged_vault_stops_the_run_and_stays_as_it_is(tmp_path: Path) -> None:
    """A vault cut short is refused with its name; the file is not touched."""
    twin.run(tmp_path)
    vault = tmp_path / "participants" / "003" / "vault.sqlite"
    damaged = vault.read_bytes()[:3000]
    vault.write_bytes(damaged)
    with pytest.raises(VaultDamaged):
        twin.run(tmp_path)
    assert vault.read_bytes() == damaged


def test_no_record_is_written_or_told_anywhere(tmp_path: Path) -> None:
    """A marker planted in every unit's id is in no file and in no finding of a run."""
    marker = "MARKED-CUSTOMER-"
    outcome = LocalEngine(folder=tmp_path, clock=lambda: NOW).train(twin.job(marker=marker), observe=silent)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and all(marker.encode() not in path.read_bytes() for path in files)
    assert marker not in repr(outcome) and marker not in repr(twin.job(marker=marker))


def test_all_keys_of_a_finished_run_are_destroyed(tmp_path: Path) -> None:
    """After the run no vault holds a secret of its epoch."""
    twin.run(tmp_path)
    for index in range(9):
        site = open_site(tmp_path / "participants" / f"{index:03d}", f"org {index}", now=NOW)
        assert site.vault._db.execute("select count(*) from secrets").fetchone() == (0,)
        site.vault.close()
