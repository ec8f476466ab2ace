"""Every criterion on toy score functions: documented answers, and what can never happen."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapioca.errors import NonFiniteError, UsageError, did_you_mean
from tapioca.plan import GRAINS, Plan
from tapioca.profiles.layer_importance import LayerImportance
from tapioca.search.base import Search, SearchSpace, measure_size
from tapioca.search.criteria import CRITERIA, GUIDES, OOD_LABELS, READS, UNLABELLED, Criterion
from tapioca.search.random import draw_matched_random_plans, draw_random_plans
from tapioca.search.stepwise import greedy_of_shortlist, list_swaps

Score = Callable[[Plan], float]
WHOLE = [name for name in CRITERIA if not (CRITERIA[name].branches or CRITERIA[name].repeats)]
SCORED = [name for name in WHOLE if CRITERIA[name].guide in ("score", "likelihood", "text")]


def space(n_layers: int = 6, sizes: tuple[int, ...] = (1, 2, 3), **fields: object) -> SearchSpace:
    every = tuple(range(n_layers))
    angles = np.abs(np.subtract.outer(np.arange(n_layers + 1), np.arange(n_layers + 1))) / 20
    flat = LayerImportance(influence=np.arange(n_layers) / 10, magnitude=np.arange(n_layers) / 10, angles=angles)
    settings: dict = {"droppable": every, "branches": {"attention": every, "mlp": every}, "similarity": flat}
    settings["repeatable"] = every
    settings["drop_effects"] = dict.fromkeys(GRAINS, -np.arange(n_layers) / 10)
    return SearchSpace(n_layers, sizes, **{**settings, **fields})


def picks(name: str, where: SearchSpace, score: Score, seen: list[Plan] | None = None) -> dict[int, Plan]:
    """The plans a criterion chooses when a function of the plan is the score."""
    criterion: Criterion = CRITERIA[name]
    search = Search(criterion.choose, where)
    while question := search.ask():
        if seen is not None:
            seen += question.plans
        search.tell([score(plan) for plan in question.plans])
    return search.picks


def rough(seed: int) -> Score:
    """A score without any structure, the same for the same plan."""
    return lambda plan: zlib.crc32(f"{seed} {plan.to_json()}".encode()) / 2**32


@pytest.mark.parametrize("name", WHOLE)
def test_each_size_gets_a_plan_of_that_size(name: str) -> None:
    found = picks(name, space(), rough(1))
    assert {size: len(plan.drops) for size, plan in found.items()} == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize("name", WHOLE)
def test_layers_that_must_stay_stay(name: str) -> None:
    found = picks(name, space(droppable=(1, 2, 4, 5), sizes=(1, 2)), rough(2))
    assert all(set(plan.drops) <= {1, 2, 4, 5} for plan in found.values())


@pytest.mark.parametrize("name", WHOLE)
def test_a_number_of_drops_that_cannot_be_had_is_missing(name: str) -> None:
    found = picks(name, space(droppable=(1, 2), sizes=(1, 2, 3)), rough(2))
    assert {size: len(plan.drops) for size, plan in found.items()} == {1: 1, 2: 2}


@pytest.mark.parametrize("name", CRITERIA)
def test_the_same_seed_gives_the_same_plans(name: str) -> None:
    assert picks(name, space(seed=5), rough(3)) == picks(name, space(seed=5), rough(3))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_exhaustive_is_never_worse_than_any_other(seed: int) -> None:
    score, where = rough(seed), space(sizes=(2, 3))
    best = picks("exhaustive", where, score)
    for name in WHOLE:
        assert all(score(plan) <= score(best[size]) for size, plan in picks(name, where, score).items()), name


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_swaps_never_make_greedy_worse(seed: int) -> None:
    score, where = rough(seed), space(8, (2, 3, 4))
    greedy, swapped = picks("tale", where, score), picks("swap", where, score)
    for size, plan in swapped.items():
        assert score(plan) >= score(greedy[size])
        assert all(score(other) <= score(plan) for other in list_swaps(where, plan))


def test_swaps_and_beams_undo_a_greedy_mistake() -> None:
    """Layer 0 is the best single drop, and in the way of the best pair."""
    values = {(): 0.5, (0,): 0.6, (1,): 0.55, (2,): 0.55, (1, 2): 0.9}
    score = lambda plan: values.get(plan.drops, 0.1)  # noqa: E731
    where = space(4, (2,))
    assert 0 in picks("tale", where, score)[2].drops
    for name in ("beam", "exhaustive"):
        assert picks(name, where, score)[2] == Plan.drop(4, [1, 2])
    assert picks("swap", where, lambda plan: score(plan) + 0.2 * (plan.drops == (0, 1)))[2] == Plan.drop(4, [1, 2])


def test_evolution_finds_a_planted_plan_and_looks_at_a_share_first() -> None:
    goal = {1, 4, 6}
    search = Search(CRITERIA["evolution"].choose, space(10, (3,)))
    shares = set()
    while question := search.ask():
        shares.add(question.share)
        search.tell([float(len(goal & set(plan.drops))) for plan in question.plans])
    assert search.picks == {3: Plan.drop(10, goal)}
    assert shares == {0.25, 1.0}


@pytest.mark.parametrize("size", [1, 3, 5])
def test_searches_end_where_few_plans_exist(size: int) -> None:
    for name in WHOLE:
        assert set(picks(name, space(6, (size,)), rough(0))) == {size}


def test_the_random_pick_is_the_best_of_different_plans() -> None:
    where = space(8, (3,), repeats=7)
    tried = draw_random_plans(where, {"layers": 3}, 7)
    assert len(set(tried)) == 7
    assert picks("random", where, rough(6))[3] == max(tried, key=rough(6))


def test_random_plans_are_different_of_one_size_and_end_where_no_more_exist() -> None:
    where = space(8, droppable=(1, 2, 3, 4, 6, 7))
    plans = draw_random_plans(where, Plan.drop(8, [2, 6]).sizes, 12)
    assert len(set(plans)) == 12
    assert {len(plan.drops) for plan in plans} == {2}
    assert all(set(plan.drops) <= set(where.droppable) for plan in plans)
    assert draw_random_plans(where, {"layers": 2}, 5) == plans[:5]
    assert len(draw_random_plans(where, {"layers": 2}, 100)) == 15
    assert draw_random_plans(space(4, droppable=()), {"layers": 1}, 20) == ()


def test_random_branch_plans_drop_as_many_branches_of_each_kind() -> None:
    like = Plan(n_layers=4, attention={0: 0.0, 2: 0.0}, mlp={2: 0.0})
    where = space(4, branches={"attention": (0, 1, 2), "mlp": (2, 3)})
    plans = draw_random_plans(where, like.sizes, 100)
    assert len(set(plans)) == 3 * 2
    assert {tuple(plan.sizes.values()) for plan in plans} == {(0, 2, 1)}
    assert {layer for plan in plans for layer in plan.dropped("attention")} == {0, 1, 2}
    assert {layer for plan in plans for layer in plan.dropped("mlp")} == {2, 3}


@pytest.mark.parametrize(("name", "branches"), [("attention", {"attention"}), ("mlp", {"mlp"})])
def test_branch_searches_drop_branches_of_their_kind(name: str, branches: set[str]) -> None:
    seen: list[Plan] = []
    found = picks(name, space(4, (1, 2)), lambda plan: -sum(layer for layer, _ in plan.attention + plan.mlp), seen)
    (kind,) = branches
    assert found == {1: Plan.scale(4, {0: 0.0}, kind), 2: Plan.scale(4, {0: 0.0, 1: 0.0}, kind)}
    assert len(seen) == 4 + 3


def test_the_mixed_search_takes_either_branch() -> None:
    goal = Plan.scale(3, {1: 0.0}, "attention").compose(Plan.scale(3, {2: 0.0}, "mlp"))
    score = lambda plan: len({*plan.attention} & {*goal.attention}) + 0.5 * len({*plan.mlp} & {*goal.mlp})  # noqa: E731
    assert picks("mixed", space(3, (2,)), score) == {2: goal}


def test_a_branch_search_ends_with_the_branches() -> None:
    found = picks("attention", space(4, (1, 2, 3), branches={"attention": (0, 3)}), rough(0))
    assert set(found) == {1, 2}


def test_a_nan_is_never_ranked() -> None:
    for name in SCORED:
        with pytest.raises(NonFiniteError, match="is nan; nothing is ranked on it"):
            picks(name, space(), lambda plan: float("nan") if 2 in plan.drops else 0.5)


def test_scores_of_another_number_are_refused() -> None:
    search = Search(CRITERIA["tale"].choose, space())
    with pytest.raises(UsageError, match="expected scores of the 6 plans asked for, got 1"):
        search.tell([0.5])


def test_exhaustive_is_for_small_models() -> None:
    with pytest.raises(UsageError, match="at most 12 layers, this model has 13"):
        picks("exhaustive", space(13), rough(0))


def test_similarity_criteria_take_the_lowest_and_the_nearest() -> None:
    where = space(4, (1, 2))
    angles = np.full((5, 5), 0.5)
    angles[3, 4], angles[0, 2] = 0.1, 0.1
    found = LayerImportance(
        influence=np.array([0.4, 0.1, 0.3, 0.2]), magnitude=np.array([3.0, 2.0, 1.0, 4.0]), angles=angles
    )
    where = space(4, (1, 2), similarity=found)
    drops = {name: [plan.drops for plan in picks(name, where, rough(0)).values()] for name in WHOLE}
    assert drops["shortgpt"] == [(1,), (1, 3)]
    assert drops["magnitude"] == [(2,), (1, 2)]
    assert drops["angular"] == [(3,), (0, 1)]
    assert drops["last"] == [(3,), (2, 3)]


def test_taylor_drops_what_helps_most_to_first_order() -> None:
    effects = {"layers": np.array([-1.0, 0.5, -0.2, 0.5, 2.0])}
    where = space(5, (1, 2, 3), drop_effects=effects)
    assert [plan.drops for plan in picks("taylor", where, rough(0)).values()] == [(4,), (1, 4), (1, 3, 4)]
    where = space(5, (1, 2), droppable=(0, 2, 3), drop_effects=effects)
    assert [plan.drops for plan in picks("taylor", where, rough(0)).values()] == [(3,), (2, 3)]


def test_taylor_mixed_ranks_branches_of_both_kinds() -> None:
    effects = {"attention": np.array([0.3, 9.0, 0.1]), "mlp": np.array([0.3, -1.0, 0.2]), "layers": np.full(3, 5.0)}
    where = space(3, (1, 2, 4, 6), branches={"attention": (0, 2), "mlp": (0, 1, 2)}, drop_effects=effects)
    found = picks("taylor-mixed", where, rough(0))
    assert {size: (plan.dropped("attention"), plan.dropped("mlp")) for size, plan in found.items()} == {
        1: ((0,), ()),
        2: ((0,), (0,)),
        4: ((0, 2), (0, 2)),
    }
    assert not any(plan.drops for plan in found.values())


def search_shortlist(
    count: int, where: SearchSpace, score: Score
) -> tuple[dict[int, Plan], list[list[tuple[int, ...]]]]:
    """The plans chosen, and the drops asked for round by round."""
    search, asked = Search(greedy_of_shortlist(count), where), []
    while question := search.ask():
        asked.append([plan.drops for plan in question.plans])
        search.tell([score(plan) for plan in question.plans])
    return search.picks, asked


def test_a_shortlist_holds_what_gradients_and_then_the_round_before_rank_first() -> None:
    where = space(5, (1, 2, 3), drop_effects={"layers": np.array([0.1, 0.5, 0.2, 0.4, 0.3])})
    values = {(1,): 0.2, (3,): 0.3, (4,): 0.9, (1, 4): 0.1, (3, 4): 0.2, (2, 4): 0.7}
    found, asked = search_shortlist(3, where, lambda plan: values.get(plan.drops, 0.0))
    assert asked == [[(1,), (3,), (4,)], [(1, 4), (2, 4), (3, 4)], [(0, 2, 4), (1, 2, 4), (2, 3, 4)]]
    assert {size: plan.drops for size, plan in found.items()} == {1: (4,), 2: (2, 4), 3: (0, 2, 4)}


@pytest.mark.parametrize("seed", range(5))
def test_a_shortlist_of_all_layers_is_tale(seed: int) -> None:
    where = space(droppable=(0, 2, 3, 5))
    assert search_shortlist(6, where, rough(seed))[0] == picks("tale", where, rough(seed))


def test_repeat_picks_the_best_block_of_each_length_and_the_first_of_equals() -> None:
    seen: list[Plan] = []
    goal = {((2, 3),): 0.9, ((4, 4),): 0.7, ((1, 1),): 0.7}
    found = picks("repeat", space(6, (1, 2, 3, 4)), lambda plan: goal.get(plan.repeats, 0.5), seen)
    assert {length: plan.repeats for length, plan in found.items()} == {1: ((1, 1),), 2: ((2, 3),), 3: ((0, 2),)}
    assert len(seen) == 6 + 5 + 4  # no block is longer than half of the layers
    assert not any(plan.size for plan in seen)


def test_repeat_keeps_to_the_layers_that_can_run_twice() -> None:
    where = space(8, (1, 2, 3), repeatable=(1, 2, 5, 6))
    seen: list[Plan] = []
    assert set(picks("repeat", where, rough(1), seen)) == {1, 2}
    assert [plan.repeats for plan in seen] == [((n, n),) for n in (1, 2, 5, 6)] + [((1, 2),), ((5, 6),)]
    assert picks("repeat", space(1, (1,)), rough(1)) == {1: Plan(n_layers=1, repeats=((0, 0),))}


@pytest.mark.parametrize(("length", "count", "expected"), [(1, 3, 3), (2, 20, 4), (3, 20, 3)])
def test_random_repeats_are_other_blocks_of_the_length(length: int, count: int, expected: int) -> None:
    plan = Plan(n_layers=6, repeats=((1, length),))
    drawn = draw_matched_random_plans(space(6), plan, count)
    assert len(set(drawn)) == len(drawn) == expected
    assert plan not in drawn
    assert {measure_size(other) for other in drawn} == {length}
    assert draw_matched_random_plans(space(6), plan, count) == drawn
    assert draw_matched_random_plans(space(6), Plan.full(6), 5) == []


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown criterion 'shortgp'; did you mean 'shortgpt'"):
        _ = CRITERIA["shortgp"]
    assert "tale" in did_you_mean("tael", CRITERIA)


def test_a_block_is_the_best_of_all_of_its_size() -> None:
    score = lambda plan: float(plan.drops == (2, 3))  # noqa: E731
    assert picks("linear", space(), score) == {
        1: Plan.drop(6, [0]),
        2: Plan.drop(6, [2, 3]),
        3: Plan.drop(6, [0, 1, 2]),
    }
    assert picks("linear", space(droppable=(1, 3, 4), sizes=(2, 3)), score) == {2: Plan.drop(6, [3, 4])}


def test_what_each_criterion_reads_is_said() -> None:
    assert set(READS) == set(GUIDES)
    unlabelled = {name for name, criterion in CRITERIA.items() if not criterion.reads_labels}
    assert unlabelled == set(UNLABELLED)
    assert all(OOD_LABELS not in CRITERIA[name].reads for name in unlabelled)
    assert CRITERIA["tale"].reads == (OOD_LABELS,)
