"""tapioca compare, diagnose, geometry, enumerate, scale and study: a recipe runs, and its record is printed."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any, NamedTuple

import typer
from pydantic import BaseModel
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.records import CompareConfig, DiagnoseConfig, EnumerateConfig, GeometryConfig, ScaleConfig
from tapioca.studies.spec import StudyConfig


class Recipe(NamedTuple):
    """A command: what it is asked, what runs it and what prints its record, by their names, so that help loads no torch."""

    config: type[BaseModel]
    run: str
    show: str
    help: str


RECIPES = {
    "compare": Recipe(
        CompareConfig,
        "tapioca.flows.compare:compare",
        "tapioca.report.compare:show_compare",
        "Choose plans by several criteria (TALE, SLEB, ShortGPT, ...) and judge them all on the same held-out data.",
    ),
    "diagnose": Recipe(
        DiagnoseConfig,
        "tapioca.flows.diagnose:diagnose",
        "tapioca.report.diagnose:show_diagnosis",
        "Say before any search, and without answers, whether inputs are in distribution, distorted or misaligned.",
    ),
    "geometry": Recipe(
        GeometryConfig,
        "tapioca.flows.geometry:measure_geometry",
        "tapioca.report.geometry:show_geometry",
        "Measure the layerwise geometry of OOD data against ID data, before and after a plan; needs no answers.",
    ),
    "enumerate": Recipe(
        EnumerateConfig,
        "tapioca.flows.enumerate:enumerate_plans",
        "tapioca.report.enumerate:show_enumerate",
        "Evaluate every plan of drops of a small model: the oracle, what greedy misses, realignment against gain.",
    ),
    "scale": Recipe(
        ScaleConfig,
        "tapioca.flows.scale:scale",
        "tapioca.report.scale:show_scale",
        "Scale the layers a plan drops, random ones and all: dose-response of score and geometry on held-out data.",
    ),
    "study": Recipe(
        StudyConfig,
        "tapioca.studies.run:run_study",
        "tapioca.studies.page.page:show_study",
        "Measure what a study asks for and judge its claims by the rules in its file; interrupted, the same command goes on.",
    ),
}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for name, recipe in RECIPES.items():
        argument = next(iter(recipe.config.model_fields))
        app.command(name, help=recipe.help)(command_from_record(recipe.config, _run_and_show(recipe), argument))


def _run_and_show(recipe: Recipe) -> Any:
    def run(config: BaseModel) -> None:
        from tapioca.report.screen import LiveScreen

        console = Console()
        with LiveScreen(console) as screen:
            info = resolve_name(recipe.run)(config, screen)
        resolve_name(recipe.show)(info, console)

    return run
