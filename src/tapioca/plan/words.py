"""Plans, their layers, and what is no plan, in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tapioca.plan.tables import BRANCHES

if TYPE_CHECKING:
    from tapioca.plan.plan import Plan

EXAMPLE = '{"n_layers":6,"layers":{"2":0.0}}'
"""A plan that drops one layer of six, as JSON."""


def describe_plan(plan: Plan) -> str:
    """What a plan does, in one line."""
    parts = [f"drop {format_layers(plan.drops)}"] if plan.drops else []
    parts += [f"{layer}×{scale:g}" for layer, scale in plan.scaled.items()]
    for branch in BRANCHES:
        gone = plan.dropped(branch)
        parts += [f"drop {branch} {format_layers(gone)}"] if gone else []
        parts += [f"{branch} {layer}×{scale:g}" for layer, scale in getattr(plan, branch) if scale != 0.0]
    parts += [f"stream×{factor:.4g} before {layer}" for layer, factor in plan.factors]
    parts += [f"map MLP {format_layers(layer for layer, _ in plan.maps)}"] if plan.maps else []
    parts += [f"repeat {format_layers(range(first, last + 1))}" for first, last in plan.repeats]
    if plan.norms:
        tokens = "last token" if plan.norm_tokens == "last" else "all tokens but the first"
        parts.append(f"norm set before {format_layers(layer for layer, _ in plan.norms)} ({tokens})")
    return ", ".join(parts) or "full model"


def format_layers(layers: Iterable[int]) -> str:
    """Layers as people write them: (1, 2, 3, 7) becomes '1–3, 7'."""
    runs: list[list[int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def explain_no_plan(error: ValidationError) -> str:
    """Why something is no plan, in one line."""
    first = error.errors()[0]
    where = f"{'.'.join(map(str, first['loc']))}: " if first["type"] != "value_error" and first["loc"] else ""
    reason = first["msg"].removeprefix("Value error, ").removeprefix("not a plan: ")
    example = f"; expected such as {EXAMPLE}" if "Field required" in reason else ""
    return f"not a plan: {where}{reason}{example if example not in reason else ''}"
