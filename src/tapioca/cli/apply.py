"""tapioca apply"""

from __future__ import annotations

import sys

import typer

from tapioca.cli.options import from_record
from tapioca.records import ApplyConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply")(from_record(ApplyConfig, run, argument="model"))


def run(config: ApplyConfig) -> None:
    """Let a language model write under a plan, without writing weights."""
    from tapioca.flows.export import read_plan
    from tapioca.flows.generate import generate

    def tell(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    generate(config, read_plan(config.plan), tell)
    tell("\n")
