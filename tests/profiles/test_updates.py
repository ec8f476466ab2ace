"""Updates of a residual stream against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tapioca.errors import NonFiniteError
from tapioca.plan import Plan
from tapioca.profiles.updates import join_updates, summarise_updates, updates_of_stream
from tapioca.records import Updates


def test_updates_by_hand() -> None:
    """East, then as far north, then back: one example of width 2."""
    found = updates_of_stream(np.array([[[1.0, 0.0]], [[3.0, 0.0]], [[3.0, 4.0]], [[3.0, 2.0]]]))
    assert found.norms[:, 0] == pytest.approx([2, 4, 2])
    assert found.angles[:, 0] == pytest.approx([0, 0.5, 1 - np.arctan2(3, 4) / np.pi], abs=1e-15)
    assert found.shares[:, 0] == pytest.approx([6 / 13, 8 / 13, -4 / 13])
    assert found.first == pytest.approx([3 / 13])


def test_shares_sum_to_one_and_half_precision_is_summed_in_float64() -> None:
    stream = np.random.default_rng(0).normal(size=(9, 6, 5)).astype(np.float16).cumsum(axis=0)
    found = updates_of_stream(stream)
    assert found.first + found.shares.sum(axis=0) == pytest.approx(np.ones(6), rel=1e-12)


def test_an_update_of_zero_has_no_angle_of_its_own_and_a_final_state_of_zero_no_shares() -> None:
    stream = np.ones((2, 1, 3))
    assert updates_of_stream(stream).angles == pytest.approx(0.5)
    with pytest.raises(NonFiniteError, match="updates have no share"):
        updates_of_stream(np.stack([stream[0], 0 * stream[0]]))


def test_parts_are_joined_in_the_order_of_the_examples() -> None:
    stream = np.random.default_rng(0).normal(size=(4, 5, 3))
    order = [3, 1, 4, 0, 2]
    found = join_updates([updates_of_stream(stream[:, order[:2]]), updates_of_stream(stream[:, order[2:]])], order)
    for name, whole in vars(updates_of_stream(stream)).items():
        assert getattr(found, name) == pytest.approx(whole)


def test_the_summary_has_means_with_intervals_and_goes_to_json() -> None:
    found = updates_of_stream(np.random.default_rng(0).normal(size=(3, 40, 4)))
    record = summarise_updates(found, [(0, "attention"), (0, "mlp")], Plan.full(1))
    assert [(update.layer, update.branch) for update in record.updates] == [(0, "attention"), (0, "mlp")]
    for at, update in enumerate(record.updates):
        assert update.norm.value == pytest.approx(found.norms[at].mean())
        half = 1.96 * found.norms[at].std() / 40**0.5
        assert update.norm.ci95 == pytest.approx((update.norm.value - half, update.norm.value + half), rel=0.05)
    assert Updates.model_validate_json(record.model_dump_json()) == record
