"""The words and figures of joining, as text ready to be set: in the report and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from rich.table import Table

from fedcrm.benchmark.joining import STEPS
from fedcrm.benchmark.report_tables import area
from fedcrm.benchmark.results import JoiningResult, NewcomerResult, WithRowsResult

JoiningView: TypeAlias = dict[str, Any]
"""What the template shows of one table."""

ABOUT = (
    "The largest, the median and the smallest organisation of a table are left out of training in turn, and join the "
    "model the others trained. At once is that model on the newcomer's held-out rows as it is. With some of its "
    "training units the newcomer adapts it, at no privacy cost; alone is the better of the two models it could train "
    "on the same rows without anybody. Full federation is its AUC had it taken part in training."
)


def joining_view(result: JoiningResult) -> JoiningView:
    """Everything the page says of one table's newcomers."""
    shown = [
        {
            "name": newcomer.organisation,
            "units": _units(newcomer),
            "at_once": area(newcomer.at_once),
            "steps": [_step(newcomer.with_rows.get(step)) for step in STEPS],
            "full": area(newcomer.full_federation),
        }
        for newcomer in result.newcomers
    ]
    return {"name": result.name, "newcomers": shown}


def joining_table(results: Sequence[JoiningResult]) -> Table:
    """A row a newcomer: AUC at once, adapted to some units (its own model on the same), in the full federation."""
    table = Table(title="Joining later: AUC on held-out units (the newcomer's own model on the same rows)")
    for heading in ("table", "newcomer", "at once", *(f"{step} units" for step in STEPS), "full federation"):
        table.add_column(heading, justify="left" if heading in ("table", "newcomer") else "right")
    for result in results:
        for index, newcomer in enumerate(joining_view(result)["newcomers"]):
            cells = [f"{step['adapted']} ({step['own']})" if step["own"] else "–" for step in newcomer["steps"]]
            named = f"{newcomer['name']}, {newcomer['units']}"
            table.add_row("" if index else result.name, named, newcomer["at_once"], *cells, newcomer["full"])
        table.add_section()
    return table


def _units(newcomer: NewcomerResult) -> str:
    return f"{newcomer.with_rows[STEPS[-1]].units:,.0f} units"


def _step(found: WithRowsResult | None) -> dict[str, str]:
    if found is None:
        return {"adapted": "–", "own": ""}
    return {"adapted": area(found.adapted), "own": area(found.own)}
