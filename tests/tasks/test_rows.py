"""Rows come from files of many kinds, folders and memory, the same whichever it is; and a broken one says where."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict, disable_progress_bars
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.tasks.files import load_task
from tapioca.tasks.rows import read_rows
from tapioca.tasks.rows.tables import rows_in_memory
from tapioca.tasks.text import Encoder

disable_progress_bars()

ROWS: list[dict[str, Any]] = [
    {"context": "the cat", "choices": ["sat", "ran on"], "answer": 0},
    {"context": "a dog, it", "choices": ["was", "ran"], "answer": 1},
    {"context": 'the "big"\nmat', "choices": ["it's", 'a "rug"'], "answer": 1},
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def fields(path: Path | str) -> list[dict[str, Any]]:
    return [row.fields for row in read_rows(Path(path))]


def places(path: Path | str) -> list[str]:
    return [row.where.rpartition("/")[2] for row in read_rows(Path(path))]


def refused(path: Path, content: bytes) -> str:
    """The one line with which a file is refused, from the name of the file on."""
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", LINES),
        ("ROWS.JSONL", LINES),
        ("bom.jsonl", b"\xef\xbb\xbf" + LINES),
        ("dos.jsonl", LINES.replace(b"\n", b"\r\n\r\n")),
        ("rows.jsonl.gz", gzip.compress(LINES)),
        ("rows.jsonl.bz2", bz2.compress(LINES)),
        ("rows.jsonl.xz", lzma.compress(LINES)),
        ("lines.json", LINES),
        ("list.json", json.dumps(ROWS, indent=1).encode()),
        ("list.json.gz", gzip.compress(json.dumps(ROWS).encode())),
        ("data.json", json.dumps({"version": 2, "data": ROWS}).encode()),
        ("columns.json", json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}).encode()),
        ("pandas.json", pd.DataFrame(ROWS).to_json().encode()),
        ("records.json", pd.DataFrame(ROWS).to_json(orient="records").encode()),
        ("lines.jsonl", pd.DataFrame(ROWS).to_json(orient="records", lines=True).encode()),
    ],
)
def test_the_same_rows_from_json_in_every_form(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert fields(tmp_path / name) == ROWS


def test_rows_say_where_they_stand(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", ROWS[:2])
    (tmp_path / "b.json").write_text(json.dumps(ROWS[:2]))
    assert places(tmp_path / "a.jsonl") == ["a.jsonl:1", "a.jsonl:2"]
    assert places(tmp_path / "b.json") == ["b.json row 0", "b.json row 1"]


TEXTS = [{name: str(row[name]) if name == "answer" else row[name] for name in row} for row in ROWS]
"""The same rows where all but lists is text."""


@pytest.mark.parametrize("write", [json.dumps, str, lambda choices: str(np.array(choices))])
@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_the_same_rows_from_tables_in_every_form(tmp_path: Path, write: Any, name: str, delimiter: str) -> None:
    frame = pd.DataFrame([{**row, "choices": write(row["choices"])} for row in ROWS])
    frame.to_csv(tmp_path / name, sep=delimiter, index=False)
    assert fields(tmp_path / name) == TEXTS
    assert places(tmp_path / name) == [f"{name}:2", f"{name}:3", f"{name}:4"]
    frame.to_csv(tmp_path / f"{name}.gz", sep=delimiter, index=False, encoding="utf-8-sig", lineterminator="\r\n")
    assert fields(tmp_path / f"{name}.gz") == TEXTS


def test_a_row_of_several_lines_stands_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"one\ntwo",x\n\n"three\nfour",y\n')
    assert places(tmp_path / "a.csv") == ["a.csv:2", "a.csv:5"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("['sat', 'ran']", ["sat", "ran"]),
        ("['sat'\n 'ran']", ["sat", "ran"]),
        ("[1, 2.5, None, True]", [1, 2.5, None, True]),
        ('["sat", null]', ["sat", None]),
        ("""["it's" 'a "rug"']""", ["it's", 'a "rug"']),
        ("['sat' 'ran', 'was']", "['sat' 'ran', 'was']"),
        ("['sat' 'ran' ... 'was']", "['sat' 'ran' ... 'was']"),
        ("[0.1 0.25]", "[0.1 0.25]"),
        ("('sat', 'ran')", "('sat', 'ran')"),
        ("{'a': 1}", "{'a': 1}"),
        ("[laughs] he said", "[laughs] he said"),
        ("[laughs]", "[laughs]"),
        ("['a', nan]", "['a', nan]"),
        ("[open('x')]", "[open('x')]"),
        ("[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
        ("1, 2", "1, 2"),
    ],
)
def test_cells_that_are_lists_and_cells_that_are_text(tmp_path: Path, cell: str, value: Any) -> None:
    pd.DataFrame([{"text": "a", "cell": cell}]).to_csv(tmp_path / "a.csv", index=False)
    assert fields(tmp_path / "a.csv") == [{"text": "a", "cell": value}]


def test_a_long_cell_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text,label\n{'a' * 200_000},x\n")
    assert len(fields(tmp_path / "a.csv")[0]["text"]) == 200_000


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        ("text", "x", ["text"]),
        ("my text;the label", "x;x", ["my text", "the label"]),
        ('"a;b",c', "x,x", ["a;b", "c"]),
        ("a,b;c;d", "x;x;x", ["a,b", "c", "d"]),
        ("a,b;c", "x,x", ["a", "b;c"]),
        ("a\tb,c\td", "x\tx\tx", ["a", "b,c", "d"]),
        ('"a\nb";c', "x;x", ["a\nb", "c"]),
    ],
)
def test_the_header_says_what_separates_columns(tmp_path: Path, header: str, row: str, names: list[str]) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n{row}\n")
    assert fields(tmp_path / "a.csv") == [dict.fromkeys(names, "x")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), "a.jsonl:1 is UTF-16, not UTF-8 text; save it as UTF-8"),
        ("a.csv", "a;b\n1;2\n".encode("utf-16"), "a.csv is UTF-16, not UTF-8 text; save it as UTF-8"),
        ("a.csv", "a,b\n1,é\n".encode("latin-1"), "a.csv is not UTF-8 text (byte 6); save it as UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', "a.jsonl:2 is not UTF-8 text (byte 7); save it as UTF-8"),
        ("a.jsonl.gz", b"", "a.jsonl.gz has no rows; expected at least one"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "a.jsonl.gz has no rows; expected at least one"),
        (
            "a.jsonl.gz",
            gzip.compress(LINES)[:-12],
            "cannot read a.jsonl.gz: it breaks off in the middle; copy or download it again",
        ),
        ("a.csv.gz", b"a,b\n1,2\n", "cannot read a.csv.gz: Not a gzipped file (b'a,')"),
        ("a.csv.xz", b"a,b\n1,2\n", "cannot read a.csv.xz: Input format not supported by decoder"),
        ("a.csv.bz2", b"a,b\n1,2\n", "cannot read a.csv.bz2: Invalid data stream"),
        ("a.csv", b"a,b\n", "a.csv has no rows; expected at least one"),
        ("a.csv", b"a,b,a\n1,2,3\n", "a.csv:1: two columns share a name, 'a'; columns must differ"),
        ("a.csv", b"a,b\n1,2\n\n1,2,3\n", "a.csv:4: expected 2 columns as in the header, got 3"),
        ("a.csv", b'a,b\n"1"x,2\n', "a.csv:2: malformed CSV (',' expected after '\"')"),
        ("a.csv", b'a,b\n1,"2\n', "a.csv:2: malformed CSV (unexpected end of data)"),
        ("a.tsv", b"a,b\n1\t2\n", "a.tsv:2: expected 1 columns as in the header, got 2"),
        ("a.json", b"", "a.json has no rows; expected at least one"),
        ("a.json", b"[]", "a.json has no rows; expected at least one"),
        ("a.json", b'[{"a": 1}, 2]', "a.json row 1: expected a JSON object with named fields, got int"),
        ("a.json", b'[{"a": NaN}]', "a.json: not JSON (NaN is no number in JSON)"),
        ("a.json", b'[{"a": 1},', "a.json: not JSON (Expecting value: line 1 column 11 (char 10))"),
        (
            "a.json",
            b'{"a": 1}\n{"a"\n',
            "a.json:2: not a JSON object (Expecting ':' delimiter: line 2 column 1 (char 5))",
        ),
        *(
            (
                "a.json",
                content,
                "a.json: which of this are the rows? expected a list of rows, an object with one such list, or columns of one length",
            )
            for content in (
                b'{"train": [{"a": 1}], "test": [{"a": 2}]}',
                b'{"a": [1, 2], "b": [1]}',
                b'{"q1": {"a": 1}, "q2": {"a": 2}}',
                b'{"a": 1}',
                b"3",
            )
        ),
        ("a.txt.gz", b"", "a.txt.gz: cannot read '.txt' files; "),
        ("a.gz", b"", "a.gz: cannot read '.gz' files; "),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    assert refused(tmp_path / name, content).startswith(message)


def test_parts_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for name, rows in (("b.jsonl", ROWS[1:2]), ("a.jsonl", ROWS[:1]), ("c.jsonl.gz", [])):
        (shards / name).write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    (shards / "c.jsonl.gz").write_bytes(gzip.compress(LINES))
    (shards / "README.md").write_text("about")
    (shards / "_SUCCESS.csv").write_text("")
    (shards / ".hidden.csv").write_text("")
    expected = ["a.jsonl:1", "b.jsonl:1", "c.jsonl.gz:1", "c.jsonl.gz:2", "c.jsonl.gz:3"]
    assert places(shards) == places(shards / "*.jsonl*") == places(tmp_path / "**" / "*.jsonl*") == expected
    assert places(shards / "[ab].jsonl") == expected[:2]
    (shards / "[ab].jsonl").write_text(json.dumps(ROWS[2]))
    assert places(shards / "[ab].jsonl") == ["[ab].jsonl:1"]


def test_a_part_without_rows_is_no_mistake_but_parts_without_rows_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n")
    with pytest.raises(DataError, match="has no rows; expected at least one"):
        read_rows(tmp_path)
    (tmp_path / "b.csv").write_text("text\nx\n")
    assert places(tmp_path) == ["b.csv:2"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": ""}, "no data files in .*; expected .jsonl, .json, .csv"),
        ({"a.csv": "x\n1\n", "b.jsonl": "{}"}, r"files of several kinds \(.csv, .jsonl\); name one kind"),
        ({"train-0.csv": "x\n1\n", "test-0.csv": "x\n1\n"}, r"files of several splits \(test, train\); name one"),
        (
            {"a.csv": "x,y\n1,2\n", "b.csv": "x,z\n1,2\n"},
            r"b.csv has other columns than .*a.csv \(y, z\); parts of one",
        ),
        ({"a.csv": "x,y\n1,2\n", "b.csv": "x,y\n1\n"}, r"b.csv:2: expected 2 columns as in the header, got 1"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path)


def test_a_pattern_without_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data files in .*\*\.csv"):
        read_rows(tmp_path / "*.csv")


def test_parquet_parts_and_their_columns(tmp_path: Path) -> None:
    for number in range(2):
        Dataset.from_list(ROWS[number : number + 1]).to_parquet(tmp_path / f"{number}.parquet")
    assert fields(tmp_path) == ROWS[:2]
    assert places(tmp_path) == ["0.parquet row 0", "1.parquet row 0"]
    Dataset.from_list([{"x": 1}]).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2.parquet has other columns than .*0.parquet"):
        read_rows(tmp_path)


def test_folders_of_save_to_disk(tmp_path: Path) -> None:
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    assert fields(tmp_path / "one") == fields(f"hub:{tmp_path / 'one'}") == ROWS
    assert places(tmp_path / "one")[2] == "one row 2"
    splits = {"test": Dataset.from_list(ROWS[:1]), "train": Dataset.from_list(ROWS[1:])}
    DatasetDict(splits).save_to_disk(tmp_path / "two")
    assert fields(tmp_path / "two") == fields(tmp_path / "two" / "train") == ROWS[1:]
    assert places(tmp_path / "two") == ["two train row 0", "two train row 1"]
    assert fields(f"hub:{tmp_path / 'two'},split=test") == fields(tmp_path / "two" / "test") == ROWS[:1]
    with pytest.raises(DataError, match=r"hub:.*two: the data set has no split 'dev'; known: test, train"):
        read_rows(Path(f"hub:{tmp_path / 'two'},split=dev"))
    with pytest.raises(DataError, match="holds one data set and no splits; leave out split=dev"):
        read_rows(Path(f"hub:{tmp_path / 'one'},split=dev"))
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot read .*one: .*; expected a folder that save_to_disk wrote"):
        read_rows(tmp_path / "one")


def test_a_yaml_stands_beside_a_compressed_file_and_a_folder(tmp_path: Path) -> None:
    encoder = Encoder(word_tokenizer(), 128)
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(b'{"story": "the cat", "choices": ["sat", "ran"], "answer": 0}')
    )
    (tmp_path / "v1.0").mkdir()
    write_lines(tmp_path / "v1.0" / "x.jsonl", [{"story": "a dog", "choices": ["sat", "ran"], "answer": 1}])
    for name in ("a.yaml", "v1.0.yaml"):
        (tmp_path / name).write_text("fields: {context: story}\n")
    (tmp_path / "other.yaml").write_text("data: v1.0/*.jsonl\nfields: {context: story}\n")
    golds = [
        load_task(str(tmp_path / name), encoder, {}).examples[0].gold for name in ("a.jsonl.gz", "v1.0", "other.yaml")
    ]
    assert golds == [0, 1, 1]


IN_MEMORY = {
    "a list of dicts": lambda rows: rows,
    "tuples and arrays": lambda rows: tuple(
        {**row, "choices": tuple(row["choices"]), "answer": np.int64(row["answer"])} for row in rows
    ),
    "a data frame": pd.DataFrame,
    "a data frame with arrays": lambda rows: pd.DataFrame(
        [{**r, "choices": np.array(r["choices"], dtype=object)} for r in rows]
    ),
    "a data frame with an index": lambda rows: pd.DataFrame(rows, index=[7, 7, 9]),
    "a data set": Dataset.from_list,
    "a data set in memory of pandas": lambda rows: Dataset.from_list(rows).with_format("pandas"),
}


@pytest.mark.parametrize("form", IN_MEMORY)
def test_the_same_rows_in_memory(form: str) -> None:
    rows = rows_in_memory(IN_MEMORY[form](ROWS))
    assert [row.fields for row in rows] == ROWS
    assert [type(row.fields["answer"]) for row in rows] == [int] * 3
    assert [row.where for row in rows] == ["row 0", "row 1", "row 2"]


def test_missing_values_of_a_frame_are_none() -> None:
    frame = pd.DataFrame({"a": ["x", None], "b": [1.5, np.nan], "c": pd.Categorical(["u", None]), 3: [True, False]})
    assert rows_in_memory(frame)[1].fields == {"a": None, "b": None, "c": None, "3": False}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the data in memory has no rows; expected at least one"),
        (pd.DataFrame({"a": []}), "the data in memory has no rows"),
        (["the cat"], "row 0: expected a dict with named fields, got str"),
        ([{"a": 1}, None], "row 1: expected a dict with named fields, got NoneType"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns share a name, 'a'; columns must differ"),
        (pd.Series([1]), "got rows as a Series; expected a pandas DataFrame, a datasets.Dataset or a list of dicts"),
        ({"a": [1]}, "got rows as a dict; expected a pandas DataFrame"),
        (iter([{"a": 1}]), "got rows as a list_iterator; expected a pandas DataFrame"),
        (DatasetDict({"train": Dataset.from_list(ROWS)}), "got rows as a DatasetDict; expected a pandas DataFrame"),
        (3, "got rows as a int"),
    ],
)
def test_what_is_in_memory_but_no_rows(rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows_in_memory(rows)
