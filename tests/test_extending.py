"""Criteria and shifts of other packages: the examples of docs/extending.md are installed and used, and mistakes are one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tapioca
from tapioca.cli.main import main
from tapioca.errors import UsageError
from tapioca.lab.functions import Polynomials, Prompts
from tapioca.lab.shifts import SHIFTS, shift
from tapioca.lab.shifts.base import ShiftKind
from tapioca.plan import Plan
from tapioca.search.base import Search, SearchSpace, SearchSteps
from tapioca.search.criteria import CRITERIA, Criterion
from tapioca.search.stepwise import greedy

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"as\s+file `(\w+)\.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL))
ENTRY_POINTS = re.findall(r'```toml\n\[project\.entry-points\."([\w.]+)"\]\n(\w+) = "([\w.:]+)"\n```', PAGE)
DATA = ["--task", "lab:context_noise=0.2,n=40", "--batch-size", "20", "--random-plans", "2"]

Install = Callable[..., None]


def write_package(folder: Path, name: str, code: str, *entries: tuple[str, str, str]) -> None:
    """What pip leaves of a package: its module, and a folder of metadata with its entry points (group, name, object)."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    text = "\n".join(f"[{group}]\n{entry} = {target}" for group, entry, target in entries)
    (metadata / "entry_points.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs packages for the length of a test."""

    def write(name: str, code: str, *entries: tuple[str, str, str]) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        write_package(tmp_path / name, name, code, *entries)
        monkeypatch.syspath_prepend(tmp_path / name)

    return write


@pytest.fixture
def _registries_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (CRITERIA, SHIFTS):
        monkeypatch.setattr(registry, "_things", dict(registry._things))


def test_the_page_has_an_example_of_each() -> None:
    assert list(MODULES) == ["cheap_layers", "tilted"]
    assert ENTRY_POINTS == [
        ("tapioca.criteria", "cheapest", "cheap_layers:CHEAPEST"),
        ("tapioca.shifts", "tilt", "tilted:TILT"),
    ]


def test_a_criterion_of_another_package(install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install("cheap_layers", MODULES["cheap_layers"], ENTRY_POINTS[0])
    assert list(CRITERIA)[-1] == "cheapest"
    assert "cheap_layers" not in sys.modules  # names import nothing
    out = tmp_path / "compared"
    assert main(["compare", "learner", *DATA, "--criteria", "tale,cheapest", "--drops", "1:2", "--out", str(out)]) == 0
    assert "cheapest" in capsys.readouterr().out
    compared = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    about = {found["name"]: (found["about"], found["plans_tried"]) for found in compared["searched"]}
    assert about == {
        "tale": ("greedy by the task's score", 8 + 7),
        "cheapest": ("the layers that cost least alone", 8),
    }
    chosen = {pick["drops"]: pick["plan"]["layers"] for pick in compared["picks"] if "cheapest" in pick["criteria"]}
    run = tmp_path / "run"
    assert main(["prune", "learner", *DATA, "--criterion", "cheapest", "--max-drops", "2", "--out", str(run)]) == 0
    pruned = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (pruned["criterion"], pruned["chosen_by"]) == ("cheapest", "the layers that cost least alone")
    assert {
        len(found["winner"]["plan"]["layers"]): found["winner"]["plan"]["layers"] for found in pruned["rounds"]
    } == chosen
    assert main(["prune", "learner", *DATA, "--criterion", "cheapest", "--epsilon", "0.1", "--out", str(run)]) == 2
    assert "--epsilon belongs to --criterion tale, got cheapest; leave it out" in capsys.readouterr().err


def test_a_shift_of_another_package(install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install("tilted", MODULES["tilted"], ENTRY_POINTS[1])
    assert list(SHIFTS)[-1] == "tilt"
    assert "tilted" not in sys.modules
    prompts = Polynomials().draw_clean(5, np.random.default_rng(0))
    tilted = shift(prompts, "tilt", 2.0, np.random.default_rng(1))
    assert tilted.targets == pytest.approx(prompts.targets + 2 * prompts.x)
    run = tmp_path / "run"
    data = ["--task", "lab:tilt=1,n=40", *DATA[2:]]
    assert main(["prune", "learner", *data, "--max-drops", "1", "--out", str(run)]) == 0
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["task"] == "lab:tilt=1,n=40"
    assert main(["lab", "shifts"]) == 0
    assert re.search(r"^tilt +every y plus s x +points +0.25 0.5 1 2 *$", capsys.readouterr().out, re.MULTILINE)
    assert main(["prune", "learner", "--task", "lab:tlit=1", "--out", str(tmp_path / "other")]) == 2
    assert "unknown shift 'tlit'; did you mean 'tilt'? known: absolutes, " in capsys.readouterr().err


@pytest.mark.usefixtures("_registries_as_they_were")
def test_both_can_be_registered_in_a_process(tmp_path: Path) -> None:
    criterion = Criterion("greedy, once more", "", "score", greedy(), stops_at_floor=True)
    tapioca.register_criterion("again", criterion)
    tapioca.register_criterion("again", criterion)  # a cell of a notebook is run twice
    kind = ShiftKind(lambda prompts, strength, rng: prompts.at_inputs(prompts.x + strength), False, "moved", (1.0,))
    tapioca.register_shift("moved", kind)
    options = {"task": "lab:moved=1,n=40", "batch_size": 20, "random_plans": 0, "max_drops": 2, "progress": False}
    again, tale = (
        tapioca.prune("learner", criterion=name, out=tmp_path / name, **options) for name in ("again", "tale")
    )
    assert [found.winner for found in again.rounds] == [found.winner for found in tale.rounds]
    assert (again.epsilon, again.chosen_by) == (0.01, "greedy, once more")


@pytest.mark.usefixtures("_registries_as_they_were")
def test_what_cannot_be_registered() -> None:
    criterion = Criterion("", "", "score", greedy())
    for name in ("all", "a,b", "", "a b", "a=1", ".a"):
        with pytest.raises(
            UsageError,
            match=rf"criterion '{name}' has no usable name; expected letters, digits, _, . and -, and not all",
        ):
            tapioca.register_criterion(name, criterion)
    with pytest.raises(UsageError, match="there is a criterion 'tale' already; choose another name"):
        tapioca.register_criterion("tale", criterion)
    with pytest.raises(UsageError, match="'mine' is of type function; expected a tapioca"):
        tapioca.register_criterion("mine", greedy())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"shift 'id' has no usable name; .* and not id"):
        tapioca.register_shift("id", SHIFTS["sines"])
    with pytest.raises(UsageError, match="there is a shift 'sines' already; choose another name"):
        tapioca.register_shift("sines", SHIFTS["steps"])
    with pytest.raises(
        UsageError, match=r"guide 'scores' and branches \(\); expected a guide of score, likelihood, text, st"
    ):
        Criterion("", "", "scores", greedy())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="stops at a floor of scores, guided by text; expected guide score"):
        Criterion("", "", "text", greedy(), stops_at_floor=True)


CLEAN = MODULES["cheap_layers"]
BROKEN = {
    "raises": (
        "1 / 0",
        "BAD",
        "'bad' (bad:BAD) cannot be imported: ZeroDivisionError: division by zero; mend or uninstall",
    ),
    "lacks": (
        "",
        "BAD",
        "'bad' (bad:BAD) cannot be imported: AttributeError: module 'bad' has no attribute 'BAD'; mend",
    ),
    "needs": (
        "import not_there",
        "BAD",
        "cannot be imported: ModuleNotFoundError: No module named 'not_there'; mend or",
    ),
    "garbled": (
        "def",
        "BAD",
        "cannot be imported: SyntaxError: invalid syntax (bad.py, line 1); mend or uninstall its pac",
    ),
    "exits": ("exit(3)", "BAD", "cannot be imported: SystemExit: 3; mend or uninstall its package"),
    "another kind": ("BAD = 3", "BAD", "'bad' (bad:BAD) is of type int; expected a tapioca.search.criteria.Criterion"),
    "module": ("", "", "'bad' (bad) is of type module; expected a tapioca.search.criteria.Criterion"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_is_one_line(
    case: str, install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, attribute, message = BROKEN[case]
    install("bad", code, ("tapioca.criteria", "bad", f"bad:{attribute}" if attribute else "bad"))
    for words in (["prune", "--criterion", "bad"], ["compare", "--criteria", "tale,bad"], ["compare"]):
        assert main([words[0], "learner", *DATA, "--out", str(tmp_path / "run"), *words[1:]]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert CRITERIA["last"].about == "the last layers"  # the others are as they were


def test_a_name_taken_twice_is_one_line(install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install("cheap_layers", CLEAN, ENTRY_POINTS[0], ("tapioca.criteria", "tale", "cheap_layers:CHEAPEST"))
    install("dear_layers", CLEAN, ("tapioca.criteria", "cheapest", "dear_layers:CHEAPEST"))
    for name, origins in (
        ("tale", "tapioca, cheap_layers:CHEAPEST"),
        ("cheapest", "cheap_layers:CHEAPEST, dear_layers:CHEAPEST"),
    ):
        assert main(["prune", "learner", *DATA, "--criterion", name, "--out", str(tmp_path / "run")]) == 2
        assert (
            f"criterion '{name}' is there more than once ({origins}); uninstall a package\n" in capsys.readouterr().err
        )
    assert main(["prune", "learner", *DATA, "--criterion", "last", "--dry-run"]) == 0
    with pytest.raises(UsageError, match="criterion 'cheapest' is there more than once"):
        tapioca.register_criterion("cheapest", CRITERIA["last"])


def test_metadata_that_cannot_be_read_are_one_line(install: Install) -> None:
    install("odd", "")
    (Path(sys.path[0]) / "odd-1.0.dist-info" / "entry_points.txt").write_text(
        "[tapioca.criteria]\nno sign of equality\n"
    )
    with pytest.raises(UsageError, match=r"the entry points of installed packages cannot be read: [A-Z]"):
        _ = CRITERIA["cheapest"]


def test_help_reads_no_names_and_a_list_of_names_loads_no_torch(tmp_path: Path) -> None:
    write_package(tmp_path / "bad", "bad", "import torch; 1 / 0", ("tapioca.criteria", "bad", "bad:BAD"))
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tapioca.cli.main import main\n"
        "assert [main([*words, '--help']) for words in ([], ['prune'], ['compare'])] == [0, 0, 0]\n"
        "from tapioca.search.criteria import CRITERIA\n"
        "from tapioca.lab.shifts import SHIFTS\n"
        "print(*CRITERIA, *SHIFTS, {'torch', 'transformers', 'bad'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "bad"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("rule_offset set()")
    assert " linear bad context_noise " in done.stdout


def give_list(space: SearchSpace):  # type: ignore[no-untyped-def]
    yield [Plan.drop(space.n_layers, [0])]


def ask_nothing(space: SearchSpace):  # type: ignore[no-untyped-def]
    yield


def give_nothing(space: SearchSpace):  # type: ignore[no-untyped-def]
    yield from ()


def give_no_generator(space: SearchSpace) -> dict[int, Plan]:
    return {1: Plan.drop(space.n_layers, [0])}


def give_another_size(space: SearchSpace):  # type: ignore[no-untyped-def]
    yield from ()
    return {2: Plan.drop(space.n_layers, [0])}


def give_another_model(space: SearchSpace):  # type: ignore[no-untyped-def]
    yield from ()
    return {1: Plan.drop(space.n_layers + 1, [0])}


def give_up(space: SearchSpace):  # type: ignore[no-untyped-def]
    yield from ()
    raise KeyError("layer 9")


def give_up_at_once(space: SearchSpace) -> None:
    raise ValueError("never")


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (
            give_list,
            r"search give_list gave \[Plan.*; expected a ScoreRequest with plans of 4 layers, or at the end a plan of",
        ),
        (ask_nothing, "search ask_nothing gave None; expected a ScoreRequest with plans of 4 layers"),
        (give_nothing, "search give_nothing gave None; expected a ScoreRequest with plans of 4 layers"),
        (give_no_generator, "search give_no_generator failed: TypeError: 'dict' object is not an iterator"),
        (give_another_size, r"search give_another_size gave \{2: Plan\(n_layers=4"),
        (give_another_model, r"search give_another_model gave \{1: Plan\(n_layers=5"),
        (give_up, "search give_up failed: KeyError: 'layer 9'"),
        (give_up_at_once, "search give_up_at_once failed: ValueError: never"),
    ],
)
def test_a_search_that_is_none_is_one_line(choose: Callable[..., object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Search(choose, SearchSpace.of_layers(4))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_registries_as_they_were")
def test_a_criterion_that_picks_nothing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def pick_nothing(space: SearchSpace) -> SearchSteps:
        yield from ()
        return {}

    tapioca.register_criterion("none", Criterion("", "", "nothing", pick_nothing))
    assert main(["prune", "learner", *DATA, "--criterion", "none", "--out", str(tmp_path / "run")]) == 2
    assert "--criterion none picks no plan of up to 4 drops; choose another\n" in capsys.readouterr().err
    assert (
        main(["compare", "learner", *DATA, "--criteria", "none", "--drops", "1:2", "--out", str(tmp_path / "c")]) == 2
    )
    assert "--criteria: none picks no plan of --drops 1:2; choose others\n" in capsys.readouterr().err


@pytest.mark.usefixtures("_registries_as_they_were")
def test_a_shift_that_is_none_is_one_line() -> None:
    prompts = Polynomials().draw_clean(3, np.random.default_rng(0))

    def shorten(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
        return prompts.at_inputs(prompts.x[:, :1])

    for name, change, message in (
        ("broken", lambda prompts, strength, rng: 1 / 0, "shift 'broken' failed: ZeroDivisionError: division by zero"),
        (
            "array",
            lambda prompts, strength, rng: prompts.x,
            "shift 'array' gave no prompts; expected Prompts with arra",
        ),
        ("short", shorten, "shift 'short' gave no prompts; expected Prompts with arrays of shape (n, points)"),
    ):
        tapioca.register_shift(name, ShiftKind(change, False, "", (1.0,)))  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=re.escape(message)):
            shift(prompts, name, 1.0, np.random.default_rng(0))


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tapioca {tapioca.__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", tapioca.__version__)
