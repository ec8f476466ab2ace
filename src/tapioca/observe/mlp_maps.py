"""Linear maps that make up for dropped layers, fitted without answers (after ReplaceMe, arXiv 2505.02819).

In front of a gap stands a kept layer, whose MLP adds u to a stream y. Behind the gap the full model has the stream h. The
map T of the gap minimises ||y + T u - h||² over tokens, so that the layer in front does what the dropped ones did as far as
a linear map of its own update can; it folds into the MLP's last weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError, NonFiniteError
from tapioca.models.branches import find_branch
from tapioca.models.capture import capture_branch_stream, list_branches
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.observe.streams import read_stream
from tapioca.plan import HashedArray, Plan
from tapioca.records import Inputs

STRENGTHS = tuple(10.0**exponent for exponent in range(-4, 3))
"""Ridge strengths that are tried, in units of the mean square of a value of the update, next to no map at all."""

CHOOSING_SHARE = 4
"""One prompt of so many chooses the strength, the others fit."""


class Gap(NamedTuple):
    """Dropped layers next to each other: the kept layer in front of them, and the number of layers up to their end."""

    front: int
    end: int


def find_gaps(plan: Plan) -> list[Gap]:
    """The gaps of a plan that have a kept layer in front of them, ascending."""
    kept = plan.kept
    ends = [*kept[1:], plan.n_layers]
    return [Gap(front, end) for front, end in zip(kept, ends, strict=True) if end > front + 1]


def fit_maps(model: PreTrainedModel, plan: Plan, prompts: Sequence[Inputs], batch_size: int = 16) -> Plan:
    """Compensate a plan's gaps by one linear map each, with those before it compensated already.

    The squares are summed in float64 over all tokens but each prompt's first. A ridge draws T towards the identity, which
    is no map; its strength is the one that serves prompts best which took no part, and the map is then fitted on all.

    Args:
        model: left as it was.
        plan: drops layers; maps that it has already in front of gaps are fitted anew.
        prompts: token ids, or numbers, read without answers.
        batch_size: prompts read at once.

    Returns:
        The plan with a map in front of each gap for which one is better than none. A gap at layer 0 has no layer in front.

    Raises:
        ModelError: no layer stands in front of a gap, or MLP branches of the model cannot be told apart.
        NonFiniteError: states are NaN or infinite.
    """
    gaps = find_gaps(plan)
    if not gaps:
        raise ModelError(f"no layer stands in front of what '{plan}' drops, whose MLP could be mapped; use a factor")
    fronts = {gap.front for gap in gaps}
    for front in fronts:
        find_branch(model, find_layers(model).blocks[front], "mlp")
    maps = {layer: held for layer, held in plan.maps if layer not in fronts}
    for gap in gaps:
        compensated = plan.replace_tables(maps=maps)
        if (matrix := _fit_map(model, compensated, gap, prompts, batch_size)) is not None:
            maps[gap.front] = HashedArray.hold(matrix.numpy())
    return plan.replace_tables(maps=maps)


def _fit_map(
    model: PreTrainedModel, plan: Plan, gap: Gap, prompts: Sequence[Inputs], batch_size: int
) -> torch.Tensor | None:
    """The map of one gap, float64 of shape (width, width); None where none serves other prompts better."""
    if len(prompts) < CHOOSING_SHARE:
        raise ModelError(f"{len(prompts)} prompts are too few to fit a linear map on; give at least {CHOOSING_SHARE}")
    choosing = prompts[::CHOOSING_SHARE]
    fitting = [prompt for number, prompt in enumerate(prompts) if number % CHOOSING_SHARE]
    sum_up = partial(_sum_squares, model, plan, gap, batch_size=batch_size)
    fit_squares, choice_squares = sum_up(fitting), sum_up(choosing)
    errors = {strength: choice_squares.measure_error(fit_squares.solve(strength)) for strength in STRENGTHS}
    strength = min(errors, key=lambda candidate: errors[candidate])
    if errors[strength] >= choice_squares.measure_error(fit_squares.identity):
        return None
    return (fit_squares + choice_squares).solve(strength)


@dataclass(frozen=True)
class Squares:
    """Sums over tokens of products of updates u and of what they would have to be, r = h - y.

    Attributes:
        updates: of u uᵀ, (width, width).
        mixed: of r uᵀ, (width, width).
        wanted: of rᵀ r.
    """

    updates: torch.Tensor
    mixed: torch.Tensor
    wanted: float

    def __add__(self, other: Squares) -> Squares:
        return Squares(self.updates + other.updates, self.mixed + other.mixed, self.wanted + other.wanted)

    @property
    def identity(self) -> torch.Tensor:
        """No map at all."""
        return torch.eye(len(self.updates), dtype=torch.float64)

    def solve(self, strength: float) -> torch.Tensor:
        """T of least squares with a ridge towards the identity."""
        ridge = strength * float(self.updates.trace()) / len(self.updates) * self.identity
        return torch.linalg.solve(self.updates + ridge, self.mixed + ridge, left=False)

    def measure_error(self, matrix: torch.Tensor) -> float:
        """The sum of ||T u - r||²."""
        return self.wanted - 2 * float((matrix * self.mixed).sum()) + float((matrix @ self.updates * matrix).sum())


def _sum_squares(model: PreTrainedModel, plan: Plan, gap: Gap, prompts: Sequence[Inputs], batch_size: int) -> Squares:
    """The sums over some prompts, one batch at a time."""
    squares = reduce(
        add,
        (
            Squares(updates.T @ updates, wanted.T @ updates, float(wanted.square().sum()))
            for updates, wanted in _iterate_updates(model, plan, gap, prompts, batch_size)
        ),
    )
    if not (torch.isfinite(squares.updates).all() and torch.isfinite(squares.mixed).all()):
        raise NonFiniteError(
            f"states around layer {gap.front} are NaN or infinite under plan '{plan}'; try --dtype float32"
        )
    return squares


def _iterate_updates(
    model: PreTrainedModel, plan: Plan, gap: Gap, prompts: Sequence[Inputs], batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batch by batch what the MLP in front of a gap adds, and what it would have to: (token, width) each."""
    for start in range(0, len(prompts), batch_size):
        batch = collate(model, prompts[start : start + batch_size])
        full_stream = read_stream(model, batch, gap.end)
        with apply(model, plan):
            number = list_branches(model).index((plan.kept.index(gap.front), "mlp")) + 1
            before, after = (read_stream(model, batch, place, capture_branch_stream) for place in (number - 1, number))
        yield after - before, full_stream - before
