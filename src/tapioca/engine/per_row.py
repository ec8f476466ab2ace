"""Rows of one batch under plans of their own: the texts of many plans are written together."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from tapioca.engine.layer_call import UntraceableModelError
from tapioca.models.branches import argument_names, replace_forward
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import intersect_drops


class RowPlans:
    """What becomes of each row of a batch in each layer.

    Args:
        plans: the plan of every row; whole layers are dropped, nothing is scaled.
        layers: those that the model is left with; a layer dropped by some rows is computed for all, cache included,
            and those rows go on as they came.
    """

    def __init__(self, plans: Sequence[Plan], layers: Sequence[int]):
        drops = [set(plan.drops) for plan in plans]
        self._dropped = [torch.tensor([layer in dropped for dropped in drops]) for layer in layers]
        self._rows, self._handed = slice(None), torch.empty(0)

    @contextmanager
    def select_row(self, row: int) -> Iterator[None]:
        """The model reads this row alone."""
        previous_rows, self._rows = self._rows, slice(row, row + 1)
        try:
            yield
        finally:
            self._rows = previous_rows

    def run_layer(self, place: int, layer_forward: Any, argument_name: str, *args: Any, **kwargs: Any) -> Any:
        """In place of a layer's forward; an UntraceableModelError where it is not given what the one before returned."""
        input_states = args[0] if args else kwargs[argument_name]
        if place and input_states is not self._handed:
            raise UntraceableModelError
        output = layer_forward(*args, **kwargs)
        states = output[0] if isinstance(output, tuple) else output
        dropped = self._dropped[place][self._rows]
        if dropped.any():
            dropped = dropped.to(states.device).view(-1, *[1] * (states.dim() - 1))
            states = torch.where(dropped, input_states.to(states.device), states)
        self._handed = states
        return (states, *output[1:]) if isinstance(output, tuple) else states


@contextmanager
def apply_plan_per_row(model: PreTrainedModel, plans: Sequence[Plan]) -> Iterator[RowPlans]:
    """Run each row of a batch under a plan of its own, which drops whole layers and does nothing else, inside a `with`
    block; the model is left as it was.

    Yields:
        The rows, one of which may be let through alone.

    Raises:
        UntraceableModelError: inside the block, where the model does more between its layers than hand states on.
    """
    common_plan = intersect_drops(plans)
    rows = RowPlans(plans, common_plan.kept)
    with apply(model, common_plan), ExitStack() as stack:
        for place, block in enumerate(find_layers(model).blocks):
            name = argument_names(block)[0]
            stack.enter_context(replace_forward(block, partial(rows.run_layer, place, block.forward, name)))
        yield rows
