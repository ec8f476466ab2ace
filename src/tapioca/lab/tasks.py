"""The lab's data sets as tasks, by name: lab:id, lab:target_offset=3, lab:context_noise=0.3,n=4000,degree=2."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from tapioca.errors import UsageError
from tapioca.lab.functions import Polynomials
from tapioca.lab.shifts import shift
from tapioca.tasks.regress import Regression, prompt_example
from tapioca.tasks.text import Encoder

DEFAULTS = {"n": 2000, "degree": 3, "points": 20, "seed": 0}


def load_lab(name: str, encoder: Encoder | None = None, given: dict[str, Any] | None = None) -> Regression:
    """Draw a data set of prompts.

    Args:
        name: "lab:" and either "id" or SHIFT=STRENGTH; then, after commas, n (prompts), degree,
            points and seed. Different names never share prompts.
        encoder: not used; prompts are numbers.
        given: must be empty; the lab has nothing to map or to render.

    Raises:
        UsageError: an unknown shift or option, or a value that is no number.
    """
    if given:
        raise UsageError(f"{name} takes no --{', --'.join(given)}; remove what describes files")
    kind, strength, options = _parse(name)
    if not (
        1 <= options["n"] <= 1_000_000
        and 2 <= options["points"] <= 64
        and 0 <= options["degree"] <= 12
        and options["seed"] >= 0
    ):
        raise UsageError(f"{name}: n must be 1 to 1000000, points 2 to 64, degree 0 to 12 and seed at least 0")
    stream = int.from_bytes(hashlib.sha256(f"{kind} {strength}".encode()).digest()[:8], "big")
    rng = np.random.default_rng([options["seed"], stream])
    prompts = Polynomials(degree=options["degree"], points=options["points"]).draw(options["n"], rng)
    if kind != "id":
        prompts = shift(prompts, kind, strength, rng)
    columns = zip(prompts.x.tolist(), prompts.seen.tolist(), prompts.targets.tolist(), strict=True)
    examples = [
        prompt_example({"id": str(at), "x": x, "y": y, "targets": targets}, f"{name} prompt {at}")
        for at, (x, y, targets) in enumerate(columns)
    ]
    return Regression(name=name, examples=tuple(examples))


def _parse(name: str) -> tuple[str, float, dict[str, int]]:
    """Shift, strength and options of a name."""
    head, *rest = name.removeprefix("lab:").split(",")
    kind, _, strength = head.partition("=")
    options = dict(DEFAULTS)
    try:
        for part in rest:
            key, _, value = part.partition("=")
            if key not in options:
                raise UsageError(f"{name}: unknown option '{key}'; expected {', '.join(options)}")
            options[key] = int(value)
        if kind == "id" and strength:
            raise UsageError(f"{name}: the ID data have no strength; write lab:id")
        return kind, 0.0 if kind == "id" else float(strength), options
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{name}: expected lab:id or lab:SHIFT=STRENGTH with whole-number options, such as lab:target_offset=3,n=2000"
        ) from error
