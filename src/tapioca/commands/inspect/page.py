"""What can be done with a model, on the screen."""

from rich.console import Console

from tapioca.commands.inspect.result import ModelFacts
from tapioca.plan import format_layers
from tapioca.report.format import format_quantity
from tapioca.report.tables import print_line


def show(facts: ModelFacts, console: Console) -> None:
    """Print where the layers are, what can be dropped, scaled and exported, and why the rest cannot."""
    share = facts.layer_parameters / facts.parameters
    branches, inside = " and ".join(facts.branches), " and ".join(facts.written)
    has_maps = "mlp" in facts.branches
    live = ["factors and norms of the stream", "linear maps of what MLPs add" if has_maps else ""]
    written = [
        inside and f"scales of {inside} branches",
        "" if facts.no_layer_scales else "scales of layers",
        "" if facts.no_factors else "factors",
        "maps" if has_maps and not facts.no_maps else "",
        f"blocks of {format_layers(facts.doubled)} twice" if facts.doubled else "",
    ]
    reasons = dict.fromkeys((*facts.reasons, facts.no_layer_scales, facts.no_factors, facts.no_maps))
    lines = [
        f"type      {facts.model_type}, {format_quantity(facts.parameters)} parameters, {share:.0%} of them in the layers",
        f"layers    {facts.n_layers} at {facts.path} ({', '.join(facts.kinds)})",
        f"contexts  {f'read with every row: {facts.whole_rows}' if facts.whole_rows else 'read once for all rows of a question'}",
        f"drop      {f'any of {format_layers(facts.droppable)}' if facts.droppable else 'no whole layer'}",
        f"scale     every layer; {branches or 'no'} branches alone",
        f"repeat    {f'blocks of {format_layers(facts.repeatable)}' if facts.repeatable else 'no block'}",
        f"set       {', '.join(filter(None, live))}",
        f"export    checkpoints that drop {f'any of {format_layers(facts.exportable)}' if facts.exportable else 'nothing'}; "
        f"{', '.join(filter(None, written)) or 'no scales'}",
        *(f"          {reason}" for reason in reasons if reason),
    ]
    for line in lines:
        print_line(console, line)
