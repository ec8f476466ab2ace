"""Use a plan on a live model, and leave no trace.

A dropped layer leaves the model's own layer list for the duration, one that is repeated stands in it twice, and what is
numbered or listed by layer (cache indices, per-layer lists of the config) is renumbered with it, so that the model's own
forward and its KV cache see an ordinary model of another length. Weights are never touched. Layers and branches that are
scaled, mapped or handed another stream, and dropped branches, get another forward (`branches.py`).
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock, get_ident
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.branches import change_input, find_branch, map_branch, scale_branch, scale_module
from tapioca.models.families import INDEX_LISTS, LEADING_COUNTS, NOT_PER_LAYER, find_family
from tapioca.models.find import Layers, find_layers
from tapioca.models.token_places import TokenPlaces, set_norms, watch_token_places
from tapioca.plan import BRANCHES, Plan
from tapioca.plan.prefix_tree import NO_MAP, Step, list_steps

_CLAIMING = Lock()


@contextmanager
def apply(model: PreTrainedModel, plan: Plan) -> Iterator[PreTrainedModel]:
    """Run a model under a plan inside a `with` block; afterwards it is bit for bit what it was.

    Forward and generation, with or without KV cache, see the planned model; weights are neither moved nor
    touched, so models spread over devices, offloaded or quantised stay as they are. Plans may be nested: the
    inner one is for the layers the outer one keeps. The edit is on the model itself: another thread that uses
    the model meanwhile gets an error, not the plan.

    Args:
        model: any transformers model whose layers can be found.
        plan: a plan for as many layers as the model has.

    Yields:
        The same model.

    Raises:
        ModelError: the plan is for another number of layers, or the model cannot do without what it drops; or
            the model is under a plan in another thread.
    """
    with ExitStack() as stack:
        stack.enter_context(_claim_model(model))
        check_fits(model, plan)
        layers, steps = find_layers(model), list_steps(plan)
        blocks = list_planned_blocks(model, plan)
        places = stack.enter_context(watch_token_places(model)) if plan.norms else None
        for layer, block in zip(plan.order, blocks, strict=True):
            stack.enter_context(apply_step(model, block, steps[layer], places))
        if plan.order != tuple(range(plan.n_layers)):
            stack.enter_context(_replace_layers(layers, plan, blocks))
        yield model


def list_planned_blocks(model: PreTrainedModel, plan: Plan) -> list[nn.Module]:
    """The layers of a model in the order a plan runs them; where one comes again, a copy that shares its weights and has
    a number, and so a place in the KV cache, of its own."""
    blocks = find_layers(model).blocks
    return [
        _share_layer(blocks[layer]) if layer in plan.order[:place] else blocks[layer]
        for place, layer in enumerate(plan.order)
    ]


def _share_layer(block: nn.Module) -> nn.Module:
    """A copy of a layer with its very parameters, buffers and configurations."""
    configs = [vars(module)["config"] for module in block.modules() if "config" in vars(module)]
    shared = [*block.parameters(), *block.buffers(), *configs]
    return copy.deepcopy(block, {id(part): part for part in shared})


@contextmanager
def apply_step(
    model: PreTrainedModel, block: nn.Module, step: Step, places: TokenPlaces | None = None
) -> Iterator[None]:
    """Do with one layer what a step of a plan says, but for repeating it.

    Args:
        model: the layer's.
        block: the layer.
        step: what to do.
        places: of tokens; needed where the step sets a norm.
    """
    with ExitStack() as stack:
        if step.mlp_map != NO_MAP:
            matrix = torch.from_numpy(step.mlp_map.array.copy())
            stack.enter_context(map_branch(block, find_branch(model, block, "mlp"), matrix))
        if step.layer != 1.0:
            stack.enter_context(scale_module(block, step.layer))
        for name in BRANCHES:
            if (scale := getattr(step, name)) != 1.0:
                branch = find_branch(model, block, name)
                stack.enter_context(scale_branch(block, branch, scale, model.config.get_text_config(decoder=True)))
        if step.norm and places:
            stack.enter_context(change_input(block, lambda states: _set_norm(states, step, places)))
        if step.factor != 1.0:
            stack.enter_context(change_input(block, lambda states: step.factor * states))
        yield


def _set_norm(states: torch.Tensor, step: Step, places: TokenPlaces) -> torch.Tensor:
    return set_norms(states, step.norm, places.find(step.norm_tokens, states))


def check_fits(model: PreTrainedModel, *plans: Plan) -> None:
    """Refuse plans that cannot be used on a model.

    Raises:
        ModelError: the number of layers differs, no layer is left, the family cannot do without a layer, or a branch
            that is scaled is not there or not known.
    """
    layers, family = find_layers(model), find_family(model)
    for plan in plans:
        if plan.n_layers != len(layers):
            raise ModelError(
                f"the plan is for a model of {plan.n_layers} layers, this one has {len(layers)}; use the model it was made for"
            )
        if not plan.kept:
            raise ModelError(f"the plan drops all {plan.n_layers} layers; keep at least one")
        if plan.drops and family.no_drops:
            raise ModelError(f"no layer of this model can be dropped: {family.no_drops}; scale layers instead")
        if 0 in plan.drops and family.first_stays:
            raise ModelError(f"layer 0 of this model cannot be dropped: {family.first_stays}; drop other layers")
        for name in BRANCHES:
            for layer, _ in getattr(plan, name):
                find_branch(model, layers.blocks[layer], name)
        _check_maps_fit(model, plan)
        _check_repeats_fit(model, plan)


def _check_maps_fit(model: PreTrainedModel, plan: Plan) -> None:
    """Refuse maps of branches that are not known, and of another width."""
    layers = find_layers(model)
    for layer, held in plan.maps:
        find_branch(model, layers.blocks[layer], "mlp")
        if len(held.array) != layers.config.hidden_size:
            raise ModelError(
                f"the map of layer {layer} is for a model of width {len(held.array)}, this one has "
                f"{layers.config.hidden_size}; use the model the plan was made for"
            )


def _check_repeats_fit(model: PreTrainedModel, plan: Plan) -> None:
    """Refuse to repeat layers that cannot stand in two places."""
    family, blocks = find_family(model), find_layers(model).blocks
    for first, last in plan.repeats:
        if family.no_drops:
            raise ModelError(f"no layer of this model can be repeated: {family.no_drops}")
        if first == 0 and family.first_stays:
            raise ModelError(f"layer 0 of this model cannot be repeated: {family.first_stays}; repeat other layers")
        block_attributes = {name for module in blocks[first : last + 1].modules() for name in vars(module)}
        if "_hf_hook" in block_attributes:
            raise ModelError("layers whose weights are fetched from elsewhere cannot be repeated; load the model whole")
        if "forward" in block_attributes:
            raise ModelError("layers that another plan changes cannot be repeated; compose both plans into one")


@contextmanager
def _replace_layers(layers: Layers, plan: Plan, blocks: list[nn.Module]) -> Iterator[None]:
    """Put these layers into the list, give them the numbers of their places, and put everything back."""
    with ExitStack() as stack:
        for place, (layer, block) in enumerate(zip(plan.order, blocks, strict=True)):
            for module in block.modules():
                if getattr(module, "layer_idx", None) == layer:
                    stack.enter_context(_set_attribute(module, "layer_idx", place))
        for name, field_value in shorten_config(layers.config, plan).items():
            stack.enter_context(_set_attribute(layers.config, name, field_value))
        stack.enter_context(_set_attribute(layers.parent, layers.name, nn.ModuleList(blocks)))
        yield


def shorten_config(config: PretrainedConfig, plan: Plan) -> dict[str, Any]:
    """The configuration fields that a plan changes: the layer count, and whatever is said layer by layer."""
    return {**cut_fields(vars(config), plan), "num_hidden_layers": len(plan.order)}


def cut_fields(fields: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The fields of a config that say something by layer, for the layers that run: one entry per layer, layer numbers,
    counts of leading layers, and every how many layers a mixture of experts stands."""
    cut: dict[str, Any] = {}
    for name, field_value in fields.items():
        if name in INDEX_LISTS and isinstance(field_value, list):
            cut[name] = [place for place, layer in enumerate(plan.order) if layer in field_value]
        elif isinstance(field_value, (list, tuple)) and len(field_value) == plan.n_layers and name not in NOT_PER_LAYER:
            cut[name] = type(field_value)(field_value[layer] for layer in plan.order)
        elif name in LEADING_COUNTS and isinstance(field_value, int):
            cut[name] = sum(layer < field_value for layer in plan.order)
    step = fields.get("decoder_sparse_step")
    if isinstance(step, int) and step > 1:
        mlp_only = fields.get("mlp_only_layers") or []
        dense = [place for place, layer in enumerate(plan.order) if layer in mlp_only or (layer + 1) % step]
        cut |= {"decoder_sparse_step": 1, "mlp_only_layers": dense}
    return cut


class _Owner:
    """Forward pre-hook: only the thread that applied a plan may run the model meanwhile."""

    def __init__(self) -> None:
        self.thread = get_ident()

    def __call__(self, *_: Any) -> None:
        if not torch.compiler.is_compiling() and get_ident() != self.thread:
            raise ModelError(
                "this model runs under a plan in another thread; apply the plan inside the thread that runs it, "
                "or give each thread its own copy of the model"
            )


@contextmanager
def _claim_model(model: PreTrainedModel) -> Iterator[None]:
    """Keep other threads off the model."""
    with _CLAIMING:
        for hook in model._forward_pre_hooks.values():
            if isinstance(hook, _Owner):
                hook()
        owner = _Owner()
        handles = [part.register_forward_pre_hook(owner) for part in {model, model.base_model}]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def is_planned(model: PreTrainedModel) -> bool:
    """Whether the model is under a plan at the moment."""
    return any(isinstance(hook, _Owner) for hook in model._forward_pre_hooks.values())


@contextmanager
def _set_attribute(owner: Any, name: str, new_value: Any) -> Iterator[None]:
    """Set an attribute and restore it."""
    old_value = getattr(owner, name)
    setattr(owner, name, new_value)
    try:
        yield
    finally:
        setattr(owner, name, old_value)
