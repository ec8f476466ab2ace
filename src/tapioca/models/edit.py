"""Use a plan on a live model, and leave no trace.

A dropped layer leaves the model's own layer list for the duration, and what is numbered or listed by
layer (cache indices, per-layer lists of the config) is renumbered with it, so that the model's own
forward and its KV cache see an ordinary, shorter model. Weights are never touched. A scaled layer or
branch, and a dropped branch, get another forward (`branches.py`).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock, get_ident
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.branches import find_branch, scale_branch, scale_input, scale_module
from tapioca.models.families import INDEX_LISTS, LEADING_COUNTS, NOT_PER_LAYER, find_family
from tapioca.models.find import Layers, find_layers
from tapioca.plan import BRANCHES, Plan
from tapioca.plan.prefix_tree import Step, list_steps

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
        layers = find_layers(model)
        for layer, step in enumerate(list_steps(plan)):
            if not step.dropped:
                stack.enter_context(apply_step(model, layers.blocks[layer], step))
        if plan.drops:
            stack.enter_context(_remove_layers(layers, plan))
        yield model


@contextmanager
def apply_step(model: PreTrainedModel, block: nn.Module, step: Step) -> Iterator[None]:
    """Scale one layer and its branches, and the stream in front of it, as a step of a plan says."""
    with ExitStack() as stack:
        if step.layer != 1.0:
            stack.enter_context(scale_module(block, step.layer))
        for name in BRANCHES:
            if (scale := getattr(step, name)) != 1.0:
                branch = find_branch(model, block, name)
                stack.enter_context(scale_branch(block, branch, scale, model.config.get_text_config(decoder=True)))
        if step.factor != 1.0:
            stack.enter_context(scale_input(block, step.factor))
        yield


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


@contextmanager
def _remove_layers(layers: Layers, plan: Plan) -> Iterator[None]:
    """Take the dropped layers out of the list, renumber the rest, and put everything back."""
    original, kept_layers = layers.blocks, plan.kept
    with ExitStack() as stack:
        for new, old in enumerate(kept_layers):
            for module in original[old].modules():
                if getattr(module, "layer_idx", None) == old:
                    stack.enter_context(_set_attribute(module, "layer_idx", new))
        for name, field_value in shorten_config(layers.config, plan).items():
            stack.enter_context(_set_attribute(layers.config, name, field_value))
        kept_blocks = nn.ModuleList(original[old] for old in kept_layers)
        stack.enter_context(_set_attribute(layers.parent, layers.name, kept_blocks))
        yield


def shorten_config(config: PretrainedConfig, plan: Plan) -> dict[str, Any]:
    """The configuration fields that a drop changes: the layer count, and whatever is said layer by layer."""
    return {**cut_fields(vars(config), plan), "num_hidden_layers": len(plan.kept)}


def cut_fields(fields: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The fields of a config that say something by layer, cut to the layers kept: one entry per layer, layer numbers,
    counts of leading layers, and every how many layers a mixture of experts stands."""
    new_by_old = {old: new for new, old in enumerate(plan.kept)}
    cut: dict[str, Any] = {}
    for name, field_value in fields.items():
        if name in INDEX_LISTS and isinstance(field_value, list):
            cut[name] = [new_by_old[layer] for layer in field_value if layer in new_by_old]
        elif isinstance(field_value, (list, tuple)) and len(field_value) == plan.n_layers and name not in NOT_PER_LAYER:
            cut[name] = type(field_value)(field_value[layer] for layer in plan.kept)
        elif name in LEADING_COUNTS and isinstance(field_value, int):
            cut[name] = field_value - sum(layer < field_value for layer in plan.drops)
    step = fields.get("decoder_sparse_step")
    if isinstance(step, int) and step > 1:
        mlp_only = fields.get("mlp_only_layers") or []
        dense = [layer for layer in plan.kept if layer in mlp_only or (layer + 1) % step]
        cut |= {"decoder_sparse_step": 1, "mlp_only_layers": [new_by_old[layer] for layer in dense]}
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
