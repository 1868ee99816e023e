"""The threshold path beside TenSEAL's single-key path: nine participants, 7-of-9, serialisation on both sides.

    python benchmarks/crypto.py [--json] [--repetitions N] [--dimensions D ...]

Ours: nine encryptions, sum, seven opening shares, combine; every object is bytes between the steps, parsed and checked
by each. TenSEAL's (CKKS, N = 8192, [60, 40, 40], one key shared by all): nine encryptions, sum, decryption; ciphertexts
serialised by the sender and parsed by the receiver; its context is made once and not counted. Key setup is counted on
neither side. Seconds are medians over the repetitions.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.lattice import LatticeScheme
from fedcrm.crypto.sealing import derive

PARTICIPANTS, THRESHOLD = 9, 7
DIMENSIONS = (10_000, 80_000, 100_000, 1_000_000)
SLOTS = 4096
STEPS = ("encrypt", "add", "share", "combine")
Vectors = list[NDArray[np.int64]]
Result = TypeVar("Result")


class Timer:
    """Wall time by step of one repetition."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, step: str, work: Callable[[], Result]) -> Result:
        """Do the work and add its time to the step."""
        start = time.perf_counter()
        result = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start
        return result


class Ours:
    """Dealt keys of nine participants and the seven holders that answer."""

    name = "FedCRM threshold"

    def __init__(self) -> None:
        self.scheme = LatticeScheme()
        self.secrets = [secrets.token_bytes(32) for _ in range(PARTICIPANTS)]
        dealt = [self.scheme.deal(s, threshold=THRESHOLD, holders=PARTICIPANTS) for s in self.secrets]
        self.active = list(range(1, THRESHOLD + 1))
        self.sums = {j: self.scheme.sum_shares([shares[j - 1] for shares in dealt]) for j in self.active}
        self.pairs = secrets.token_bytes(32)

    def round(self, vectors: Vectors) -> tuple[dict[str, float], int]:
        """Seconds by step of one release, and the bytes of one contribution."""
        timer, dimension = Timer(), len(vectors[0])
        named = {"release_id": secrets.token_bytes(32), "descriptor_digest": secrets.token_bytes(32)}
        sent = timer.run(
            "encrypt",
            lambda: [
                self.scheme.encrypt(secret, plaintext=values, **named)
                for secret, values in zip(self.secrets, vectors, strict=True)
            ],
        )
        total = timer.run("add", lambda: self.scheme.add(sent))
        answers = timer.run("share", lambda: {j: self._share(j, dimension, named) for j in self.active})
        opened = timer.run(
            "combine",
            lambda: self.scheme.combine(
                total, answers, dimension=dimension, threshold=THRESHOLD, contributors=PARTICIPANTS
            ),
        )
        if not np.array_equal(opened, np.sum(vectors, axis=0)):
            raise SystemExit("the opened sum is not the plain sum")
        return timer.seconds, len(sent[0])

    def _share(self, point: int, dimension: int, named: dict[str, bytes]) -> bytes:
        masks = {
            other: derive(self.pairs, "pair", named["release_id"], min(point, other), max(point, other))
            for other in self.active
            if other != point
        }
        noise = derive(self.secrets[point], "holder noise", named["release_id"])
        return self.scheme.opening_share(
            self.sums[point],
            point=point,
            active=self.active,
            masks=masks,
            noise_key=noise,
            dimension=dimension,
            **named,
        )


class Peer:
    """TenSEAL with one secret key that every participant holds, as NVFlare's example uses it."""

    name = "TenSEAL CKKS N=8192 [60,40,40]"

    def __init__(self) -> None:
        try:
            import tenseal
        except ImportError:
            raise SystemExit("this comparison needs TenSEAL: `make bench` installs it") from None
        self.tenseal = tenseal
        self.context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, poly_modulus_degree=2 * SLOTS, coeff_mod_bit_sizes=[60, 40, 40]
        )
        self.context.global_scale = 2**40

    def round(self, vectors: Vectors) -> dict[str, float]:
        """Seconds by step of one sum."""
        timer = Timer()
        reals = [values.astype(np.float64) / 2**26 for values in vectors]
        sent = timer.run("encrypt", lambda: [self._encrypt(values) for values in reals])
        total = timer.run("add", lambda: self._add(sent))
        opened = timer.run("combine", lambda: [x for block in total for x in block.decrypt()])
        if not np.allclose(opened, np.sum(reals, axis=0), atol=1e-3):
            raise SystemExit("TenSEAL's sum is not the plain sum")
        return timer.seconds

    def _encrypt(self, values: NDArray[np.float64]) -> list[bytes]:
        blocks = (values[start : start + SLOTS].tolist() for start in range(0, len(values), SLOTS))
        return [self.tenseal.ckks_vector(self.context, block).serialize() for block in blocks]

    def _add(self, sent: list[list[bytes]]) -> list[Any]:
        total = [self.tenseal.ckks_vector_from(self.context, block) for block in sent[0]]
        for blocks in sent[1:]:
            total = [a + self.tenseal.ckks_vector_from(self.context, b) for a, b in zip(total, blocks, strict=True)]
        return total


def measure(ours: Ours, peer: Peer, dimension: int, repetitions: int) -> dict[str, Any]:
    """One row of the result: medians of both paths, run in turns in the same process."""
    generator = np.random.default_rng(dimension)
    vectors = [generator.integers(-(2**26), 2**26, dimension) for _ in range(PARTICIPANTS)]
    runs, theirs, size = [], [], 0
    for _ in range(repetitions):
        seconds, size = ours.round(vectors)
        runs.append(seconds | {"total": sum(seconds.values())})
        theirs.append(sum(peer.round(vectors).values()))
    middle = {step: statistics.median(run[step] for run in runs) for step in (*STEPS, "total")}
    peer_seconds = statistics.median(theirs)
    return {
        "d": dimension,
        "participants": PARTICIPANTS,
        "threshold": THRESHOLD,
        "seconds": middle,
        "peer": {"name": peer.name, "seconds": peer_seconds},
        "ratio_to_peer": middle["total"] / peer_seconds,
        "bytes_per_float32_byte": size / (4 * dimension),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    print(f"{PARTICIPANTS} participants, {THRESHOLD}-of-{PARTICIPANTS}; seconds; peer: {rows[0]['peer']['name']}")
    print("        d " + "".join(f"{step:>9}" for step in (*STEPS, "total")) + "     peer   faster  bytes/float32 byte")
    for row in rows:
        times = "".join(f"{row['seconds'][step]:9.4f}" for step in (*STEPS, "total"))
        faster = 1 / row["ratio_to_peer"]
        print(f"{row['d']:>9} {times}{row['peer']['seconds']:9.3f}{faster:8.1f}×{row['bytes_per_float32_byte']:14.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The threshold path beside TenSEAL's single-key path.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--dimensions", type=int, nargs="+", default=DIMENSIONS)
    options = parser.parse_args()
    ours, peer = Ours(), Peer()
    rows = []
    for dimension in options.dimensions:
        print(f"d = {dimension}", file=sys.stderr)
        rows.append(measure(ours, peer, dimension, options.repetitions))
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
