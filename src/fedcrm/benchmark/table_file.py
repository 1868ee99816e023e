"""Reading a table file into a Polars frame: csv, csv.gz or parquet. Text files are read as text, cell by cell."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path

import polars as pl

from fedcrm.errors import Problem, TableError

WHY = "a table that is not read whole would make every figure wrong without a sign"
SUFFIXES = (".csv", ".csv.gz", ".parquet")
"""File names that can be read."""


def table_name(path: Path) -> str:
    """The file's name without its ending."""
    return next((path.name.removesuffix(s) for s in reversed(SUFFIXES) if path.name.endswith(s)), path.stem)


def schema_path(path: Path) -> Path:
    """Where the table's schema file would be."""
    return path.with_name(f"{table_name(path)}.schema.toml")


def read_frame(path: Path) -> pl.DataFrame:
    """The file's cells; a csv's are text, with empty cells as null.

    Raises:
        TableError: when the file is absent, empty, damaged or not a table.
    """
    if not path.is_file():
        raise unreadable(path, "no such file", "check the path")
    if path.stat().st_size == 0:
        raise unreadable(path, "the file is empty", "export it again")
    if path.name.endswith(".parquet"):
        return _read_parquet(path)
    if path.name.endswith((".csv", ".csv.gz")):
        return _read_csv(path, _read_bytes(path))
    raise unreadable(path, "not a known kind of table", f"give a file ending in {', '.join(SUFFIXES)}")


def unreadable(path: Path, what: str, fix: str) -> TableError:
    """The error for a file that gives no table at all."""
    return TableError([Problem(path.name, what, fix)], why=WHY, where=str(path))


def _read_bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, f"cannot be unpacked ({type(error).__name__})", "copy or compress it again") from error


def _read_csv(path: Path, content: bytes) -> pl.DataFrame:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(path, "not text in UTF-8, so not a csv table", "export it as a UTF-8 csv") from error
    if not text.strip():
        raise unreadable(path, "the file is empty", "export it again")
    _check_header(path, next(csv.reader(io.StringIO(text))))
    try:
        frame = pl.read_csv(text.encode(), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise unreadable(path, "rows do not have the header's number of cells", "export it again as csv") from error
    return frame.with_columns(pl.all().replace("", None))


def _check_header(path: Path, names: list[str]) -> None:
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise unreadable(path, f"two columns are named {', '.join(double)}", "give each column its own name")
    if any(not name.strip() for name in names):
        raise unreadable(path, "a column has no name", "name every column in the first line")
    if len(names) == 1:
        raise unreadable(
            path, "the first line names one column only", "separate cells by commas, with the columns' names first"
        )


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise unreadable(path, "cannot be read as parquet", "write the file again") from error
