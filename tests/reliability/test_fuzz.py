"""Some damaged inputs of each kind, by the same steps as `fuzz.py`, which tries thousands."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reliability.fuzz import prepare, raise_hang, run_case
from reliability.kinds import ARGUMENTS, KINDS, Kind
from reliability.mutate import restore
from reliability.workspace import build_inputs

INPUTS = 6
SLOW = ("config.json, pruned", "exported files", "seen_rows.json", "classifier")
QUICK_COMMANDS = ("tasks", "inspect", "generate", "report")
QUICK = [kind for kind in (*KINDS, ARGUMENTS) if kind.name not in SLOW]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Models and data; runs are none among them, since these take long."""
    folder, before = tmp_path_factory.mktemp("whole"), Path.cwd()
    os.chdir(folder)
    build_inputs(folder)
    yield folder
    os.chdir(before)


@pytest.fixture
def _limited() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, raise_hang)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_limited")
@pytest.mark.parametrize("kind", QUICK, ids=lambda kind: kind.name)
def test_damage_is_one_line_that_names_the_file(kind: Kind, whole: Path, tmp_path: Path) -> None:
    if not all((whole / name).exists() for name in kind.files):
        pytest.skip("of a run; fuzz.py makes some")
    if kind.files:  # else damage is never reached
        os.chdir(restore(whole, tmp_path / "work"))
        assert run_case(kind, kind.files[0], kind.read(random.Random(0)))[0] == "done", "the whole input is not read"
    for number in range(4 * INPUTS if kind is ARGUMENTS else INPUTS):
        os.chdir(restore(whole, tmp_path / "work"))
        path, case, how = prepare(kind, random.Random(f"short {kind.name} {number}"))
        if kind is ARGUMENTS and case[0] not in QUICK_COMMANDS:
            continue
        end, said = run_case(kind, path, case)
        assert end in ("done", "refused"), f"{end} #{number} {path} {how} {case}: {said}"
