"""`fedcrm audit`: attack a run's mechanism with canaries and compare what is learnt with what each ledger states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fedcrm.audit.bounds import LowerBounds
from fedcrm.audit.outcome import CONFIDENCE, AuditOutcome, Finding
from fedcrm.audit.run import DEFAULT_TRIALS, Terms, audit_run


def audit(
    run: Annotated[Path, typer.Argument(help="Folder of a run, for example the demo's output folder + /run.")],
    trials: Annotated[
        int, typer.Option("--trials", help="Transcripts attacked; more trials give sharper bounds.")
    ] = DEFAULT_TRIALS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")] = False,
) -> None:
    """Attack a run's mechanism and compare with the stated ε; exit status 1 when a statement is beaten."""
    with _bars() as watcher:
        outcome = audit_run(run, Terms(trials=trials), watcher=watcher)
    if as_json:
        typer.echo(json.dumps(_plain(outcome), ensure_ascii=False, allow_nan=False))
    else:
        _print(outcome)
    outcome.check()


def _plain(outcome: AuditOutcome) -> dict[str, Any]:
    manifest, plan = outcome.record.manifest, outcome.record.plan
    return {
        "task": plan.task,
        "learner": plan.learner,
        "releases": len(outcome.record.requests),
        "cohort_minimum": manifest.cohort_minimum,
        "collusion_bound": manifest.collusion_bound,
        "confidence": CONFIDENCE,
        "trials": outcome.trials,
        "trainings": outcome.trainings,
        "passed": outcome.passed,
        "participants": {finding.statement.participant: _plain_finding(finding) for finding in outcome.findings},
    }


def _plain_finding(finding: Finding) -> dict[str, Any]:
    statement = finding.statement
    return {
        "epsilon_stated": statement.epsilon,
        "delta": statement.delta,
        "weight": float(statement.weight),
        "reach": finding.reach,
        "moved_too_far": finding.too_far,
        "charges_not_replayed": statement.unseen,
        "epsilon_at_least": {"transcript": _bounds(finding.transcript), "model": _bounds(finding.model)},
        "passed": finding.passed,
    }


def _bounds(bounds: LowerBounds | None) -> dict[str, float] | None:
    return None if bounds is None else {"assumption_free": bounds.free, "gaussian": bounds.gaussian}


def _print(outcome: AuditOutcome) -> None:
    manifest, console = outcome.record.manifest, Console()
    console.print(_table(outcome))
    console.print(
        f"Attacked: {2 * outcome.trials} transcripts of {len(outcome.record.requests)} releases, as the coordinator "
        f"and {manifest.collusion_bound} colluders in a cohort of {manifest.cohort_minimum} see them, and "
        f"{outcome.trainings} released models. With {CONFIDENCE:.0%} confidence each ε is at least what stands under "
        "transcript and under model. Budgets and weights are secrets of whoever holds these ledgers."
    )
    unseen = sum(finding.statement.unseen for finding in outcome.findings)
    if unseen:
        console.print(f"{unseen} charges of this run left no request: they count as stated and were not attacked.")


def _table(outcome: AuditOutcome) -> Table:
    table = Table(title="ε as stated, and what attacks show it to be at least")
    table.add_column("participant")
    for heading in ("weight", "δ", "stated", "transcript", "model", "reach"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for finding in outcome.findings:
        statement = finding.statement
        table.add_row(
            statement.participant,
            f"{float(statement.weight):.3f}",
            f"{statement.delta:.1g}",
            f"{statement.epsilon:.3f}",
            f"{finding.transcript.best:.3f}",
            "–" if finding.model is None else f"{finding.model.best:.3f}",
            f"{finding.reach:.0%}",
            "holds" if finding.passed else f"[bold red]{'BEATEN' if finding.beaten else 'TOO FAR'}[/]",
        )
    return table


@dataclass(slots=True)
class _Bars:
    shown: Progress
    task: TaskID | None = None

    def start(self, what: str, steps: int) -> None:
        """A new bar."""
        self.task = self.shown.add_task(what, total=steps)

    def advance(self) -> None:
        """One step of it."""
        if self.task is not None:
            self.shown.advance(self.task)


@contextmanager
def _bars() -> Iterator[_Bars]:
    """Bars on stderr, removed at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield _Bars(shown)
