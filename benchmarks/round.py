"""What privacy and encryption add to a round: the same learner, messages and ledger, with and without them.

The plain round uses the engine's own seams for tests: a scheme that adds in the clear and a noise source of zeros, both
defined in `tests/twins`. No setting or message of the product selects them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fedcrm.crypto.lattice import LatticeScheme
from fedcrm.crypto.noise import discrete_gaussian
from fedcrm.crypto.scheme import SchemeParameters
from fedcrm.engine.job import FederationNumbers, LocalParticipant, Step, TrainingJob
from fedcrm.engine.local import LocalEngine
from fedcrm.features.columns import FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import PublicFacts
from fedcrm.privacy.budget import Budget

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from twins.clear_scheme import ClearScheme
from twins.federation import no_noise
from twins.learners import SumLearner

PARTICIPANTS, DIMENSION, ROUNDS, UNITS, REPETITIONS = 9, 10_000, 10, 1_000, 3
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _table(seed: int) -> FeatureTable:
    schema = FeatureSchema(tuple(NumberColumn(f"x{i}", 0, 1) for i in range(20)))
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, UNITS).astype(np.int8)
    empty = np.zeros((UNITS, 0), np.int32)
    return FeatureTable(schema, generator.random((UNITS, 20)), empty, label, np.arange(UNITS + 1, dtype=np.int64))


def _job(rounds: int) -> TrainingJob:
    budget = Budget(epsilon=2.0, delta=1e-6, period_start=date(2026, 1, 1), period_days=365)
    tables = {f"org{i}": _table(i) for i in range(PARTICIPANTS)}
    return TrainingJob(
        task="churn",
        learner=SumLearner(releases=rounds, dimension=DIMENSION),
        facts=PublicFacts(next(iter(tables.values())).schema, PARTICIPANTS, 10_000),
        participants={name: LocalParticipant(table=table, budget=budget) for name, table in tables.items()},
        numbers=FederationNumbers(reference_epsilon=2.0, reference_delta=1e-6),
    )


def _seconds_per_round(*, secure: bool) -> tuple[float, float, float]:
    """Wall, noise and encryption seconds of one round, epoch setup left out."""
    marks: list[float] = []

    def observe(step: Step) -> None:
        if step.phase == "checkpoint":
            marks.append(time.perf_counter())

    parameters = SchemeParameters()
    scheme = LatticeScheme(parameters) if secure else ClearScheme(parameters)
    noise = discrete_gaussian if secure else no_noise
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(folder=Path(folder), clock=lambda: NOW, scheme=scheme, noise=noise)
        outcome = engine.train(_job(ROUNDS), observe=observe)
    rounds = statistics.median(after - before for before, after in pairwise(marks))
    return rounds, outcome.seconds["noise"] / ROUNDS, outcome.seconds["encryption"] / ROUNDS


def measure() -> dict[str, float | int]:
    """Median of interleaved repetitions of both rounds."""
    plain, secure = [], []
    for _ in range(REPETITIONS):
        plain.append(_seconds_per_round(secure=False)[0])
        secure.append(_seconds_per_round(secure=True))
    plain_seconds = statistics.median(plain)
    wall, noise, crypto = (statistics.median(values) for values in zip(*secure, strict=True))
    return {
        "d": DIMENSION,
        "participants": PARTICIPANTS,
        "plain_seconds": plain_seconds,
        "secure_seconds": wall,
        "ratio": wall / plain_seconds,
        "noise_seconds": noise,
        "crypto_seconds": crypto,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    figures = measure()
    if parser.parse_args().json:
        print(json.dumps(figures))
        return
    table = Table(title=f"One round, {PARTICIPANTS} participants with {UNITS:,} units each, d = {DIMENSION:,}")
    for heading in ("plain", "private and encrypted", "ratio", "noise", "encryption"):
        table.add_column(heading, justify="right")
    seconds = [f"{figures[k]:.3f} s" for k in ("plain_seconds", "secure_seconds")]
    apart = [f"{figures[k]:.3f} s" for k in ("noise_seconds", "crypto_seconds")]
    table.add_row(*seconds, f"{figures['ratio']:.2f}", *apart)
    Console().print(table)


if __name__ == "__main__":
    main()
