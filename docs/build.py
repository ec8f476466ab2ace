"""Write what must not drift: docs/cli.md from the program's help, docs/families.md from small models of every type,
docs/results.md from the records, and the options of the Python face from the requests.

`--check` only compares.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import typer

from tapioca.commands.inspect.result import ModelFacts

HERE = Path(__file__).parent


def cli() -> str:
    """The help of every command, as one Markdown page."""
    os.environ |= {"COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "110"}  # typer reads them once
    from tapioca.cli.main import app, main

    parts = ["# Command reference\n\nMade by `make docs` from `tapioca --help`.\n"]
    for command in list_commands(typer.main.get_command(app)):
        with redirect_stdout(StringIO()) as printed:
            main([*command, "--help"])
        text = "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())
        parts.append(f"## {' '.join(['tapioca', *command])}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def list_commands(command: Any, *words: str) -> Iterator[list[str]]:
    """The words of a command, and of all commands in it."""
    yield list(words)
    for name, part in getattr(command, "commands", {}).items():
        yield from list_commands(part, *words, name)


def families() -> str:
    """What each model type can do, tried on a small model of it."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    from tapioca.commands.inspect.run import collect_model_facts
    from tapioca.models.tiny import RECIPES, tiny

    rows = []
    for name in sorted(RECIPES):
        model_facts = collect_model_facts(tiny(name))
        drop, export = (
            _which(layers, model_facts.n_layers) for layers in (model_facts.droppable, model_facts.exportable)
        )
        reasons = dict.fromkeys((*model_facts.reasons, model_facts.no_factors, model_facts.no_maps))
        row = (
            name,
            f"`{model_facts.path}`",
            drop,
            export,
            _into_weights(model_facts),
            "; ".join(filter(None, reasons)),
        )
        rows.append(f"| {' | '.join(row)} |")
    return FAMILIES.format(rows="\n".join(rows), count=len(rows))


def _into_weights(model_facts: ModelFacts) -> str:
    """What of a plan, beside drops, a checkpoint of a model can hold."""
    others = {
        "layers": not model_facts.no_layer_scales,
        "factors": not model_facts.no_factors,
        "maps": "mlp" in model_facts.branches and not model_facts.no_maps,
        f"repeats of {_which(model_facts.doubled, model_facts.n_layers)}": bool(model_facts.doubled),
    }
    return ", ".join((*model_facts.written, *(kind for kind, is_written in others.items() if is_written))) or "none"


FAMILIES = """# Model types

Made by `make docs` from a small model of each type with four layers; `tapioca inspect MODEL` says the same of any
model without loading its weights. All {count} run through `tests/contracts`. There an empty plan changes nothing; a drop
equals the model rebuilt without the layer, bit for bit, and so does the checkpoint where *export* says so; scales (of
branches and whole layers), factors, maps and repeats that *into weights* lists give the same outputs live and from the
checkpoint; cached equals uncached generation, padded equals unpadded; no trace is left. What is not listed there works on
the live model: factors and norms everywhere, maps where there are MLP branches, repeats where layers can be dropped.

Every layer of every type can be scaled on the live model, and the branches listed under *into weights* as well, down to
0. The scale of a whole layer goes into weights only where attention and MLP both read the layer's input: elsewhere the
MLP reads what attention wrote, and no factor on the last weights gives the same. Types that are not listed are found by
structure; their layers can be dropped and scaled live, their branches are not guessed.

| type | layers | drop | export without | into weights | why not |
|---|---|---|---|---|---|
{rows}
"""


def results() -> str:
    """What every key of every result file means."""
    from results import build_page  # late, since it imports typer

    return build_page()


def options() -> str:
    """The options of the Python face, as a module of the package."""
    from options import build_module  # late, as above

    return build_module()


PAGES = {
    "cli.md": cli,
    "families.md": families,
    "results.md": results,
    "../src/tapioca/commands/options.py": options,
}


def _which(layers: tuple[int, ...], count: int) -> str:
    if len(layers) == count:
        return "any"
    return "none" if not layers else "all but " + ", ".join(str(layer) for layer in range(count) if layer not in layers)


def main() -> None:
    """Write or compare all pages."""
    for name, build in PAGES.items():
        path, text = HERE / name, build()
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{path.name} is out of date; run make docs")


if __name__ == "__main__":
    main()
