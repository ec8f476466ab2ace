"""Slopes by the scales of layers and branches, of every type, against finite differences."""

from __future__ import annotations

import pytest
import torch
from support.contracts import NO_BRANCHES, NO_MLP, inputs
from transformers import PreTrainedModel

from tapioca.evaluate.scale_effects import open_scales
from tapioca.models.edit import apply
from tapioca.models.tiny import RECIPES, tiny
from tapioca.plan import BRANCHES, BranchName, Grain, Plan

LAYER, STEP = 1, 1e-3


def weigh_outputs(model: PreTrainedModel) -> torch.Tensor:
    """A number that hangs on all outputs and can be differentiated."""
    found = model(**inputs(model), use_cache=False) if "input_ids" in inputs(model) else model(**inputs(model))
    values = found["logits"] if "logits" in found else found["last_hidden_state"]
    weights = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).reshape(values.shape)
    return (weights * values.tanh()).sum()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_slopes_by_scales_are_finite_differences(name: str) -> None:
    """To three hundredths: in float64, of which some types compute parts in float32, and ReLUs have kinks within a step."""
    model = tiny(name).double().requires_grad_(False)
    model.config.get_text_config(decoder=True)._experts_implementation = "eager"  # grouped products have no float64
    with open_scales(model) as scales:
        slopes = dict(zip(scales, torch.autograd.grad(weigh_outputs(model), list(scales.values())), strict=True))
    branches: tuple[BranchName, ...] = () if name in NO_BRANCHES else BRANCHES[: 1 if name in NO_MLP else 2]
    assert {grain for grain, _ in slopes} == {"layers", *branches}
    grains: tuple[Grain, ...] = ("layers", *branches)
    for grain in grains:
        sides = []
        for scale in (1 + STEP, 1 - STEP):
            plan = Plan(n_layers=4, **{grain: {LAYER: scale}})
            with apply(model, plan), torch.no_grad():
                sides.append(float(weigh_outputs(model)))
        assert float(slopes[grain, LAYER]) == pytest.approx((sides[0] - sides[1]) / (2 * STEP), rel=3e-2, abs=1e-2), (
            grain
        )
