"""Documents made up from nothing: by hypothesis, from the words of a language, or of odd types of Arrow."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["question", "choices", "gold", "answer", "label", "text", "target", "inputs", "group", "id"])
ROWS = st.lists(st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=6) | VALUES, max_size=6)

TEMPLATE_WORDS = (
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{{ question }}",
        "{{ choices }}",
        "{{ nothing }}",
        "{{ 1 // 0 }}",
        "if",
        "for",
        "x",
    ),
    *(
        "in",
        "endif",
        "endfor",
        "set",
        "macro",
        "|",
        "trim",
        "upper",
        "join(',')",
        "first",
        ".",
        "[0]",
        "[9]",
        "(",
        ")",
        "'",
        '"',
    ),
    *(
        "question",
        "choice",
        "self",
        "loop",
        "range(9)",
        "+",
        "*",
        "%",
        "~",
        "is",
        "not",
        "defined",
        "{%- ",
        " -%}",
        "\n",
        "é",
    ),
    *(
        "raw",
        "endraw",
        "include 'x'",
        "import 'x' as y",
        "extends 'x'",
        "block b",
        "call",
        "filter upper",
        "\0",
        "\ud800",
    ),
)
YAML_WORDS = (
    *(
        "data: rows.jsonl",
        "kind",
        "choice",
        ":",
        " ",
        "\n",
        "- ",
        "  ",
        "fields",
        "&a",
        "*a",
        "!!",
        "!",
        "[",
        "]",
        "{",
        "}",
    ),
    *(
        "|",
        ">",
        "'",
        '"',
        "#",
        "?",
        "---",
        "...",
        "%",
        "@",
        "`",
        ",",
        "2024-02-30",
        "1",
        ".",
        "~",
        "<<",
        "template",
        "labels",
    ),
    *(
        "note",
        "int",
        "float",
        "timestamp",
        "binary",
        "set",
        "omap",
        "map",
        "str",
        "python/tuple",
        "é",
        "\t",
        "\r",
        "\0",
        "\\",
    ),
)

ARROW_COLUMNS: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: pyarrow.array([rng.choice((2**62, -(2**62), 253402300800 * 10**6))] * 4, pyarrow.timestamp("us")),
    lambda rng: pyarrow.array([rng.choice((2**31 - 1, -(2**31)))] * 4, pyarrow.date32()),
    lambda rng: pyarrow.array([86_400_000 * rng.choice((10**9, -(10**9), 1))] * 4, pyarrow.date64()),
    lambda rng: pyarrow.array([2**62] * 4, pyarrow.duration("s")),
    lambda rng: pyarrow.array([1] * 4, pyarrow.duration("ns")),
    lambda rng: pyarrow.array([1] * 4, pyarrow.timestamp("ns", tz=rng.choice(("UTC", "Mars/Olympus", "+25:00")))),
    lambda rng: pyarrow.array([1] * 4, pyarrow.time64("ns")),
    lambda rng: pyarrow.array([Decimal("1.5")] * 4, pyarrow.decimal128(38, 10)),
    lambda rng: pyarrow.array([b"\xff\xfe"] * 4, pyarrow.binary()),
    lambda rng: pyarrow.StringArray.from_buffers(
        4, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"), pyarrow.py_buffer(b"\xff\xfe\xfd\xfc")
    ),
    lambda rng: pyarrow.array([2**64 - 1] * 4, pyarrow.uint64()),
    lambda rng: pyarrow.array([float("nan"), float("inf"), 1.0, None]),
    lambda rng: pyarrow.array([None] * 4, pyarrow.null()),
    lambda rng: pyarrow.array(
        [[("a", 1)], [], None, [("a", 1), ("a", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int8())
    ),
    lambda rng: pyarrow.array([{"a": {"b": [1]}}] * 4),
    lambda rng: pyarrow.array(["yes", "no", "yes", None]).dictionary_encode(),
    lambda rng: pyarrow.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None, None]),
    lambda rng: pyarrow.array([["yes", "no"]] * 4),
    lambda rng: pyarrow.array(["the cat", "the dog", "", "\0"]),
    lambda rng: pyarrow.array([0, 1, 0, 1]),
)


def draw(strategy: st.SearchStrategy[Any], count: int, start: int) -> list[Any]:
    """Values that hypothesis makes up; the same for the same start."""
    drawn: list[Any] = []

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        drawn.append(value)

    collect()
    return drawn


def write_rows(path: Path, rng: random.Random) -> None:
    """Rows of any form, as the end of the name says."""
    rows = draw(ROWS, 2, rng.randrange(2**32))[-1]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        cells = [[*map(str, row.values())] if isinstance(row, dict) else [str(row)] for row in rows]
        lines = [["question", "choices", "gold"], *cells]
        path.write_text("\n".join(delimiter.join(line) for line in lines), errors="replace")


def write_arrow(path: Path, rng: random.Random) -> None:
    """A table with columns of odd types, under names that tasks have."""
    names = rng.sample(["question", "choices", "gold", "group", "x", "y", ""], rng.choice((1, 2, 3, 5)))
    if rng.random() < 0.1:
        names[-1] = names[0]
    table = pyarrow.table([rng.choice(ARROW_COLUMNS)(rng) for _ in names], names=names)
    if rng.random() < 0.3:
        noted = rng.choice(
            (b"{", b"[]", b'{"info": 1}', b'{"info": {"features": {"x": {"_type": "Nothing"}}}}', b"\xff")
        )
        table = table.replace_schema_metadata({b"huggingface": noted})
    pyarrow.parquet.write_table(table, path)


def write_yaml(path: Path, rng: random.Random) -> None:
    """Words of YAML in any order."""
    path.write_text("".join(rng.choices(YAML_WORDS, k=rng.randrange(1, 30))))


def write_json(path: Path, rng: random.Random) -> None:
    """Any document."""
    path.write_text(json.dumps(draw(VALUES, 2, rng.randrange(2**32))[-1]))


def make_template(rng: random.Random) -> str:
    """Words of Jinja in any order."""
    return " ".join(rng.choices(TEMPLATE_WORDS, k=rng.randrange(1, 12)))
