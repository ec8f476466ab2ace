"""The whole plan space end to end: the oracle, greedy's regret and the correlations are what brute force says."""

from __future__ import annotations

import json
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from support.figures import check_figures
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.enumerate.realign import DRAWS, draw_relabellings
from tapioca.commands.enumerate.result import EnumerateResult
from tapioca.commands.enumerate.run import restrict_to_enumerable
from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.models.tiny import tiny
from tapioca.observe import capture_states, draw_sample
from tapioca.plan import Plan
from tapioca.profiles.deviation import measure_realignments
from tapioca.profiles.profiles import state_geometry
from tapioca.records import with_interval
from tapioca.search.base import SearchSpace
from tapioca.search.population import list_all_plans
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.split import search_groups, split
from tapioca.tasks.text import Encoder

MODEL, TOKENIZER = tiny("llama"), word_tokenizer()
PLANS = [Plan.drop(4, drops) for size in (1, 2, 3) for drops in combinations(range(4), size)]
LEARNER = ["enumerate", "learner", "--task", "lab:context_noise=0.2,n=120", "--reference", "lab:id,n=120"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OOD and ID questions that differ in their length."""
    found = tmp_path_factory.mktemp("data")
    write_lines(found / "ood.jsonl", choice_rows(96, start=200))
    write_lines(found / "id.jsonl", choice_rows(96))
    return found


@pytest.fixture(scope="module")
def info(folder: Path) -> EnumerateResult:
    settings: dict = {"score": "likelihood", "progress": False, "out": folder / "run"}
    task, reference = folder / "ood.jsonl", folder / "id.jsonl"
    return tapioca.enumerate(MODEL, TOKENIZER, task=task, reference=reference, **settings)


@pytest.fixture(scope="module")
def parts(folder: Path) -> dict[str, tuple[Task, Task]]:
    """The splits of both data sets: search, test."""
    encoder = Encoder(TOKENIZER, 256, None)
    found = {name: load_task(str(folder / f"{name}.jsonl"), encoder, {"score": "likelihood"}) for name in ("ood", "id")}
    groups = search_groups([task.examples for task in found.values()], 0.5, 0)
    return {name: split(task, groups) for name, task in found.items()}


def alone(task: Task) -> dict[Plan, np.ndarray]:
    """Scores of the full model and all plans, each run by itself."""
    return {plan: evaluate(MODEL, task, [plan]).values[0] for plan in [Plan.full(4), *PLANS]}


def test_every_plan_is_there_with_its_scores(info: EnumerateResult, parts: dict[str, tuple[Task, Task]]) -> None:
    assert [plan.drops for plan in info.plans] == [plan.drops for plan in PLANS]
    assert [(size.drops, size.plans) for size in info.sizes] == [(1, 4), (2, 6), (3, 4)]
    search, ood, other = (alone(task) for task in (*parts["ood"], parts["id"][1]))
    for found, plan in zip(info.plans, PLANS, strict=True):
        assert found.search == pytest.approx(search[plan].mean())
        for gain, rows, task in ((found.ood, ood, parts["ood"][1]), (found.id, other, parts["id"][1])):
            assert gain == pytest.approx(task.pairing(0).effect(rows[Plan.full(4)], rows[plan]))


def test_the_oracle_is_the_best_on_the_search_split(info: EnumerateResult, parts: dict[str, tuple[Task, Task]]) -> None:
    search, test = parts["ood"]
    means = {plan: rows.mean() for plan, rows in alone(search).items()}
    rows = alone(test)
    gains = {plan: test.pairing(0).effect(rows[Plan.full(4)], rows[plan]) for plan in PLANS}
    for size in info.sizes:
        same = [plan for plan in PLANS if plan.size == size.drops]
        assert size.oracle.plan == max(same, key=means.__getitem__)
        assert size.oracle.ood.gain == pytest.approx(gains[size.oracle.plan])
        assert size.oracle.better == sum(gains[plan] > gains[size.oracle.plan] for plan in same)
        assert size.gain_quantiles == pytest.approx(np.percentile([gains[plan] for plan in same], [0, 25, 50, 75, 100]))
        assert size.improving == np.mean([gains[plan] > 0 for plan in same])


def test_the_regret_of_greedy_by_hand(info: EnumerateResult, parts: dict[str, tuple[Task, Task]]) -> None:
    search, test = parts["ood"]
    rows, held = alone(search), alone(test)
    path: tuple[int, ...] = ()
    for size in info.sizes:
        further = [Plan.drop(4, (*path, layer)) for layer in range(4) if layer not in path]
        greedy = max(further, key=lambda plan: rows[plan].mean())
        path = greedy.drops
        oracle = size.oracle.plan
        assert size.greedy.plan == greedy
        assert size.regret_search == pytest.approx(1 - rows[oracle].mean() / rows[greedy].mean())  # errors, negated
        assert size.regret_search >= 0
        expected = test.pairing(0).compare(held[greedy], held[oracle])
        assert size.regret.gain == pytest.approx(expected.gain)
        assert size.regret.ci95 == pytest.approx(expected.ci95)


def test_realignment_and_its_correlation_with_gain(info: EnumerateResult, parts: dict[str, tuple[Task, Task]]) -> None:
    """Plan by plan it is what the instrument for a single plan says, of search examples."""
    seen, reference = (draw_sample(parts[name][0].examples, info.sample, 0) for name in ("ood", "id"))
    groups = min(len(set(search.groups)) for search, _ in parts.values())
    assert len(seen) == len(reference) == info.sample == groups
    full, against = (state_geometry(capture_states(MODEL, Plan.full(4), examples)) for examples in (seen, reference))
    for found, plan in zip(info.plans, PLANS, strict=True):
        before, after = full.select(layers=plan.kept), state_geometry(capture_states(MODEL, plan, seen))
        norm, distance = measure_realignments(before, after, against.select(layers=plan.kept)).values()
        assert (found.norm, found.distance) == pytest.approx((norm.value, distance.value), abs=1e-6)
    for size in info.sizes:
        same = [plan for plan in info.plans if len(plan.drops) == size.drops]
        assert [one.kind for one in size.correlations] == ["norm", "distance"]
        for one in size.correlations:
            expected = spearmanr([getattr(plan, one.kind) for plan in same], [plan.ood for plan in same]).statistic
            assert one.value == pytest.approx(expected)
            assert -1 <= one.ci95[0] <= one.value <= one.ci95[1] <= 1
            assert -1 <= one.plans_ci95[0] <= one.plans_ci95[1] <= 1
            assert 0.02 < one.p <= 1  # four layers have 24 orders, so no p can be much below 1/24


def test_relabelling_moves_plans_as_it_moves_their_layers() -> None:
    where = SearchSpace(5, (), (0, 1, 3, 4), {})
    every = [list_all_plans(where, size) for size in (1, 2, 3)]
    ones, twos, threes = ((plans, draw_relabellings(plans, seed=3)) for plans in every)
    assert ones[1].shape == (DRAWS, 4)
    for row in range(DRAWS):
        name = {plan.drops[0]: ones[0][at].drops[0] for plan, at in zip(ones[0], ones[1][row], strict=True)}
        for plans, found in (twos, threes):
            for plan, at in zip(plans, found[row], strict=True):
                assert set(plans[at].drops) == {name[layer] for layer in plan.drops}


def test_without_reference_data_there_is_no_geometry(folder: Path, tmp_path: Path) -> None:
    settings: dict = {"score": "likelihood", "max_drops": 1, "progress": False, "out": tmp_path / "run"}
    found = tapioca.enumerate(MODEL, TOKENIZER, task=folder / "ood.jsonl", **settings)
    assert (found.sample, found.sizes[0].correlations) == (0, ())
    assert all(plan.id is plan.norm is plan.distance is None for plan in found.plans)
    assert found.sizes[0].oracle.id is None
    assert (found.folder / "report.html").read_text().count("<svg") == 1


def test_the_same_call_again_evaluates_nothing(
    info: EnumerateResult, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("tapioca.evaluate.batch.sweep", refuse)
    settings: dict = {"score": "likelihood", "progress": False, "out": folder / "run"}
    task, reference = folder / "ood.jsonl", folder / "id.jsonl"
    assert tapioca.enumerate(MODEL, TOKENIZER, task=task, reference=reference, **settings) == info


def test_too_many_plans_are_refused_with_what_would_fit() -> None:
    def where(layers: int) -> SearchSpace:
        return SearchSpace(layers, (), tuple(range(layers)), {})

    assert restrict_to_enumerable(where(12), None).sizes == tuple(range(1, 12))
    assert restrict_to_enumerable(where(24), 3).sizes == (1, 2, 3)
    with pytest.raises(UsageError) as refused:
        restrict_to_enumerable(where(24), None)
    assert str(refused.value) == (
        "up to 23 drops of 24 layers are 16,777,214 plans, expected at most 4,096 (all of a model of 12 layers); "
        f"use --max-drops 3 ({24 + comb(24, 2) + comb(24, 3):,} plans)"
    )
    with pytest.raises(UsageError, match=r"up to 2 drops of 5000 layers are .* plans.*; use tapioca compare"):
        restrict_to_enumerable(where(5000), 2)
    with pytest.raises(UsageError, match="no whole layer of this model can be dropped"):
        restrict_to_enumerable(SearchSpace(4, (), (), {}), None)


@pytest.mark.slow
def test_the_command_on_the_packaged_learner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main([*LEARNER, "--max-drops", "2", "--batch-size", "60", "--out", str(out)]) == 0
    printed, _ = capsys.readouterr()
    found = EnumerateResult(**{**json.loads((out / "enumerate.json").read_text()), "folder": out})
    assert [size.plans for size in found.sizes] == [8, 28]
    worst, best = (f"×{1 - found.sizes[1].gain_quantiles[at]:#.3g}".rstrip(".") for at in (0, -1))
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("2      28 "))
    assert (row[2], row[4]) == (worst, best)
    rho = found.sizes[1].correlations[0]
    assert with_interval(rho.value, rho.ci95, "+.2f") in printed
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    for outside in ("<script", "<link", "@import", "src=", "NaN"):
        assert outside not in page
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    again, _ = capsys.readouterr()
    assert again.strip() == printed[printed.index("· OOD (out of distribution)") :].strip()
    assert (out / "report.html").read_text() == page
    assert main(["report", str(out), "--figures", str(tmp_path / "figures")]) == 0
    check_figures(tmp_path / "figures", ("sizes", "realignment"))


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LEARNER, "--max-drops", "0", "--out", str(tmp_path / "run")]) == 2
    _, err = capsys.readouterr()
    assert "--max-drops: Input should be greater than or equal to 1, got 0" in err
    assert err.count("\n") == 1
