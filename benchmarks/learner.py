"""Seconds and memory of the learner on 100,000 units of 60 columns, without encryption.

    python benchmarks/learner.py [--json] [--units N] [--epsilon E]

An invented table: 40 numbers (some skewed, some whole, some nearly constant), 19 categories of 2 to 30 levels and one
of 200, a tenth of the cells missing. Every release is asked for and computed as in a federation: per unit, clipped,
summed; nine participants' Gaussian noise at ε is added in the clear, in place of encoding, encryption and messages
(`benchmarks/round.py` has those). Memory is the process' largest, interpreter and table included. On a machine with
other work to do the processors' seconds say more than the clock's.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from fedcrm.benchmark.run import magnitude
from fedcrm.benchmark.without_privacy import exact_sum
from fedcrm.evaluation.metrics import auc
from fedcrm.features.columns import CategoryColumn, Column, FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable
from fedcrm.models.learner import OpenedSum, PublicFacts
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.models.scorecard import LogisticModel
from fedcrm.privacy.accountant import ZcdpAccountant
from fedcrm.privacy.calibration import plan_releases

NUMBERS, CATEGORIES, LARGEST_CATEGORY = 40, 20, 200
MISSING = 0.1
PARTICIPANTS, EXCESS = 9, 9 / 5
"""Participants, and how much more noise variance than privacy needs nine shares have when five must be enough."""
MOST_SECONDS, MOST_MB = 30.0, 2048.0


def invented_schema() -> FeatureSchema:
    levels = [2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 8, 9, 10, 12, 15, 20, 25, 30, LARGEST_CATEGORY]
    categories = [CategoryColumn(f"c{i}", tuple(f"v{v}" for v in range(n))) for i, n in enumerate(levels)]
    numbers = [NumberColumn(f"n{i}", 0.0, 1000.0, whole=i % 4 == 3) for i in range(NUMBERS)]
    columns: tuple[Column, ...] = (*numbers, *categories)
    return FeatureSchema(columns)


def invented_table(units: int) -> FeatureTable:
    """Numbers share three hidden causes; the label leans on ten numbers, the largest category and two pairs."""
    stream, schema = np.random.default_rng(1), invented_schema()
    hidden = stream.normal(size=(units, 3)) @ stream.normal(0.0, 0.6, (3, NUMBERS)) + stream.normal(
        size=(units, NUMBERS)
    )
    numbers = np.clip(np.exp(hidden * np.linspace(0.1, 1.5, NUMBERS) + 3.0), 0.0, 1000.0)
    numbers[:, 3::4] = np.rint(numbers[:, 3::4])
    levels = [column.levels for column in schema.columns if isinstance(column, CategoryColumn)]
    codes = np.column_stack([(n * stream.beta(0.8, 2.0, units)).astype(np.int32) for n in levels])
    effects = stream.normal(0.0, 0.4, LARGEST_CATEGORY)[codes[:, -1]]
    odds = 0.25 * hidden[:, :10].sum(axis=1) + effects + 0.4 * hidden[:, 0] * hidden[:, 1] - 1.0
    odds += 0.5 * hidden[:, 2] * (codes[:, 0] == 1)
    label = (stream.random(units) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int8)
    numbers[stream.random(numbers.shape) < MISSING] = np.nan
    codes[stream.random(codes.shape) < MISSING] = -1
    return FeatureTable(schema, numbers, codes, label, np.arange(units + 1, dtype=np.int64))


def train(table: FeatureTable, *, epsilon: float) -> tuple[LogisticModel, dict[str, float]]:
    """The model, and the seconds each release took."""
    learner, facts = PairwiseLearner(), PublicFacts(table.schema, PARTICIPANTS, magnitude(table.units))
    stream, state, seconds = np.random.default_rng(2), learner.begin(facts), {}
    shares, delta = [r.share for r in learner.rounds(facts)], 1 / (10 * magnitude(table.units))
    accountant = ZcdpAccountant()
    multipliers = iter(plan_releases(shares, spare_attempts=1, epsilon=epsilon, delta=delta, accountant=accountant))
    start = time.perf_counter()
    while (query := learner.query(state)) is not None:
        sd = query.clipping_norm * next(multipliers) * EXCESS**0.5
        total = exact_sum(learner, query, table) + stream.normal(0.0, sd, query.dimension)
        state = learner.update(state, OpenedSum(total, sd))
        seconds[query.purpose] = time.perf_counter() - start
        start = time.perf_counter()
    return learner.finish(state), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="The learner's time and memory on a large table.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--epsilon", type=float, default=2.0)
    options = parser.parse_args()
    table = invented_table(options.units)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    used = time.process_time()
    model, seconds = train(table, epsilon=options.epsilon)
    used = time.process_time() - used
    result = {
        "units": table.units,
        "columns": len(table.schema.columns),
        "coordinates": model.mean.shape[0] - 1,
        "auc": auc(table.label, model.predict(table)),
        "seconds": sum(seconds.values()),
        "cpu_seconds": used,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "before_mb": before,
        "seconds_by_release": seconds,
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print("{units:,} units × {columns} columns, {coordinates} coordinates: ".format(**result), end="")
        print("{seconds:.1f} s ({cpu_seconds:.1f} s of the processors), {peak_mb:.0f} MB at most".format(**result))
    if options.units == 100_000 and (result["seconds"] > MOST_SECONDS or result["peak_mb"] > MOST_MB):
        raise SystemExit(f"more than {MOST_SECONDS:.0f} s or {MOST_MB:.0f} MB")


if __name__ == "__main__":
    main()
