"""Reading tables: every bad one is refused naming file and column, every odd but usable one is read and noted."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fedcrm.benchmark.tables import read_dataset
from fedcrm.errors import TableError
from fedcrm.features.columns import HASH_BUCKETS, CategoryColumn, NumberColumn
from fedcrm.features.table import MISSING

SCHEMA = """task = "churn"
[columns."age"]
kind = "number"
low = 0
high = 90
[columns."plan"]
kind = "category"
values = ["basic", "team"]
"""


def _rows(count: int = 8) -> list[dict[str, str]]:
    return [
        {
            "unit_id": f"u{i}",
            "org": ("north", "south")[i % 2],
            "label": str(i // 2 % 2),
            "age": str(20 + i),
            "plan": ("basic", "team")[i % 2],
        }
        for i in range(count)
    ]


def _write(folder: Path, rows: list[dict[str, str]], schema: str | None = SCHEMA, name: str = "t.csv") -> Path:
    """The rows as a file of this name, with a schema file beside it."""
    path, frame = folder / name, pl.DataFrame(rows)
    if name.endswith(".parquet"):
        frame.write_parquet(path)
    else:
        text = frame.write_csv().encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    if schema is not None:
        (folder / "t.schema.toml").write_text(schema, encoding="utf-8")
    return path


def _without(rows, column):
    return [{key: value for key, value in row.items() if key != column} for row in rows]


def _with(rows, at, **cells):
    return [{**row, **cells} if i == at else row for i, row in enumerate(rows)]


def _all_with(rows, **cells):
    return [{**row, **cells} for row in rows]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (_without(_rows(), "unit_id"), "unit_id: the table has no such column"),
        (_without(_rows(), "org"), "org: the table has no such column"),
        (_without(_rows(), "label"), "label: the table has no such column"),
        (_with(_rows(), 2, unit_id=""), "unit_id: empty in 1 row, first in row 3 below the header"),
        (_with(_rows(), 2, unit_id="   "), "unit_id: empty in 1 row, first in row 3 below the header"),
        (_all_with(_rows(), unit_id=""), "unit_id: empty in 8 rows, first in row 1 below the header"),
        (_with(_rows(), 4, org=""), "org: empty in 1 row, first in row 5 below the header"),
        (_all_with(_rows(), org="north"), "org: the table holds one organisation only"),
        (_with(_rows(), 1, unit_id="u0"), "unit_id: 1 ids occur in more than one organisation (north, south"),
        (_with(_rows(), 0, label=""), "label: neither 0 nor 1 in 1 row, first in row 1 below the header"),
        (_with(_rows(), 5, label="2"), "label: neither 0 nor 1 in 1 row, first in row 6 below the header"),
        (_with(_rows(), 5, label="0.5"), "label: neither 0 nor 1 in 1 row, first in row 6"),
        (_with(_rows(), 5, label="nan"), "label: neither 0 nor 1 in 1 row, first in row 6"),
        (_all_with(_rows(), label="perhaps"), "label: neither 0 nor 1 in 8 rows, first in row 1"),
        (_with(_rows(), 6, age="ancient"), "t.schema.toml:2 `age`: 1 cells are not numbers, first in row 7"),
        (_all_with(_rows(), plan="golden"), "t.schema.toml:6 `plan`: no cell holds a declared value"),
        (_without(_rows(), "age"), "t.schema.toml:2: declares `age`, which the table does not have"),
    ],
)
def test_a_bad_table_is_refused_by_column_and_row(tmp_path, rows, said):
    """The message names the file, the column and the first row, and shows no cell's value."""
    path = _write(tmp_path, rows)
    with pytest.raises(TableError) as caught:
        read_dataset(path)
    error = caught.value
    assert said in error.what and error.where == str(path)
    assert error.why and error.fix
    assert not any(value in error.what for value in ("ancient", "golden", "perhaps"))


def test_all_problems_are_told_at_once(tmp_path):
    """One reading is enough to know everything that is wrong."""
    rows = _with(_with(_with(_rows(), 2, unit_id=""), 3, label="7"), 4, age="ancient")
    with pytest.raises(TableError) as caught:
        read_dataset(_write(tmp_path, rows))
    assert [problem.where.split(" ")[0] for problem in caught.value.problems] == ["unit_id", "label", "t.schema.toml:2"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('[columns."shoes"]\nkind = "number"\n', "t.schema.toml:1: declares `shoes`, which the table does not have"),
        ('[columns.age]\nkind = "number"\nlow = 80\nhigh = 10\n', "t.schema.toml:3: `age`: low (80) is not below high"),
        ('[columns.age]\nkind = "number"\nlow = 8\nhigh = 8\n', "t.schema.toml:3: `age`: low (8) is not below high"),
        ('[columns.age]\nkind = "number"\nlow = 8\n', "t.schema.toml:2: `age`: `high` is missing"),
        (
            '[columns.age]\nkind = "number"\nlow = 0\nhigh = inf\n',
            "t.schema.toml:3: `age`: low and high must",
        ),
        ('[columns.age]\nkind = "number"\nlow = "a"\nhigh = 3\n', "t.schema.toml:3: `age`: `low`"),
        ('[columns.age]\nkind = "number"\nvalues = ["a"]\n', "t.schema.toml:3: `age`: a number has no values"),
        ('[columns.plan]\nkind = "category"\nlow = 0\n', "t.schema.toml:3: `plan`: a category has no low or high"),
        ('[columns.plan]\nkind = "category"\nvalues = []\n', "t.schema.toml:3: `plan`: the list of values is empty"),
        (
            '[columns.plan]\nkind = "category"\nvalues = ["a", "a"]\n',
            "t.schema.toml:3: `plan`: a value is listed",
        ),
        ('[columns.age]\nkind = "colour"\n', "t.schema.toml:2: `age`: `kind`"),
        ("[columns.age]\nlow = 0\nhigh = 1\n", "t.schema.toml:1: `age`: `kind`"),
        ('[columns.age]\nkind = "number"\nlowest = 0\n', "t.schema.toml:3: `age`: unknown key `lowest`"),
        ('[columns.label]\nkind = "number"\n', "t.schema.toml:1: `label` is not a feature"),
        ('tusk = "churn"\n[columns.age]\nkind = "number"\n', "t.schema.toml: unknown key `tusk`"),
        ('task = 3\n[columns.age]\nkind = "number"\n', "t.schema.toml: `task` is not text"),
        ('task = "churn"\n', "t.schema.toml: has no [columns] table"),
        ("columns = [\n", "t.schema.toml: is not TOML"),
    ],
)
def test_a_bad_schema_file_is_refused_by_line(tmp_path, schema, said):
    """The message names the schema file, the line and the column."""
    path = _write(tmp_path, _rows(), schema)
    with pytest.raises(TableError) as caught:
        read_dataset(path)
    assert said in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"  \n \n", "the file is empty"),
        ("t.csv.gz", gzip.compress(b""), "the file is empty"),
        ("t.csv.gz", b"not gzip at all", "cannot be unpacked"),
        ("t.csv.gz", gzip.compress(b"unit_id,org,label\n" * 99)[:-20], "cannot be unpacked"),
        ("t.csv", b"unit_id,org,label,age\n", "the table has a header and no rows"),
        ("t.csv", b"unit_id,org,label,age", "the table has a header and no rows"),
        ("t.csv", b"unit_id,org,label,age,age\n1,a,0,1,2\n", "two columns are named age"),
        ("t.csv", b"unit_id,org,label,\n1,a,0,1\n", "a column has no name"),
        ("t.csv", b"unit_id;org;label;age\n1;a;0;3\n", "the first line names one column only"),
        ("t.csv", b"unit_id,org,label,age\n1,a,0,3,9,9\n", "rows do not have the header's number of cells"),
        ("t.csv", b"\xff\xfe\x00u\x00n\xd8", "not text in UTF-8"),
        ("t.parquet", b"PAR1 no parquet here", "cannot be read as parquet"),
        ("t.parquet", bytes(range(256)) * 9, "cannot be read as parquet"),
        ("t.xlsx", b"PK", "not a known kind of table"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, said):
    """Empty, cut, foreign and header-only files end in one error that names the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TableError) as caught:
        read_dataset(path)
    assert said in caught.value.what and str(path) == caught.value.where
    assert caught.value.fix


def test_a_cut_parquet_and_a_missing_file_are_refused(tmp_path):
    """Half a parquet file, no file, a folder in its place."""
    whole = _write(tmp_path, _rows(), name="t.parquet")
    whole.write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "folder.csv").mkdir()
    for name, said in (("t.parquet", "as parquet"), ("none.csv", "no such file"), ("folder.csv", "no such file")):
        with pytest.raises(TableError, match=said):
            read_dataset(tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_every_kind_of_file_gives_the_same_tables(tmp_path, name):
    """Organisations, units, declared columns, values, labels and task."""
    dataset = read_dataset(_write(tmp_path, _rows(), name=name))
    assert (dataset.name, dataset.task, dataset.rows, dataset.units) == ("t", "churn", 8, 8)
    assert dataset.schema.columns == (NumberColumn("age", 0, 90), CategoryColumn("plan", ("basic", "team")))
    north = dataset.tables["north"]
    assert list(dataset.tables) == ["north", "south"] and north.unit_ids == ("u0", "u2", "u4", "u6")
    np.testing.assert_array_equal(north.numbers[:, 0], [20, 22, 24, 26])
    np.testing.assert_array_equal(north.codes[:, 0], [0, 0, 0, 0])
    np.testing.assert_array_equal(north.label, [0, 1, 0, 1])
    assert dataset.notes == () and dataset.times is None


def test_without_a_schema_file_kinds_follow_the_cells(tmp_path):
    """Numbers stay undeclared, text is hashed to public buckets, nothing of the data enters the schema."""
    dataset = read_dataset(_write(tmp_path, _rows(), None))
    assert dataset.schema.columns == (NumberColumn("age"), CategoryColumn("plan"))
    codes = np.concatenate([table.codes for table in dataset.tables.values()])
    assert ((codes >= 0) & (codes < HASH_BUCKETS)).all() and dataset.task == "unstated"


def test_several_rows_of_a_unit_become_neighbours(tmp_path):
    """Rows scattered over the file are gathered under their unit, in file order."""
    rows = [{**row, "unit_id": f"{row['org']}{i % 3}"} for i, row in enumerate(_rows(12))]
    dataset = read_dataset(_write(tmp_path, rows))
    assert dataset.rows == 12 and dataset.units == len({row["unit_id"] for row in rows})
    for name, table in dataset.tables.items():
        for at, unit in enumerate(table.unit_ids):
            own = [float(row["age"]) for row in rows if row["unit_id"] == unit and row["org"] == name]
            assert table.numbers[table.offsets[at] : table.offsets[at + 1], 0].tolist() == own


def test_odd_cells_are_read_and_noted(tmp_path):
    """Outside the range, unseen, missing in several spellings, infinite: each is kept or missing, and said so."""
    rows = _with(_with(_with(_rows(), 0, age="500"), 2, plan="golden"), 4, age="NA", plan="")
    rows = _with(rows, 6, age="-inf")
    dataset = read_dataset(_write(tmp_path, rows))
    north = dataset.tables["north"]
    np.testing.assert_array_equal(north.numbers[:, 0], [500, 22, np.nan, np.nan])
    np.testing.assert_array_equal(north.codes[:, 0], [0, 2, MISSING, 0])
    said = {(note.where, note.what.split(" ", 1)[1]) for note in dataset.notes}
    assert said == {
        ("age", "infinite values count as missing"),
        ("age", "values lie outside the declared range; a learner clamps them to it"),
        ("plan", "values are not on the declared list; they count as one level, other"),
    }


def test_columns_without_a_value_and_constant_ones_are_kept_and_noted(tmp_path):
    """An all-missing column stays a column of every organisation."""
    dataset = read_dataset(_write(tmp_path, _all_with(_rows(), age="", plan="team")))
    assert np.isnan(dataset.tables["south"].numbers).all()
    assert {(note.where, note.what) for note in dataset.notes} == {
        ("age", "every value is missing"),
        ("plan", "constant"),
    }


def test_one_class_at_one_organisation_is_no_error(tmp_path):
    """Labels of one organisation may all agree."""
    rows = [{**row, "label": "0"} if row["org"] == "south" else row for row in _rows()]
    assert read_dataset(_write(tmp_path, rows)).tables["south"].label.sum() == 0


def test_a_column_that_is_two_things_is_refused(tmp_path):
    """Many numbers at one organisation and text at another cannot be one undeclared column."""
    rows = [{**row, "age": row["age"] if row["org"] == "north" else "young"} for row in _rows(60)]
    with pytest.raises(TableError, match="age: holds numbers at north and text at south"):
        read_dataset(_write(tmp_path, rows, None))


def test_time_columns_are_never_features(tmp_path):
    """month_index and declared time columns give months, not features."""
    rows = [{**row, "month_index": str(i), "day": str(i % 3)} for i, row in enumerate(_rows())]
    dataset = read_dataset(_write(tmp_path, rows, SCHEMA + '[columns.day]\nkind = "time"\n'))
    assert [column.name for column in dataset.schema.columns] == ["age", "plan"]
    assert dataset.times is not None and dataset.times["north"].tolist() == [0, 2, 4, 6]


def _shared_tables() -> list[Path]:
    beside = Path(__file__).resolve().parents[2].parent / "shared"
    return sorted((Path(os.environ.get("FEDCRM_SHARED", beside)) / "data").glob("*.csv.gz"))


@pytest.mark.shared
@pytest.mark.parametrize("path", _shared_tables() or [None], ids=lambda path: path.name if path else "absent")
def test_evaluation_tables_hold_nine_organisations(path):
    """Each evaluation table reads whole, every label 0 or 1."""
    if path is None:
        pytest.skip("no evaluation tables beside the checkout")
    dataset = read_dataset(path)
    assert len(dataset.tables) == 9 and dataset.schema.columns
    assert all(table.rows and set(np.unique(table.label)) <= {0, 1} for table in dataset.tables.values())
