"""Change what a layer or one branch of it reads and adds, while the model runs its own forward."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.families import Branch, find_family, is_condition_met
from tapioca.plan import BranchName

CACHE_ARGUMENTS = ("past_key_values", "layer_past", "cache_params")
"""What modules call the KV cache they are handed."""


def find_branch_modules(block: nn.Module, branch: Branch) -> dict[str, int]:
    """The modules of a branch that this layer has, and how many values each returns."""
    present = {name for name, _ in block.named_modules()}
    return {path: returns for path, returns in branch.modules.items() if path in present}


def find_branch(model: PreTrainedModel, block: nn.Module, name: BranchName) -> Branch:
    """A branch of a layer.

    Raises:
        ModelError: branches of this model cannot be scaled alone, or are not known, or this layer has not got it.
    """
    branches = layer_branches(model, block)
    if name not in branches:
        child_names = ", ".join(child for child, _ in block.named_children())
        raise ModelError(
            f"this {model.config.model_type} layer has no {name} branch, it is made of: {child_names}; "
            "drop or scale whole layers"
        )
    return branches[name]


def layer_branches(model: PreTrainedModel, block: nn.Module) -> dict[BranchName, Branch]:
    """The branches a layer is made of, attention first.

    Raises:
        ModelError: branches of this model cannot be told apart, or are not known.
    """
    family, kind = find_family(model), model.config.model_type
    if is_condition_met(family.post_norm, model.config.get_text_config(decoder=True)):
        raise ModelError(
            f"no branch of this {kind} model can be scaled alone: its layers normalise after the update was added; "
            "drop or scale whole layers"
        )
    if family.attention is None:
        raise ModelError(f"where the branches of a {kind} layer are is not known; drop or scale whole layers")
    known: dict[BranchName, Branch | None] = {"attention": family.attention, "mlp": family.mlp}
    return {name: branch for name, branch in known.items() if branch is not None and find_branch_modules(block, branch)}


@contextmanager
def scale_branch(
    block: nn.Module, branch: Branch, scale: float | torch.Tensor, config: PretrainedConfig
) -> Iterator[None]:
    """Multiply what a branch adds to the residual stream by `scale`; at 0 the branch is not computed.

    With a KV cache, all but full attention after the first is computed and its output discarded: the model reads the
    cache's length from the first of a kind, and recurrent states and sliding windows move on with every token.

    Args:
        block: the layer.
        branch: of this layer.
        scale: at least 0; a tensor of no dimensions where its gradient is wanted.
        config: of the running model; its `layer_types` say which attention comes first.
    """
    branch_modules = find_branch_modules(block, branch)
    update_modules = {branch.end: 1} if branch.end else branch_modules
    with ExitStack() as stack:
        if scale == 0 and not branch.feeds:
            for path, returns in (branch_modules | update_modules).items():
                module = block.get_submodule(path)
                stack.enter_context(replace_forward(module, _make_skipped_forward(module, returns, config)))
        else:
            for path in update_modules:
                stack.enter_context(scale_module(block.get_submodule(path), scale, start="residual"))
        yield


@contextmanager
def map_branch(block: nn.Module, branch: Branch, matrix: torch.Tensor) -> Iterator[None]:
    """Let a branch add T u to the residual stream where it would add u.

    Args:
        block: the layer.
        branch: of this layer.
        matrix: T, (width, width).
    """
    branch_modules = {branch.end: 1} if branch.end else find_branch_modules(block, branch)
    matrices: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}

    def map_update(update: torch.Tensor) -> torch.Tensor:
        place = update.device, update.dtype
        if place not in matrices:
            matrices[place] = matrix.to(*place)
        return torch.nn.functional.linear(update, matrices[place])

    with ExitStack() as stack:
        for path in branch_modules:
            stack.enter_context(change_update(block.get_submodule(path), map_update, start="residual"))
        yield


@contextmanager
def scale_module(module: nn.Module, scale: float | torch.Tensor, start: str | None = None) -> Iterator[None]:
    """Let a module return start + scale * (output - start).

    Args:
        module, start: as for `change_update`.
        scale: at least 0; a tensor of no dimensions where its gradient is wanted.
    """
    with change_update(module, lambda update: scale * update, start):
        yield


@contextmanager
def change_update(
    module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor], start: str | None = None
) -> Iterator[None]:
    """Let a module return start + change(output - start).

    Not a forward hook: a model that was compiled before would not see one.

    Args:
        module: returns a tensor, or a tuple or list that begins with one.
        change: of what it adds.
        start: name of the argument from which the module starts, zero for modules without it; None means its first
            argument, whatever its name.
    """
    names, forward = argument_names(module), module.forward

    def changed_forward(*args: Any, **kwargs: Any) -> Any:
        arguments = dict(zip(names, args, strict=False)) | kwargs
        origin = arguments.get(start or names[0])
        output = forward(*args, **kwargs)
        states = output[0] if isinstance(output, (tuple, list)) else output
        if origin is None:
            changed = change(states)
        else:
            origin = origin.to(states.device)
            changed = origin + change(states - origin)
        return type(output)((changed, *output[1:])) if isinstance(output, (tuple, list)) else changed

    with replace_forward(module, changed_forward):
        yield


@contextmanager
def change_input(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Let a module read another first argument."""
    name, forward = argument_names(module)[0], module.forward

    def changed_forward(*args: Any, **kwargs: Any) -> Any:
        if args:
            return forward(change(args[0]), *args[1:], **kwargs)
        return forward(**{**kwargs, name: change(kwargs[name])})

    with replace_forward(module, changed_forward):
        yield


def _make_skipped_forward(module: nn.Module, returns: int, config: PretrainedConfig) -> Any:
    """In place of a module's forward: an update of zero in the shape the layer expects."""
    names, forward = argument_names(module), module.forward

    def is_needed_by_cache() -> bool:  # asked while it runs: a plan that drops layers renumbers them
        layer_index, layer_types = getattr(module, "layer_idx", 0), getattr(config, "layer_types", None)
        if not layer_types:
            return returns == 1 or layer_index == 0 or bool(getattr(config, "sliding_window", None))
        kind = layer_types[layer_index]
        return kind != "full_attention" or layer_types.index(kind) == layer_index

    def skipped_forward(*args: Any, **kwargs: Any) -> Any:
        arguments = dict(zip(names, args, strict=False)) | kwargs
        if any(arguments.get(name) is not None for name in CACHE_ARGUMENTS) and is_needed_by_cache():
            forward(*args, **kwargs)
        residual = arguments.get("residual")
        update = torch.zeros_like(arguments[names[0]]) if residual is None else residual
        return update if returns == 1 else (update, *[None] * (returns - 1))

    return skipped_forward


def argument_names(module: nn.Module) -> list[str]:
    """What the module's class calls the arguments of its forward."""
    return list(inspect.signature(type(module).forward).parameters)[1:]


@contextmanager
def replace_forward(module: nn.Module, forward: Any) -> Iterator[None]:
    """Give one module another forward, and take it away again."""
    original = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if original is None:
            del module.forward
        else:
            module.forward = original
