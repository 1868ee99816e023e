"""`fedcrm benchmark`: local, centralised and federated models on the same held-out rows of given tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedcrm.benchmark.ablation import adapted, run_ablation
from fedcrm.benchmark.figures import OURS
from fedcrm.benchmark.joining import run_joining
from fedcrm.benchmark.progress import bars
from fedcrm.benchmark.report import write_benchmark
from fedcrm.benchmark.report_ablation import ablation_table
from fedcrm.benchmark.report_joining import joining_table
from fedcrm.benchmark.results import DatasetResult, Further
from fedcrm.benchmark.run import Settings, results_of, run_benchmark
from fedcrm.benchmark.splits import SplitRule
from fedcrm.benchmark.tables import read_dataset

SHOWN = (
    "local_best",
    "centralised_logistic",
    "centralised_boosted",
    "naive_dp_logistic",
    "federated_no_privacy",
    "federated",
    "mr_mtl",
    OURS,
)


def benchmark(
    files: Annotated[
        list[Path], typer.Argument(help="Tables (csv, csv.gz, parquet) with unit_id, org, label, features.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for results.json and report.html.")] = Path(
        "fedcrm-benchmark"
    ),
    epsilon: Annotated[float, typer.Option("--epsilon", help="ε of every organisation's budget.")] = 2.0,
    seeds: Annotated[int, typer.Option("--seeds", help="Number of splits, each with a federated run of its own.")] = 3,
    split: Annotated[SplitRule, typer.Option("--split", help="How units are held out.")] = SplitRule.HASH,
    ablation: Annotated[
        bool,
        typer.Option("--ablation", help="Also train under other weights, and for organisations that join later."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json alone on stdout.")] = False,
) -> None:
    """Compare local, centralised and federated models, under full privacy and encryption."""
    settings = Settings(epsilon=epsilon, seeds=seeds, split=split)
    datasets = [read_dataset(path) for path in files]
    with bars() as progress:
        outcomes = run_benchmark(datasets, settings, progress=progress)
        further = Further()
        if ablation:
            joining = run_joining(outcomes, settings, progress=progress)
            weights = run_ablation(datasets, settings, progress=progress, adapter=adapted)
            further = Further(weights=weights, joining=joining)
        report = write_benchmark(out, outcomes, settings, further=further)
    if as_json:
        typer.echo(results_of(outcomes, settings, further).to_json())
        return
    console = Console()
    console.print(auc_table([outcome.result for outcome in outcomes]))
    for outcome in outcomes:
        for finding in outcome.result.findings:
            console.print(f"{outcome.result.name}: {finding}", style="yellow", markup=False)
    if ablation:
        console.print(ablation_table(further.weights))
        console.print(joining_table(further.joining))
    console.print(f"Report: {report}", soft_wrap=True)


def auc_table(results: list[DatasetResult]) -> Table:
    """Mean AUC over organisations, a row a model and a column a table."""
    table = Table(title="Mean AUC over organisations, held-out units")
    table.add_column("model")
    for result in results:
        table.add_column(f"{result.name}\nε {result.epsilon:g}, δ {result.delta:.0e}", justify="right")
    for name in SHOWN:
        cells = [f"{auc:.4f}" if (auc := result.models[name].auc) is not None else "–" for result in results]
        table.add_row(name, *cells, style="bold" if name == OURS else "")
    return table
