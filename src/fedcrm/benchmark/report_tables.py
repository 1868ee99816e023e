"""The report's words and tables, as text ready to be set."""

from __future__ import annotations

from math import floor, isnan, log10
from typing import Any, TypeAlias

from fedcrm.benchmark.figures import OURS, Difference, Interval, ModelFigures
from fedcrm.benchmark.report_figures import COMPARED, by_size
from fedcrm.benchmark.run import DatasetOutcome

TableView: TypeAlias = dict[str, Any]
"""What the template shows of one table."""

_NAMES = {
    "fedcrm": ("FedCRM: federated, then adapted", "private, encrypted; adapted on own rows"),
    "federated": ("Federated, one model for all", "private, encrypted"),
    "mr_mtl": ("Federated, then MR-MTL", "private, encrypted; ridge on own rows"),
    "naive_dp_logistic": ("Naive private logistic regression", "private, encrypted"),
    "federated_no_privacy": ("Federated, exact sums", "without privacy"),
    "fedcrm_no_privacy": ("Federated, exact sums, then adapted", "without privacy"),
    "local_best": ("Local, better of two", "own rows only"),
    "local_logistic": ("Local logistic regression", "own rows only"),
    "local_boosted": ("Local boosted trees", "own rows only"),
    "centralised_logistic": ("Centralised logistic regression", "without privacy"),
    "centralised_boosted": ("Centralised boosted trees", "without privacy"),
}
_TASKS = {"churn": "churn", "lead_conversion": "lead conversion", "opportunity_win": "opportunity win"}


def table_view(outcome: DatasetOutcome) -> TableView:
    """Everything the page says of one table, but the figures."""
    result, comparison = outcome.result, outcome.figures.comparison
    means = {shown: area(result.models[name].auc) for shown, name in COMPARED.items()}
    return {
        "name": result.name,
        "epsilon": f"{result.epsilon:g}",
        **means,
        "gain": difference(comparison.gain),
        "gap": difference(comparison.gap),
        "about": _about(outcome),
        "worse": sorted(comparison.worse),
        "verdict": _verdict(outcome),
        "findings": result.findings,
        "facts": _facts(outcome),
        "privacy": _privacy(outcome),
        "organisations": _organisations(outcome),
        "models": [_model(name, outcome.figures.models[name]) for name in _NAMES],
        "notes": outcome.dataset.notes,
    }


def area(value: float | None) -> str:
    """An AUC, or a dash where it is not defined."""
    return "–" if value is None or isnan(value) else f"{value:.3f}".replace("0.", ".", 1)


def points(value: float) -> str:
    """A difference in points with its sign."""
    if isnan(value):
        return "–"
    shown = f"{100 * value:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "−")


def difference(value: Difference) -> dict[str, str]:
    """A difference and its interval."""
    low, high = value.interval
    return {"mean": points(value.mean), "interval": "" if isnan(low) else f"{points(low)} to {points(high)}"}


def small_number(value: float) -> str:
    """A power of ten as such, anything else with two digits."""
    exponent = floor(log10(value) + 1e-9)
    digits = str(exponent).replace("-", "−").translate(str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    mantissa = value / 10**exponent
    return f"10{digits}" if abs(mantissa - 1) < 1e-9 else f"{mantissa:.1f} · 10{digits}"


def size(amount: int) -> str:
    """Bytes in a unit fit to read."""
    return f"{amount / 1e6:.1f} MB" if amount >= 1e6 else f"{amount / 1e3:.0f} kB"


def _interval(interval: Interval) -> str:
    return "" if isnan(interval[0]) else f"{area(interval[0])} to {area(interval[1])}"


def _about(outcome: DatasetOutcome) -> str:
    dataset, result = outcome.dataset, outcome.result
    units = "" if dataset.units == dataset.rows else f" of {dataset.units:,} units"
    columns = f"{len(dataset.schema.columns)} features"
    task = f"Task: {_TASKS.get(result.task, result.task)}. " if result.task != "unstated" else ""
    left_out = f" {outcome.left_out_rows:,} rows lie on neither side of the split." if outcome.left_out_rows else ""
    return f"{task}{result.rows:,} rows{units}, {result.orgs} organisations, {columns}.{left_out}"


def _verdict(outcome: DatasetOutcome) -> list[str]:
    comparison, result = outcome.figures.comparison, outcome.result
    below = sorted(org for org, change in comparison.by_org.items() if change.mean < 0 and org not in comparison.worse)
    lines = []
    if comparison.worse:
        count, names = len(comparison.worse), ", ".join(sorted(comparison.worse))
        lines.append(f"Federation made {count} of {result.orgs} organisations worse by more than noise: {names}.")
    else:
        lines.append("Federation made no organisation worse by more than noise.")
    if below:
        verb = "lies" if len(below) == 1 else "lie"
        lines.append(f"Within noise, {', '.join(below)} {verb} below the model trained alone.")
    if comparison.undefined:
        names = ", ".join(comparison.undefined)
        lines.append(f"Held-out rows of one class only, so no AUC, and left out of the means: {names}.")
    return lines + result.findings


def _facts(outcome: DatasetOutcome) -> list[tuple[str, str]]:
    result = outcome.result
    budgets = sorted({line.epsilon_budget for line in result.ledger.values()})
    stated = f"{budgets[0]:g}" if len(budgets) == 1 else f"{budgets[0]:g} to {budgets[-1]:g}"
    return [
        ("ε per organisation", stated),
        ("δ", small_number(result.delta)),
        ("privacy unit", result.unit),
        ("releases", str(result.rounds)),
        ("t, key holders to open", f"{result.threshold} of {result.orgs}"),
        ("m, fewest contributions", str(result.cohort_minimum)),
        ("c, colluders withstood", str(result.collusion_bound)),
        ("one run", f"{result.seconds.total:.1f} s, {size(result.bytes_up_per_org)} up each"),
    ]


def _privacy(outcome: DatasetOutcome) -> str:
    result = outcome.result
    spent = max(line.epsilon_spent for line in result.ledger.values())
    excess = result.orgs / (result.cohort_minimum - result.collusion_bound)
    undeclared = [c.name for c in outcome.dataset.schema.numbers if not c.declared]
    ranges = (
        f" {len(undeclared)} number columns have no declared range; a share of the budget pays for finding them."
        if undeclared
        else " Ranges and categories are the declared, public ones."
    )
    return (
        f"Largest spending of an organisation in one run: ε = {spent:.3g}. With all {result.orgs} taking part the "
        f"noise has {excess:.2g} times the variance privacy needs, so that it suffices when {result.collusion_bound} "
        f"collude and {result.orgs - result.cohort_minimum} are missing.{ranges}"
    )


def _organisations(outcome: DatasetOutcome) -> list[dict[str, Any]]:
    comparison, models = outcome.figures.comparison, outcome.result.models
    return [
        {
            "name": name,
            "rows": f"{outcome.dataset.tables[name].rows:,}",
            **{shown: area(models[model].auc_by_org[name]) for shown, model in COMPARED.items()},
            "change": difference(comparison.by_org[name]),
            "worse": name in comparison.worse,
        }
        for name in by_size(outcome)
    ]


def _model(name: str, figure: ModelFigures) -> dict[str, Any]:
    result = figure.result
    shown, privacy = _NAMES[name]
    low, high = (float("nan") if end is None else end for end in result.ci95)
    return {
        "name": shown,
        "privacy": privacy,
        "ours": name == OURS,
        "auc": area(result.auc),
        "interval": _interval((low, high)),
        "pooled": area(result.auc_pooled),
        "accuracy": "–" if result.accuracy is None else f"{100 * result.accuracy:.1f} %",
        "log_loss": "–" if result.log_loss is None else f"{result.log_loss:.3f}",
        "calibration": f"{100 * figure.calibration_error:.1f} %",
    }
