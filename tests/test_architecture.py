"""The shape of the package: what is public, and what importing costs. Who imports whom is checked by import-linter."""

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

FILES = sorted(ROOT.rglob("*.py"))


def loaded_modules(code: str) -> set[str]:
    """Modules present in a fresh interpreter after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import tapioca; tapioca.__version__, tapioca.register_criterion, tapioca.register_shift",
        "from tapioca.cli.main import main; main(['--help'])",
        "from tapioca.cli.main import main; main(['--version'])",
        "from tapioca.cli.main import main; main(['prune', '--help'])",
        "import tapioca.commands.prune.page, tapioca.runs.store, tapioca.report.screen",
        "import tapioca.studies.page.page, tapioca.studies.results, tapioca.studies.read",
    ],
)
def test_no_torch_is_loaded(code: str) -> None:
    assert not loaded_modules(code) & {"torch", "transformers"}


PUBLIC = {
    "Plan": "tapioca.plan.plan",
    "PruneConfig": "tapioca.commands.prune.config",
    "PruneResult": "tapioca.commands.prune.result",
    "BenchConfig": "tapioca.commands.bench.config",
    "BenchResult": "tapioca.commands.bench.result",
    "CompareConfig": "tapioca.commands.compare.config",
    "CompareResult": "tapioca.commands.compare.result",
    "DiagnoseConfig": "tapioca.commands.diagnose.config",
    "DiagnoseResult": "tapioca.commands.diagnose.result",
    "GeometryConfig": "tapioca.commands.geometry.config",
    "GeometryResult": "tapioca.commands.geometry.result",
    "HealConfig": "tapioca.commands.heal.config",
    "HealResult": "tapioca.commands.heal.result",
    "EnumerateConfig": "tapioca.commands.enumerate.config",
    "EnumerateResult": "tapioca.commands.enumerate.result",
    "RescaleConfig": "tapioca.commands.rescale.config",
    "RescaleResult": "tapioca.commands.rescale.result",
    "ScaleConfig": "tapioca.commands.scale.config",
    "ScaleResult": "tapioca.commands.scale.result",
    "VersusConfig": "tapioca.commands.versus.config",
    "VersusResult": "tapioca.commands.versus.result",
    "Session": "tapioca.api",
    "TapiocaError": "tapioca.errors",
    "apply": "tapioca.models.edit",
    "bench": "tapioca.api",
    "compare": "tapioca.api",
    "compensate": "tapioca.api",
    "diagnose": "tapioca.api",
    "enumerate": "tapioca.api",
    "export": "tapioca.commands.export.run",
    "geometry": "tapioca.api",
    "heal": "tapioca.api",
    "load": "tapioca.models.load",
    "prune": "tapioca.api",
    "read_task": "tapioca.api",
    "register_criterion": "tapioca.search.criteria",
    "register_shift": "tapioca.lab.shifts",
    "rescale": "tapioca.api",
    "scale": "tapioca.api",
    "versus": "tapioca.api",
}
"""Where each public name is defined."""


def test_importing_every_module_leaves_the_public_names_as_they_are() -> None:
    """A module of the same name would take its place once it is imported."""
    modules = [module.name for module in pkgutil.walk_packages([str(ROOT)], "tapioca.")]
    for name in modules:
        if name not in ("tapioca.__main__", "tapioca.checkpoints.reload"):  # programs
            importlib.import_module(name)
    names = sorted({*tapioca.__all__} - {"__version__"})
    assert {name: getattr(tapioca, name).__module__ for name in names} == PUBLIC
    assert all(callable(getattr(tapioca, name)) for name in PUBLIC)
    assert sorted(dir(tapioca)) == sorted([*PUBLIC, "__version__"])


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No tapioca attribute prunes"):
        _ = tapioca.prunes  # type: ignore[attr-defined]


def test_every_module_says_what_it_is_for() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_what_reads_tasks_exists() -> None:
    from tapioca.session.data import TASK_SOURCES

    assert all(callable(pkgutil.resolve_name(reader)) for reader in TASK_SOURCES.values())
