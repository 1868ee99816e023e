"""Discrete Gaussian noise: the exact sampler of Canonne, Kamath and Steinke (2020), fed by a keyed stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedcrm.crypto.library import call, lend, lend_integers
from fedcrm.crypto.scheme import MAXIMUM_DIMENSION
from fedcrm.errors import ParameterError

MAXIMUM_VARIANCE = 1 << 48


def discrete_gaussian(*, variance: int, size: int, stream_key: bytes) -> NDArray[np.int64]:
    """Independent draws from N_Z(0, σ²): P(x) ∝ exp(−x²/2σ²), exactly; int64 [size].

    Guarantee: a function of key, variance and place alone, so a repeated step repeats its noise.

    Args:
        variance: σ² in squared grid steps, 0 … 2^48; 0 gives zeros.
        size: Number of draws.
        stream_key: 32 secret bytes, one per release; AES-256-CTR under a key derived from it and the variance.

    Raises:
        ParameterError: a number out of range or a key of another length.
    """
    if not 0 <= variance <= MAXIMUM_VARIANCE or not 0 <= size <= MAXIMUM_DIMENSION:
        raise ParameterError(
            f"noise of variance {variance} for {size} values is out of range",
            why="the sampler is exact for variances up to 2^48 and vectors up to 2^24 values only",
            fix="choose a coarser grid or a smaller vector",
        )
    values = np.zeros(size, dtype=np.int64)
    call("lattice_noise", lend(stream_key), variance, lend_integers(values))
    return values
