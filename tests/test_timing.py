"""Seconds of several ways, measured in turn."""

from __future__ import annotations

import time
from functools import partial

import pytest

from tapioca.timing import Timed, TimeRatio, compare_times, find_median_seconds, time_call, time_in_turn


def test_a_call_is_timed_and_its_result_kept() -> None:
    timed = time_call(partial(sum, [1, 2]))
    assert timed.result == 3
    assert 0 <= timed.seconds < 1
    assert time_call(partial(time.sleep, 0.02)).seconds >= 0.02


def test_ways_take_turns() -> None:
    order: list[str] = []
    runs = time_in_turn([partial(order.append, "full"), partial(order.append, "planned")], 3)
    assert order == ["full", "planned"] * 3
    assert [len(of_one) for of_one in runs] == [3, 3]


def test_the_ratio_is_of_neighbouring_runs() -> None:
    """A machine that was four times as slow during the second pair changes nothing."""
    slow = [Timed(None, seconds) for seconds in (4.0, 16.0, 5.0)]
    fast = [Timed(None, seconds) for seconds in (2.0, 8.0, 2.0)]
    assert compare_times(slow, fast) == TimeRatio(2.0, 2.0, 2.5)
    assert str(2 * compare_times(slow, fast)) == "4.0 [4.0, 5.0]"
    assert find_median_seconds(slow) == 5.0


def test_sides_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare_times([Timed(None, 1.0)] * 2, [Timed(None, 1.0)])
