"""Microseconds a value of the exact discrete Gaussian sampler, beside OpenDP's.

    python benchmarks/noise.py [--json] [--repetitions N]

The standard deviation is 2^16 grid steps; medians over the repetitions. Ours uses all cores, as a participant does.
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


def median_us(work: Callable[[], object], size: int, repetitions: int) -> float:
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / size * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="The exact discrete Gaussian sampler beside OpenDP's.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    measurement, zeros = dp.m.make_gaussian(*space, scale=float(DEVIATION)), [0] * THEIR_SIZE
    result = {
        "value_us": median_us(
            lambda: discrete_gaussian(variance=DEVIATION**2, size=OUR_SIZE, stream_key=secrets.token_bytes(32)),
            OUR_SIZE,
            options.repetitions,
        ),
        "opendp_us": median_us(lambda: measurement(zeros), THEIR_SIZE, options.repetitions),
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{result['value_us']:.3f} µs a value; OpenDP {result['opendp_us']:.1f} µs")


if __name__ == "__main__":
    main()
