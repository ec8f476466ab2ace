"""Factors that make up for dropped layers, fitted without labels: what follows a gap reads a stream as large as before."""

import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.capture import capture_residual_stream
from tapioca.models.edit import apply
from tapioca.models.inputs import collate
from tapioca.plan import Plan
from tapioca.records import Inputs


def find_layers_behind_gaps(plan: Plan) -> list[int]:
    """The kept layers in front of which layers are dropped, ascending."""
    return [layer for layer in plan.kept if layer and layer - 1 in plan.drops]


def fit_factors(model: PreTrainedModel, plan: Plan, prompts: Sequence[Inputs], batch_size: int = 16) -> Plan:
    """Compensate a plan's gaps by one factor each, the least-squares one (after Prune&Comp, arXiv 2507.18212).

    In front of the first kept layer behind a gap, the factor c minimises the sum of ||h - c h'||² over all tokens but each
    prompt's first, whose states swamp the others: h is the stream of the full model there, h' that under the plan with the
    factors before it. Sums are taken in float64.

    Args:
        model: left as it was.
        plan: drops layers; factors that it has already are fitted anew.
        prompts: token ids, read without answers.
        batch_size: prompts read at once.

    Returns:
        The plan with a factor behind each gap that layers follow.

    Raises:
        ModelError: the streams with and without the dropped layers do not agree in direction, or are not finite.
    """
    compensated = plan.compensate({})
    for layer in find_layers_behind_gaps(plan):
        factor = _fit_factor(model, compensated, layer, prompts, batch_size)
        compensated = compensated.compensate({**dict(compensated.factors), layer: factor})
    return compensated


def _fit_factor(model: PreTrainedModel, plan: Plan, layer: int, prompts: Sequence[Inputs], batch_size: int) -> float:
    """The least-squares factor of the stream in front of one layer."""
    n_kept_before = sum(kept < layer for kept in plan.kept)
    product = square = 0.0
    for start in range(0, len(prompts), batch_size):
        batch = collate(model, prompts[start : start + batch_size])
        full_states = _read_stream(model, batch, layer)
        with apply(model, plan):
            planned_states = _read_stream(model, batch, n_kept_before)
        product += float((full_states * planned_states).sum())
        square += float(planned_states.square().sum())
    if not (0 < product < math.inf and square < math.inf):
        raise ModelError(
            f"no factor in front of layer {layer} makes up for what '{plan}' drops: the streams of both models differ in "
            "direction there; use the plan without it"
        )
    return product / square


def _read_stream(model: PreTrainedModel, batch: dict[str, torch.Tensor], depth: int) -> torch.Tensor:
    """The stream after so many layers at all tokens but each prompt's first: (token, width), float64."""
    streams: list[torch.Tensor] = []

    def read(place: int, states: torch.Tensor) -> None:
        if place == depth:
            streams.append(states.cpu().double())

    capture_residual_stream(model, batch, read)
    mask = batch["attention_mask"].cpu()
    counted = (mask.cumsum(1) > 1) & mask.bool()
    return streams[0][counted]
