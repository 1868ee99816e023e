"""Cells of a table as arrays: keys and label checked, numbers and categories read, each column's problems collected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fedcrm.benchmark.schema_file import Declarations
from fedcrm.errors import Problem
from fedcrm.features.columns import CategoryColumn, Column, NumberColumn
from fedcrm.features.table import MISSING, hash_bucket

KEYS = ("unit_id", "org", "label")
"""Columns every table must have."""

_MISSING_WORDS = ("na", "n/a", "nan", "null", "none", "-")
_MIXED_KINDS_AT = 20
"""Distinct numbers at one organisation, against text only at another, above which a column is two things."""


@dataclass(frozen=True, slots=True, repr=False)
class ReadColumn:
    """One feature of a frame.

    Attributes:
        column: Its public declaration.
        values: Numbers (NaN is missing) or codes, one per row.
        problems: Why it cannot be used.
        notes: What was done to it.
    """

    column: Column
    values: NDArray[np.float64]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def key_problems(frame: pl.DataFrame) -> list[Problem]:
    """Everything wrong with `unit_id`, `org` and `label`."""
    problems = [
        Problem(name, "the table has no such column", f"add a column named {name}")
        for name in KEYS
        if name not in frame.columns
    ]
    if frame.height == 0:
        return [*problems, Problem("rows", "the table has a header and no rows", "export it with its rows")]
    for name in ("unit_id", "org"):
        if name in frame.columns:
            problems += _empty_cells(frame[name])
    if "label" in frame.columns:
        problems += _label_problems(frame["label"])
    if {"unit_id", "org"} <= set(frame.columns):
        problems += _organisation_problems(frame)
    return problems


def _empty_cells(series: pl.Series) -> list[Problem]:
    text = series.cast(pl.String).str.strip_chars()
    empty = (text.is_null() | (text == "")).arg_true()
    if empty.len() == 0:
        return []
    fix = {"unit_id": "give every row the id of its account, lead or person", "org": "name every row's organisation"}
    return [Problem(series.name, _rows_say("empty", empty), fix[series.name])]


def _rows_say(what: str, rows: pl.Series) -> str:
    number = rows.len()
    return f"{what} in {number} row{'s' if number > 1 else ''}, first in row {int(rows[0]) + 1} below the header"


def _label_problems(series: pl.Series) -> list[Problem]:
    value = _as_number(series)
    wrong = (~value.is_in([0.0, 1.0]) | value.is_null()).fill_null(value=True).arg_true()
    if wrong.len() == 0:
        return []
    return [Problem("label", _rows_say("neither 0 nor 1", wrong), "write 0 or 1; leave out rows whose outcome is open")]


def _organisation_problems(frame: pl.DataFrame) -> list[Problem]:
    keys = frame.select(pl.col("unit_id", "org").cast(pl.String).str.strip_chars()).drop_nulls()
    problems = []
    if keys["org"].n_unique() == 1:
        problems.append(
            Problem("org", "the table holds one organisation only", "give the rows of at least two organisations")
        )
    shared = keys.filter(pl.col("org").n_unique().over("unit_id") > 1)
    if shared.height:
        names = ", ".join(sorted(shared["org"].unique())[:4])
        what = f"{shared['unit_id'].n_unique()} ids occur in more than one organisation ({names} …)"
        fix = "prefix each id with its organisation, or keep a unit with one organisation"
        problems.append(Problem("unit_id", what, fix))
    return problems


def labels(frame: pl.DataFrame) -> NDArray[np.int8]:
    """The checked label, int8 [rows]."""
    return _as_number(frame["label"]).to_numpy().astype(np.int8)


def time_values(series: pl.Series) -> NDArray[np.int64] | None:
    """Month numbers, int64 [rows]; None when any cell is not a whole number."""
    value = _as_number(series)
    if value.null_count() or not bool((value.round() == value).all()):
        return None
    return value.to_numpy().astype(np.int64)


def _as_number(series: pl.Series) -> pl.Series:
    """Float64; null where missing or not a number; NaN is null."""
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean, pl.Null)):
        return pl.Series(series.name, [None] * series.len(), dtype=pl.Float64)
    return series.cast(pl.Float64, strict=False).fill_nan(None)


def _known(series: pl.Series) -> pl.Series:
    """Which cells hold a value; common words for "missing" count as none."""
    if series.dtype != pl.String:
        return series.is_not_null()
    text = series.str.strip_chars().str.to_lowercase()
    return (text.is_not_null() & (text != "") & ~text.is_in(_MISSING_WORDS)).fill_null(value=False)


def read_column(frame: pl.DataFrame, name: str, declared: Declarations) -> ReadColumn:
    """Read one feature column of a frame that has the keys, by its declaration or else by its cells."""
    series = frame[name]
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    column = declared.columns.get(name)
    if series.dtype.is_nested() or series.dtype.is_temporal() or series.dtype == pl.Binary:
        fix = 'give text or numbers, or declare it as kind = "time"'
        return ReadColumn(column or NumberColumn(name), np.empty(0), (Problem(name, "holds dates or lists", fix),))
    known, value = _known(series), _as_number(series)
    misfits = (known & value.is_null()).arg_true()
    place = f"{declared.place(name)} `{name}`"
    if column is None:
        mixed = _kinds_differ(frame["org"], known, value)
        column = _by_cells(name, series, misfits.len() == 0)
        if mixed:
            fix = "give one meaning to the column at every organisation, or declare its kind in the schema file"
            return ReadColumn(column, np.empty(0), (Problem(name, mixed, fix),))
    if isinstance(column, NumberColumn):
        return _read_number(column, value, misfits, frame["\0row"], place)
    return _read_category(column, series, place)


def _by_cells(name: str, series: pl.Series, all_numbers: bool) -> Column:
    if series.dtype == pl.Boolean:
        return CategoryColumn(name, ("false", "true"))
    return NumberColumn(name) if all_numbers else CategoryColumn(name)


def _kinds_differ(org: pl.Series, known: pl.Series, value: pl.Series) -> str | None:
    """Says so when an undeclared column is many numbers at one organisation and nothing but text at another."""
    cells = pl.DataFrame({"org": org, "known": known, "value": value}).filter("known")
    kinds = cells.group_by("org").agg(
        number=pl.col("value").is_not_null().all() & (pl.col("value").n_unique() > _MIXED_KINDS_AT),
        text=pl.col("value").is_null().all(),
    )
    numbers, texts = (sorted(kinds.filter(kind)["org"].to_list()) for kind in ("number", "text"))
    if not (numbers and texts):
        return None
    return f"holds numbers at {', '.join(numbers[:3])} and text at {', '.join(texts[:3])}"


def _read_number(column: NumberColumn, value: pl.Series, misfits: pl.Series, row: pl.Series, place: str) -> ReadColumn:
    if misfits.len():
        first = row.gather(misfits).to_numpy().min()
        what = f"{misfits.len()} cells are not numbers, first in row {first} below the header"
        problem = Problem(place, what, 'declare kind = "category", or correct the cells')
        return ReadColumn(column, np.empty(0), (problem,))
    values = value.fill_null(float("nan")).to_numpy().copy()
    infinite = np.isinf(values)
    values[infinite] = np.nan
    return ReadColumn(column, values, notes=_number_notes(column, values, int(infinite.sum())))


def _number_notes(column: NumberColumn, values: NDArray[np.float64], infinite: int) -> tuple[str, ...]:
    known = values[~np.isnan(values)]
    notes = [f"{infinite} infinite values count as missing"] if infinite else []
    if known.size == 0:
        notes.append("every value is missing")
    elif known.min() == known.max():
        notes.append("constant")
    if column.low is not None and column.high is not None:
        outside = int(np.count_nonzero((known < column.low) | (known > column.high)))
        notes += [f"{outside} values lie outside the declared range; a learner clamps them to it"] if outside else []
    return tuple(notes)


def _read_category(column: CategoryColumn, series: pl.Series, place: str) -> ReadColumn:
    text = series.cast(pl.String)
    levels = text.drop_nulls().unique(maintain_order=True).to_list()
    codes = {level: _code(column, level) for level in levels if level != ""}
    values = text.replace_strict(codes, default=MISSING, return_dtype=pl.Float64).to_numpy()
    known = values[values != MISSING]
    other = int(np.count_nonzero(known == column.levels))
    if column.values is not None and known.size and other == known.size:
        fix = 'list the column\'s values as they are written in the table, or declare kind = "number"'
        return ReadColumn(column, values, (Problem(place, "no cell holds a declared value", fix),))
    notes = [f"{other} values are not on the declared list; they count as one level, other"] if other else []
    notes += ["every value is missing"] if known.size == 0 else []
    notes += ["constant"] if known.size and len(codes) == 1 else []
    return ReadColumn(column, values, notes=tuple(notes))


def _code(column: CategoryColumn, level: str) -> int:
    if column.values is None:
        return hash_bucket(level)
    return column.values.index(level) if level in column.values else column.levels
