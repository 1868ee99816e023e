"""The whole error tree. Each error has a code, says what happened, why it matters and what to do.

Raise the most specific class. The command line prints the three parts; `docs/errors.md` has a page entry per code
and a test ties the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Sequence


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
