"""The whole error tree. Each error has a code, says what happened, why it matters and what to do.

Raise the most specific class. The command line prints the three parts; `docs/errors.md` has a page entry per code
and a test ties the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class FedCRMError(Exception):
    """Root of all errors a person is meant to read.

    Args:
        what: What happened, naming the place, never a record's values.
        why: Why it matters.
        fix: What to do about it.
        where: The place: file and line, column, participant and round.
    """

    code: ClassVar[str] = "FED-000"

    def __init__(self, what: str, *, why: str, fix: str, where: str = "") -> None:
        self.what, self.why, self.fix, self.where = what, why, fix, where
        place = f"{where}: " if where else ""
        super().__init__(f"[{self.code}] {place}{what}\n  why: {why}\n  fix: {fix}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One disagreement found while reading an input; several are collected and shown together."""

    where: str
    what: str
    fix: str


class InputError(FedCRMError):
    """A file, table, schema or setting cannot be used as given."""

    code = "FED-100"


class TableError(InputError):
    """A table (or several that must fit each other) has problems; all of them are listed."""

    code = "FED-101"

    def __init__(self, problems: Sequence[Problem], *, why: str, where: str = "") -> None:
        self.problems = tuple(problems)
        what = "; ".join(f"{p.where}: {p.what}" if p.where else p.what for p in problems)
        fix = "; ".join(dict.fromkeys(p.fix for p in problems))
        super().__init__(what, why=why, fix=fix, where=where)


class ProtocolError(FedCRMError):
    """A message or a step broke a rule of the protocol; nothing was answered."""

    code = "FED-400"


class ManifestError(ProtocolError):
    """A federation manifest cannot be used; all its problems are listed."""

    code = "FED-401"

    def __init__(self, problems: Sequence[Problem], *, where: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(f"{p.where}: {p.what}" for p in problems),
            why="the manifest's numbers are what keeps one organisation's contribution closed to all others",
            fix="; ".join(dict.fromkeys(p.fix for p in problems)),
            where=where,
        )


class MalformedMessage(ProtocolError):
    """Bytes that are not a message of this version, or of another kind than expected."""

    code = "FED-402"


class SignatureRefused(ProtocolError):
    """A message is unsigned, signed by another party, or was changed on its way."""

    code = "FED-403"


class StaleMessage(ProtocolError):
    """A message of another federation, run, epoch, round or attempt."""

    code = "FED-404"


class SecondUse(ProtocolError):
    """Something that may happen once per release id was asked for a second time, differently."""

    code = "FED-405"


class StatementRefused(ProtocolError):
    """A holder was asked to open something it must not open."""

    code = "FED-406"


class DescriptorRefused(ProtocolError):
    """A participant was asked to contribute to a release it must not contribute to."""

    code = "FED-407"


class EpochRefused(ProtocolError):
    """The keys of a run cannot be set up as offered."""

    code = "FED-408"


class AttemptFailed(ProtocolError):
    """A release did not open; this attempt is dead and a fresh one may be made."""

    code = "FED-409"


class RunFailed(ProtocolError):
    """A run cannot go on: attempts are used up, or too few parties answer."""

    code = "FED-410"


class RunStoreError(FedCRMError):
    """The coordinator's run store is damaged, or belongs to another run."""

    code = "FED-450"


class CryptoError(FedCRMError):
    """Something the threshold encryption, a seal or a signature stands on does not hold."""

    code = "FED-300"


class ParameterError(CryptoError):
    """Scheme parameters, or numbers used with them, that are not secure or not correct together."""

    code = "FED-301"


class MalformedObjectError(CryptoError):
    """Bytes that are not a ciphertext, key share or opening share under these parameters."""

    code = "FED-302"


class NoiseBoundError(CryptoError):
    """A sum did not open: its decoding error is not that of honest contributions and shares."""

    code = "FED-303"


class SealError(CryptoError):
    """A sealed value cannot be opened: other key, other associated data, or changed bytes."""

    code = "FED-304"


class LibraryError(CryptoError):
    """The lattice library is missing, of another version, or failed inside."""

    code = "FED-305"


class PrivacyParameterError(FedCRMError):
    """A number that a privacy statement rests on is out of the range for which the statement is proven."""

    code = "FED-201"


class BudgetError(FedCRMError):
    """A privacy budget cannot be used as given."""

    code = "FED-202"


class BudgetExceeded(FedCRMError):
    """A release would cost more than the remaining privacy budget; nothing was charged and nothing left."""

    code = "FED-203"


class LedgerDamaged(FedCRMError):
    """The privacy ledger contradicts itself: a row was changed, lost or half written."""

    code = "FED-204"


class ChargeConflict(FedCRMError):
    """Two different events claim one and the same release."""

    code = "FED-205"


class LedgerUnwritable(FedCRMError):
    """A row could not be written to the privacy ledger, so nothing was charged and nothing may leave."""

    code = "FED-206"


class VaultError(FedCRMError):
    """The vault cannot be used as asked."""

    code = "FED-501"


class VaultDamaged(VaultError):
    """The vault file is not whole: truncated, garbled or changed from outside."""

    code = "FED-502"


class VaultKeyError(VaultError):
    """The vault does not open with this key file or passphrase."""

    code = "FED-503"


class VaultInUse(VaultError):
    """Another process has this vault open for writing."""

    code = "FED-504"


class EpochEnded(VaultError):
    """The epoch's keys are destroyed; nothing is answered for it any more."""

    code = "FED-505"


class SchemaMismatch(InputError):
    """Rows have other columns than the model that should score them, or a run than the model it should continue."""

    code = "FED-150"


class AuditRefused(FedCRMError):
    """A run cannot be audited as asked; nothing was attacked."""

    code = "FED-601"


class AuditFailed(FedCRMError):
    """An attack on a run's mechanism learnt more than its privacy statement allows."""

    code = "FED-602"
