"""Grid integers as plaintexts modulo T, and the clamp under which a sum with its noise cannot wrap around."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.scheme import MAXIMUM_DIMENSION, MAXIMUM_PARTICIPANTS
from fedcrm.errors import ParameterError

FAILURE_BITS = 64


def centred(values: NDArray[np.int64], *, plaintext_bits: int) -> NDArray[np.int64]:
    """Each value's representative modulo T in (−T/2, T/2], int64 [d]: the plaintext a grid integer becomes.

    Values of magnitude below T/2 stay as they are, so what `clamp_bound` allows is encoded and decoded without loss.
    """
    modulus = 1 << plaintext_bits
    residues = values & (modulus - 1)
    return np.where(residues > modulus // 2, residues - modulus, residues)


def noise_tail(noise_sd: float) -> int:
    """λ with P(some coordinate of the noise exceeds λ in magnitude) < 2^-64, for up to 2^24 coordinates.

    A discrete Gaussian is sub-Gaussian with its own σ² (Canonne, Kamath, Steinke 2020), so a sum of independent ones
    is with the sum of the σ²: P(|X| ≥ λ) ≤ 2·exp(−λ²/2σ²). With λ = σ·√(2·ln(2·2^24·2^64)) the union over all
    coordinates is at most 2^-64.

    Args:
        noise_sd: σ of all noise shares together, in grid steps.
    """
    exponent = 2 * math.log(2) * (1 + math.log2(MAXIMUM_DIMENSION) + FAILURE_BITS)
    return math.ceil(noise_sd * math.sqrt(exponent) * (1 + 1e-12))


def clamp_bound(*, participants: int, noise_sd: float, plaintext_bits: int = 32) -> int:
    """R: largest magnitude of a participant's noiseless coordinate under which no sum of n wraps around.

    Proof: the sum of S ⊆ {1 … n} is Σ xᵢ + X with |xᵢ| ≤ R and X the sum of |S| noise shares, whose σ is at most
    noise_sd. By `noise_tail`, |X| ≤ λ in every coordinate but with probability 2^-64, and then
    |Σ xᵢ + X| ≤ n·R + λ ≤ T/2 − 1, inside (−T/2, T/2]: the representative modulo T is the sum itself. The same holds
    for one participant's plaintext, as |xᵢ| + λ ≤ n·R + λ.

    Guarantee: n·R + λ ≤ T/2 − 1 for every n up to 1,000.

    Args:
        participants: n, all that may contribute.
        noise_sd: σ of n noise shares together, in grid steps.
        plaintext_bits: log₂ T.

    Raises:
        ParameterError: no clamp of at least 1 is left, or n is out of range.
    """
    if not 1 <= participants <= MAXIMUM_PARTICIPANTS or not math.isfinite(noise_sd) or noise_sd < 0:
        raise _no_room(f"{participants} participants with noise of standard deviation {noise_sd:g} are out of range")
    bound = ((1 << (plaintext_bits - 1)) - 1 - noise_tail(noise_sd)) // participants
    if bound < 1:
        raise _no_room(f"noise of standard deviation {noise_sd:g} leaves no room in {plaintext_bits} bits")
    return bound


def _no_room(what: str) -> ParameterError:
    return ParameterError(
        what,
        why="a sum beyond the plaintext range would come back as another number",
        fix="choose a coarser grid, so that values and noise take fewer grid steps",
    )
