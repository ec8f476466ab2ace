"""Factors that make up for dropped layers, against least squares by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tapioca.errors import ModelError
from tapioca.models.edit import apply
from tapioca.models.tiny import tiny
from tapioca.observe.compensation import find_layers_behind_gaps, fit_factors
from tapioca.plan import Plan

PROMPTS = [tuple(range(5, 5 + length)) for length in (3, 7, 4, 9, 5)]


def own_states(model: torch.nn.Module, depth: int) -> np.ndarray:
    """The model's own hidden states after so many layers, one prompt at a time, without each prompt's first token."""
    with torch.inference_mode():
        states = [model(torch.tensor([ids]), output_hidden_states=True).hidden_states[depth][0, 1:] for ids in PROMPTS]
    return torch.cat(states).double().numpy()


@pytest.mark.parametrize(("drops", "behind"), [([1], [2]), ([1, 2], [3]), ([0, 2], [1, 3]), ([3], []), ([2, 3], [])])
def test_layers_behind_gaps(drops: list[int], behind: list[int]) -> None:
    assert find_layers_behind_gaps(Plan.drop(4, drops)) == behind


@pytest.mark.parametrize(("name", "drops"), [("llama", [2]), ("gpt2", [0, 2]), ("gemma2", [0, 2])])
def test_each_factor_is_that_of_least_squares(name: str, drops: list[int]) -> None:
    model = tiny(name)
    plan = Plan.drop(4, drops)
    fitted = fit_factors(model, plan, PROMPTS, batch_size=2)
    assert [layer for layer, _ in fitted.factors] == find_layers_behind_gaps(plan)
    for number, (layer, factor) in enumerate(fitted.factors):
        earlier = plan.compensate(dict(fitted.factors[:number]))
        full = own_states(model, layer).ravel()
        with apply(model, earlier):
            planned = own_states(model, sum(kept < layer for kept in plan.kept)).ravel()
        expected = np.linalg.lstsq(planned[:, None], full, rcond=None)[0].item()
        assert factor == pytest.approx(expected, rel=1e-5)
    again = fit_factors(model, fitted, PROMPTS, batch_size=5)
    assert dict(again.factors) == pytest.approx(dict(fitted.factors), rel=1e-5)


def test_streams_that_point_elsewhere_have_no_factor() -> None:
    message = (
        r"no factor in front of layer 3 makes up for what 'drop 0, 2, stream×.* before 1' drops: the streams of both"
    )
    with pytest.raises(ModelError, match=message):
        fit_factors(tiny("llama"), Plan.drop(4, [0, 2]), PROMPTS)
