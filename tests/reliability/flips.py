"""Flip single bits of the files of a run: each flip must be noticed in one line, or change nothing that is found.

    python tests/reliability/flips.py --flips 1000

prints a table of what came of them by state of the run and by file. `--command` lets `tapioca prune` itself go on in every
damaged folder, and `tapioca report` read it, which takes a second or two for each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from rich.console import Console
from rich.table import Table

from reliability.comparable import describe_folder
from tapioca.commands import read_result
from tapioca.errors import TapiocaError
from tapioca.plan import Plan
from tapioca.records import ComputeCost, ExampleScore
from tapioca.runs.store import Store

MANIFEST = {"model": "m", "settings": {"seed": 0, "limit": 40}, "data": {"ood": "a1", "id": "b2"}}
EXAMPLES = {"ood": np.arange(40, dtype=np.uint64), "id": np.arange(100, 140, dtype=np.uint64)}
PLANS = [Plan.full(6), *(Plan.drop(6, [layer]) for layer in range(6)), Plan.scale(6, {2: 0.1})]
BATCHES = [f"{number:016x}" for number in range(6)]
OUTCOMES = ("refused", "computed again, said", "computed again", "nothing changed", "SILENT", "NOT ONE LINE")
"""What may come of a flip; the last two must not."""

Outcome = tuple[str, str]
"""One of the above, and what was said."""


def make_answers(plan: Plan, batch: str) -> tuple[list[ExampleScore], ComputeCost]:
    """What a model would answer, always the same."""
    rng = random.Random(f"{plan} {batch}")
    answers = [
        ExampleScore(rng.random(), -rng.random(), rng.random() < 0.1, predicted=rng.randrange(4)) for _ in range(8)
    ]
    return answers, ComputeCost(rng.random(), 40.0, 900.0, None if rng.random() < 0.5 else 1e-7)


def make_store(folder: Path, state: str) -> None:
    """A store whose run is finished, broke off, or was killed (which leaves the write-ahead log)."""

    def fill(store: Store) -> None:
        for plan in PLANS:
            for batch in BATCHES:
                store.record(plan, batch, *make_answers(plan, batch))

    with contextlib.suppress(InterruptedError), Store(folder, MANIFEST, EXAMPLES) as store:
        fill(store)
        if state == "killed":  # the store as it is now
            shutil.copytree(folder, folder.with_name("copy"), ignore=shutil.ignore_patterns("*-shm", ".*"))
        if state != "finished":
            raise InterruptedError
    if state == "killed":
        shutil.rmtree(folder)
        folder.with_name("copy").rename(folder)


def use_store(folder: Path) -> Outcome:
    """Go on in a store, as a run does: recall what is there, compute what is not, and finish."""
    is_computed = False
    with Store(folder, MANIFEST, EXAMPLES) as store:
        for plan in PLANS:
            for batch in BATCHES:
                answers, spent = make_answers(plan, batch)
                recalled = store.recall(plan, batch)
                if recalled is None:
                    store.record(plan, batch, answers, spent)
                    is_computed = True
                elif recalled != answers or store.recall_cost(plan, batch) != spent:
                    return "SILENT", f"{plan} {batch}"
        found = store.totals(), store.largest_difference()
        notes = " ".join(store.notes)
    seconds = sum(make_answers(plan, batch)[1].seconds for plan in PLANS for batch in BATCHES)
    expected = (len(PLANS), 8 * len(PLANS) * len(BATCHES)), 1e-7
    if (found[0][:2], found[1]) != expected or abs(found[0][2] - seconds) > 1e-9:
        return "SILENT", str(found)
    return ("computed again, said" if notes else "computed again" if is_computed else "nothing changed"), notes


def use_plan(folder: Path) -> Outcome:
    return ("nothing changed" if Plan.read(folder / "plan.json") == PLANS[1] else "SILENT"), ""


def use_record(expected: Any, folder: Path) -> Outcome:
    found, _ = read_result(folder)
    return ("nothing changed" if found.model_copy(update={"folder": expected.folder}) == expected else "SILENT"), ""


def describe_results(folder: Path) -> dict[str, Any]:
    """What a run found, but for where it stands and how long it took."""
    content = describe_folder(folder)
    record = {name: part for name, part in content["run.json"].items() if name not in ("folder", "command")}
    return {"run.json": record} | {name: content[name] for name in ("plan.json", "examples.jsonl", "result.json")}


def use_command(arguments: list[str], expected: dict[str, Any], folder: Path) -> Outcome:
    """Go on by the command itself, and read what it leaves."""
    from tapioca.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "--out", str(folder)]) or main(["report", str(folder)])
    if code:
        said = err.getvalue()
        return ("refused" if code == 2 and said.count("\n") == 1 and str(folder) in said else "NOT ONE LINE"), said
    is_same = describe_results(folder) == expected
    notes = "computed again" in out.getvalue()
    return ("computed again, said" if notes else "nothing changed") if is_same else "SILENT", ""


def flip_and_use(folder: Path, file: str, bit: int, use: Callable[[Path], Outcome]) -> Outcome:
    """Flip one bit of a file of a copy of a folder, and see what comes of it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy)
        content = bytearray((copy / file).read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        (copy / file).write_bytes(content)
        try:
            outcome, said = use(copy)
        except TapiocaError as error:
            said = str(error)
            return ("refused" if "\n" not in said and str(copy) in said else "NOT ONE LINE"), said
        except Exception as error:
            return "NOT ONE LINE", repr(error)
        return outcome, said


def make_cases(folder: Path) -> list[tuple[str, Path, str, Callable[[Path], Outcome], float]]:
    """State, folder, file, what uses it, and its share of the flips."""
    for state in ("finished", "broken off", "killed"):
        make_store(folder / state, state)
        (folder / state / "plan.json").write_text(PLANS[1].to_checked_json() + "\n")
    return [
        ("finished", folder / "finished", "run.sqlite", use_store, 0.4),
        ("broken off", folder / "broken off", "run.sqlite", use_store, 0.2),
        ("killed", folder / "killed", "run.sqlite", use_store, 0.05),
        ("killed", folder / "killed", "run.sqlite-wal", use_store, 0.15),
        ("finished", folder / "finished", "manifest.json", use_store, 0.1),
        ("finished", folder / "finished", "plan.json", use_plan, 0.1),
    ]


def make_run(folder: Path, is_command: bool) -> list[tuple[str, Path, str, Callable[[Path], Outcome], float]]:
    """The same of a run that `tapioca prune` made."""
    from tapioca.cli.main import main

    arguments = ["prune", "learner", "--limit", "40", "--task", "lab:target_offset=2", "--reference", "lab:id"]
    arguments += ["--criterion", "shortgpt", "--max-drops", "2", "--random-plans", "2", "--batch-size", "20"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*arguments, "--out", str(folder)]) == 0
    if not is_command:
        return [("finished", folder, "run.json", partial(use_record, read_result(folder)[0]), 0.1)]
    use = partial(use_command, arguments, describe_results(folder))
    files = ("run.sqlite", "manifest.json", "similarity.json", "run.json", "plan.json")
    return [("command", folder, file, use, 0.2) for file in files]


def count_outcomes(
    cases: list[tuple[str, Path, str, Callable[[Path], Outcome], float]], flips: int, seed: int
) -> tuple[dict[tuple[str, str], Counter[str]], list[str]]:
    """How often each outcome came, by state and file, and what came of the flips that were not noticed."""
    rng, counts, faults = random.Random(seed), dict[tuple[str, str], Counter[str]](), list[str]()
    for state, folder, file, use, share in cases:
        counted = counts.setdefault((state, file), Counter())
        n_bits = 8 * (folder / file).stat().st_size
        for _ in range(max(1, round(flips * share))):
            bit = rng.randrange(n_bits)
            outcome, said = flip_and_use(folder, file, bit, use)
            counted[outcome] += 1
            if outcome in OUTCOMES[-2:]:
                faults.append(f"{state} {file} bit {bit}: {outcome}: {said}")
    return counts, faults


def print_counts(counts: dict[tuple[str, str], Counter[str]], faults: list[str]) -> None:
    table = Table("run", "file", *OUTCOMES, "flips")
    for (state, file), counted in counts.items():
        table.add_row(state, file, *(str(counted[outcome]) for outcome in OUTCOMES), str(counted.total()))
    total = sum(counts.values(), Counter[str]())
    table.add_row("all", "", *(str(total[outcome]) for outcome in OUTCOMES), str(total.total()))
    Console(width=120).print(table)
    for fault in faults:
        print(fault)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cases = make_run(Path(scratch) / "run", options.command)
        cases += [] if options.command else make_cases(Path(scratch))
        counts, faults = count_outcomes(cases, options.flips, options.seed)
    print_counts(counts, faults)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
