"""The plan: canonical, hashable, stable as JSON."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tapioca.errors import UsageError
from tapioca.plan import Plan, format_layers

SCALES = st.floats(min_value=0, max_value=4, allow_nan=False)


@st.composite
def plans(draw: st.DrawFn, n_layers: int | None = None) -> Plan:
    n = n_layers or draw(st.integers(1, 12))
    table = st.dictionaries(st.integers(0, n - 1), SCALES, max_size=n)
    factors = st.dictionaries(st.integers(0, n - 1), st.floats(0.1, 4), max_size=n)
    return Plan(n_layers=n, layers=draw(table), attention=draw(table), mlp=draw(table), factors=draw(factors))


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
    a, b, _ = three
    assert a.compose(b) == b.compose(a)
    assert a.compose(Plan.full(a.n_layers)) == a
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
