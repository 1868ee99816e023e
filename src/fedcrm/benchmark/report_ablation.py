"""The ablation's words and figures, as text ready to be set: in the report and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from rich.table import Table

from fedcrm.benchmark.ablation import FULLEST, STRICT_BELOW, STRICTEST
from fedcrm.benchmark.corruption import WRONG_SHARE
from fedcrm.benchmark.report_tables import area, points
from fedcrm.benchmark.results import AblationResult, SchemeResult
from fedcrm.benchmark.schemes import MEASUREMENT_SHARE, PILOT_SHARE

AblationView: TypeAlias = dict[str, Any]
"""What the template shows of one question on one table."""

QUESTIONS = {
    "mixed budgets": (
        f"Budgets from ε = {STRICTEST:g} to {FULLEST:g}, given out by a public hash. Dropped are those below ε = "
        f"{STRICT_BELOW:g}. At the strictest, everyone keeps to the smallest ε."
    ),
    "wrong labels": (
        f"{100 * WRONG_SHARE:.0f} % of the labels of a third of the organisations are flipped on the training side. "
        "Volume adds up sums, so size counts by itself (FedAvg by size); equal gives every organisation the same "
        f"weight; quality measures label reliability, {100 * MEASUREMENT_SHARE:.0f} % of the budget, against a pilot, "
        f"{100 * PILOT_SHARE:.0f} % of it, or against the last model, which an earlier budget paid for."
    ),
    "clean labels": "The same schemes with nothing wrong: what each costs when it is not needed.",
}


def ablation_view(result: AblationResult) -> AblationView:
    """Everything the page says of one table's weights."""
    questions = [
        {
            "name": question,
            "about": QUESTIONS[question],
            "schemes": [
                {
                    "name": name,
                    "auc": area(scheme.auc),
                    "difference": _difference(scheme, name == answer.compared_with),
                    "adapted": "" if scheme.auc_adapted is None else f"adapted {area(scheme.auc_adapted)}",
                }
                for name, scheme in answer.schemes.items()
            ],
        }
        for question, answer in result.questions.items()
    ]
    named = [", ".join(names) or "none" for names in result.corrupted]
    return {"name": result.name, "questions": questions, "corrupted": named}


def ablation_table(results: Sequence[AblationResult]) -> Table:
    """A row a scheme, a column a table: mean AUC, and the difference to the scheme compared with in points."""
    table = Table(title="Weights: mean AUC over organisations, held-out units (difference in points)")
    table.add_column("question")
    table.add_column("scheme")
    for result in results:
        table.add_column(result.name, justify="right")
    for question, answer in results[0].questions.items():
        for name in answer.schemes:
            cells = [_cell(result, question, name) for result in results]
            table.add_row(question if name == answer.compared_with else "", name, *cells)
        table.add_section()
    return table


def _cell(result: AblationResult, question: str, name: str) -> str:
    answer = result.questions[question]
    shown = _difference(answer.schemes[name], name == answer.compared_with)
    return f"{area(answer.schemes[name].auc)} ({shown})" if shown else area(answer.schemes[name].auc)


def _difference(scheme: SchemeResult, itself: bool) -> str:
    if itself:
        return ""
    return points(float("nan") if scheme.difference is None else scheme.difference)
