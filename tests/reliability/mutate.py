"""Damage: what disks, editors and people make of a file, drawn from a seed."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEEP = 100_000

RAW = {
    "@NaN@": "NaN",
    "@infinity@": "-Infinity",
    "@beyond a float@": "1e999",
    "@400 digits@": "9" * 400,
    "@5000 digits@": "-" + "7" * 5000,
    "@deep list@": "[" * DEEP + "]" * DEEP,
    "@deep object@": '{"a":' * DEEP + "1" + "}" * DEEP,
    "@unclosed@": "[" * DEEP,
    "@bare word@": "nul",
    "@twice@": '{"a": 1, "a": [2]}',
    "@surrogate@": '"\\ud800"',
    "@nul@": '"a\\u0000b"',
}
"""JSON that no value of Python becomes, by the text that stands for it until the document is written."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 2**63, 2**64, -(2**70), 0.5, -1e300, 1e-320),
    *("", " ", "x", "../../etc/passwd", "a" * 300, "é\u202e[/b][red]", "<b>&amp;", "{{ x }}", "2024-02-30", "\n", "0"),
    *(
        [],
        [[]],
        [None],
        [0, "a"],
        list(range(1000)),
        {},
        {"": ""},
        {"a": {"b": []}},
        {"0": 0},
        ["a", ["b", {"c": None}]],
    ),
    *RAW,
)

YAML_VALUES = (
    *(
        "2024-02-30",
        "2024-13-01T99:99:99Z",
        "!!timestamp x",
        "!!int x",
        '!!int ""',
        "!!float .",
        "!!binary '!'",
        "!!bool x",
    ),
    *("0x", "0b_", "1:99:99:9", "-0o8", "1e400", ".nan", "-.inf", "!!null x", "=", "<<", "~", "!!str [a]", "!!seq a"),
    *(
        "&a [*a]",
        "*nothing",
        "&a {b: *a}",
        "{<<: 3}",
        "{<<: [1]}",
        "!!set {a, b}",
        "!!omap [1]",
        "!!pairs [[a]]",
        "{[a]: b}",
    ),
    *("!!python/object:os.system x", "!!python/name:os.system", "!<tag:yaml.org,2002:int> a", "!x y", "!!omap {a: b}"),
    *(
        '"\\ud800"',
        '"\\x"',
        '"\\U00110000"',
        '"\\0"',
        "'",
        '"',
        "|",
        ">9",
        "- -",
        "\t",
        "`a`",
        "@a",
        "%a",
        "a: b: c",
        "? x",
    ),
    *("[" * 3000, "{a: " * 3000, "[" * 2000 + "]" * 2000, "- " * 3000, "9" * 400, "9" * 5000, "a" * 70000, "!" * 3000),
    *(
        "!!int 0x",
        "!!int +",
        "!!float 1:a",
        "!!timestamp 2001-99-99",
        "!!set [a]",
        "{? [a] : b}",
        "[a, b",
        "{a: b",
        "-",
    ),
    *(
        "[]",
        "{}",
        "1",
        "-1",
        "0.0",
        "null",
        "true",
        "'x'",
        "[1, a]",
        "{a: 1}",
        "hub:",
        "lab:",
        "harness:",
        "../x",
        "/dev/null",
    ),
)

Damage = Callable[[Path, random.Random], None]


def damage_bytes(path: Path, rng: random.Random) -> None:
    """Flip, cut, double, or fill in some bytes."""
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice((1, 2, 8, 64, 4096)))
    kind = rng.randrange(9)
    if kind < 3:
        for _ in range(rng.choice((1, 1, 2, 8, 64))):
            if content:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 3:
        content = content[:start]
    elif kind == 4:
        del content[start:end]
    elif kind == 5:
        content[start:start] = content[start:end] * rng.choice((1, 2, 50))
    elif kind == 6:
        content[start:end] = rng.randbytes(end - start)
    elif kind == 7:
        content[start:start] = rng.choice(
            (b"\0", b"\xff", b"\xed\xa0\x80", b"[", b"{", b"}", b'"', b"\r", b",", b":", b"-")
        )
    else:
        content = content[start:] + content[:start]
    path.write_bytes(content)


def damage_encoding(path: Path, rng: random.Random) -> None:
    """Save it as another program would."""
    content = path.read_bytes()
    text = content.decode("utf-8", "replace")
    path.write_bytes(
        rng.choice(
            (
                b"\xef\xbb\xbf" + content,
                b"\xef\xbb\xbf" * 2 + content,
                text.encode("utf-16"),
                text.encode("utf-16-be"),
                text.encode("utf-32"),
                (text + "é").encode("latin-1", "replace"),
                b"",
                b"\0" * rng.choice((1, 100, 4096)),
                b" \n\t\r\n",
                content.replace(b"\n", b"\r"),
                content + b"\x1a",
                content * 2,
                b"\x1f\x8b" + content,
                b"PK\x03\x04" + content,
            )
        )
    )


def damage_place(path: Path, rng: random.Random) -> None:
    """Put something else in its place."""
    path.unlink()
    kind = rng.randrange(6)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to(path.name)
    elif kind == 2:
        path.symlink_to("nothing")
    elif kind == 3:
        os.mkfifo(path)
    elif kind == 4:
        path.symlink_to("/dev/null")


def damage_json(path: Path, rng: random.Random) -> None:
    """Change a few of a document's values, names or kinds; in JSON Lines those of one line."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    number = rng.randrange(len(lines))
    document = json.loads(lines[number])
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        document = _damage_tree(document, rng)
    text = json.dumps(document)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    lines[number] = text
    path.write_text("\n".join(lines) + "\n")


def _damage_tree(tree: Any, rng: random.Random) -> Any:
    if not (isinstance(tree, dict | list) and tree) or rng.random() < 0.05:
        return rng.choice(VALUES)
    tree = tree.copy()
    key = rng.choice(list(tree)) if isinstance(tree, dict) else rng.randrange(len(tree))
    if rng.random() < 0.6 and isinstance(tree[key], dict | list) and tree[key]:
        tree[key] = _damage_tree(tree[key], rng)
        return tree
    kind, child = rng.randrange(8), tree[key]
    if kind == 0:
        del tree[key]
    elif kind == 1 and isinstance(tree, dict):
        tree[rng.choice(("", "x", key.upper(), f"{key}_", "_class", "auto_map", "a" * 300))] = tree.pop(key)
    elif kind == 2:
        tree[key] = [child] if rng.random() < 0.5 else {"a": child}
    elif kind == 3:
        tree[key] = str(child)
    elif kind == 4 and isinstance(child, int | float):
        tree[key] = child * rng.choice((-1, 0, 2, 0.5, 10**6, 1e30))
    elif kind == 5 and isinstance(tree, list):
        tree = tree * rng.choice((2, 100))
    else:
        tree[key] = rng.choice(VALUES)
    return tree


def damage_yaml(path: Path, rng: random.Random) -> None:
    """Change a few lines' values, names or indents."""
    lines = path.read_text().splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        number = rng.randrange(len(lines))
        name, colon, _ = lines[number].partition(":")
        kind = rng.randrange(8)
        if kind == 0:
            lines[number] = rng.choice((" ", "\t", "  - ", "")) + lines[number].strip()
        elif kind == 1:
            lines[number] = f"{rng.choice(YAML_VALUES)}{colon} 1"
        elif kind == 2:
            lines.insert(
                number, rng.choice(("---", "...", "%YAML 9.9", "%TAG ! x", "note: 2024-02-30", "<<: *a", "a: &a 1"))
            )
        elif kind == 3:
            lines.insert(number, lines[rng.randrange(len(lines))])
        else:
            lines[number] = f"{name}{colon or ':'} {rng.choice(YAML_VALUES)}"
    path.write_text("\n".join(lines) + "\n")


def restore(pristine: Path, folder: Path) -> Path:
    """A fresh copy of a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(pristine, folder, symlinks=True))
