"""The similarity measures against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tapioca.errors import NonFiniteError
from tapioca.profiles.layer_importance import angular_distances, block_influence, relative_magnitude


def test_block_influence_by_hand() -> None:
    before = np.array([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0], [2.0, 0.0]])
    after = np.array([[0.0, 2.0], [6.0, 8.0], [-1.0, -1.0], [1.0, np.sqrt(3.0)]])
    assert block_influence(before, after) == pytest.approx([1.0, 0.0, 2.0, 0.5])


def test_relative_magnitude_by_hand() -> None:
    before, after = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 1.0]])
    assert relative_magnitude(before, after) == pytest.approx([1 / np.sqrt(2), 1.0])


def test_angular_distance_by_hand() -> None:
    one, two = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 3.0], [0.0, 5.0]])
    found = angular_distances(np.stack([one, two, -one]))
    assert found == pytest.approx(np.array([[0, 0.25, 1.0], [0.25, 0, 0.75], [1.0, 0.75, 0]]), abs=1e-7)


def test_equal_states_in_half_precision_have_no_distance() -> None:
    """A cosine above 1 by rounding would make the arc cosine NaN."""
    states = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float16)
    assert block_influence(states, states) == pytest.approx(0, abs=1e-7)
    assert angular_distances(np.stack([states, states])) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_what_has_no_direction_is_refused(bad: float) -> None:
    fine, broken = np.ones((2, 3)), np.array([[1.0, 1.0, 1.0], [bad, bad, bad]])
    for measure in (block_influence, relative_magnitude):
        with pytest.raises(NonFiniteError, match="NaN, infinite or zero"):
            measure(fine, broken)
    with pytest.raises(NonFiniteError, match="NaN, infinite or zero"):
        angular_distances(np.stack([fine, broken]))
