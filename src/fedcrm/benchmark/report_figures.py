"""The report's figures: records for a chart, drawn once for wide pages and once for narrow ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from fedcrm.benchmark.run import DatasetOutcome
from fedcrm.evaluation.charts import (
    Chart,
    Records,
    auc_by_organisation,
    budget_by_organisation,
    stacked_bars,
    to_svg,
)

WIDE, NARROW = 680, 350
"""Width of a drawing in pixels."""

COMPARED = {"local": "local_best", "centralised": "centralised_boosted", "federated": "fedcrm"}
"""The three models of the main chart; federated is what an organisation would use, adaptation included."""


def auc_records(outcome: DatasetOutcome) -> Records:
    """AUC and interval of each organisation under the three models; null where AUC is not defined."""
    records: list[dict[str, str | float | None]] = []
    for shown, name in COMPARED.items():
        figure = outcome.figures.models[name]
        for organisation, area in figure.result.auc_by_org.items():
            low, high = figure.interval_by_org[organisation] if area is not None else (None, None)
            records.append({"organisation": organisation, "model": shown, "auc": area, "low": low, "high": high})
    return records


def by_size(outcome: DatasetOutcome) -> list[str]:
    """Organisations, the largest first."""
    tables = outcome.dataset.tables
    return sorted(tables, key=lambda name: (-tables[name].rows, name))


def auc_figure(outcome: DatasetOutcome) -> str:
    """The dot plot."""
    records, order = auc_records(outcome), by_size(outcome)
    said = f"{outcome.dataset.name}: AUC per organisation for local, centralised and federated (adapted) models"
    caption = (
        "Largest organisation on top. Federated is the private model as each organisation adapts it. "
        "Lines are 95 % intervals over held-out units."
    )
    return _figure(lambda width: auc_by_organisation(records, order, width=width), said, caption)


def budget_records(outcome: DatasetOutcome) -> Records:
    """ε allowed and spent at each organisation."""
    return [
        {"organisation": name, "budget": line.epsilon_budget, "spent": line.epsilon_spent}
        for name, line in outcome.result.ledger.items()
    ]


def budget_figure(outcome: DatasetOutcome) -> str:
    """Budget and spending."""
    records, order = budget_records(outcome), by_size(outcome)
    said = f"{outcome.dataset.name}: privacy budget and what was spent of it, per organisation"
    caption = "From each organisation's own ledger, for one run. What is left pays for attempts that were not needed."
    return _figure(lambda width: budget_by_organisation(records, order, width=width), said, caption)


def cost_figures(outcomes: Sequence[DatasetOutcome]) -> list[str]:
    """Seconds and bytes of one federated run, for each table."""
    order = [outcome.dataset.name for outcome in outcomes]
    times, sent = seconds_records(outcomes), bytes_records(outcomes)
    parts = ("learning", "cryptography", "everything else")
    return [
        _figure(
            lambda width: stacked_bars(times, order, parts=parts, title="seconds, all parties together", width=width),
            "Seconds of one federated run, by purpose",
            "One federated run of all organisations, coordinator and key holders in one process.",
        ),
        _figure(
            lambda width: stacked_bars(sent, order, parts=("sent",), title="megabytes sent", width=width),
            "Megabytes sent by one organisation in one run",
            "What one organisation sends in a whole run, on average. It depends on columns and rounds, not on rows.",
        ),
    ]


def seconds_records(outcomes: Sequence[DatasetOutcome]) -> Records:
    """Wall time by purpose."""
    records: list[dict[str, str | float | None]] = []
    for outcome in outcomes:
        seconds = outcome.result.seconds
        rest = max(0.0, seconds.total - seconds.train - seconds.crypto)
        parts = (("learning", seconds.train), ("cryptography", seconds.crypto), ("everything else", rest))
        for rank, (part, amount) in enumerate(parts):
            records.append({"table": outcome.dataset.name, "part": part, "amount": amount, "rank": float(rank)})
    return records


def bytes_records(outcomes: Sequence[DatasetOutcome]) -> Records:
    """Megabytes (10^6 bytes) up per organisation."""
    return [
        {"table": o.dataset.name, "part": "sent", "amount": o.result.bytes_up_per_org / 1e6, "rank": 0.0}
        for o in outcomes
    ]


def _figure(draw: Callable[[int], Chart], said: str, caption: str) -> str:
    wide, narrow = to_svg(draw(WIDE), title=said), to_svg(draw(NARROW), title=said)
    drawings = f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
    return f"<figure>{drawings}<figcaption>{escape(caption)}</figcaption></figure>"
