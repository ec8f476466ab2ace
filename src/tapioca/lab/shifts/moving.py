"""Shifts that change the answers: other functions, other inputs, or another rule for what is right."""

from dataclasses import replace
from functools import partial

import numpy as np

from tapioca.errors import UsageError
from tapioca.lab.function_classes import (
    FunctionClass,
    draw_absolutes,
    draw_chebyshev_sums,
    draw_sines,
    draw_splines,
    draw_step_functions,
)
from tapioca.lab.functions import MAX_DEGREE, FunctionBatch, Prompts, draw_uniform, polynomials_from_coefficients
from tapioca.lab.shifts.base import ShiftKind, ShiftTable

MIXED_IN = 3.0
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
AMOUNTS = (0.25, 0.5, 1.0, 2.0, 3.0)

MOVING = ShiftTable(preserves_answers=False)


@MOVING.add("every y moved up by s", AMOUNTS)
def target_offset(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    return prompts.with_functions(lambda x: prompts.curves(x) + strength)


@MOVING.add("every y times 1 + s", AMOUNTS)
def coefficient_scale(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Every coefficient, hence every y."""
    factor = 1.0 + strength
    return prompts.with_functions(lambda x: prompts.curves(x) * factor)


@MOVING.add("every y times √(ν / χ²_ν), ν = 1/s, one for each prompt", (0.05, 0.1, 0.2, 0.35, 0.5))
def coefficient_tails(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Coefficients with the tails of Student's t with 1/`strength` degrees of freedom: most prompts nearly as before,
    some far larger."""
    if strength == 0:
        return prompts
    factors = np.sqrt(1 / strength / rng.chisquare(1 / strength, (len(prompts), 1)))
    return prompts.with_functions(lambda x: prompts.curves(x) * factors)


@MOVING.add("the later half of the y times 1 − 2s: −y from half-way on at 1", SHARES, "share")
def function_turned(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The first half of the context shows a function that the query does not follow."""
    points = prompts.x.shape[1]
    factors = np.where(np.arange(points) < points // 2, 1.0, 1 - 2 * strength)
    y = prompts.targets * factors
    return replace(prompts, context_y=y, targets=y, curves=lambda x: prompts.curves(x) * factors[-1])


@MOVING.add("every second point, the query not, is of √(1 − s²) f + s g", SHARES, "share")
def functions_interleaved(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """g is another polynomial of the same law for each prompt."""
    others = prompts.law.draw_clean(len(prompts), rng).curves(prompts.x)
    is_other = np.arange(prompts.x.shape[1], 0, -1) % 2 == 0
    mixed = np.sqrt(1 - strength**2) * prompts.targets + strength * others
    y = np.where(is_other, mixed, prompts.targets)
    return replace(prompts, context_y=y, targets=y)


@MOVING.add("√(1 − s²) f + s times a sum of Chebyshev polynomials", SHARES, "share")
def chebyshev(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Of the same degree and spread: at 1 still polynomials, whose coefficients in powers of x are larger and hang together."""

    def draw_sums(n: int, rng: np.random.Generator) -> FunctionBatch:
        return draw_chebyshev_sums(n, rng, prompts.law.degree)

    return towards(draw_sums, prompts, strength, rng)


@MOVING.add("inputs moved right by s: none as before from 2", (0.25, 0.5, 1.0, 1.5, 2.0))
def input_displacement(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The functions stay; from 2 on no input is one that was trained on."""
    return prompts.at_inputs(prompts.x + strength)


@MOVING.add("inputs times 1 − s", (0.1, 0.25, 0.5, 0.75, 0.9), "share")
def input_narrowing(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The functions stay."""
    return prompts.at_inputs(prompts.x * (1 - strength))


@MOVING.add("inputs times 1 + s", (0.1, 0.25, 0.5, 0.75, 1.0))
def input_widening(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The functions stay."""
    return prompts.at_inputs(prompts.x * (1 + strength))


@MOVING.add("density of the inputs times |x|^s", (0.5, 1.0, 2.0, 4.0, 8.0))
def input_reweighting(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The inputs crowd at −1 and 1: of the density of U(−1, 1) times |x|^`strength`, up to a constant."""
    return prompts.at_inputs(np.sign(prompts.x) * np.abs(prompts.x) ** (1 / (1 + strength)))


@MOVING.add("s more powers; a fraction weighs the last", (0.5, 1.0, 2.0, 3.0, 5.0))
def higher_degree(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """So many powers more, with coefficients as the others have; a fraction weighs the last of them.

    Raises:
        UsageError: the degree would be above `MAX_DEGREE`.
    """
    law = prompts.law
    if strength > MAX_DEGREE - law.degree:
        raise UsageError(
            f"higher_degree={strength:g} on degree {law.degree} is above degree {MAX_DEGREE}; "
            f"expected at most {MAX_DEGREE - law.degree}"
        )
    more = int(np.ceil(strength))
    coefficients = draw_uniform(rng, len(prompts), more) * np.minimum(1, strength - np.arange(more))
    added = polynomials_from_coefficients(coefficients, law.degree + 1)
    return replace(prompts, law=replace(law, degree=law.degree + more)).with_functions(
        lambda x: prompts.curves(x) + added(x)
    )


def towards(functions: FunctionClass, prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """√(1 − s²) of the polynomial plus s of a function of another class with the same spread: the spread stays."""
    others, spread = functions(len(prompts), rng), prompts.law.standard_deviation
    return prompts.with_functions(
        lambda x: np.sqrt(1 - strength**2) * prompts.curves(x) + strength * spread * others(x)
    )


MOVING |= {
    name: ShiftKind(partial(towards, functions), False, f"√(1 − s²) f + s {formula}", SHARES, "share")
    for name, functions, formula in (
        ("sines", draw_sines, "√2 sin(ωx + φ)"),
        ("absolutes", draw_absolutes, "(a |x − k| + b)"),
        ("steps", draw_step_functions, "· five random steps"),
        ("splines", draw_splines, "· spline of six knots"),
    )
}


@MOVING.add("every y moved up by 3 in a share s of the prompts", (0.05, 0.1, 0.25, 0.5, 0.75), "share")
def mixture(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The others are ID."""
    offset = MIXED_IN * (rng.random((len(prompts), 1)) < strength)
    return prompts.with_functions(lambda x: prompts.curves(x) + offset)


@MOVING.add("−y is right in a share s of the prompts", SHARES, "share")
def rule_negated(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """What is read stays as it is."""
    negated = rng.random((len(prompts), 1)) < strength
    return replace(prompts, targets=np.where(negated, -prompts.targets, prompts.targets))


@MOVING.add("y + s is right, y is read", AMOUNTS)
def rule_offset(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    return replace(prompts, targets=prompts.targets + strength)
