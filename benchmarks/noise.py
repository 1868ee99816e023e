"""Microseconds a value of the exact discrete Gaussian sampler, beside OpenDP's.

    python benchmarks/noise.py [--json] [--repetitions N]

The standard deviation is 2^16 grid steps; medians over repetitions of both in turns. Ours uses all cores, as a
participant does.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import time
from collections.abc import Callable

import opendp.prelude as dp

from fedcrm.crypto.noise import discrete_gaussian

DEVIATION = 2**16
OUR_SIZE, THEIR_SIZE = 1_000_000, 10_000


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="The exact discrete Gaussian sampler beside OpenDP's.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    measurement, zeros = dp.m.make_gaussian(*space, scale=float(DEVIATION)), [0] * THEIR_SIZE
    ours, theirs = [], []
    for _ in range(options.repetitions):
        key = secrets.token_bytes(32)
        ours.append(seconds(lambda key=key: discrete_gaussian(variance=DEVIATION**2, size=OUR_SIZE, stream_key=key)))
        theirs.append(seconds(lambda: measurement(zeros)))
    result = {
        "value_us": statistics.median(ours) / OUR_SIZE * 1e6,
        "opendp_us": statistics.median(theirs) / THEIR_SIZE * 1e6,
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{result['value_us']:.3f} µs a value; OpenDP {result['opendp_us']:.1f} µs")


if __name__ == "__main__":
    main()
