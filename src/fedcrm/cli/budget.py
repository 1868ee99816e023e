"""`fedcrm budget`: what one participant allows itself to spend, what it has spent, and whether the ledger is intact."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fedcrm.errors import BudgetError
from fedcrm.privacy.budget import SUCCESSIVE_PERIODS, Budget
from fedcrm.privacy.ledger import Ledger, Standing
from fedcrm.runs.vault import Passphrase, SqliteVault, VaultKey, key_from_file

app = typer.Typer(help="Show, set and verify this participant's privacy budget.", no_args_is_help=True)

PASSPHRASE_VARIABLE = "FEDCRM_VAULT_PASSPHRASE"  # noqa: S105 (a name, no secret)

VaultOption = Annotated[Path, typer.Option("--vault", help="The participant's vault file.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help=f"Key file that opens the vault; without it a passphrase (${PASSPHRASE_VARIABLE} or asked for).",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]


@app.command()
def show(vault: VaultOption, key_file: KeyFileOption = None, as_json: JsonOption = False) -> None:
    """Show the budget in force, what the running period has spent, and what remains."""
    now = datetime.now(UTC)
    with SqliteVault.open(vault, key=_key(key_file), now=now, read_only=True) as opened:
        facts = _shown(opened.ledger, now)
    if as_json:
        _print_json(facts)
    else:
        _print_standing(facts)


@app.command("set")
def set_budget(  # noqa: PLR0913 (one option each)
    vault: VaultOption,
    epsilon: Annotated[float, typer.Option("--epsilon", help="ε of each period, above 0.")],
    delta: Annotated[float, typer.Option("--delta", help="δ of each period, between 0 and 1.")],
    period_days: Annotated[int, typer.Option("--period-days", help="Length of a period in days.")],
    period_start: Annotated[
        datetime | None, typer.Option("--period-start", formats=["%Y-%m-%d"], help="First day (UTC); default today.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="TASK=SHARE of the period's ρ; repeat. Others then get nothing.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make a new vault when there is none.")] = False,
    key_file: KeyFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set the budget. What the running period has spent stays counted."""
    now = datetime.now(UTC)
    first = now.date() if period_start is None else period_start.date()
    budget = _budget(epsilon, delta, first, period_days, task or [])
    key = _key(key_file, confirm=create and not vault.exists())
    with SqliteVault.open(vault, key=key, now=now, create=create) as opened:
        opened.ledger.set_budget(budget, now=now)
        facts = _shown(opened.ledger, now)
    if as_json:
        _print_json(facts)
    else:
        _print_standing(facts)


@app.command()
def verify(vault: VaultOption, key_file: KeyFileOption = None, as_json: JsonOption = False) -> None:
    """Check the ledger: hash chain, cost of every event, totals. An error names the row that does not fit."""
    now = datetime.now(UTC)
    with SqliteVault.open(vault, key=_key(key_file), now=now, read_only=True) as opened:
        rows = opened.ledger.verify()
        digest = opened.ledger.head_digest().hex()
    if as_json:
        _print_json({"intact": True, "rows": rows, "head_digest": digest})
    else:
        Console().print(f"The ledger is intact: {rows} rows, newest digest {digest[:16]}…")


def _key(key_file: Path | None, *, confirm: bool = False) -> VaultKey:
    """What opens the vault: the key file, else the passphrase from the environment, else asked for without echo."""
    if key_file is not None:
        return key_from_file(key_file)
    text = os.environ.get(PASSPHRASE_VARIABLE)
    if text is None:
        text = typer.prompt("Vault passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return Passphrase(text)


def _budget(epsilon: float, delta: float, first: date, period_days: int, tasks: list[str]) -> Budget:
    shares = dict(_task_share(text) for text in tasks)
    return Budget(epsilon=epsilon, delta=delta, period_start=first, period_days=period_days, task_shares=shares)


def _task_share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise BudgetError(
            f"--task {text!r} is not TASK=SHARE",
            why="a task's cap must be a number, the share of the period's ρ that it may use",
            fix="write for example --task churn=0.5",
        ) from None


def _shown(ledger: Ledger, now: datetime) -> dict[str, Any]:
    """Everything `show` prints, as plain values; numbers that are infinite or unknown are null."""
    standing = ledger.standing(now=now)
    budget = standing.budget
    return {
        "budget": None if budget is None else json.loads(budget.to_json()),
        "period": _period(standing),
        "void": standing.void,
        "charges": standing.charges,
        "rho": {
            "budget": standing.rho_budget,
            "spent": standing.spent_rho,
            "remaining": standing.remaining_rho,
            "spent_by_task": standing.spent_by_task,
            "remaining_by_task": _remaining_by_task(ledger, standing, now),
        },
        "epsilon_spent": None if budget is None else _finite(ledger.spent(delta=budget.delta, now=now)),
        "all_periods": {
            "charges": len(ledger.charges()),
            "epsilon_spent": None if budget is None else ledger.spent_ever(delta=budget.delta),
        },
        "note": SUCCESSIVE_PERIODS,
    }


def _period(standing: Standing) -> dict[str, str] | None:
    if standing.start is None or standing.end is None:
        return None
    return {"start": standing.start.isoformat(), "end": standing.end.isoformat()}


def _remaining_by_task(ledger: Ledger, standing: Standing, now: datetime) -> dict[str, float]:
    if standing.budget is None:
        return {}
    tasks = sorted({*standing.spent_by_task, *standing.budget.task_shares})
    return {task: ledger.remaining_rho(task=task, now=now) for task in tasks}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _print_json(facts: dict[str, Any]) -> None:
    typer.echo(json.dumps(facts, ensure_ascii=False, allow_nan=False))


def _print_standing(facts: dict[str, Any]) -> None:
    console = Console()
    budget, period, rho = facts["budget"], facts["period"], facts["rho"]
    if budget is None:
        console.print("No budget is in force: this participant sends weight 0. Set one with `fedcrm budget set`.")
        return
    table = Table(
        "", "of a period", "spent", "remaining", title=f"{period['start'][:10]} to {period['end'][:10]} (UTC)"
    )
    spent = "all (restored from a backup)" if facts["void"] else f"{facts['epsilon_spent']:.4g}"
    table.add_row(f"ε at δ = {budget['delta']:.3g}", f"{budget['epsilon']:.4g}", spent, "")
    table.add_row("ρ, all tasks", f"{rho['budget']:.5g}", f"{rho['spent']:.5g}", f"{rho['remaining']:.5g}")
    for task, remaining in rho["remaining_by_task"].items():
        cap = budget["task_shares"].get(task, 0.0 if budget["task_shares"] else 1.0) * rho["budget"]
        table.add_row(f"ρ, {task}", f"{cap:.5g}", f"{rho['spent_by_task'].get(task, 0.0):.5g}", f"{remaining:.5g}")
    console.print(table)
    total = facts["all_periods"]
    console.print(
        f"{facts['charges']} charges in this period; {total['charges']} ever, together ε {total['epsilon_spent']:.4g}."
    )
    console.print(facts["note"])
