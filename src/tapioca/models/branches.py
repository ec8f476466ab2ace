"""Scale or leave out one branch of a layer while the model runs its own forward."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.families import Branch, family_of, holds
from tapioca.records import BranchName

CACHES = ("past_key_values", "layer_past", "cache_params")
"""What modules call the KV cache they are handed."""


def parts(block: nn.Module, branch: Branch) -> dict[str, int]:
    """The modules of a branch that this layer has, and how many values each returns."""
    present = {name for name, _ in block.named_modules()}
    return {path: returns for path, returns in branch.modules.items() if path in present}


def find_branch(model: PreTrainedModel, block: nn.Module, name: BranchName) -> Branch:
    """A branch of a layer.

    Raises:
        ModelError: branches of this model cannot be scaled alone, or are not known, or this layer has not got it.
    """
    family, kind = family_of(model), model.config.model_type
    if holds(family.post_norm, model.config.get_text_config(decoder=True)):
        raise ModelError(
            f"no branch of this {kind} model can be scaled alone: its layers normalise after the update was added; "
            "drop or scale whole layers"
        )
    if family.attention is None:
        raise ModelError(f"where the branches of a {kind} layer are is not known; drop or scale whole layers")
    branch: Branch | None = getattr(family, name)
    if branch is None or not parts(block, branch):
        inside = ", ".join(child for child, _ in block.named_children())
        raise ModelError(f"this {kind} layer has no {name} branch, it is made of: {inside}; drop or scale whole layers")
    return branch


@contextmanager
def scaled_branch(block: nn.Module, branch: Branch, scale: float, config: PretrainedConfig) -> Iterator[None]:
    """Multiply what a branch adds to the residual stream by `scale`; at 0 the branch is not computed.

    With a KV cache, the first attention of each kind is computed and its output discarded, since the model
    reads the cache's length from it; so is a recurrent mixer, whose state moves on with every token.

    Args:
        block: the layer.
        branch: which of its branches.
        scale: factor of the update, at least 0.
        config: of the running model; its `layer_types` say which attention comes first.
    """
    found = parts(block, branch)
    ends = {branch.end: 1} if branch.end else found
    with ExitStack() as stack:
        if scale == 0 and not branch.feeds:
            for path, returns in (found | ends).items():
                module = block.get_submodule(path)
                stack.enter_context(_forward(module, _Skipped(module, returns, config)))
        else:
            for path in ends:
                hook = partial(rescale, scale, "residual")
                stack.callback(block.get_submodule(path).register_forward_hook(hook, with_kwargs=True).remove)
        yield


def rescale(
    scale: float, before: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    """Forward hook: start + scale * (output - start), where start is the argument `before`, or zero without one."""
    start = named_arguments(module, args, kwargs).get(before)
    after = output[0] if isinstance(output, tuple) else output
    if start is None:
        scaled = scale * after
    else:
        start = start.to(after.device)
        scaled = start + scale * (after - start)
    return (scaled, *output[1:]) if isinstance(output, tuple) else scaled


def named_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by the names the module's class gives them."""
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    return dict(zip(names, args, strict=False)) | kwargs


class _Skipped:
    """In place of a module's forward: an update of zero in the shape the layer expects."""

    def __init__(self, module: nn.Module, returns: int, config: PretrainedConfig):
        self.module, self.returns, self.config, self.forward = module, returns, config, module.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        named = named_arguments(self.module, args, kwargs)
        if any(named.get(name) is not None for name in CACHES) and self._keeps_time():
            self.forward(*args, **kwargs)
        residual = named.get("residual")
        update = torch.zeros_like(next(iter(named.values()))) if residual is None else residual
        return update if self.returns == 1 else (update, *[None] * (self.returns - 1))

    def _keeps_time(self) -> bool:
        """Whether the model reads from this module's place in the cache how far it has come."""
        place = getattr(self.module, "layer_idx", 0)
        types = getattr(self.config, "layer_types", None) or ["attention"] * (place + 1)
        return self.returns == 1 or types.index(types[place]) == place


@contextmanager
def _forward(module: nn.Module, forward: Any) -> Iterator[None]:
    """Give one module another forward, and take it away again."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before
