"""A table file as one feature table per organisation.

Kinds and ranges come from the schema file beside the table; a column it does not name stays undeclared, a number when
every known value reads as a number and a category otherwise. Columns of time (`month_index`, or `kind = "time"`) are
never features. Infinite values count as missing. Problems are collected and raised together; no message holds a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fedcrm.benchmark.cells import KEYS, ReadColumn, key_problems, labels, read_column, time_values
from fedcrm.benchmark.schema_file import UNDECLARED, Declarations, read_schema_file
from fedcrm.benchmark.table_file import read_frame, schema_path, table_name
from fedcrm.errors import Problem, TableError
from fedcrm.features.columns import FeatureSchema, NumberColumn
from fedcrm.features.table import FeatureTable

MONTH = "month_index"
"""A column of this name is time."""

WHY = "a benchmark on a table read differently than meant compares nothing"


@dataclass(frozen=True, slots=True)
class Note:
    """Something read as a user would expect, worth saying: the column and what was done."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, repr=False)
class Dataset:
    """Organisations with one set of columns.

    Attributes:
        name: The table's name.
        task: What the label means; "unstated" where nobody said.
        tables: Each organisation's rows, by organisation's name.
        times: Month of each row by organisation, in the rows' order; None without a time column.
        notes: What reading it met.
    """

    name: str
    task: str
    tables: Mapping[str, FeatureTable]
    times: Mapping[str, NDArray[np.int64]] | None = None
    notes: tuple[Note, ...] = ()

    def __repr__(self) -> str:
        return f"Dataset({self.name}, organisations={len(self.tables)}, rows={self.rows})"

    @property
    def schema(self) -> FeatureSchema:
        """The columns, the same at every organisation."""
        return next(iter(self.tables.values())).schema

    @property
    def rows(self) -> int:
        """Rows of all organisations."""
        return sum(table.rows for table in self.tables.values())

    @property
    def units(self) -> int:
        """Privacy units of all organisations."""
        return sum(table.units for table in self.tables.values())


def read_dataset(path: Path) -> Dataset:
    """Read a table and the schema file beside it.

    Raises:
        TableError: with every problem found.
    """
    frame = read_frame(path)
    beside = schema_path(path)
    declared = read_schema_file(beside) if beside.exists() else UNDECLARED
    problems = key_problems(frame)
    problems += _unknown_columns(frame, declared)
    if any(key not in frame.columns for key in KEYS):
        raise TableError(problems, why=WHY, where=str(path))
    ordered = _by_unit(frame)
    columns = [read_column(ordered, name, declared) for name in _feature_names(frame, declared)]
    problems += [problem for column in columns for problem in column.problems]
    if problems:
        raise TableError(problems, why=WHY, where=str(path))
    return _assemble(table_name(path), ordered, columns, declared)


def _unknown_columns(frame: pl.DataFrame, declared: Declarations) -> list[Problem]:
    return [
        Problem(declared.place(name), f"declares `{name}`, which the table does not have", "remove the entry")
        for name in (*declared.columns, *sorted(declared.time))
        if name not in frame.columns
    ]


def _feature_names(frame: pl.DataFrame, declared: Declarations) -> list[str]:
    return [c for c in frame.columns if c not in KEYS and c != MONTH and c not in declared.time]


def _by_unit(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with keys as text, a unit's rows together, file order within; `row` counts from 1 below the header."""
    keys = [pl.col(name).cast(pl.String).str.strip_chars() for name in ("unit_id", "org")]
    return frame.with_columns(keys).with_row_index("\0row", offset=1).sort("org", "unit_id", "\0row")


def _assemble(name: str, frame: pl.DataFrame, columns: Sequence[ReadColumn], declared: Declarations) -> Dataset:
    schema = FeatureSchema(tuple(column.column for column in columns))
    numbers = _stack([c.values for c in columns if isinstance(c.column, NumberColumn)], frame.height)
    codes = _stack([c.values for c in columns if not isinstance(c.column, NumberColumn)], frame.height).astype(np.int32)
    label, unit, org = labels(frame), frame["unit_id"], frame["org"].to_numpy()
    time = _time(frame, declared)
    tables, times = {}, {}
    for organisation in sorted(set(org.tolist())):
        rows = np.flatnonzero(org == organisation)
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        offsets, ids = _units(unit[part])
        tables[organisation] = FeatureTable(schema, numbers[part], codes[part], label[part], offsets, ids)
        if time is not None:
            times[organisation] = time[part]
    notes = tuple(Note(c.column.name, what) for c in columns for what in c.notes)
    return Dataset(name, declared.task or "unstated", tables, times if time is not None else None, notes)


def _stack(columns: list[NDArray[np.float64]], rows: int) -> NDArray[np.float64]:
    return np.column_stack(columns) if columns else np.empty((rows, 0))


def _units(unit: pl.Series) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    ids = unit.to_list()
    starts = [at for at in range(len(ids)) if at == 0 or ids[at] != ids[at - 1]]
    return np.array([*starts, len(ids)], dtype=np.int64), tuple(ids[at] for at in starts)


def _time(frame: pl.DataFrame, declared: Declarations) -> NDArray[np.int64] | None:
    named = [name for name in (MONTH, *sorted(declared.time)) if name in frame.columns]
    return time_values(frame[named[0]]) if named else None
