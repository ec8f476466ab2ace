"""What makes up for dropped layers, fitted without answers: what follows a gap reads a stream that is more as it was."""

import math
from collections.abc import Sequence

from transformers import PreTrainedModel

from tapioca.errors import ModelError, UsageError
from tapioca.models.edit import apply
from tapioca.models.inputs import collate
from tapioca.observe.mlp_maps import fit_maps
from tapioca.observe.streams import read_stream
from tapioca.plan import Compensation, Plan
from tapioca.records import Inputs


def find_layers_behind_gaps(plan: Plan) -> list[int]:
    """The kept layers in front of which layers are dropped, ascending."""
    return [layer for layer in plan.kept if layer and layer - 1 in plan.drops]


def compensate_plan(
    model: PreTrainedModel, plan: Plan, prompts: Sequence[Inputs], kind: Compensation, batch_size: int = 16
) -> Plan:
    """Compensate the gaps of a plan, which is fitted on prompts without answers.

    Args:
        model: left as it was.
        plan: drops whole layers; factors or maps that it has already are fitted anew.
        prompts: token ids, or numbers for models that read them.
        kind: by what.
        batch_size: prompts read at once.

    Raises:
        ModelError: no gap can be compensated so, or the states are not finite.
        UsageError: the plan drops no whole layer, or repeats blocks or sets norms.
    """
    if not plan.drops:
        raise UsageError(f"'{plan}' drops no whole layer, so that there is no gap to compensate; give a plan that does")
    if plan.runs_alone:
        raise UsageError(
            f"'{plan}' repeats blocks or sets norms, whose gaps cannot be compensated; give a plan of drops"
        )
    fit = fit_factors if kind == "scale" else fit_maps
    return fit(model, plan, prompts, batch_size)


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
        ModelError: no layer stands behind a gap; or the streams with and without the dropped layers do not agree in
            direction, or are not finite.
    """
    compensated, layers = plan.compensate({}), find_layers_behind_gaps(plan)
    if not layers:
        raise ModelError(f"no layer stands behind what '{plan}' drops, so that no factor can; use a linear map")
    for layer in layers:
        factor = _fit_factor(model, compensated, layer, prompts, batch_size)
        compensated = compensated.compensate({**dict(compensated.factors), layer: factor})
    return compensated


def _fit_factor(model: PreTrainedModel, plan: Plan, layer: int, prompts: Sequence[Inputs], batch_size: int) -> float:
    """The least-squares factor of the stream in front of one layer."""
    n_kept_before = sum(kept < layer for kept in plan.kept)
    product = square = 0.0
    for start in range(0, len(prompts), batch_size):
        batch = collate(model, prompts[start : start + batch_size])
        full_states = read_stream(model, batch, layer)
        with apply(model, plan):
            planned_states = read_stream(model, batch, n_kept_before)
        product += float((full_states * planned_states).sum())
        square += float(planned_states.square().sum())
    if not (0 < product < math.inf and square < math.inf):
        raise ModelError(
            f"no factor in front of layer {layer} makes up for what '{plan}' drops: the streams of both models differ in "
            "direction there; use the plan without it"
        )
    return product / square
