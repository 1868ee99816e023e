"""The `fedcrm` command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from fedcrm.cli import audit, benchmark, budget, demo
from fedcrm.errors import AuditFailed, FedCRMError

app = typer.Typer(
    help="Train churn, lead and opportunity models across organisations that may not pool their records.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("benchmark")(benchmark.benchmark)
app.command("audit")(audit.audit)
app.add_typer(budget.app, name="budget")

EXIT_BEATEN = 1
EXIT_REFUSED = 2
EXIT_FAILED = 3


def main() -> None:
    """Run a command; errors go to stderr in three parts, never as a traceback."""
    errors = Console(stderr=True, highlight=False)
    try:
        app()
    except FedCRMError as error:
        errors.print(f"[bold red]{error.code}[/] ", end="")
        place = f"{error.where}: " if error.where else ""
        errors.print(f"{place}{error.what}", markup=False)
        errors.print(f"  why it matters: {error.why}", markup=False)
        errors.print(f"  what to do:     {error.fix}", markup=False)
        sys.exit(EXIT_BEATEN if isinstance(error, AuditFailed) else EXIT_REFUSED)
    except Exception as error:  # noqa: BLE001 (the last resort: a person sees one line, and no record is printed)
        errors.print(f"[bold red]FED-000[/] this is a bug in FedCRM ({type(error).__name__})")
        errors.print("  why it matters: the command stopped before it was done; nothing half-written was kept")
        errors.print("  what to do:     run it again; if it repeats, report the command and this line")
        sys.exit(EXIT_FAILED)
