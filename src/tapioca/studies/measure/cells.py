"""What a study measures of one model on one task: every plan's scores, and what each does to the geometry."""

from __future__ import annotations

import numpy as np

from tapioca.geometry.alignment import deviation, signed
from tapioca.geometry.attribution import along_stream, by_removal
from tapioca.geometry.evidence import EVIDENCE, evidence
from tapioca.geometry.nulls import deviating, split_halves
from tapioca.geometry.profiles import KINDS, Shape, resamples, shape
from tapioca.geometry.tree import realignments
from tapioca.observe import sample, states_of_plans
from tapioca.records import Plan
from tapioca.records.tree import Prefix, steps
from tapioca.studies.cell import Cell, Where
from tapioca.studies.measure.model import Bench
from tapioca.tasks.base import Task

DRAWS = 200
"""Resamples of examples that are kept of a deviation."""


def cell(bench: Bench, where: Where) -> Cell:
    """Score every plan on both splits of a task, and measure the geometry on the search split."""
    at = (where.kind, where.strength)
    search, test = bench.tasks[at]
    on_search, on_test = (bench.scores(task, bench.plans).values for task in (search, test))
    chosen = bench.searched(on_search, search).best.plan
    _, groups = np.unique(np.asarray(test.groups), return_inverse=True)
    chance = test.beside.chance if test.beside else None
    return Cell(
        where=where,
        kept=bench.kept,
        search=on_search,
        search_weights=search.weights,
        test=on_test,
        weights=test.weights,
        groups=groups,
        beside=_beside(bench, test, chosen),
        chance=np.array(np.nan if chance is None else float(chance.mean())),
        **(_no_geometry(bench) if where.kind == "id" else _geometry(bench, search)),
        baselines=bench.baselines(at, test),
    )


def _beside(bench: Bench, test: Task, chosen: Plan) -> np.ndarray:
    """Whether the full model and a plan are right, where the score stands in for it."""
    if not test.beside:
        return np.empty((2, 0))
    return bench.scores(test.beside, [bench.plans[0], chosen]).values


def _no_geometry(bench: Bench) -> dict[str, np.ndarray]:
    """What stands for ID data, which deviate from nothing."""
    layers, kinds = bench.kept.shape[1], len(KINDS)
    found: dict[str, np.ndarray] = {name: np.zeros((kinds, layers)) for name in ("signed", "along", "removal")}
    found |= {name: np.zeros(kinds) for name in ("null_mean", "null_upper")}
    found |= {"deviation": np.zeros((kinds, 1 + DRAWS)), "realigned": np.zeros((kinds, len(bench.plans)))}
    return found | {"evidence": np.zeros(len(EVIDENCE))}


def _geometry(bench: Bench, search: Task) -> dict[str, np.ndarray]:
    """How OOD search examples deviate from ID ones, and what every plan and every layer does about it."""
    seed, size = bench.study.seed, min(bench.sample(search), bench.id_states[0].shape[1], bench.id_states[1].shape[1])
    first, second = (states[:, :size] for states in bench.id_states)
    own = bench.observed(search, size)
    seen = sample(search.examples, size, seed)
    found = states_of_plans(bench.loaded.model, bench.plans, seen, bench.study.batch_size)
    stream, against, pool = shape(own), shape(first), shape(np.concatenate([first, second], axis=1)[1:])
    nulls = [
        split_halves(deviating(profile), size, seed, DRAWS) for profile in (pool.norm_profile, pool.distance_profile)
    ]
    profiles, base = (np.stack(part.profiles())[:, 0] for part in (stream, against))
    said = evidence(own, first, second, seed)
    return {
        "signed": signed(profiles, base)[:, 1:],
        "deviation": _deviation(stream, against, seed),
        "null_mean": np.array([null.mean() for null in nulls]),
        "null_upper": np.array([np.percentile(null, 95) for null in nulls]),
        "realigned": np.pad(realignments(found, first[1:], bench.plans[1:], 0, seed)[:, 0], ((0, 0), (1, 0))),
        "along": along_stream(profiles, base),
        "removal": _removal(bench, found, profiles[:, 1:], base[:, 1:]),
        "evidence": np.array([said[name] for name in EVIDENCE]),
    }


def _deviation(seen: Shape, reference: Shape, seed: int) -> np.ndarray:
    """Deviation over the layers, of the examples and of resampled ones, (kind, 1 + draw); resamples are biased upward, so
    they are moved to the value they belong to."""
    rng = np.random.default_rng(seed)
    counts = [
        np.vstack([np.ones(size), resamples(size, DRAWS, rng)])
        for size in (part.norms.shape[1] for part in (seen, reference))
    ]
    pairs = zip(seen.profiles(counts[0]), reference.profiles(counts[1]), strict=True)
    found = np.stack([deviation(profile[:, 1:], base[:, 1:]) for profile, base in pairs])
    found[:, 1:] += found[:, :1] - found[:, 1:].mean(axis=1, keepdims=True)
    return found


def _removal(bench: Bench, found: dict[Prefix, np.ndarray], profiles: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Each layer's share by removal, (kind, layer); 0 where a layer cannot be dropped."""
    shares = np.zeros_like(base)
    for plan in bench.plans:
        if plan.size == 1:
            without = np.stack(shape_of(found, plan, plan.kept).profiles())[:, 0]
            shares[:, plan.drops[0]] = by_removal(profiles, without, base, plan.drops[0])
    return shares


def shape_of(found: dict[Prefix, np.ndarray], plan: Plan, layers: tuple[int, ...]) -> Shape:
    """The shape of a plan's states after some layers that it computes."""
    said = steps(plan)
    return shape(np.stack([found[said[: layer + 1]] for layer in layers]))
