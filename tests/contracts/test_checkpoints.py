"""Checkpoints of every type, reloaded by plain transformers in one fresh process, against the live plans."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.contracts import (
    FAST,
    NO_BRANCHES,
    NO_DROPS,
    NO_FACTORS,
    NO_MAPS,
    NO_MLP,
    NORMED_MLP,
    PARALLEL,
    branch_plan,
    droppable,
    factor_plan,
    map_plan,
    norm_plan,
    repeat_plan,
)
from transformers.utils import logging

from tapioca.checkpoints.cut import cut_checkpoint
from tapioca.checkpoints.verify import ExpectedAnswers, compare_reloaded, compute_expected
from tapioca.errors import ExportError
from tapioca.models.edit import apply
from tapioca.models.tiny import RECIPES, tiny
from tapioca.plan import Plan

DENSE_FIRST = {"qwen3_moe", "deepseek_v3", "glm4_moe"}
"""Types of which a dense layer and one with experts are dropped."""


COUNTED_DENSE = {"deepseek_v3", "glm4_moe"}
"""Types whose configuration counts how many of the first layers have no experts."""


def plans(name: str) -> dict[str, Plan]:
    """A plan of each kind that this type's checkpoints can carry."""
    found: dict[str, Plan] = {}
    if droppable(name):
        found["drop"] = Plan.drop(4, [1, 2] if name in DENSE_FIRST else [2])
    if name not in NO_BRANCHES:
        found["branches"] = branch_plan(name)
    if name in PARALLEL:
        found["layers"] = Plan.scale(4, {0: 1.5, 2: 0.3})
    return found


def newer_plans(name: str) -> dict[str, Plan]:
    """The same of the kinds that do more than drop and scale."""
    found: dict[str, Plan] = {}
    if name not in NO_FACTORS:
        found["factors"] = factor_plan(name)
    if name not in NO_MAPS | NORMED_MLP:
        found["maps"] = map_plan(name)
    if name not in NO_DROPS:
        found["repeats"] = Plan(n_layers=4, repeats=[(2, 3)]) if name in COUNTED_DENSE else repeat_plan(name)
    return found


Differences = dict[tuple[str, str], tuple[float, float]]
CASES = [(name, kind) for name in sorted(RECIPES) for kind in plans(name)]
NEWER_CASES = [(name, kind) for name in sorted(RECIPES) for kind in newer_plans(name)]


def measure_differences(folder: Path, plans_by_type: dict[str, dict[str, Plan]]) -> Differences:
    """How far each checkpoint's answers are from the live plan's, and how far they may be."""
    written: dict[tuple[str, str], tuple[Path, ExpectedAnswers]] = {}
    logging.disable_progress_bar()
    for name, plans_of_type in plans_by_type.items():
        model = tiny(name)
        model.save_pretrained(folder / name / "full")
        for kind, plan in plans_of_type.items():
            cut_checkpoint(folder / name / "full", folder / name / kind, plan, model)
            written[name, kind] = folder / name / kind, compute_expected(model, plan)
    found = compare_reloaded(list(written.values()))
    return {case: (far, written[case][1].allowed) for case, far in zip(written, found, strict=True)}


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> Differences:
    return measure_differences(tmp_path_factory.mktemp("checkpoints"), {name: plans(name) for name in sorted(RECIPES)})


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_checkpoint_answers_as_the_live_plan(name: str, kind: str, differences: Differences) -> None:
    difference, allowed = differences[name, kind]
    assert difference <= allowed


@pytest.mark.parametrize("tier", ["fast", pytest.param("slow", marks=pytest.mark.slow)])
def test_a_checkpoint_of_a_newer_kind_answers_as_the_live_plan(tier: str, tmp_path: Path) -> None:
    names = [name for name in sorted(RECIPES) if (name in FAST) == (tier == "fast")]
    differences = measure_differences(tmp_path, {name: newer_plans(name) for name in names})
    assert len(differences) == sum(name in names for name, _ in NEWER_CASES)
    assert {case: far for case, (far, allowed) in differences.items() if not far <= allowed} == {}


@pytest.mark.parametrize("name", sorted(COUNTED_DENSE))
def test_a_block_of_dense_layers_and_experts_is_not_held_twice(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    model.save_pretrained(tmp_path / "full")
    with pytest.raises(
        ExportError, match="with layers 1–2 twice cannot keep layer 2 as it is: the kind of mlp would be"
    ):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", repeat_plan(name), model)


def test_without_scales_hardly_any_checkpoint_differs_at_all(
    differences: Differences,
) -> None:
    drops = [difference for (_, kind), (difference, _) in differences.items() if kind == "drop"]
    assert sum(difference == 0 for difference in drops) >= 0.9 * len(drops)


def test_every_type_is_checked_or_refused_whole() -> None:
    assert {name for name, _ in CASES} == set(RECIPES) - (NO_DROPS & NO_BRANCHES)
    assert {name for name, kind in NEWER_CASES if kind == "maps"} == set(RECIPES) - NO_MAPS - NORMED_MLP
    assert {name for name, kind in NEWER_CASES if kind == "repeats"} == set(RECIPES) - NO_DROPS


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(RECIPES) - NO_DROPS))
def test_every_single_drop(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    model.save_pretrained(tmp_path / "full")
    written = []
    for layer in droppable(name):
        if (name, layer) != ("modernbert", 0):
            plan = Plan.drop(4, [layer])
            cut_checkpoint(tmp_path / "full", tmp_path / str(layer), plan, model)
            written.append((tmp_path / str(layer), compute_expected(model, plan)))
    assert compare_reloaded(written) == [0.0] * len(written)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(RECIPES) - NO_BRANCHES))
@pytest.mark.parametrize("scale", [0.0, 0.3, 1.5])
def test_every_branch_scale(name: str, scale: float, tmp_path: Path) -> None:
    model = tiny(name)
    model.save_pretrained(tmp_path / "full")
    written = []
    for branch in ("attention",) if name in NO_MLP else ("attention", "mlp"):
        for layer in range(4):
            plan = Plan.scale(4, {layer: scale}, branch)
            cut_checkpoint(tmp_path / "full", tmp_path / f"{branch}{layer}", plan, model)
            written.append((tmp_path / f"{branch}{layer}", compute_expected(model, plan)))
    assert all(far <= expected.allowed for far, (_, expected) in zip(compare_reloaded(written), written, strict=True))


def test_the_guard_refuses_what_a_checkpoint_cannot_express(tmp_path: Path) -> None:
    model = tiny("modernbert")
    model.save_pretrained(tmp_path / "full")
    with pytest.raises(
        ExportError, match="without layers 0 cannot keep layer 1 as it is: the kind of attn_norm would be"
    ):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.drop(4, [0]), model)
    assert not (tmp_path / "cut").exists()


@pytest.mark.parametrize("name", sorted(set(RECIPES) - PARALLEL))
def test_layer_scales_no_weight_can_carry_are_refused(name: str, tmp_path: Path) -> None:
    model = tiny(name)
    with apply(model, Plan.scale(4, {1: 0.5})):  # the live model can
        pass
    with pytest.raises(ExportError, match=r"layer carr(ies|y) its scale"):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", Plan.scale(4, {1: 0.5}), model)


@pytest.mark.parametrize("name", sorted(NO_FACTORS))
def test_factors_no_weight_can_carry_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"carry a factor of its stream|carries a factor of its stream"):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", factor_plan(name), tiny(name))


@pytest.mark.parametrize("name", sorted(NORMED_MLP))
def test_maps_no_weight_can_carry_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="carries a map of what its MLPs add: it goes through a norm first"):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", map_plan(name), tiny(name))


def test_what_no_weights_can_carry_is_refused(tmp_path: Path) -> None:
    model = tiny("llama")
    with pytest.raises(
        ExportError, match="no weight carries a norm that is set: what it takes depends on what is read"
    ):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", norm_plan(), model)
    with pytest.raises(ExportError, match="no weight carries a factor of the stream where blocks are repeated"):
        cut_checkpoint(tmp_path / "full", tmp_path / "cut", repeat_plan("llama").compensate({2: 1.5}), model)
