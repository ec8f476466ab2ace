"""A layer that amplifies a known shift is found by both attributions, and where they differ they differ as said."""

from __future__ import annotations

import numpy as np
import pytest

from tapioca.profiles.attribution import attribute_deviation, shares_along_stream, shares_by_removal
from tapioca.profiles.deviation import mean_deviation, signed_log_ratio
from tapioca.profiles.profiles import StateGeometry, state_geometry
from tapioca.records import Attribution

LAYERS, WIDTH, N = 6, 24, 80
SHIFT = np.eye(WIDTH)[0]


def inputs(seed: int, shifted: bool) -> np.ndarray:
    """Examples that have nothing along the shift, or a little of it, more or less."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(N, WIDTH)) * (1 - SHIFT)
    return states + shifted * rng.normal(1.0, 0.5, size=(N, 1)) * SHIFT


def run(states: np.ndarray, planted: int, drop: int | None = None, stretch: float = 0.0) -> np.ndarray:
    """A residual stack of small random layers; layer `planted` also amplifies the shift, or stretches everything."""
    rng, stream = np.random.default_rng(7), [states]
    for layer in range(LAYERS):
        weights = rng.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
        if layer == drop:
            continue
        update = 0.1 * np.tanh(stream[-1] @ weights)
        if layer == planted:
            update += stretch * stream[-1] if stretch else 4 * np.outer(stream[-1] @ SHIFT, SHIFT)
        stream.append(stream[-1] + update)
    return np.stack(stream)


def attributed(planted: int, shifted: bool = True, stretch: float = 0.0) -> tuple[Attribution, ...]:
    ood, reference = inputs(1, shifted), inputs(2, False)

    def without() -> list[tuple[int, StateGeometry]]:
        return [(layer, state_geometry(run(ood, planted, layer, stretch)[1:])) for layer in range(LAYERS)]

    return attribute_deviation(
        state_geometry(run(ood, planted, None, stretch)),
        state_geometry(run(reference, planted, None, stretch)),
        without(),
    )


@pytest.mark.parametrize("planted", [0, 2, 4])
def test_both_attributions_find_the_layer_that_amplifies_the_shift(planted: int) -> None:
    for found in attributed(planted):
        along, removal = ([share.value for share in shares] for shares in (found.along, found.removal))
        assert int(np.argmax(along)) == int(np.argmax(removal)) == planted
        assert along[planted] > 3 * max(np.abs(np.delete(along, planted)))
        for share in (found.along[planted], found.removal[planted]):
            assert share.ci95[0] > 0


def test_removal_is_blind_to_the_last_layer_and_the_stream_is_not() -> None:
    for found in attributed(LAYERS - 1):
        assert int(np.argmax([share.value for share in found.along])) == LAYERS - 1
        assert found.removal[LAYERS - 1].value == 0


def test_a_layer_that_stretches_id_and_ood_alike_has_no_share_along_the_stream_and_a_negative_one_by_removal() -> None:
    for found in attributed(2, shifted=False, stretch=1.0):
        assert abs(found.along[2].value) < 0.03
        assert found.removal[2].ci95[1] < -0.1


def test_without_a_shift_no_layer_has_a_share() -> None:
    """The interval of no layer's share lies above 0, though one of them would amplify a shift if there were one."""
    for found in attributed(2, shifted=False):
        assert not any(share.ci95[0] > 0 for share in found.along)


def test_shares_along_the_stream_sum_to_the_last_deviation() -> None:
    ood, reference = (state_geometry(run(inputs(seed, seed == 1), 2)) for seed in (1, 2))
    for at, found in enumerate(attributed(2)):
        last = signed_log_ratio(ood.profiles()[at][0], reference.profiles()[at][0])[-1]
        assert found.before + sum(share.value for share in found.along) == pytest.approx(abs(last))


def test_attribution_by_hand() -> None:
    profile, reference = np.array([1.0, 2.0, 8.0]), np.array([1.0, 1.0, 2.0])
    assert shares_along_stream(profile, reference) == pytest.approx([np.log(2), np.log(2)])
    without = np.array([1.0, 4.0])
    assert shares_by_removal(profile, without, reference, 1) == pytest.approx(np.log(4) / 2 - np.log(2) / 2)


def test_removal_equals_a_direct_comparison() -> None:
    ood, reference = inputs(1, True), state_geometry(run(inputs(2, False), 2)).select(layers=range(1, LAYERS + 1))
    full = state_geometry(run(ood, 2)).select(layers=range(1, LAYERS + 1))
    gone, kept = state_geometry(run(ood, 2, drop=3)[1:]), [0, 1, 2, 4, 5]
    for at, found in enumerate(attributed(2)):
        there, here = (side.select(layers=kept).profiles()[at][0] for side in (full, reference))
        direct = mean_deviation(there, here) - mean_deviation(gone.profiles()[at][0], here)
        assert found.removal[3].value == pytest.approx(direct)


def test_a_layer_that_cannot_be_dropped_has_no_share_by_removal() -> None:
    stream = state_geometry(run(inputs(1, True), 2))
    found = attribute_deviation(stream, stream, [(3, stream.select(layers=range(1, LAYERS)))])
    assert [share is None for share in found[0].removal] == [True, True, True, False, True, True]
    assert Attribution.model_validate_json(found[0].model_dump_json()) == found[0]
