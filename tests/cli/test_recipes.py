"""The table of recipes names functions that are there, since nothing but a run looks them up."""

from __future__ import annotations

from inspect import signature
from pkgutil import resolve_name

import pytest

from tapioca.cli.recipes import RECIPES, Recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_runs_its_request_and_shows_its_record(recipe: Recipe) -> None:
    config, watcher, *_ = signature(resolve_name(recipe.run)).parameters.values()
    assert config.annotation == recipe.config.__name__
    assert watcher.annotation.startswith("Progress")
    assert list(signature(resolve_name(recipe.show)).parameters) == ["info", "console"]
