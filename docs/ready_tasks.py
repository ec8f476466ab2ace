"""Print the table of docs/tasks.md: every ready task on the rows of a folder of hub data sets, and what is refused.

usage: python docs/ready_tasks.py DATASETS TOKENIZER     (DATASETS/OWNER/NAME in the hub's form; a model's folder)

A tokenizer without a chat template, which TALE's variants need, gets a plain one.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

from transformers import AutoTokenizer

from tapioca.errors import DataError
from tapioca.tasks.catalog import CATALOG
from tapioca.tasks.files import load_task
from tapioca.tasks.rows import read_rows
from tapioca.tasks.spec import read_spec
from tapioca.tasks.text import Encoder

CHAT = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"


def main(datasets: str, folder: str) -> None:
    """One line a task and split whose data are there."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = tokenizer.chat_template or CHAT
    encoder = Encoder(tokenizer, 2**20)
    print("| task | split | rows | refused |\n|---|---|---|---|")
    for name, path in CATALOG.items():
        source = str(read_spec(path, {})[0]).removeprefix("hub:")
        home = Path(datasets) / source.partition(",")[0]
        for split in ("train", "validation", "test") if home.is_dir() else ():
            options = [part for part in source.split(",")[1:] if not part.startswith("split=")]
            hub_source = ",".join([f"hub:{home}", *options, f"split={split}"])
            try:
                rows = read_rows(Path(hub_source))
            except DataError:  # the data set has no such split
                continue
            print(f"| {name} | {split} | {len(rows)} | {refused(name, hub_source, encoder)} |", flush=True)


def refused(name: str, hub_source: str, encoder: Encoder) -> str:
    """How many rows are refused, by reason."""
    try:
        task = load_task(name, encoder, {"data": hub_source, "skip_bad_rows": True})
    except DataError as error:
        return f"all: {re.sub(r'.*row [0-9]+: ', '', str(error))[:100]}"
    reasons = Counter(task.skipped)
    return "; ".join(f"{count} {reason}" for reason, count in reasons.items()) or "0"


if __name__ == "__main__":
    main(*sys.argv[1:])
