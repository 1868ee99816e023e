"""An extra first release where number columns have no declared range: counts of signed octaves, charged like any other.

Cells of a column: magnitudes by powers of two below zero (largest first), zero and near zero, magnitudes above zero.
The range found runs over the octaves whose counts stand out of the noise, both tails trimmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.features.columns import FeatureSchema
from fedcrm.models.cells import declared_ranges
from fedcrm.models.learner import OpenedSum, UnitRows
from fedcrm.models.units import unit_means

LEAST_OCTAVE, MOST_OCTAVE = -16, 40
_OCTAVES = MOST_OCTAVE - LEAST_OCTAVE
_CELLS = 2 * _OCTAVES + 1
_STANDS_OUT = 4.0
_TAIL = 0.002


@dataclass(frozen=True, slots=True)
class SurveyShape:
    """How a row becomes a vector: [constant, one 1 per undeclared number column that is not missing]."""

    columns: int

    @property
    def constant(self) -> float:
        """Size of the coordinate that counts weight."""
        return float(np.sqrt(max(self.columns, 1) / 9.0))

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return 1 + self.columns * _CELLS

    @property
    def clipping_norm(self) -> float:
        """Norm of a row without missing values."""
        return float(np.sqrt(self.columns + self.constant**2))


def needs_survey(schema: FeatureSchema) -> bool:
    """Whether any number column has no declared range."""
    return any(not column.declared for column in schema.numbers)


def survey_shape(schema: FeatureSchema) -> SurveyShape:
    """The shape for the undeclared number columns."""
    return SurveyShape(sum(not column.declared for column in schema.numbers))


def unit_surveys(rows: UnitRows) -> Iterator[NDArray[np.float64]]:
    """Each unit's survey vector, float64 [units, dimension]: the mean of its rows' vectors."""
    shape = survey_shape(rows.schema)
    open_columns = [i for i, column in enumerate(rows.schema.numbers) if not column.declared]

    def vectors(start: int, end: int) -> NDArray[np.float64]:
        values = rows.numbers[start:end, open_columns]
        vector = np.zeros((end - start, shape.dimension))
        vector[:, 0] = shape.constant
        row, column = np.nonzero(~np.isnan(values))
        vector[row, 1 + column * _CELLS + _octave(values[row, column])] = 1.0
        return vector

    return unit_means(vectors, rows.offsets, shape.dimension)


def _octave(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cell of each value: 0 … _OCTAVES−1 below zero, _OCTAVES near zero, then above zero."""
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(np.abs(values)))
    rank = np.clip(exponent - LEAST_OCTAVE + 1, 0, _OCTAVES)
    return np.asarray(_OCTAVES + np.sign(values) * rank, dtype=np.int64)


def _edges() -> NDArray[np.float64]:
    """Low and high edge of each cell, float64 [cells, 2]."""
    powers = 2.0 ** np.arange(LEAST_OCTAVE, MOST_OCTAVE + 1)
    above = np.column_stack([powers[:-1], powers[1:]])
    return np.vstack([-above[::-1, ::-1], [[0.0, 0.0]], above])


def read_survey(opened: OpenedSum, schema: FeatureSchema) -> NDArray[np.float64]:
    """Range of each number column, float64 [number columns, 2]: declared, else found, else [0, 1] when all is noise."""
    ranges, shape = declared_ranges(schema), survey_shape(schema)
    units = max(float(opened.values[0]) / shape.constant, 0.0)
    least = max(_STANDS_OUT * opened.noise_sd, _TAIL * units, 1e-9)
    counts = iter(opened.values[1:].reshape(shape.columns, _CELLS))
    for i, column in enumerate(schema.numbers):
        if not column.declared:
            ranges[i] = _range(next(counts), least)
    return ranges


def _range(counts: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    found = np.flatnonzero(counts >= least)
    if found.shape[0] == 0:
        return np.array([0.0, 1.0])
    edges = _edges()
    return np.array([edges[found[0], 0], edges[found[-1], 1]])
