"""tapioca generate"""

from __future__ import annotations

import sys

from tapioca.records import GenerateConfig


def run(config: GenerateConfig) -> None:
    """Let a language model write under a plan, without writing weights."""
    from tapioca.flows.export import read_plan
    from tapioca.flows.generate import generate

    def tell(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    generate(config, read_plan(config.plan), tell)
    tell("\n")
