"""From rows to privacy units: a unit's vector is the mean of its rows' vectors, in batches of bounded memory.

The mean, not the sum: a unit then counts once however many rows it has, and keeps the rows' own bound, so that every
release of a run weighs the unit alike. Only the unit's own rows enter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", np.int64, np.float64)

BATCH_BYTES = 2 << 20
"""Upper bound on the memory of one batch of vectors: it is summed up while it is still in the processor's cache."""
WINDOW_BYTES = 16 << 20
"""Upper bound on the memory of what is computed ahead of the batches."""


def unit_means(
    vectors: Callable[[int, int], NDArray[np.float64]],
    offsets: NDArray[np.int64],
    dimension: int,
    *,
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[NDArray[np.float64]]:
    """Mean of each unit's row vectors, float64 [units in batch, dimension], units in order.

    Without units one empty batch is computed all the same, so that what is wrong for every row shows on none.

    Args:
        vectors: Gives the vectors of rows start … end−1, float64 [end − start, dimension].
        offsets: Unit u owns rows offsets[u] … offsets[u+1]−1, int64 [units + 1].
        dimension: Length of a vector.
        batch_bytes: Bound on the memory of one batch.
    """
    if offsets.shape[0] == 1:
        yield vectors(0, 0)
    most = max(1, batch_bytes // (8 * max(dimension, 1)))
    for first, last in _groups(offsets, most):
        start, end = int(offsets[first]), int(offsets[last])
        if last - first == 1 and end - start > most:
            yield _large_unit(vectors, start, end, most)
        else:
            yield _means(vectors(start, end), offsets[first : last + 1] - start)


def ahead(
    compute: Callable[[int, int], NDArray[_Number]], rows: int, width: int
) -> Callable[[int, int], NDArray[_Number]]:
    """The same rows as `compute` gives, computed many at a time: a call for each small batch would cost more.

    Args:
        compute: Gives rows start … end−1, each from itself alone, [end − start, width].
        rows: Number of rows there are.
        width: Values in a row.
    """
    most, first, held = max(1, WINDOW_BYTES // (8 * max(width, 1))), 0, compute(0, 0)

    def read(start: int, end: int) -> NDArray[_Number]:
        nonlocal first, held
        if start < first or end > first + held.shape[0]:
            first, held = start, compute(start, max(end, min(start + most, rows)))
        return held[start - first : end - first]

    return read


def _groups(offsets: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    first, units = 0, offsets.shape[0] - 1
    while first < units:
        fitting = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
        last = min(max(fitting, first + 1), first + most, units)
        yield first, last
        first = last


def _means(rows: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    lengths = np.diff(offsets)
    if rows.shape[0] == lengths.shape[0] and bool((lengths == 1).all()):
        return rows
    means = np.zeros((lengths.shape[0], rows.shape[1]))
    filled = lengths > 0
    if filled.any():
        means[filled] = np.add.reduceat(rows, offsets[:-1][filled], axis=0) / lengths[filled, None]
    return means


def _large_unit(
    vectors: Callable[[int, int], NDArray[np.float64]], start: int, end: int, most: int
) -> NDArray[np.float64]:
    pieces = ((at, min(at + most, end)) for at in range(start, end, most))
    total = sum((vectors(at, to).sum(axis=0) for at, to in pieces), np.zeros(()))
    return np.asarray(total, dtype=np.float64)[None, :] / (end - start)
