"""The shape of the package: who imports whom, what is public, and what importing costs."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import tapioca

ROOT = Path(tapioca.__file__).parent

LEVELS = [
    {"__main__"},
    {"cli"},
    {"api"},
    {"studies"},
    {"flows"},
    {"lab", "checkpoints", "report"},
    {"evaluate", "observe", "search", "runs"},
    {"models", "tasks", "geometry", "diagnosis"},
    {"stats"},
    {"records", "registry", "disk", "hub"},
    {"errors"},
]
"""Rooms from the outside in. A room imports itself and rooms further down; `tapioca` itself only names things."""

WITHOUT_TORCH = {
    "records",
    "registry",
    "disk",
    "hub",
    "errors",
    "search",
    "runs",
    "report",
    "stats",
    "geometry",
    "diagnosis",
    "cli",
}
MEETING_POINTS = {"lab", "evaluate", "observe", "flows", "studies", "api"}


def level(room: str) -> int:
    return next(depth for depth, rooms in enumerate(LEVELS) if room in rooms)


def imports(source: str) -> set[str]:
    """Every absolute module name a source file imports, at the top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("tapioca.")}


def wrong_arrows(room: str, source: str) -> list[str]:
    """Rooms a file of `room` may not import but does."""
    return [other for other in rooms_of(imports(source)) if other != room and level(other) <= level(room)]


FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert wrong_arrows(room, path.read_text()) == []


def test_the_arrow_check_can_fail() -> None:
    assert wrong_arrows("models", "from tapioca.tasks.base import Task") == ["tasks"]
    assert wrong_arrows("search", "def f():\n    import tapioca.flows.prune") == ["flows"]
    assert wrong_arrows("flows", "from tapioca.models.load import load") == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_meeting_points_join_models_with_tasks_or_geometry(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    joined = rooms_of(imports(path.read_text()))
    if "models" in joined and joined & {"tasks", "geometry"}:
        assert room in MEETING_POINTS


@pytest.mark.parametrize("room", sorted(WITHOUT_TORCH))
def test_rooms_that_never_import_torch(room: str) -> None:
    for path in FILES:
        if path.relative_to(ROOT).parts[0].removesuffix(".py") == room:
            assert not {name.split(".")[0] for name in imports(path.read_text())} & {"torch", "transformers"}, path


def loaded_modules(code: str) -> set[str]:
    """Modules present in a fresh interpreter after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import tapioca",
        "from tapioca.cli.main import main; main(['--help'])",
        "from tapioca.cli.main import main; main(['prune', '--help'])",
        "import tapioca.report.page, tapioca.runs.store, tapioca.report.screen",
        "import tapioca.studies.page.page, tapioca.studies.results, tapioca.studies.read",
    ],
)
def test_no_torch_is_loaded(code: str) -> None:
    assert not loaded_modules(code) & {"torch", "transformers"}


PUBLIC = {
    "Plan": "tapioca.records.plan",
    "TapiocaError": "tapioca.errors",
    "apply": "tapioca.models.edit",
    "compare": "tapioca.api",
    "diagnose": "tapioca.api",
    "export": "tapioca.flows.export",
    "load": "tapioca.models.load",
    "profile": "tapioca.api",
    "prune": "tapioca.api",
    "read_task": "tapioca.api",
    "scale": "tapioca.api",
    "space": "tapioca.api",
}
"""Where each public name is defined."""


def test_importing_every_module_leaves_the_public_names_as_they_are() -> None:
    """A module of the same name would take its place once it is imported."""
    modules = [module.name for module in pkgutil.walk_packages([str(ROOT)], "tapioca.")]
    for name in modules:
        if name not in ("tapioca.__main__", "tapioca.checkpoints.reload"):  # programs
            importlib.import_module(name)
    assert {name: getattr(tapioca, name).__module__ for name in tapioca.__all__} == PUBLIC
    assert all(callable(getattr(tapioca, name)) for name in PUBLIC)
    assert sorted(dir(tapioca)) == sorted(PUBLIC)


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No tapioca attribute prunes"):
        _ = tapioca.prunes  # type: ignore[attr-defined]


def test_every_module_says_what_it_is_for() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_registry_entries_exist() -> None:
    from tapioca.flows.data import SOURCES

    for name in SOURCES:
        module, _, attribute = SOURCES.entries[name].partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))
