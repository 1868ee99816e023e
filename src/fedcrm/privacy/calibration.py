"""From a learner's plan and a reference (ε, δ) to the noise of each release, and from public numbers to its grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from fedcrm.crypto.encoding import clamp_bound
from fedcrm.errors import ParameterError, PrivacyParameterError
from fedcrm.privacy.accountant import Accountant
from fedcrm.privacy.mechanism import FINEST_NORM_BITS, SumMechanism

_HEADROOM = 1 - 1e-9
"""Rounding and the cost of summing shares stay below this, so a plan never exceeds its budget by a last digit."""

_LARGEST_NOISE_BITS = 20
_WIDEST_GRID_BITS = 64
_SMALLEST_SHARE_VARIANCE = 64
"""From here on a sum of shares costs less than 10^-200 more than a discrete Gaussian in each coordinate."""


def plan_releases(
    shares: Sequence[float], *, spare_attempts: int, epsilon: float, delta: float, accountant: Accountant
) -> tuple[float, ...]:
    """Noise multiplier (σ/C) of each round, so that the run at full weight costs (ε, δ) with every spare attempt used.

    Args:
        shares: Each round's share of the privacy loss, above zero, summing to 1 (`Round.share`).
        spare_attempts: Releases beyond the plan that may happen; each is priced like the dearest round.
        epsilon: Reference ε of the manifest.
        delta: Reference δ.
        accountant: Converts (ε, δ) to ρ.

    Guarantee: Σ ρ of all rounds plus spare_attempts times the largest is at most the ρ of (ε, δ).
    """
    if not shares or spare_attempts < 0 or not all(0 < s <= 1 for s in shares) or abs(math.fsum(shares) - 1) > 1e-6:
        raise PrivacyParameterError(
            f"{len(shares)} rounds with shares summing to {math.fsum(shares):.6g} and {spare_attempts} spare attempts",
            why="rounds must share exactly the run's privacy loss, or the stated ε would not be what is spent",
            fix="let the learner plan at least one round, with positive shares that sum to 1",
        )
    total = accountant.rho_budget(epsilon=epsilon, delta=delta) * _HEADROOM
    unit = total / (math.fsum(shares) + spare_attempts * max(shares))
    return tuple(1 / math.sqrt(2 * unit * share) for share in shares)


def planned_rho(noise_multipliers: Sequence[float], *, spare_attempts: int) -> float:
    """ρ of a whole run at full weight, spare attempts included: what weights and forecasts refer to."""
    each = [1 / (2 * z * z) for z in noise_multipliers]
    return (math.fsum(each) + spare_attempts * max(each)) / _HEADROOM


def mechanism_for(  # noqa: PLR0913 (the public numbers of a release are that many)
    *,
    dimension: int,
    clipping_norm: float,
    coordinate_bound: float,
    noise_multiplier: float,
    honest_shares: int,
    participants: int,
    units_magnitude: int,
    plaintext_bits: int = 32,
) -> SumMechanism:
    """The finest grid that public numbers allow, with noise shares rounded up to whole grid variances.

    The grid is a power of two such that one participant holding all units, each coordinate at its bound, stays within
    the clamp; the noise stays at or below 2^20 grid steps, and the clipping norm at or below 2^26 (exact arithmetic).

    Args:
        dimension: d.
        clipping_norm: C in the learner's units.
        coordinate_bound: Magnitude that a typical unit's coordinate keeps; sets the range, not privacy.
        noise_multiplier: σ/C of the honest shares together.
        honest_shares: m − c.
        participants: n of the roster.
        units_magnitude: Order of magnitude of all units in the federation.
        plaintext_bits: log2 T of the scheme's parameters.

    Guarantee: the noise multiplier of the result is at least the one asked for.

    Raises:
        PrivacyParameterError: when a number is not positive and finite, or no grid fits.
    """
    numbers = (clipping_norm, coordinate_bound, noise_multiplier)
    counts = (dimension, honest_shares, participants, units_magnitude)
    if not all(math.isfinite(x) and x > 0 for x in numbers) or not all(x >= 1 for x in counts):
        raise _no_grid(
            f"clipping norm, coordinate bound, noise multiplier {numbers} and counts {counts} must be positive"
        )
    norm, sigma = Fraction(clipping_norm), Fraction(clipping_norm) * Fraction(noise_multiplier)
    finest = min(_bits(Fraction(2**FINEST_NORM_BITS) / norm), _bits(Fraction(2**_LARGEST_NOISE_BITS) / sigma))
    for grid_bits in range(min(finest, _WIDEST_GRID_BITS), -_WIDEST_GRID_BITS - 1, -1):
        variance = max(math.ceil((Fraction(2) ** grid_bits * sigma) ** 2 / honest_shares), _SMALLEST_SHARE_VARIANCE)
        clamp = _clamp(participants, variance, plaintext_bits)
        if clamp > 0 and Fraction(2) ** grid_bits * Fraction(coordinate_bound) * units_magnitude <= clamp:
            return SumMechanism(
                dimension=dimension,
                clipping_norm=clipping_norm,
                grid_bits=grid_bits,
                share_variance=variance,
                honest_shares=honest_shares,
                clamp=clamp,
            )
    raise _no_grid(f"no grid fits {units_magnitude} units with coordinates up to {coordinate_bound!r}")


def _clamp(participants: int, share_variance: int, plaintext_bits: int) -> int:
    """The clamp under which all participants' sums and noise stay in range; 0 when there is none."""
    noise_sd = math.nextafter(math.sqrt(participants * share_variance), math.inf)
    try:
        return clamp_bound(participants=participants, noise_sd=noise_sd, plaintext_bits=plaintext_bits)
    except ParameterError:
        return 0


def _bits(steps: Fraction) -> int:
    """⌊log2 steps⌋ exactly."""
    bits = steps.numerator.bit_length() - steps.denominator.bit_length()
    return bits if Fraction(2) ** bits <= steps else bits - 1


def _no_grid(what: str) -> PrivacyParameterError:
    return PrivacyParameterError(
        what,
        why="a sum that does not fit the plaintext range, or has no noise, cannot be released",
        fix="lower the coordinate bound or clipping norm of the learner's query, or correct the units' magnitude",
    )
