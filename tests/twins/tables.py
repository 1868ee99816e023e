"""Invented feature tables: mixed columns, gaps, several rows per unit, one shared process behind the label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedcrm.benchmark.tables import Dataset
from fedcrm.features.columns import CategoryColumn, FeatureSchema, NumberColumn
from fedcrm.features.table import MISSING, FeatureTable

SCHEMA = FeatureSchema(
    (
        NumberColumn("age", 0, 80, whole=True),
        CategoryColumn("plan", ("basic", "team", "large")),
        NumberColumn("revenue", 0, 1000, scale="log"),
        NumberColumn("balance", -50, 50),
    )
)
OPEN_SCHEMA = FeatureSchema((NumberColumn("age"), CategoryColumn("plan"), NumberColumn("revenue"), NumberColumn("b")))


def invented_table(
    units: int, *, seed: int, schema: FeatureSchema = SCHEMA, rows_each: int = 1, name: str = "org"
) -> FeatureTable:
    """Units with `rows_each` rows each; the label leans on age, revenue and plan."""
    stream, rows = np.random.default_rng(seed), units * rows_each
    numbers = np.column_stack(
        [
            stream.integers(0, 81, rows).astype(float),
            np.exp(stream.normal(4, 1, rows)),
            stream.normal(0, 20, rows),
        ]
    )
    codes = stream.integers(0, 3, (rows, 1)).astype(np.int32)
    odds = 0.06 * (numbers[:, 0] - 40) - 0.8 * (np.log(numbers[:, 1]) - 4) + (codes[:, 0] == 1) - 0.4
    label = (stream.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    numbers[stream.random(numbers.shape) < 0.06] = np.nan
    codes[stream.random(codes.shape) < 0.06] = MISSING
    offsets = np.arange(units + 1, dtype=np.int64) * rows_each
    return FeatureTable(schema, numbers, codes, label, offsets, tuple(f"{name}/{i}" for i in range(units)))


def invented_dataset(organisations: int, units: int, *, seed: int, rows_each: int = 1) -> Dataset:
    """Organisations of equal size with one process behind their labels."""
    names = [f"org{i}" for i in range(organisations)]
    tables = {n: invented_table(units, seed=seed * 100 + i, rows_each=rows_each, name=n) for i, n in enumerate(names)}
    return Dataset("invented", "churn", tables)


def permuted(dataset: Dataset, *, seed: int) -> Dataset:
    """The same rows with labels permuted within each organisation: nothing is left to learn."""
    stream = np.random.default_rng(seed)
    tables = {n: with_label(t, stream.permutation(t.label)) for n, t in dataset.tables.items()}
    return Dataset(dataset.name, dataset.task, tables)


def with_label(table: FeatureTable, label: NDArray[np.int8]) -> FeatureTable:
    """The table with other labels."""
    return FeatureTable(table.schema, table.numbers, table.codes, label, table.offsets, table.unit_ids)


def with_cells(
    table: FeatureTable, numbers: NDArray[np.float64] | None = None, codes: NDArray[np.int32] | None = None
) -> FeatureTable:
    """The table with other numbers or codes."""
    numbers = table.numbers if numbers is None else numbers
    codes = table.codes if codes is None else codes
    return FeatureTable(table.schema, numbers, codes, table.label, table.offsets, table.unit_ids)
