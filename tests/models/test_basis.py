"""The basis as it travels: what a payload claims is no more than what it holds."""

from __future__ import annotations

import numpy as np
import pytest

from fedcrm.models.basis import AdditiveBasis, ColumnBasis
from fedcrm.models.bundle import Array

BASIS = AdditiveBasis((ColumnBasis(np.array([0, 1, 1]), np.array([[1.0, 0.5], [-1.0, 2.0]]), np.array([0.5, 0.5])),))


def test_a_basis_survives_its_arrays() -> None:
    """What is written is read back."""
    (column,) = AdditiveBasis.from_arrays(BASIS.to_arrays()).columns
    assert np.array_equal(column.bin_of_cell, BASIS.columns[0].bin_of_cell)
    assert np.array_equal(column.table, BASIS.columns[0].table)


@pytest.mark.parametrize(
    "claimed",
    [
        {"bins": [0], "functions": [10**12], "tables": [], "masses": []},
        {"bins": [-2], "functions": [-2]},
        {"bins": [2], "functions": [3]},
    ],
)
def test_more_functions_than_values_are_refused(claimed: dict[str, list[int]]) -> None:
    """A column without bins could claim any number of functions, and each row would need memory for all of them."""
    arrays: dict[str, Array] = dict(BASIS.to_arrays())
    for name, values in claimed.items():
        arrays[f"basis.{name}"] = np.array(values, arrays[f"basis.{name}"].dtype)
    with pytest.raises(ValueError, match="basis"):
        AdditiveBasis.from_arrays(arrays)
