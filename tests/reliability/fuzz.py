"""Feed damaged inputs to the program: each must end with exit code 0, or 2 and one line that names the file.

    python tests/reliability/fuzz.py --inputs 10000

prints a table of what came of them by kind of input, and every input that ended otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

from support.warm_python import WarmPython

import tapioca.checkpoints.verify
from reliability.kinds import ARGUMENTS, KINDS, Case, Kind
from reliability.mutate import restore
from reliability.workspace import build_workspace, run_quietly
from tapioca.errors import TapiocaError

LIMIT_SECONDS = 20
CHUNK = 50
"""Inputs of one process: one that crashes takes no more along."""

LOG = "log.jsonl"
"""What came of these inputs, in the folder of the fuzz."""

MEMORY = 6 * 2**30
"""Bytes which that process may use."""


class Hang(BaseException):
    """An input took too long."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--limit", type=int, default=LIMIT_SECONDS, help="seconds of an input; more on a busy machine")
    parser.add_argument("--show", type=int, default=3, help="faults of each sort to show")
    arguments = parser.parse_args()
    kinds = [
        kind for kind in (*KINDS, ARGUMENTS) if not arguments.kind or any(part in kind.name for part in arguments.kind)
    ]
    root = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.chdir(root)
    (root / "whole").mkdir()
    run_apart(build, root / "whole")
    per_kind = -(-arguments.inputs // len(kinds))
    print(
        f"{'kind':24} {'inputs':>7} {'done':>6} {'refused':>7} {'no path':>7} {'lines':>6} {'traceback':>9} {'hang':>5} {'crash':>5} {'s':>6}"
    )
    totals: Counter[str] = Counter()
    faults = []
    for kind in kinds:
        start = time.perf_counter()
        outcomes = list(run_kind(kind, per_kind, arguments.seed, root, arguments.limit))
        counts = Counter(outcome["end"] for outcome in outcomes)
        print_row(kind.name, counts, time.perf_counter() - start)
        totals += counts
        faults += [outcome for outcome in outcomes if outcome["end"] not in ("done", "refused")]
        show_faults([outcome for outcome in faults if outcome["kind"] == kind.name], arguments.show)
    print_row("all", totals, 0)
    shutil.rmtree(root)


def build(root: Path) -> None:
    os.chdir(root)
    with contextlib.redirect_stderr(io.StringIO()):
        build_workspace(root)


def run_apart(work: Callable[..., None], *arguments: object) -> int:
    """Run a function in a process of its own, since charts are drawn by a library that does not survive a fork; its exit
    status."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(child, 0)[1]


def print_row(name: str, counts: Counter[str], seconds: float) -> None:
    ends = ("done", "refused", "no path", "lines", "traceback", "hang", "crash")
    cells = [f"{counts[end]:{width}}" for end, width in zip(ends, (6, 7, 7, 6, 9, 5, 5), strict=True)]
    print(f"{name:24} {sum(counts.values()):7} {' '.join(cells)} {seconds:6.0f}", flush=True)


def show_faults(faults: list[dict[str, str]], most: int) -> None:
    """The first faults of each sort."""
    sorts: Counter[str] = Counter()
    for fault in faults:
        sort = fault["end"] + re.sub(r"[\d'\"].*", "", fault["said"].splitlines()[-1] if fault["said"] else "")[:80]
        sorts[sort] += 1
        if sorts[sort] == 1 and len(sorts) <= most:
            print(f"    {fault['end']} #{fault['number']} {fault['what'][:200]}")
            print("        " + "\n        ".join(line[:300] for line in fault["said"].splitlines()[-6:]))
    for sort, count in sorts.items():
        print(f"    {count:4} × {sort}")


def run_kind(kind: Kind, inputs: int, seed: int, root: Path, limit: int) -> Iterator[dict[str, str]]:
    """What came of some inputs of a kind; they are run by processes of their own."""
    number = 0
    while number < inputs:
        log = root / LOG
        log.write_text("")
        status = run_apart(run_chunk, kind, range(number, min(number + CHUNK, inputs)), seed, root, limit)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        yield from (line for line in lines if "end" in line)
        number += sum("end" in line for line in lines)
        if lines and "end" not in lines[-1]:
            yield {**lines[-1], "end": "crash", "said": f"status {status}"}
            number += 1
        elif status:
            raise RuntimeError(f"the fuzz itself ended with status {status}")


def run_chunk(kind: Kind, numbers: range, seed: int, root: Path, limit: int) -> None:
    """Run some inputs, and log each before and after."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    tapioca.checkpoints.verify.subprocess = WarmPython()
    faulthandler.enable((root / "crash.txt").open("w"))
    signal.signal(signal.SIGALRM, raise_hang)
    with (root / LOG).open("a", buffering=1) as file:
        for number in numbers:
            os.chdir(restore(root / "whole", root / "work"))
            rng = random.Random(f"{kind.name} {seed} {number}")
            path, case, how = prepare(kind, rng)
            begun = {"kind": kind.name, "number": number, "what": f"{path} {how} {case}"}
            print(json.dumps(begun), file=file)
            end, said = run_case(kind, path, case, limit)
            print(json.dumps({**begun, "end": end, "said": said}), file=file)


def prepare(kind: Kind, rng: random.Random) -> tuple[str, Case, str]:
    """Damage a file of the current folder, and make the command that reads it."""
    path, how = "", ""
    if kind.files:
        path, damage = rng.choice(kind.files), rng.choice(kind.damages)
        how = damage.__name__
        try:
            damage(Path(path), rng)
        except (RecursionError, UnicodeError):
            Path(path).write_text("")
    return path, kind.read(rng), how


def raise_hang(*signal_and_frame: object) -> None:
    raise Hang


def run_case(kind: Kind, path: str, case: Case, limit: int = LIMIT_SECONDS) -> tuple[str, str]:
    """How one input ended, and what was said."""
    signal.alarm(limit)
    faulthandler.dump_traceback_later(3 * limit, exit=True)
    try:
        if callable(case[0]):
            case[0]()
            return "done", ""
        code, printed = run_quietly(*map(str, case))
    except TapiocaError as error:
        code, printed = 2, f"error: {error}\n"
    except Hang:
        return "hang", traceback.format_exc()[-1500:]
    except (Exception, SystemExit):
        return "traceback", traceback.format_exc()[-1500:]
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    return judge(kind, path, case, code, printed), printed[-1500:]


def judge(kind: Kind, path: str, case: Case, code: int, printed: str) -> str:
    """Whether an end is as it should be."""
    if code == 0:
        return "done"
    error = f"\n{printed}".rpartition("\nerror:")[2].rstrip("\n")
    if code != 2 or "error:" not in printed or "Traceback" in printed or not error.strip():
        return "traceback"
    if "\n" in error:
        return "lines"
    names = [path, *kind.named] if path else kind.named
    if path and not os.path.lexists(path):
        names = [*names, str(Path(path).parent)]  # which lacks it
    return "refused" if not names or any(name in error for name in names) else "no path"


if __name__ == "__main__":
    main()
