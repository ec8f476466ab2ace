"""The lab's data sets as tasks, by name: lab:id, lab:target_offset=3, lab:context_noise=0.3,n=4000,degree=2."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tapioca.errors import UsageError
from tapioca.lab.functions import MOST_DEGREE, MOST_POINTS, Polynomials, Prompts
from tapioca.lab.shifts import find
from tapioca.lab.shifts.base import Kind
from tapioca.tasks.regress import BURN_IN, Regression, prompt_example
from tapioca.tasks.text import Encoder


@dataclass(frozen=True)
class Options:
    """What may follow the shift in a name; `scored` is how many of the last points are."""

    n: int = 2000
    degree: int = 3
    points: int = 20
    seed: int = 0
    least_degree: int | None = None
    noise: float = 0.0
    scored: int | None = None


@dataclass(frozen=True)
class Asked:
    """What a name says: the shift by name and as its kind (None for ID data), its strength, and the options."""

    shift: str
    kind: Kind | None
    strength: float
    options: Options

    @property
    def scored(self) -> int | None:
        """How many of the last points are scored; None where neither the name nor the shift says it."""
        return self.options.scored or (1 if self.kind and self.kind.query_only else None)

    @property
    def stream(self) -> int:
        """A random stream of its own for every shift, strength and way of asking."""
        asked = {name: getattr(self.options, name) for name in ("least_degree", "noise", "scored")}
        told = "".join(f" {name}={value}" for name, value in asked.items() if value != getattr(Options, name))
        return int.from_bytes(hashlib.sha256(f"{self.shift} {self.strength}{told}".encode()).digest()[:8], "big")


@dataclass(frozen=True)
class Named:
    """The prompts behind a name, and how many of their last points are scored."""

    prompts: Prompts
    scored: int


def load_lab(name: str, encoder: Encoder | None = None, given: dict[str, Any] | None = None) -> Regression:
    """Draw a data set of prompts.

    Args:
        name: "lab:" and either "id" or SHIFT=STRENGTH; then, after commas, any of `Options`. Different names never
            share prompts.
        encoder: not used; prompts are numbers.
        given: must be empty; the lab has nothing to map or to render.

    Raises:
        UsageError: an unknown shift or option, or a value that is no number or out of range.
    """
    if given:
        flags = ", ".join(f"--{option}".replace("_", "-") for option in given)
        raise UsageError(f"{name} takes no {flags}; remove what describes files")
    found = draw_named(name)
    prompts, burn_in = found.prompts, found.prompts.x.shape[1] - found.scored
    columns = zip(prompts.x.tolist(), prompts.seen.tolist(), prompts.targets.tolist(), strict=True)
    examples = [
        prompt_example({"id": str(at), "x": x, "y": y, "targets": targets}, f"{name} prompt {at}", burn_in)
        for at, (x, y, targets) in enumerate(columns)
    ]
    return Regression(name=name, examples=tuple(examples))


def draw_named(name: str) -> Named:
    """The prompts of a name as arrays, for what needs more than examples.

    Raises:
        UsageError: as `load_lab`.
    """
    asked = _parse(name)
    options, scored = asked.options, asked.scored
    if scored is None and options.points <= BURN_IN:
        raise UsageError(f"{name}: the first {BURN_IN} points are not scored; expected more points, or scored=1")
    prompts = _drawn(asked, options.n, np.random.default_rng([options.seed, asked.stream]))
    return Named(prompts, scored or options.points - BURN_IN)


def draw_batch(name: str, n: int, seed: int, step: int) -> Named:
    """Fresh prompts from the distribution of a name, for one step of a training; no data set of any name has them.

    Args:
        name: as for `load_lab`, but n and seed are the training's own.
        n: prompts.
        seed: of the training.
        step: of the training, from 0.

    Returns:
        The prompts, with all their points scored, as in training, where neither the name nor the shift scores fewer.

    Raises:
        UsageError: as `load_lab`, or the name says n or seed.
    """
    asked = _parse(name)
    if (asked.options.n, asked.options.seed) != (Options.n, Options.seed):
        raise UsageError(f"{name}: n and seed are those of a data set; a training draws its own, by --batch and --seed")
    # The spawn key parts this from every data set's stream; a longer list need not: [0, 1] and [0, 1, 0] seed the same.
    sequence = np.random.SeedSequence(asked.stream, spawn_key=(seed, step))
    return Named(_drawn(asked, n, np.random.default_rng(sequence)), asked.scored or asked.options.points)


def _drawn(asked: Asked, n: int, rng: np.random.Generator) -> Prompts:
    """n prompts: clean ones, then the shift, then the noise."""
    options = asked.options
    law = Polynomials(
        degree=options.degree, least_degree=options.least_degree, points=options.points, noise=options.noise
    )
    prompts = law.clean(n, rng)
    if asked.kind:
        prompts = asked.kind.change(prompts, asked.strength, rng)
    return prompts.noisy(options.noise, rng) if options.noise else prompts


def _parse(name: str) -> Asked:
    """What a name says."""
    head, *rest = name.removeprefix("lab:").split(",")
    shift, _, strength = head.partition("=")
    if shift == "id" and strength:
        raise UsageError(f"{name}: the ID data have no strength; write lab:id")
    known = [field.name for field in fields(Options)]
    given = dict(part.partition("=")[::2] for part in rest)
    if unknown := [key for key in given if key not in known]:
        raise UsageError(f"{name}: unknown option '{unknown[0]}'; expected {', '.join(known)}")
    try:
        numbers = {key: float(value) if key == "noise" else int(value) for key, value in given.items()}
        amount = 0.0 if shift == "id" else float(strength)
    except ValueError as error:
        raise UsageError(
            f"{name}: expected lab:id or lab:SHIFT=STRENGTH with whole-number options, such as lab:target_offset=3,n=2000"
        ) from error
    options = _checked(name, Options(**numbers))  # type: ignore[arg-type]  # only noise is a float
    kind = None if shift == "id" else find(shift, amount)
    if kind and kind.query_only and options.scored not in (None, 1):
        raise UsageError(f"{name}: this shift keeps the answer of the query alone; scored must be 1 or left out")
    return Asked(shift, kind, amount, options)


def _checked(name: str, options: Options) -> Options:
    """The options, or one line on what is out of range."""
    least = 0 if options.least_degree is None else options.least_degree
    scored = 1 if options.scored is None else options.scored
    for right, said in (
        (1 <= options.n <= 1_000_000, "n 1 to 1000000"),
        (2 <= options.points <= MOST_POINTS, f"points 2 to {MOST_POINTS}"),
        (0 <= options.degree <= MOST_DEGREE, f"degree 0 to {MOST_DEGREE}"),
        (options.seed >= 0, "seed at least 0"),
        (0 <= least <= options.degree, f"least_degree 0 to the degree, {options.degree}"),
        (math.isfinite(options.noise) and options.noise >= 0, "noise a finite number, at least 0"),
        (1 <= scored < options.points, f"scored 1 to {options.points - 1}, the points that have a context"),
    ):
        if not right:
            raise UsageError(f"{name}: expected {said}")
    return options
