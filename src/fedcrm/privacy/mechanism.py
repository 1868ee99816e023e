"""One release's sum: each unit's vector is clipped, weighted and rounded to integers, then added up and clamped.

The bound that privacy rests on is proven on the integers: after rounding, every unit's integer vector z has
Σz² ≤ ⌊(γ·w·C)²⌋, checked exactly (γ grid steps per unit of value, w the weight, C the clipping norm). A clip in
floating point alone exceeds C by rounding in about one random trial of eight.

Why float64 arithmetic is exact here: γ·C ≤ 2^26, so an integer vector within the bound has Σz² ≤ 2^52 and |z| ≤ 2^26.
Squares of integers are added without rounding as long as the total stays below 2^53, and a total that does not stay
below is seen as too large in any case (partial sums of squares only grow). Blocks have at most 2^20 rows, so a
block's sum stays below 2^46; blocks are added in int64, exact up to 2^36 units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedcrm.errors import PrivacyParameterError
from fedcrm.privacy.accountant import ReleaseEvent

WEIGHT_BITS = 16
"""Weights are multiples of 2^-16, so that γ·w is exact in floating point."""

FINEST_NORM_BITS = 26
_BLOCK_VALUES = 2**17
_BLOCK_ROWS = 2**12


@dataclass(frozen=True, slots=True, kw_only=True)
class SumMechanism:
    """The public numbers of one release, part of its descriptor.

    Attributes:
        dimension: d, length of each unit's vector.
        clipping_norm: C, bound on a unit's vector ‖v‖₂ in the learner's units.
        grid_bits: γ = 2**grid_bits grid steps per unit of value (may be negative).
        share_variance: Variance parameter of each noise share, grid².
        honest_shares: m − c, noise shares certainly in the opened sum.
        clamp: Largest magnitude of one participant's noiseless coordinate, in grid steps.
    """

    dimension: int
    clipping_norm: float
    grid_bits: int
    share_variance: int
    honest_shares: int
    clamp: int

    def __post_init__(self) -> None:
        ReleaseEvent(
            dimension=self.dimension,
            sensitivity_squared=0,
            share_variance=self.share_variance,
            honest_shares=self.honest_shares,
        )
        self._check_grid()

    def _check_grid(self) -> None:
        usable = math.isfinite(self.clipping_norm) and self.clipping_norm > 0 and abs(self.grid_bits) <= 100
        if not usable or self.grid_steps * Fraction(self.clipping_norm) > 2**FINEST_NORM_BITS:
            raise PrivacyParameterError(
                f"a clipping norm of {self.clipping_norm!r} does not fit a grid of 2^{self.grid_bits} steps",
                why="the sensitivity bound is proven in exact arithmetic for clipping norms up to 2^26 grid steps",
                fix="use a coarser grid; mechanism_for chooses one",
            )
        if type(self.clamp) is not int or not 0 < self.clamp < 2**62:
            raise PrivacyParameterError(
                f"the clamp is {self.clamp!r}",
                why="a coordinate outside the plaintext range would wrap around and spoil the sum",
                fix="take the clamp from crypto.encoding.clamp_bound",
            )

    @property
    def grid_steps(self) -> Fraction:
        """γ, grid steps per unit of value, exactly."""
        return Fraction(2) ** self.grid_bits

    @property
    def noise_multiplier(self) -> float:
        """σ/C of the honest shares together."""
        return math.sqrt(self.share_variance * self.honest_shares) / float(
            self.grid_steps * Fraction(self.clipping_norm)
        )

    def noise_sd(self, shares: int) -> float:
        """Standard deviation of `shares` noise shares in each coordinate, in the learner's units."""
        return math.sqrt(self.share_variance * shares) / float(self.grid_steps)

    def event(self, weight: Fraction) -> ReleaseEvent:
        """What a release at this weight costs whoever gives it: weight 0 costs nothing."""
        return ReleaseEvent(
            dimension=self.dimension,
            sensitivity_squared=integer_bound(self, weight),
            share_variance=self.share_variance,
            honest_shares=self.honest_shares,
        )

    def decode(self, values: NDArray[np.int64]) -> NDArray[np.float64]:
        """Grid integers [d] back to the learner's units, float64 [d]."""
        return np.ldexp(values.astype(np.float64), -self.grid_bits)


@dataclass(frozen=True, slots=True, repr=False)
class EncodedSum:
    """A participant's noiseless integer sum, and what its operator may want to know; none but the values ever leaves.

    Attributes:
        values: int64 [d], grid steps, each within ± the mechanism's clamp.
        clamped: Coordinates that the clamp moved.
        refused: Units that counted as zero because their vector or quality was not finite.
        units: Units seen.
    """

    values: NDArray[np.int64]
    clamped: int
    refused: int
    units: int

    def __repr__(self) -> str:
        return f"EncodedSum(dimension={len(self.values)})"


def integer_bound(mechanism: SumMechanism, weight: Fraction | float) -> int:
    """⌊(γ·w·C)²⌋ exactly: the bound on Σz² of every unit's integer vector, and the squared sensitivity of the sum."""
    return math.floor((mechanism.grid_steps * check_weight(weight) * Fraction(mechanism.clipping_norm)) ** 2)


def check_weight(weight: Fraction | float) -> Fraction:
    """The weight as an exact fraction; raises PrivacyParameterError unless it is a multiple of 2^-16 in [0, 1]."""
    exact = Fraction(weight) if math.isfinite(weight) else Fraction(-1)
    if not 0 <= exact <= 1 or (exact * 2**WEIGHT_BITS).denominator != 1:
        raise PrivacyParameterError(
            f"the weight is {weight!r}, not a multiple of 2^-{WEIGHT_BITS} between 0 and 1",
            why="the sensitivity of a release is its weight times the clipping norm, proven for weights on the grid",
            fix="take the weight from fedcrm.privacy.weights",
        )
    return exact


def sum_units(
    mechanism: SumMechanism,
    batches: Iterable[NDArray[np.float64]],
    *,
    weight: Fraction | float,
    unit_quality: NDArray[np.float64] | None = None,
) -> EncodedSum:
    """Clip, weigh, round toward zero and add up all units; then clamp.

    Args:
        mechanism: Public numbers of the release.
        batches: Each unit's vector, float64 [units, d] per batch. Not modified.
        weight: w in [0, 1], a multiple of 2^-16. At 0 the batches are not even read.
        unit_quality: q in [0, 1] per unit, in the batches' order, from that unit's own rows; scales before clipping.

    Guarantee: every unit's integer vector keeps Σz² ≤ integer_bound(mechanism, weight), checked on the integers.
    Guarantee: adding or removing one unit moves `values` by at most γ·w·C in L2, after the clamp as well.
    Guarantee: a unit whose vector or quality holds NaN or infinity counts as zero and changes no other unit's part.
    Guarantee: a vector within the norm whose entries times γ·w are integers is encoded without any error.
    """
    exact = check_weight(weight)
    total = np.zeros(mechanism.dimension, np.int64)
    units = refused = 0
    if exact:
        encoder = _Encoder(mechanism, exact)
        for block, quality in _blocks(mechanism, batches, unit_quality):
            integers, bad = encoder.encode(block, quality)
            total += np.add.reduce(integers, axis=0).astype(np.int64)
            units, refused = units + len(block), refused + bad
    clamped = int(np.count_nonzero(np.abs(total) > mechanism.clamp))
    np.clip(total, -mechanism.clamp, mechanism.clamp, out=total)
    return EncodedSum(total, clamped, refused, units)


class _Encoder:
    """Rounds blocks of vectors to integer vectors within the bound, in one reused buffer."""

    def __init__(self, mechanism: SumMechanism, weight: Fraction) -> None:
        self._bound = float(integer_bound(mechanism, weight))
        self._scale = float(mechanism.grid_steps * weight)
        self._norm = mechanism.clipping_norm
        self._buffer = np.empty((_rows_per_block(mechanism.dimension), mechanism.dimension))

    def encode(
        self, block: NDArray[np.float64], quality: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], int]:
        """Integers [rows, d] as float64 (a view of the buffer, valid until the next call) and the rows refused."""
        integers = self._buffer[: len(block)]
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        if not np.isfinite(norms).all():
            return self._encode_carefully(block, quality)
        factor, good = self._factors(norms, quality)
        np.multiply(block, factor[:, None], out=integers)
        np.trunc(integers, out=integers)
        self._bind(integers)
        return integers, int(np.count_nonzero(~good))

    def _factors(
        self, norms: NDArray[np.float64], quality: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """What each row is multiplied by: γ·w·q, less where q·‖v‖ exceeds C; 0 where the quality is not finite."""
        if quality is None:
            good = np.ones(len(norms), np.bool_)
            scaled, factor = norms, np.full(len(norms), self._scale)
        else:
            good = np.isfinite(quality)
            q = np.clip(np.where(good, quality, 0.0), 0.0, 1.0)
            scaled, factor = norms * q, self._scale * q
        factor *= self._norm / np.maximum(scaled, self._norm)
        return factor, good

    def _encode_carefully(
        self, block: NDArray[np.float64], quality: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], int]:
        """The rare block with NaN, infinity or a norm beyond float64: such rows become zero, or are scaled first."""
        finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(block), axis=1)
        tame = np.where(finite[:, None], block, 0.0)
        largest: NDArray[np.float64] = np.abs(tame).max(axis=1, initial=0.0)
        huge = np.flatnonzero(largest > 1e100)
        tame[huge] /= largest[huge, None] / max(1.0, self._norm)
        quality = np.where(finite, 1.0 if quality is None else quality, np.nan)
        return self.encode(tame, quality)

    def _bind(self, integers: NDArray[np.float64]) -> None:
        """Shrink, in place, every row whose Σz² exceeds the bound, until none does; zero is always reached."""
        for bits in range(52, 0, -1):
            over = self._over(integers)
            if not len(over):
                return
            integers[over] = np.trunc(integers[over] * (1 - 2.0**-bits))
        integers[self._over(integers)] = 0.0

    def _over(self, integers: NDArray[np.float64]) -> NDArray[np.intp]:
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", integers, integers)
        return np.flatnonzero(~(squares <= self._bound))


def _rows_per_block(dimension: int) -> int:
    return max(1, min(_BLOCK_ROWS, _BLOCK_VALUES // dimension))


def _blocks(
    mechanism: SumMechanism, batches: Iterable[NDArray[np.float64]], unit_quality: NDArray[np.float64] | None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64] | None]]:
    """Cut batches into blocks that stay in the processor's cache, each with its units' quality."""
    rows, start = _rows_per_block(mechanism.dimension), 0
    for batch in batches:
        if batch.ndim != 2 or batch.shape[1] != mechanism.dimension:
            raise _misfit(f"a batch has shape {batch.shape}, not (units, {mechanism.dimension})")
        values = np.asarray(batch, np.float64)
        for first in range(0, len(values), rows):
            block = values[first : first + rows]
            quality = None if unit_quality is None else unit_quality[start : start + len(block)]
            if quality is not None and len(quality) != len(block):
                raise _misfit(f"there are more units than the {len(unit_quality)} quality factors")  # type: ignore[arg-type]
            yield block, quality
            start += len(block)
    if unit_quality is not None and start != len(unit_quality):
        raise _misfit(f"there are {len(unit_quality)} quality factors for {start} units")


def _misfit(what: str) -> PrivacyParameterError:
    return PrivacyParameterError(
        what,
        why="the sensitivity bound is about exactly the announced coordinates and one quality factor per unit",
        fix="this is a fault of the learner or the caller: report it with the learner's name and version",
    )
