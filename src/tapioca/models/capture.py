"""Read the residual stream while the model runs its own forward: after each layer, and where it breaks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.branches import argument_names, layer_branches, scale_branch
from tapioca.models.find import find_layers
from tapioca.models.inputs import run_forward
from tapioca.plan import BranchName, Plan


def capture_layer_outputs(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], read: Callable[[int, torch.Tensor], None]
) -> None:
    """Run a batch and hand over the hidden state after each layer, before the final norm.

    Args:
        model: possibly under a plan; dropped layers hand over nothing.
        batch: from `collate`.
        read: called with the layer's place in the running model and its output (batch, token, width).
    """
    with capture_layers(model, read):
        run_forward(model, batch, keep=1)


@contextmanager
def capture_layers(model: PreTrainedModel, read: Callable[[int, torch.Tensor], None]) -> Iterator[None]:
    """While it holds, the model's forward hands over the hidden state after each layer, as `capture_layer_outputs` does."""
    with ExitStack() as stack:
        for place, block in enumerate(find_layers(model).blocks):

            def hook(module: Any, args: Any, output: Any, place: int = place) -> None:
                read(place, output[0] if isinstance(output, tuple) else output)

            stack.callback(block.register_forward_hook(hook).remove)
        yield


def capture_residual_stream(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], read: Callable[[int, torch.Tensor], None]
) -> None:
    """Run a batch and hand over the residual stream: before the first layer, and after each layer.

    Args:
        model, batch: as for `capture_layer_outputs`.
        read: called with 0 and the first layer's input, then with n and the state after n layers: (batch, token, width).
    """

    def before(module: Any, args: Any, kwargs: Any) -> None:
        read(0, args[0] if args else kwargs[argument_names(module)[0]])

    handle = find_layers(model).blocks[0].register_forward_pre_hook(before, with_kwargs=True)
    try:
        capture_layer_outputs(model, batch, lambda place, output: read(place + 1, output))
    finally:
        handle.remove()


def capture_branch_stream(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], read: Callable[[int, torch.Tensor], None]
) -> None:
    """Run a batch and hand over the residual stream branch by branch, in the order of `list_branches`.

    The state between the branches of a layer is that layer's output computed again without its MLP. So whatever the
    model does to a branch's output before it adds it, a norm or a factor of its configuration, is in the update, and the
    updates sum to the state exactly. Where both branches read the layer's input, attention counts as added first.

    Args:
        model, batch: as for `capture_layer_outputs`.
        read: called with 0 and the first layer's input, then with n and the state after n branches: (batch, token, width).

    Raises:
        ModelError: the model's branches cannot be told apart, or are not known.
    """
    depth = 0
    blocks, config = find_layers(model).blocks, model.config.get_text_config(decoder=True)

    def hand_over(output: Any) -> None:
        nonlocal depth
        read(depth, output[0] if isinstance(output, tuple) else output)
        depth += 1

    def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if module is blocks[0]:
            hand_over(args[0] if args else kwargs[argument_names(module)[0]])
        branches = layer_branches(model, module)
        if len(branches) == 2:
            with scale_branch(module, branches["mlp"], 0.0, config):
                hand_over(module.forward(*args, **kwargs))
        hand_over(output)

    list_branches(model)
    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_hook(hook, with_kwargs=True).remove)
        run_forward(model, batch, keep=1)


def list_branches(model: PreTrainedModel) -> tuple[tuple[int, BranchName], ...]:
    """The branches of the running model in the order they are added: the layer's place, and which branch.

    Raises:
        ModelError: the model's branches cannot be told apart, or are not known.
    """
    blocks = find_layers(model).blocks
    try:
        return tuple((place, name) for place, block in enumerate(blocks) for name in layer_branches(model, block))
    except ModelError as error:
        reason = str(error).partition(";")[0]
        raise ModelError(f"single branches cannot be observed: {reason}; observe whole layers") from error


def find_first_non_finite(model: PreTrainedModel, plan: Plan, batch: dict[str, torch.Tensor]) -> str:
    """Name the first place where a batch becomes NaN or infinite under a plan that is applied already."""
    broken_places: list[int] = []

    def read(place: int, states: torch.Tensor) -> None:
        if not torch.isfinite(states[batch["attention_mask"].bool()]).all():
            broken_places.append(place)

    capture_layer_outputs(model, batch, read)
    return f"layer {plan.order[broken_places[0]]}" if broken_places else "the output after the last layer"
