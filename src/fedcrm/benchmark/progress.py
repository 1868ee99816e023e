"""Progress of long work: bars on stderr, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from fedcrm.engine.job import Step


class Progress(Protocol):
    """Who is told how far a benchmark has come."""

    def plan(self, parts: int) -> None:
        """So many parts in all."""
        ...

    def start(self, part: str) -> None:
        """This part begins."""
        ...

    def say(self, what: str) -> None:
        """What is being done now."""
        ...

    def observe(self, step: Step) -> None:
        """Where the federation is."""
        ...

    def finish(self) -> None:
        """The part is done."""
        ...


class Silent:
    """Says nothing."""

    def plan(self, parts: int) -> None:
        """Nothing."""

    def start(self, part: str) -> None:
        """Nothing."""

    def say(self, what: str) -> None:
        """Nothing."""

    def observe(self, step: Step) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


class BarProgress:
    """Two bars: parts of the benchmark, and rounds of the federated run under way."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._parts: TaskID = bars.add_task("benchmark", total=None)
        self._rounds: TaskID = bars.add_task("", total=None, visible=False)

    def plan(self, parts: int) -> None:
        """So many parts in all."""
        self._bars.reset(self._parts, total=parts)

    def start(self, part: str) -> None:
        """This part begins."""
        self._bars.update(self._parts, description=part)

    def say(self, what: str) -> None:
        """What is being done now."""
        self._bars.reset(self._rounds, total=None, description=f"  {what}", visible=True)

    def observe(self, step: Step) -> None:
        """Where the federation is."""
        done = step.rounds if step.phase == "done" else max(step.round, 0)
        self._bars.update(self._rounds, total=step.rounds, completed=done)

    def finish(self) -> None:
        """The part is done."""
        self._bars.advance(self._parts)
        self._bars.update(self._rounds, visible=False)


@contextmanager
def bars() -> Iterator[BarProgress]:
    """Bars on stderr, removed at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as shown:
        yield BarProgress(shown)
