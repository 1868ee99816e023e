"""`fedcrm demo`: nine invented organisations, one command, a table and a report at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedcrm.benchmark.figures import OURS
from fedcrm.benchmark.progress import bars
from fedcrm.demo.run import DemoOutcome, run_demo


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for results.json and report.html.")] = Path("fedcrm-demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer accounts, done sooner.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the invented data; keys and noise are never seeded.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results alone, as JSON, on stdout.")] = False,
) -> None:
    """Train one churn model over nine invented organisations, privately and encrypted."""
    with bars() as progress:
        outcome = run_demo(out, seed=seed, quick=quick, progress=progress)
    if as_json:
        typer.echo((out / "results.json").read_text())
        return
    console = Console()
    console.print(organisation_table(outcome))
    console.print("The organisations are invented; their sizes are shown because they are. See docs/demo.md.")
    seconds = outcome.result.seconds
    console.print(
        f"One federated run took {seconds.total:.1f} s, {seconds.crypto:.1f} s of it cryptography and noise; "
        f"each organisation sent {outcome.result.bytes_up_per_org / 1e6:.1f} MB."
    )
    console.print(f"Report: {outcome.report}", soft_wrap=True)


def organisation_table(outcome: DemoOutcome) -> Table:
    """What federation changed for each organisation, and what it cost."""
    table = Table(title="Did federation help? AUC on held-out accounts")
    table.add_column("organisation")
    for heading in ("accounts", "ε budget", "ε spent", "best local", "federated", "gain"):
        table.add_column(heading, justify="right")
    models = outcome.result.models
    for name, line in outcome.result.ledger.items():
        local, ours = models["local_best"].auc_by_org[name], models[OURS].auc_by_org[name]
        gain = "–" if local is None or ours is None else f"{100 * (ours - local):+.1f}"
        table.add_row(
            name,
            f"{outcome.accounts[name]:,}",
            f"{line.epsilon_budget:g}",
            f"{line.epsilon_spent:.2f}",
            "–" if local is None else f"{local:.3f}",
            "–" if ours is None else f"{ours:.3f}",
            gain,
        )
    return table
