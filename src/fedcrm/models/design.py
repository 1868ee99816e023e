"""The design: a row's functions, those of single columns first, then the products of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcrm.models.basis import AdditiveBasis
from fedcrm.models.bundle import Array
from fedcrm.models.pairs import Pairs


@dataclass(frozen=True, slots=True, repr=False)
class Design:
    """All functions of a row; D is the number of coordinates of columns and pairs together.

    Attributes:
        basis: Functions of single columns.
        pairs: Products of two columns' functions.
    """

    basis: AdditiveBasis
    pairs: Pairs

    @property
    def coordinates(self) -> int:
        """D."""
        return int(self.basis.offsets[-1]) + self.pairs.number

    @property
    def component_of(self) -> NDArray[np.int64]:
        """Component of each coordinate: its column, or the number of columns plus its pair, int64 [D]."""
        return np.concatenate([self.basis.column_of, len(self.basis.columns) + self.pairs.pair_of])

    def expand(self, located: NDArray[np.int64], cell_offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """All functions of each row, float64 [rows, D], from its cells (`CellMap.locate`)."""
        phi = self.basis.expand(located, cell_offsets)
        return np.hstack([phi, self.pairs.expand(phi)]) if self.pairs.number else phi

    def to_arrays(self) -> dict[str, Array]:
        """Flat arrays for a bundle."""
        return self.basis.to_arrays() | self.pairs.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Design:
        """Read what `to_arrays` wrote."""
        return cls(AdditiveBasis.from_arrays(arrays), Pairs.from_arrays(arrays))
