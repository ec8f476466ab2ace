"""Cells and doses of a study that was never run, with effects put in by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tapioca.studies.analyse.cells import CellGrid
from tapioca.studies.analyse.collect import measure_numbers
from tapioca.studies.analyse.setting import SettingAnalysis, join_settings
from tapioca.studies.cell import Cell, CellKey, DoseResponse, SavedArrays
from tapioca.studies.read import read_study
from tapioca.studies.results import StudyResult
from tapioca.studies.spec import Setting, StudyFile

WHOLE = read_study(Path(__file__).parents[2] / "studies" / "claims.yaml")
"""The study whose rules all simulated cells are judged by."""


SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


def all_plans(layers: int) -> np.ndarray:
    """Every plan that keeps a layer, the full model first, then by size."""
    rows = [row for row in product([True, False], repeat=layers) if any(row)]
    return np.array(sorted(rows, key=lambda row: -sum(row)))


@dataclass(frozen=True)
class World:
    """What is true of the cells that `study` draws.

    Attributes:
        gain: of dropping the last layer, in units of the strength from 0 (ID) to 1 (the strongest).
        bend: deviation beyond the null, in the same units.
        harm: of dropping any other layer, each.
        noise: standard deviation of the log errors of one prompt under one plan.
        spread: standard deviation of the gain of the last layer between models, and between kinds.
        realigned: deviation removed by dropping the last layer.
    """

    gain: float = 0.0
    bend: float = 0.0
    harm: float = 0.0
    noise: float = 0.3
    spread: float = 0.0
    realigned: float = 0.0
    layers: int = 4
    prompts: int = 32


def setting(models: int = 4, kinds: int = 4, strengths: int = 3, **fields: Any) -> Setting:
    """A setting; the last kind of several is no control unless `controls` says so."""
    shifts = {f"kind_{at}": tuple(f"t{at}_{n}" for n in range(strengths)) for at in range(kinds)}
    paths = tuple(Path(f"models/m{at}") for at in range(models))
    return Setting(
        **{"name": "toy", "title": "toy", "models": paths, "id": "id", "shifts": shifts, "fixed": 0} | fields
    )


def study(*settings: Setting, draws: int = 200) -> StudyFile:
    """The whole study with other settings: its claims, rules and margins are those of its file."""
    changes = {"title": "toy", "seed": 0, "n_resamples": draws, "settings": settings, "search": 32, "test": 32}
    return WHOLE.model_copy(update={**changes, "scales": SCALES})


def analyse_setting(study: StudyFile, setting: Setting, measured: Iterable[SavedArrays]) -> SettingAnalysis:
    """The analysis of one setting, of measurements that may be of others too, and of which some may be missing."""
    return SettingAnalysis.of_numbers(measure_numbers(CellGrid(study, setting, list(measured))))


def analyse(study: StudyFile, measured: Iterable[SavedArrays]) -> StudyResult:
    """All of a study, as `tapioca study` judges it."""
    measured = list(measured)
    settings = (analyse_setting(study, setting, measured).to_result() for setting in study.settings)
    return join_settings(study, tuple(settings))


def cell(world: World, where: CellKey, dial: float, rng: np.random.Generator, extra: float = 0.0) -> Cell:
    """One cell: the errors of a plan are those of the full model times exp of what its layers bring and noise."""
    kept = all_plans(world.layers)
    dropped = ~kept
    effect = dropped[:, -1] * (world.gain * dial + extra) - dropped[:, :-1].sum(1) * world.harm
    scores = [
        -np.exp(
            rng.normal(0, 0.5, world.prompts) - effect[:, None] + rng.normal(0, world.noise, (len(kept), world.prompts))
        )
        for _ in range(2)
    ]
    ones, share = np.ones(world.prompts), np.zeros((2, world.layers))
    share[:, -1] = world.bend * dial
    deviation = (
        0.02 + world.bend * dial + rng.normal(0, 0.005, (2, 1)) + rng.normal(0, 0.005, (2, 21)) * (np.arange(21) > 0)
    )
    is_id = where.kind == "id"
    return Cell(
        where=where,
        kept=kept,
        search=scores[0],
        search_weights=ones,
        test=scores[1],
        weights=ones,
        groups=np.arange(world.prompts),
        companion=np.zeros((2, 0)),
        chance=np.array(np.nan),
        signed=share,
        deviation=np.zeros((2, 1)) if is_id else deviation,
        null_mean=np.full(2, 0.0 if is_id else 0.02),
        null_upper=np.full(2, 0.0 if is_id else 0.035),
        realigned=np.repeat(
            (dropped[:, -1] * world.realigned + rng.normal(0, 0.01, (1, 2, len(kept)))) * dropped.any(1), 4, 0
        ),
        along=share + rng.normal(0, 0.01, share.shape),
        removal=share + rng.normal(0, 0.01, share.shape),
        baselines=np.zeros((3, 0)),
    )


def cells(world: World, asked: Setting, seed: int = 0, parameters: tuple[int, ...] = (100, 400)) -> list[Cell]:
    """All cells of untuned models; sizes take turns."""
    rng = np.random.default_rng(seed)
    of_model, of_kind = (rng.normal(0, world.spread, n) for n in (len(asked.models), len(asked.shifts)))
    found = []
    for m, path in enumerate(asked.models):
        where = CellKey(asked.name, path.name, parameters[m % len(parameters)], "id", 0, "id")
        found.append(cell(world, where, 0.0, rng))
        for k, (kind, tasks) in enumerate(asked.shifts.items()):
            for at, task in enumerate(tasks):
                here = replace(where, kind=kind, strength=at, task=task)
                found.append(cell(world, here, (at + 1) / len(tasks), rng, of_model[m] + of_kind[k]))
    return found


def tuned_cells(after: World, control: World, asked: Setting, seed: int = 0) -> list[Cell]:
    """Cells of models tuned on each kind in `asked.tuned`, on what was ID data too, and of their controls."""
    rng, found = np.random.default_rng(seed), []
    for at, path in enumerate(asked.models):
        for kind, task in asked.tuned.items():
            where = CellKey(asked.name, path.name, (100, 400)[at % 2], "id", 0, task, "shift", kind)
            found.append(cell(after, where, 1.0, rng))
            found.append(cell(control, replace(where, kind=kind), 1.0, rng))
            found.append(cell(control, replace(where, kind=kind, tuned="id"), 1.0, rng))
    return found


def doses(
    asked: Setting, slope: float, moved: float, seed: int = 0, prompts: int = 32, layers: int = 4
) -> list[DoseResponse]:
    """Sweeps whose chosen layers raise the log error by `slope` and the deviations by `moved` from scale 0 to 1; two
    random sets and all layers follow nothing."""
    rng, alphas = np.random.default_rng(seed), np.array(SCALES)
    sets = np.zeros((4, layers), dtype=bool)
    sets[0, -1] = sets[1, 0] = sets[2, 1] = sets[3] = True
    found = []
    for path in asked.models:
        for kind in asked.shifts:
            base = rng.normal(0, 0.5, prompts)
            log = base + np.array([slope, 0, 0, 0])[:, None, None] * alphas[None, :, None]
            log = log + rng.normal(0, 0.05, (4, 6, prompts)) * (alphas != 1)[None, :, None]
            log[:, alphas == 1] = base + slope
            deviation = (
                0.1 + np.array([moved, 0, 0, 0])[:, None, None] * alphas[None, :, None] + rng.normal(0, 0.01, (4, 6, 2))
            )
            test = -np.exp(log)
            test[3, 0], deviation[3, 0] = np.nan, np.nan
            where = CellKey(asked.name, path.name, 100, kind, asked.fixed, "t")
            found.append(DoseResponse(where, alphas, sets, test, np.ones(prompts), deviation))
    return found
