"""NAME.schema.toml beside a table: the public ranges and categories that need not be paid for.

task = "churn"            # optional

[columns."Age"]
kind = "number"           # low and high are public numbers, never the column's own minimum and maximum
low = 10
high = 80
whole = true              # optional
scale = "log"             # optional, "linear" otherwise

[columns."Contract"]
kind = "category"
values = ["One Year", "Two Year"]

[columns."snapshot_month"]
kind = "time"             # never a feature
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fedcrm.errors import Problem, TableError
from fedcrm.features.columns import CategoryColumn, Column, NumberColumn

WHY = "declared ranges and categories decide how every organisation reads a value, so they must fit the table exactly"
_KEYS = ("unit_id", "org", "label")


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a schema file declares.

    Attributes:
        path: The file, or None where a table has none.
        task: What the label means, where stated.
        columns: Declared features by name.
        time: Names of declared time columns.
        lines: Line of each column's entry.
    """

    path: Path | None
    task: str | None
    columns: Mapping[str, Column]
    time: frozenset[str]
    lines: Mapping[str, int]

    def place(self, column: str) -> str:
        """File and line of a column's entry."""
        return f"{self.path.name if self.path else 'schema'}:{self.lines.get(column, 1)}"


UNDECLARED = Declarations(None, None, {}, frozenset(), {})
"""A table without a schema file."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["number", "category", "time"]
    low: float | None = None
    high: float | None = None
    whole: bool = False
    scale: Literal["linear", "log"] = "linear"
    values: list[str] | None = None


def read_schema_file(path: Path) -> Declarations:
    """Read and check one schema file.

    Raises:
        TableError: with every problem and its line.
    """
    text = _read_text(path)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _failure(path, [Problem(path.name, f"is not TOML: {error}", "correct the syntax")]) from error
    columns = content.get("columns")
    problems = _check_top(path, content)
    if not isinstance(columns, dict):
        raise _failure(path, problems or [Problem(path.name, "has no [columns] table", "declare at least one column")])
    lines = {name: _line_of(text, name) for name in columns}
    entries = {name: _parse(path, text, name, raw, problems) for name, raw in columns.items()}
    if problems:
        raise _failure(path, problems)
    kept = {name: entry for name, entry in entries.items() if entry is not None}
    features = {name: _column(name, entry) for name, entry in kept.items() if entry.kind != "time"}
    time = frozenset(name for name, entry in kept.items() if entry.kind == "time")
    return Declarations(path, content.get("task"), features, time, lines)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(path.name, f"cannot be read as text ({type(error).__name__})", "save it as UTF-8 text")
        raise _failure(path, [problem]) from error


def _failure(path: Path, problems: list[Problem]) -> TableError:
    return TableError(problems, why=WHY, where=str(path))


def _check_top(path: Path, content: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(path.name, f"unknown key `{key}`", "keep only `task` and `columns`")
        for key in content
        if key not in ("columns", "task")
    ]
    if not isinstance(content.get("task", ""), str):
        problems.append(Problem(path.name, "`task` is not text", 'write task = "churn" or leave it out'))
    return problems


def _line_of(text: str, column: str, key: str | None = None) -> int:
    """Line of a column's entry, or of one key in it; the entry's line when the key stands elsewhere."""
    header = re.compile(rf"^\s*\[\s*columns\s*\.\s*[\"']?{re.escape(column)}[\"']?\s*\]", re.MULTILINE)
    found = header.search(text)
    if found is None:
        return 1
    start = text.count("\n", 0, found.end()) + 1
    if key is None:
        return start
    for ahead, line in enumerate(text[found.end() :].splitlines()[1:], start=1):
        if line.lstrip().startswith("["):
            break
        if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return start + ahead
    return start


def _parse(path: Path, text: str, name: str, raw: object, problems: list[Problem]) -> _Entry | None:
    if name in _KEYS:
        place = f"{path.name}:{_line_of(text, name)}"
        problems.append(Problem(place, f"`{name}` is not a feature", f"remove the entry for `{name}`"))
        return None
    try:
        entry = _Entry.model_validate(raw)
    except ValidationError as error:
        problems.extend(_validation_problem(path, text, name, dict(found)) for found in error.errors())
        return None
    found = _disagreements(entry)
    for key, what, fix in found:
        problems.append(Problem(f"{path.name}:{_line_of(text, name, key)}", f"`{name}`: {what}", fix))
    return None if found else entry


def _validation_problem(path: Path, text: str, name: str, found: dict[str, Any]) -> Problem:
    key = str(found["loc"][0]) if found["loc"] else None
    what = f"unknown key `{key}`" if found["type"] == "extra_forbidden" else f"`{key}`: {found['msg'].lower()}"
    fix = 'use kind = "number", "category" or "time" with low, high, whole, scale or values'
    return Problem(f"{path.name}:{_line_of(text, name, key)}", f"`{name}`: {what}", fix)


def _disagreements(entry: _Entry) -> list[tuple[str, str, str]]:
    ranged = (entry.low, entry.high)
    if entry.kind != "number" and ranged != (None, None):
        return [("low", f"a {entry.kind} has no low or high", "remove low and high")]
    if entry.kind != "category" and entry.values is not None:
        return [("values", f"a {entry.kind} has no values", "remove values")]
    if entry.kind == "category":
        return _value_disagreements(entry.values)
    if entry.kind == "number":
        return _range_disagreements(*ranged)
    return []


def _value_disagreements(values: list[str] | None) -> list[tuple[str, str, str]]:
    if values is None:
        return []
    if not values:
        return [("values", "the list of values is empty", "list the values, or leave `values` out")]
    if len(set(values)) < len(values):
        return [("values", "a value is listed twice", "list each value once")]
    return []


def _range_disagreements(low: float | None, high: float | None) -> list[tuple[str, str, str]]:
    if low is None and high is None:
        return []
    if low is None or high is None:
        missing = "low" if low is None else "high"
        return [("kind", f"`{missing}` is missing", "give both low and high, or neither")]
    if not (isfinite(low) and isfinite(high)):
        return [("low", "low and high must be finite", "give a plausible public range")]
    if low >= high:
        return [("low", f"low ({low:g}) is not below high ({high:g})", "give low < high")]
    return []


def _column(name: str, entry: _Entry) -> Column:
    if entry.kind == "category":
        return CategoryColumn(name, None if entry.values is None else tuple(entry.values))
    return NumberColumn(name, entry.low, entry.high, entry.whole, entry.scale)
