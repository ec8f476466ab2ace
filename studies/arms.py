"""What stands beside pruning: every other way to change a model or its outputs, on the learner, intents and stories.

    python studies/arms.py runs/arms --part lab
    python studies/arms.py runs/arms --part intents --intents runs/intents
    python studies/arms.py runs/arms --part stories
    python studies/arms.py runs/arms --table

Each case is one `tapioca compare --arms` beside TALE's first drop; one that is finished is not run again, so that a part can be
interrupted. The table is made of all cases in the folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import geometric_mean, median
from typing import NamedTuple

from tapioca.commands import read_result
from tapioca.commands.compare.config import CompareConfig
from tapioca.commands.compare.result import ArmResult, CompareResult
from tapioca.commands.compare.run import compare
from tapioca.lab.shifts import SHIFTS
from tapioca.records import Gain

SHARED = Path(__file__).parents[2] / "shared"
DRIFTS = ("typing_0.2", "truncation_0.3", "speech_1")
STORIES = ("shuffled", "typos20", "lower")
MIDDLE = 2
"""Which of the strengths that a study steps through."""


class Case(NamedTuple):
    """One comparison: what it is called, and what is asked."""

    part: str
    name: str
    request: CompareConfig


def list_cases(out: Path, intents: Path) -> Iterator[Case]:
    """All comparisons of all parts."""
    common = {"criteria": "tale", "arms": True, "random_plans": 10}
    for name, kind in SHIFTS.items():
        task = f"lab:{name}={kind.strengths[MIDDLE]:g},n=400"
        reference = "lab:id,n=400" + (",scored=1" if kind.query_only else "")
        data = {"model": "learner", "task": task, "reference": reference, "batch_size": 100, "drops": "1"}
        yield Case("lab", task.removeprefix("lab:").partition(",")[0], _ask(out / "lab" / name, common | data))
    for drift in DRIFTS:
        data = {"model": f"{intents}/model", "task": f"{intents}/{drift}.jsonl", "reference": f"{intents}/id.jsonl"}
        size = {"limit": 600, "batch_size": 50, "drops": "1"}
        yield Case("intents", drift.replace("_", "="), _ask(out / "intents" / drift, common | data | size))
    for change in STORIES:
        cloze = f"{SHARED}/data/cloze/tinystories"
        data = {
            "model": f"{SHARED}/models/stories260K",
            "task": f"{cloze}_{change}.jsonl",
            "reference": f"{cloze}.jsonl",
        }
        size = {"limit": 200, "batch_size": 25, "drops": "1", "score": "likelihood"}
        yield Case("stories", change, _ask(out / "stories" / change, common | data | size))


def _ask(out: Path, options: dict[str, object]) -> CompareConfig:
    return CompareConfig(out=out, **options)


def read_case(case: Case) -> CompareResult | None:
    """The record of a case; None where it is not finished."""
    assert case.request.out
    return read_result(case.request.out)[0] if (case.request.out / "compare.json").is_file() else None


def write_table(results: list[tuple[Case, CompareResult]]) -> Iterator[str]:
    """A row of OOD effects for each case, and for each part one of what each arm came to."""
    names = list(dict.fromkeys(arm.name for _, result in results for arm in result.arms))
    yield "| | " + " | ".join(["plan", *names, "random"]) + " |"
    yield "|---" * (len(names) + 3) + "|"
    for part in dict.fromkeys(case.part for case, _ in results):
        of_part = [(case, result) for case, result in results if case.part == part]
        yield f"| **{part}**: OOD {of_part[0][1].metric.effect_unit} |" + " |" * (len(names) + 2)
        for case, result in of_part:
            arms = {arm.name: arm for arm in result.arms}
            cells = [_write_cell(arms.get(name)) for name in names]
            random = result.metric.format_effect(median(result.random[result.arms[0].drops]))
            yield f"| {case.name} | {arms['drop'].scored} | " + " | ".join([*cells, random]) + " |"
        yield from _summarise(of_part, names)


def _summarise(results: list[tuple[Case, CompareResult]], names: list[str]) -> Iterator[str]:
    """The rows below those of a part: what each arm came to over all of its cases."""
    helped = {case.name for case, result in results if _sign(result.arms[0].ood) > 0}
    for title, (summarise, only_helped) in SUMMARIES.items():
        shown = [result for case, result in results if not only_helped or case.name in helped]
        if not shown:
            continue
        arms_by_name = {name: [arm for result in shown for arm in result.arms if arm.name == name] for name in names}
        cells = [_name_count(summarise(arms), len(arms), len(shown)) for arms in arms_by_name.values()]
        yield f"| *{title.format(helped=len(helped), all=len(results))}* |  | " + " | ".join([*cells, ""]) + " |"


def _name_count(text: str, n_arms: int, n_cases: int) -> str:
    """What an arm came to, and over how many cases where it could not be had in all."""
    return f"{text} (of {n_arms})" if 0 < n_arms < n_cases else text


def _write_cell(arm: ArmResult | None) -> str:
    """The effect with its interval; + where it is better than dropping, − where worse, by the interval against it."""
    if arm is None:
        return "–"
    sign = {1: " +", -1: " −", 0: ""}[_sign(arm.against) if arm.against else 0]
    return f"{arm.ood.metric.format_effect(arm.ood.gain, arm.ood.ci95)}{sign}"


def _sign(gain: Gain) -> int:
    return (gain.ci95[0] > 0) - (gain.ci95[1] < 0)


def _count(signs: list[int]) -> str:
    if not signs:
        return "–"
    return f"{signs.count(1)} better, {signs.count(-1)} worse"


def _average(gains: list[Gain]) -> str:
    """The geometric mean of error ratios, or the mean of points."""
    if not gains:
        return "–"
    metric = gains[0].metric
    if metric.kind == "error":
        return f"{geometric_mean(1 - gain.gain for gain in gains):.3g}"
    return metric.format_effect(sum(gain.gain for gain in gains) / len(gains))


def _count_against_drop(arms: list[ArmResult]) -> str:
    return _count([_sign(arm.against) for arm in arms if arm.against])


Summary = Callable[[list[ArmResult]], str]

SUMMARIES: dict[str, tuple[Summary, bool]] = {
    "mean of {all}": (lambda arms: _average([arm.ood for arm in arms]), False),
    "against the full model": (lambda arms: _count([_sign(arm.ood) for arm in arms]), False),
    "against drop": (_count_against_drop, False),
    "mean of the {helped} where drop helps": (lambda arms: _average([arm.ood for arm in arms]), True),
    "against drop, there": (_count_against_drop, True),
    "mean on ID": (lambda arms: _average([arm.id for arm in arms if arm.id]), False),
    "operations left": (lambda arms: f"{100 * median(arm.flops for arm in arms):.0f} %" if arms else "–", False),
}
"""The rows below those of a part, by their titles: what each says of an arm's results, and whether only where dropping helps."""


def main() -> None:
    """Run what is missing of a part, or print the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=("lab", "intents", "stories"))
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--intents", type=Path, default=Path("runs/intents"), help="folder of studies/intents.py")
    arguments = parser.parse_args()
    cases = list(list_cases(arguments.out, arguments.intents))
    for case in cases:
        if case.part == arguments.part and read_case(case) is None:
            compare(case.request)
            print(f"{case.part} {case.name}: done", flush=True)
    if arguments.table:
        print("\n".join(write_table([(case, result) for case in cases if (result := read_case(case))])))


if __name__ == "__main__":
    main()
