"""The plan: canonical, hashable, stable as JSON."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapioca.errors import UsageError
from tapioca.plan import HashedArray, Plan, format_layers

SCALES = st.floats(min_value=0, max_value=4, allow_nan=False)


@st.composite
def plans(draw: st.DrawFn, n_layers: int | None = None) -> Plan:
    n = n_layers or draw(st.integers(1, 12))
    table = st.dictionaries(st.integers(0, n - 1), SCALES, max_size=n)
    above_zero = st.dictionaries(st.integers(0, n - 1), st.floats(0.1, 4), max_size=n)
    arrays = st.builds(HashedArray.hold, st.lists(st.just([1.0, 2.0]), min_size=2, max_size=2))
    bounds = sorted(draw(st.sets(st.integers(0, n - 1), max_size=4)))
    return Plan(
        n_layers=n,
        layers=draw(table),
        attention=draw(table),
        mlp=draw(table),
        factors=draw(above_zero),
        norms=draw(above_zero),
        norm_tokens=draw(st.sampled_from(["all", "last"])),
        maps=draw(st.dictionaries(st.integers(0, n - 1), arrays, max_size=2)),
        repeats=list(zip(bounds[::2], bounds[1::2], strict=False)),
    )


@given(plans())
def test_json_round_trip(plan: Plan) -> None:
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert hash(again) == hash(plan)
    assert again.to_json() == plan.to_json()
    assert again.digest == plan.digest


@given(plans())
def test_drops_and_kept_share_out_the_layers(plan: Plan) -> None:
    assert sorted(plan.drops + plan.kept) == list(range(plan.n_layers))
    assert not set(plan.scaled) & set(plan.drops)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(plans(n), plans(n), plans(n))))
def test_compose_is_commutative_and_has_a_neutral_element(three: tuple[Plan, Plan, Plan]) -> None:
    a, b = (plan.replace_tables(maps={}, repeats=(), norms={}) for plan in three[:2])
    assert a.compose(b) == b.compose(a)
    assert three[2].compose(Plan.full(a.n_layers)) == three[2]
    assert set(a.compose(b).drops) >= set(a.drops) | set(b.drops)


def test_plans_that_mean_the_same_are_equal() -> None:
    assert Plan.drop(4, [2, 0]) == Plan.drop(4, [0, 2, 2]) == Plan.scale(4, {2: 0.0, 0: -0.0, 1: 1.0})
    assert Plan.scale(4, {1: 1.0}) == Plan.full(4)
    assert Plan(n_layers=4, layers={1: 0}, mlp={1: 0.5}) == Plan.drop(4, [1])
    assert len({Plan.drop(4, [1]), Plan.drop(4, [1]), Plan.drop(5, [1])}) == 2


def test_branch_scales_are_another_plan() -> None:
    plan = Plan.scale(4, {1: 0.0}, branch="mlp")
    assert plan != Plan.drop(4, [1])
    assert plan.drops == ()
    assert not plan.is_full


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_layers": 3, "layers": {3: 0.0}}, "layer 3 is outside 0-2"),
        ({"n_layers": 3, "layers": {-1: 0.0}}, "layer -1 is outside 0-2"),
        ({"n_layers": 3, "layers": {0: -0.5}}, "a scale is a finite number >= 0"),
        ({"n_layers": 3, "mlp": {0: math.nan}}, "a scale is a finite number >= 0"),
        ({"n_layers": 0}, "greater than or equal to 1"),
        ({"n_layers": 3, "factors": {3: 2.0}}, "layer 3 is outside 0-2"),
        ({"n_layers": 3, "factors": {1: 0.0}}, "a factor of 0 in front of layer 1 leaves nothing of the stream"),
        ({"n_layers": 3, "factors": {1: -1.0}}, "a scale is a finite number >= 0"),
        ({"n_layers": 3, "factors": {1: math.inf}}, "a scale is a finite number >= 0"),
        ({"n_layers": 3, "norms": {1: 0.0}}, "a norm of 0.0 in front of layer 1; a norm is a finite number above 0"),
        ({"n_layers": 3, "norms": {1: math.nan}}, "a norm of nan in front of layer 1"),
        ({"n_layers": 3, "norms": {4: 1.0}}, "layer 4 is outside 0-2"),
        ({"n_layers": 3, "norms": {1: 1.0}, "norm_tokens": "first"}, "norm_tokens: Input should be 'all' or 'last'"),
        ({"n_layers": 3, "repeats": [(1, 3)]}, "layer 3 is outside 0-2"),
        ({"n_layers": 3, "repeats": [(2, 1)]}, "block 2-1 ends before it begins"),
        ({"n_layers": 3, "repeats": [(0, 1), (1, 2)]}, "blocks 0-1 and 1-2 overlap"),
        ({"n_layers": 3, "repeats": [1]}, r"repeats must list blocks by their first and last layer, got \[1\]"),
        ({"n_layers": 3, "repeats": [(0.5, 1)]}, "repeats.0.0: Input should be a valid integer"),
        ({"n_layers": 3, "maps": {1: "0" * 63}}, "known by the 64 hexadecimal digits of its SHA-256"),
        ({"n_layers": 3, "maps": {3: "0" * 64}}, "layer 3 is outside 0-2"),
        ({"n_layers": 3, "maps": {1: HashedArray.hold([[1.0, 2.0]])}}, r"has shape \(1, 2\); a map is a square matrix"),
    ],
)
def test_refuses_what_is_no_plan(fields: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan(**fields)


@given(st.text(max_size=40))
def test_any_text_is_a_plan_or_one_clear_error(text: str) -> None:
    try:
        Plan.from_json(text)
    except UsageError as error:
        assert str(error).startswith("not a plan")


def test_frozen() -> None:
    with pytest.raises(ValidationError, match="Instance is frozen"):
        Plan.full(2).n_layers = 3  # type: ignore[misc]


def test_words() -> None:
    assert str(Plan.drop(12, [3, 4, 5, 9])) == "drop 3–5, 9"
    assert str(Plan.full(3)) == "full model"
    assert str(Plan.scale(3, {1: 0.5})) == "1×0.5"
    assert format_layers([0, 1, 3, 5, 6, 7]) == "0–1, 3, 5–7"
    assert format_layers([]) == ""


def test_a_dose_takes_the_place_of_every_drop() -> None:
    plan = Plan(n_layers=6, layers={1: 0.0, 2: 0.0}, mlp={4: 0.0})
    assert plan.dose(0.0) == plan
    assert plan.dose(1.0) == Plan.full(6)
    assert plan.dose(0.5) == Plan(n_layers=6, layers={1: 0.5, 2: 0.5}, mlp={4: 0.5})
    assert Plan.scale(6, {1: 0.0, 3: 2.0}).dose(1.0) == Plan.scale(6, {3: 2.0})  # scales stay


def test_a_text_that_is_no_plan_is_told_once_with_an_example() -> None:
    with pytest.raises(UsageError) as caught:
        Plan.from_json('{"drop": [2]}')
    message = str(caught.value)
    assert message == 'not a plan: n_layers: Field required; expected such as {"n_layers":6,"layers":{"2":0.0}}'
    assert Plan.from_json(message.partition("such as ")[2]) == Plan.drop(6, [2])


def test_a_plan_without_factors_has_the_json_it_always_had() -> None:
    """Stores and files name plans by it."""
    plan = Plan.drop(6, [2])
    assert plan.to_json() == '{"n_layers":6,"layers":{"2":0.0},"attention":{},"mlp":{}}'
    assert plan.digest == Plan(n_layers=6, layers={2: 0.0}, factors={3: 1.0}).digest


def test_factors_of_the_stream() -> None:
    plan = Plan.drop(6, [2]).compensate({3: 1.25})
    assert plan == Plan.from_json('{"n_layers":6,"layers":{"2":0.0},"factors":{"3":1.25}}')
    assert plan == Plan.from_json(plan.to_checked_json())
    assert str(plan) == "drop 2, stream×1.25 before 3"
    assert (plan.drops, plan.size, plan.only_drops_layers) == ((2,), 1, False)
    assert plan.compensate({}) == Plan.drop(6, [2])
    assert plan.compose(Plan.full(6).compensate({3: 2.0, 4: 0.5})).factors == ((3, 2.5), (4, 0.5))
    assert plan.dose(0.5) == Plan.scale(6, {2: 0.5}).compensate({3: 1.25})
    assert not Plan.full(6).compensate({3: 1.25}).is_full


def test_a_factor_in_front_of_dropped_layers_is_one_of_the_next_kept() -> None:
    both = Plan.full(6).compensate({2: 2.0, 4: 1.5})
    assert both.compose(Plan.drop(6, [2, 3])) == Plan.drop(6, [2, 3]).compensate({4: 3.0})
    assert both.compose(Plan.drop(6, [4, 5])) == Plan.drop(6, [4, 5]).compensate({2: 2.0})
    assert both.compose(Plan.drop(6, [2])).compensate({3: 1.0, 4: 1.0}) == Plan.drop(6, [2])


MATRIX = HashedArray.hold([[1.0, 2.0], [3.0, 4.0]])


def test_layers_run_in_order_and_repeated_blocks_twice() -> None:
    plan = Plan(n_layers=7, layers={2: 0.0, 5: 0.0}, repeats=[(5, 6), (1, 3)])
    assert plan.repeats == ((1, 3), (6, 6))
    assert plan.order == (0, 1, 3, 1, 3, 4, 6, 6)
    assert plan.kept == (0, 1, 3, 4, 6)
    assert Plan(n_layers=3, layers={1: 0.0}, repeats=[(1, 1)]) == Plan.drop(3, [1])
    assert str(plan) == "drop 2, 5, repeat 1–3, repeat 6"


def test_what_a_dropped_layer_would_do_is_not_there() -> None:
    plan = Plan(
        n_layers=4, layers={1: 0.0}, mlp={2: 0.0}, maps={1: MATRIX, 2: MATRIX, 3: MATRIX}, norms={1: 2.0, 3: 1.0}
    )
    assert [layer for layer, _ in plan.maps] == [layer for layer, _ in plan.norms] == [3]
    assert str(plan) == "drop 1, drop mlp 2, map MLP 3, norm set before 3 (all tokens but the first)"
    assert Plan(n_layers=2, norm_tokens="last") == Plan.full(2)


def test_arrays_are_known_by_what_they_hold() -> None:
    again = HashedArray.hold(np.array([[1, 2], [3, 4]]).T.copy().T)
    assert again == MATRIX
    assert HashedArray(MATRIX.digest) == MATRIX
    assert HashedArray.hold([1.0, 2.0, 3.0, 4.0]) != MATRIX
    assert again.array.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        again.array[0] = 5
    with pytest.raises(UsageError, match="an array of a plan holds NaN or infinity"):
        HashedArray.hold([math.nan])


def test_a_plan_with_arrays_is_two_files(tmp_path: Path) -> None:
    plan = Plan(n_layers=4, layers={2: 0.0}, maps={0: MATRIX, 1: MATRIX})
    plan.write(tmp_path / "plan.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "plan.safetensors"]
    read = Plan.read(tmp_path / "plan.json")
    assert read == plan
    assert read.maps[1][1].array.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    (tmp_path / "plan.safetensors").rename(tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"plan.safetensors is missing, which holds the arrays of the plan beside it"):
        Plan.read(tmp_path / "plan.json")
    Plan(n_layers=4, maps={0: HashedArray.hold([[9.0]])}).write(tmp_path / "plan.json")
    (tmp_path / "other.safetensors").replace(tmp_path / "plan.safetensors")
    with pytest.raises(UsageError, match="of the plan is not among its arrays; copy both its files again"):
        Plan.read(tmp_path / "plan.json")
    content = bytearray((tmp_path / "plan.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "plan.safetensors").write_bytes(content)
    with pytest.raises(
        UsageError, match=rf"plan.safetensors: damaged: it holds something else as {MATRIX.digest[:12]}"
    ):
        Plan.read(tmp_path / "plan.json")
    (tmp_path / "plan.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UsageError, match=r"cannot read .*plan.safetensors: .*; take it from where it came"):
        Plan.read(tmp_path / "plan.json")


def test_plans_that_do_the_same_thing_twice_do_not_compose() -> None:
    plan = Plan(n_layers=4, maps={1: MATRIX}, repeats=[(1, 2)], norms={3: 1.0})
    for other, message in [
        (Plan(n_layers=4, maps={1: MATRIX}), "cannot compose plans that both have maps of layer 1"),
        (Plan(n_layers=4, norms={3: 2.0}), "cannot compose plans that both have norms of layer 3"),
        (Plan(n_layers=4, norms={2: 2.0}, norm_tokens="last"), "set norms at all tokens and at the last one"),
        (Plan(n_layers=4, repeats=[(2, 3)]), "blocks 1-2 and 2-3 overlap"),
    ]:
        with pytest.raises(UsageError, match=message):
            plan.compose(other)
    whole = plan.compose(Plan(n_layers=4, layers={0: 0.0}, maps={2: MATRIX}, repeats=[(3, 3)]))
    assert whole.order == (1, 2, 1, 2, 3, 3)
    assert [layer for layer, _ in whole.maps] == [1, 2]
