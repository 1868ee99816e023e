"""report.html: one file without outside requests: what federation changed, for whom, at what privacy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fedcrm.benchmark.figures import REPLICATES
from fedcrm.benchmark.joining import STEPS
from fedcrm.benchmark.report_ablation import ablation_view
from fedcrm.benchmark.report_figures import auc_figure, budget_figure, cost_figures
from fedcrm.benchmark.report_joining import ABOUT, joining_view
from fedcrm.benchmark.report_tables import TableView, table_view
from fedcrm.benchmark.results import Further, write_whole
from fedcrm.benchmark.run import DatasetOutcome, Settings, results_of
from fedcrm.benchmark.splits import SplitRule
from fedcrm.evaluation.charts import dark_rules

_RULES = {
    SplitRule.HASH: "a quarter of the units held out by a keyed hash of their ids",
    SplitRule.TIME: "the last months held out",
}


@dataclass(frozen=True, slots=True)
class Wording:
    """What the page is called and how it begins."""

    title: str = "Benchmark: what federation changes"
    lead: str = (
        "Each organisation alone, everybody's rows in one place, and the private, encrypted federation, "
        "judged on the same held-out rows."
    )


def report_html(
    outcomes: Sequence[DatasetOutcome], settings: Settings, wording: Wording, further: Further | None = None
) -> str:
    """The page."""
    further = further or Further()
    environment = Environment(
        loader=PackageLoader("fedcrm.benchmark", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    seeds = "one split" if settings.seeds == 1 else f"means over {settings.seeds} splits"
    return environment.get_template("report.html.j2").render(
        title=wording.title,
        lead=wording.lead,
        run_line=f"{seeds[0].upper()}{seeds[1:]}; {_RULES[settings.split]}.",
        tables=[_with_figures(outcome) for outcome in outcomes],
        ablation=[ablation_view(result) for result in further.weights],
        joining=[joining_view(result) for result in further.joining],
        joining_about=ABOUT,
        joining_steps=STEPS,
        cost_figures=[Markup(figure) for figure in cost_figures(outcomes)],  # noqa: S704 (drawn by us)
        dark_rules=Markup(dark_rules()),  # noqa: S704 (a fixed palette)
        replicates=f"{REPLICATES:,}",
        version=_version(),
    )


def write_benchmark(
    folder: Path,
    outcomes: Sequence[DatasetOutcome],
    settings: Settings,
    wording: Wording | None = None,
    further: Further | None = None,
) -> Path:
    """Write results.json and report.html, each whole or not at all.

    Returns:
        Path of the report.
    """
    report = folder / "report.html"
    page = report_html(outcomes, settings, wording or Wording(), further)
    write_whole(folder / "results.json", results_of(outcomes, settings, further).to_json())
    write_whole(report, page)
    return report


def _with_figures(outcome: DatasetOutcome) -> TableView:
    view = table_view(outcome)
    view["auc_figure"] = Markup(auc_figure(outcome))  # noqa: S704 (drawn by us, names escaped by the drawing)
    view["budget_figure"] = Markup(budget_figure(outcome))  # noqa: S704
    return view


def _version() -> str:
    try:
        return version("fedcrm")
    except PackageNotFoundError:
        return "(not installed)"
