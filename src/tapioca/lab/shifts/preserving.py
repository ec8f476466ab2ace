"""Shifts that leave the distribution of the answers alone and change what surrounds them.

The context is all points but the query. Where the others stop being what the query is (sorted, repeated, elsewhere),
their own answers do move, and the query alone may be scored.
"""

from dataclasses import replace

import numpy as np

from tapioca.errors import UsageError
from tapioca.lab.functions import MAX_POINTS, Prompts, draw_uniform
from tapioca.lab.shifts.base import ShiftTable

OUTLIER = 5.0
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
AMOUNTS = (0.1, 0.25, 0.5, 1.0, 2.0)

PRESERVING = ShiftTable(preserves_answers=True)


@PRESERVING.add("the y read carry N(0, s²)", (0.05, 0.1, 0.2, 0.5, 1.0))
def context_noise(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    return prompts.with_noise(strength, rng)


@PRESERVING.add("a share s of the y read is 5 off", (0.02, 0.05, 0.1, 0.2, 0.5), "share")
def context_outliers(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Too high or too low."""
    hit = rng.random(prompts.context_y.shape) < strength
    return replace(
        prompts, context_y=prompts.context_y + hit * rng.choice([-OUTLIER, OUTLIER], prompts.context_y.shape)
    )


@PRESERVING.add("the y read carry N(0, s² x²)", (0.1, 0.2, 0.5, 1.0, 2.0))
def context_heteroscedastic(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Noise that grows with the distance from 0."""
    noise = strength * np.abs(prompts.x) * rng.standard_normal(prompts.x.shape)
    return replace(prompts, context_y=prompts.context_y + noise)


@PRESERVING.add("a share s of the y read is missing: 0 is read", (0.05, 0.1, 0.25, 0.5, 0.75), "share")
def context_missing(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """0 is the mean of all y."""
    is_missing = rng.random(prompts.context_y.shape) < strength
    return replace(prompts, context_y=np.where(is_missing, 0.0, prompts.context_y))


@PRESERVING.add("a share s of the context swaps its y", SHARES, "share")
def context_scrambled(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Among themselves, so that they belong to other x."""
    order = _order(prompts, strength, rng, rng.random(prompts.x.shape))
    return replace(prompts, context_y=np.take_along_axis(prompts.context_y, order, axis=1))


@PRESERVING.add("the x of the context carry N(0, s²)", (0.02, 0.05, 0.1, 0.2, 0.5), query_only=True)
def context_jittered(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Their y belong to the true x."""
    x = prompts.x.copy()
    x[:, :-1] += strength * rng.standard_normal(x[:, :-1].shape)
    return replace(prompts, x=x)


@PRESERVING.add("a share s of the context trades places: a null", SHARES, "share", query_only=True)
def context_permuted(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Their order is random anyway: a shift that must show no effect."""
    return _taken(prompts, _order(prompts, strength, rng, rng.random(prompts.x.shape)))


@PRESERVING.add("a share s of the context is sorted by x", SHARES, "share", query_only=True)
def context_sorted(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    return _taken(prompts, _order(prompts, strength, rng, prompts.x))


@PRESERVING.add(
    "a share s of the context repeats the first points", (0.25, 0.5, 0.75, 0.9, 1.0), "share", query_only=True
)
def context_repeated(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """One point at least is left, and said again and again."""
    count = prompts.x.shape[1] - 1
    distinct = max(1, round((1 - strength) * count))
    order = np.append(np.arange(count) % distinct, count)
    return _taken(prompts, np.broadcast_to(order, prompts.x.shape))


@PRESERVING.add("a share s of the context is a copy of other points", SHARES, "share", query_only=True)
def context_duplicated(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Each from any place of the context, so that fewer different points are left and some weigh more."""
    count = prompts.x.shape[1] - 1
    order = np.broadcast_to(np.arange(count + 1), prompts.x.shape).copy()
    is_copy, sources = rng.random((len(prompts), count)) < strength, rng.integers(0, count, (len(prompts), count))
    order[:, :-1] = np.where(is_copy, sources, order[:, :-1])
    return _taken(prompts, order)


@PRESERVING.add("s more context points", (4, 8, 16, 32, 44), "count", query_only=True)
def context_longer(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """So many more points of the same function stand before the others.

    Raises:
        UsageError: a learner could not read so many.
    """
    points = prompts.x.shape[1]
    if strength > MAX_POINTS - points:
        raise UsageError(
            f"context_longer={strength:.0f} on {points} points is too long; expected at most {MAX_POINTS - points}"
        )
    more = draw_uniform(rng, len(prompts), int(strength))
    return prompts.at_inputs(np.concatenate([more, prompts.x], axis=1))


@PRESERVING.add("s fewer context points", (4, 8, 12, 15, 17), "count", query_only=True)
def context_shorter(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The first points are left out, so many of them.

    Raises:
        UsageError: no context would be left.
    """
    first, points = int(strength), prompts.x.shape[1]
    if first > points - 2:
        raise UsageError(f"context_shorter={first} leaves no context of {points} points; expected at most {points - 2}")
    return replace(
        prompts, x=prompts.x[:, first:], context_y=prompts.context_y[:, first:], targets=prompts.targets[:, first:]
    )


@PRESERVING.add("the x of the context alone times 1 − s", (0.1, 0.25, 0.5, 0.75, 0.9), "share", query_only=True)
def context_narrowed(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """The query then lies further out."""
    x = prompts.x.copy()
    x[:, :-1] *= 1 - strength
    return prompts.at_inputs(x)


@PRESERVING.add("function and inputs moved right by s", AMOUNTS)
def input_translation(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Other x, the same y."""
    return replace(prompts, x=prompts.x + strength, curves=lambda x: prompts.curves(x - strength))


@PRESERVING.add("function and inputs stretched by 1 + s", AMOUNTS)
def input_scale(prompts: Prompts, strength: float, rng: np.random.Generator) -> Prompts:
    """Other x, the same y."""
    factor = 1.0 + strength
    return replace(prompts, x=prompts.x * factor, curves=lambda x: prompts.curves(x / factor))


def _order(prompts: Prompts, share: float, rng: np.random.Generator, keys: np.ndarray) -> np.ndarray:
    """Indices (prompt, point) that bring a random share of the context points, and nothing else, in the order of keys."""
    chosen = rng.random(prompts.x.shape) < share
    chosen[:, -1] = False
    # Both stable sorts put the chosen points first and then the others, which stay where they are.
    places = np.argsort(~chosen, axis=1, kind="stable")
    ranked = np.argsort(np.where(chosen, keys, np.inf), axis=1, kind="stable")
    order = np.empty_like(places)
    np.put_along_axis(order, places, ranked, axis=1)
    return order


def _taken(prompts: Prompts, order: np.ndarray) -> Prompts:
    """Whole points in another order."""
    x, y, targets = (
        np.take_along_axis(values, order, axis=1) for values in (prompts.x, prompts.context_y, prompts.targets)
    )
    return replace(prompts, x=x, context_y=y, targets=targets)
