"""The lab's data sets as tasks, by name: lab:id, lab:target_offset=3, lab:context_noise=0.3,n=4000,degree=2."""

import hashlib
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tapioca.errors import UsageError
from tapioca.lab.functions import MAX_DEGREE, MAX_POINTS, Polynomials, Prompts
from tapioca.lab.shifts import SHIFTS, shift
from tapioca.tasks.regress import BURN_IN, Regression, prompt_example
from tapioca.tasks.text import Encoder


@dataclass(frozen=True)
class LabRequest:
    """What a name says: the shift, or "id", and its strength; then what may follow, of which `scored` is how many of the last
    points are."""

    shift: str
    strength: float
    n: int = 2000
    degree: int = 3
    points: int = 20
    seed: int = 0
    least_degree: int | None = None
    noise: float = 0.0
    scored: int | None = None

    @property
    def query_only(self) -> bool:
        """Whether the shift lets no point but the query be scored."""
        return self.shift != "id" and SHIFTS[self.shift].query_only

    @property
    def n_scored(self) -> int | None:
        """How many of the last points are scored; None where neither the name nor the shift says it."""
        return self.scored or (1 if self.query_only else None)

    @property
    def seed_stream(self) -> int:
        """A random stream of its own for every shift, strength and way of asking."""
        suffix = "".join(
            f" {name}={value}"
            for name in ("least_degree", "noise", "scored")
            if (value := getattr(self, name)) != getattr(LabRequest, name)
        )
        return int.from_bytes(hashlib.sha256(f"{self.shift} {self.strength}{suffix}".encode()).digest()[:8], "big")

    def check(self, name: str) -> None:
        """Refuse what is out of range.

        Raises:
            UsageError: an option is, the shift is unknown, or its strength is none of its dial.
        """
        least = 0 if self.least_degree is None else self.least_degree
        scored = 1 if self.scored is None else self.scored
        for is_valid, expectation in (
            (1 <= self.n <= 1_000_000, "n 1 to 1000000"),
            (2 <= self.points <= MAX_POINTS, f"points 2 to {MAX_POINTS}"),
            (0 <= self.degree <= MAX_DEGREE, f"degree 0 to {MAX_DEGREE}"),
            (self.seed >= 0, "seed at least 0"),
            (0 <= least <= self.degree, f"least_degree 0 to the degree, {self.degree}"),
            (math.isfinite(self.noise) and self.noise >= 0, "noise a finite number, at least 0"),
            (1 <= scored < self.points, f"scored 1 to {self.points - 1}, the points that have a context"),
        ):
            if not is_valid:
                raise UsageError(f"{name}: expected {expectation}")
        if self.shift != "id":
            SHIFTS[self.shift].check(self.shift, self.strength)
        if self.query_only and scored != 1:
            raise UsageError(f"{name}: this shift keeps the answer of the query alone; scored must be 1 or left out")

    def draw(self, n: int, rng: np.random.Generator) -> Prompts:
        """n prompts: clean ones, then the shift, then the noise."""
        law = Polynomials(self.degree, self.least_degree, self.points, self.noise)
        prompts = law.draw_clean(n, rng)
        if self.shift != "id":
            prompts = shift(prompts, self.shift, self.strength, rng)
        return prompts.with_noise(law.noise, rng) if law.noise else prompts


@dataclass(frozen=True)
class LabPrompts:
    """The prompts behind a name, and how many of their last points are scored."""

    prompts: Prompts
    scored: int


def load_lab_task(name: str, encoder: Encoder | None = None, task_options: dict[str, Any] | None = None) -> Regression:
    """Draw a data set of prompts.

    Args:
        name: "lab:" and either "id" or SHIFT=STRENGTH; then, after commas, what else `LabRequest` has. Different names never
            share prompts.
        encoder: not used; prompts are numbers.
        task_options: must be empty; the lab has nothing to map or to render.

    Raises:
        UsageError: an unknown shift or option, or a value that is no number or out of range.
    """
    if task_options:
        flags = ", ".join(f"--{option}".replace("_", "-") for option in task_options)
        raise UsageError(f"{name} takes no {flags}; remove what describes files")
    drawn = draw_lab_prompts(name)
    x, y, targets = (array.tolist() for array in (drawn.prompts.x, drawn.prompts.context_y, drawn.prompts.targets))
    burn_in = len(x[0]) - drawn.scored
    rows = [{"id": str(index), "x": x[index], "y": y[index], "targets": targets[index]} for index in range(len(x))]
    examples = (prompt_example(row, f"{name} prompt {index}", burn_in) for index, row in enumerate(rows))
    return Regression(name=name, examples=tuple(examples))


def draw_lab_prompts(name: str) -> LabPrompts:
    """The prompts of a name as arrays, for what needs more than examples.

    Raises:
        UsageError: as `load_lab_task`.
    """
    request = _parse_lab_name(name)
    scored = request.n_scored or request.points - BURN_IN
    if scored <= 0:
        raise UsageError(f"{name}: the first {BURN_IN} points are not scored; expected more points, or scored=1")
    return LabPrompts(request.draw(request.n, np.random.default_rng([request.seed, request.seed_stream])), scored)


def draw_lab_batch(name: str, n: int, seed: int, step: int) -> LabPrompts:
    """Fresh prompts from the distribution of a name, for one step of a training; no data set of any name has them.

    Args:
        name: as for `load_lab_task`, but n and seed are the training's own.
        n: prompts.
        seed: of the training.
        step: of the training, from 0.

    Returns:
        The prompts, with all their points scored, as in training, where neither the name nor the shift scores fewer.

    Raises:
        UsageError: as `load_lab_task`, or the name says n or seed.
    """
    request = _parse_lab_name(name)
    if (request.n, request.seed) != (LabRequest.n, LabRequest.seed):
        raise UsageError(f"{name}: n and seed are those of a data set; a training draws its own, by --batch and --seed")
    # The spawn key parts this from every data set's stream; a longer list need not: [0, 1] and [0, 1, 0] seed the same.
    sequence = np.random.SeedSequence(request.seed_stream, spawn_key=(seed, step))
    return LabPrompts(request.draw(n, np.random.default_rng(sequence)), request.n_scored or request.points)


def _parse_lab_name(name: str) -> LabRequest:
    """What a name says."""
    head, *rest = name.removeprefix("lab:").split(",")
    shift_name, _, strength = head.partition("=")
    if shift_name == "id" and strength:
        raise UsageError(f"{name}: the ID data have no strength; write lab:id")
    known_options = [field.name for field in fields(LabRequest)[2:]]
    text_by_option = dict(part.partition("=")[::2] for part in rest)
    if unknown := [key for key in text_by_option if key not in known_options]:
        raise UsageError(f"{name}: unknown option '{unknown[0]}'; expected {', '.join(known_options)}")
    try:
        numbers = {key: float(text) if key == "noise" else int(text) for key, text in text_by_option.items()}
        strength_value = 0.0 if shift_name == "id" else float(strength)
    except ValueError as error:
        raise UsageError(
            f"{name}: expected lab:id or lab:SHIFT=STRENGTH with whole-number options, such as lab:target_offset=3,n=2000"
        ) from error
    request = LabRequest(shift_name, strength_value, **numbers)  # type: ignore[arg-type]  # only noise is a float
    request.check(name)
    return request
