"""The commands, one row and one folder each (a study has a room of its own): the command line, `tapioca report`, the Python face and the docs follow them.

Modules and classes stand here by name ("module:name"), so that help loads no torch.
"""

import os
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from tapioca.errors import StoreError
from tapioca.records import BaseConfig
from tapioca.runs.records import read_record, write_record


class Command(NamedTuple):
    """A command.

    Attributes:
        about: what it does, in a sentence.
        config: the class of the request; its fields are the flags.
        run: a function of a request, a `Progress`, and where a model runs on data the `RunInputs` if they are loaded already;
            it returns what was found. Called again with the same request it goes on where it was; a mistake in the request,
            the data or the model is a `TapiocaError` of one line.
        page: a module with `show(result, console)`; of a command that leaves a record also with `draw_charts(result)` and
            `write_page(result)`.
        result: the class of the record; empty where none is left.
        file: what the record is called in its run folder.
        arguments: the options that are given without a flag, in their order.
        kept: what of its work is stored where it is interrupted, for the same command to go on from; empty where that begins again.
        dry_run: what runs and shows instead where the request says `dry_run`.
    """

    about: str
    config: str
    run: str
    page: str
    result: str = ""
    file: str = ""
    arguments: tuple[str, ...] = ("model",)
    kept: str = ""
    dry_run: tuple[str, str] | None = None


FINISHED_BATCHES = "every finished batch is stored"

COMMANDS = {
    "prune": Command(
        "Find the layers a model is better without on OOD data, and judge the plan on held-out data.",
        config="tapioca.commands.prune.config:PruneConfig",
        run="tapioca.commands.prune.run:prune",
        page="tapioca.commands.prune.page",
        result="tapioca.commands.prune.result:PruneResult",
        file="run.json",
        kept=FINISHED_BATCHES,
        dry_run=("tapioca.commands.prune.preview:preview_run", "tapioca.commands.prune.preview_screen"),
    ),
    "compensate": Command(
        "Make up for the layers that a finished run drops, without answers, and judge its plan again beside the plain one.",
        config="tapioca.commands.compensate.config:CompensateConfig",
        run="tapioca.commands.compensate.run:compensate",
        page="tapioca.commands.prune.page",
        arguments=("run",),
        kept=FINISHED_BATCHES,
    ),
    "compare": Command(
        "Choose plans by several criteria (TALE, SLEB, ShortGPT, ...) and judge them all on the same held-out data.",
        config="tapioca.commands.compare.config:CompareConfig",
        run="tapioca.commands.compare.run:compare",
        page="tapioca.commands.compare.page",
        result="tapioca.commands.compare.result:CompareResult",
        file="compare.json",
        kept=FINISHED_BATCHES,
    ),
    "diagnose": Command(
        "Say before any search, and without answers, whether inputs are shifted, and what searches came to on such shifts.",
        config="tapioca.commands.diagnose.config:DiagnoseConfig",
        run="tapioca.commands.diagnose.run:diagnose",
        page="tapioca.commands.diagnose.page",
        result="tapioca.commands.diagnose.result:DiagnoseResult",
        file="diagnose.json",
    ),
    "geometry": Command(
        "Measure the layerwise geometry of OOD data against ID data, before and after a plan; needs no answers.",
        config="tapioca.commands.geometry.config:GeometryConfig",
        run="tapioca.commands.geometry.run:measure_geometry",
        page="tapioca.commands.geometry.page",
        result="tapioca.commands.geometry.result:GeometryResult",
        file="geometry.json",
    ),
    "enumerate": Command(
        "Evaluate every plan of drops of a small model: the oracle, what greedy misses, realignment against gain.",
        config="tapioca.commands.enumerate.config:EnumerateConfig",
        run="tapioca.commands.enumerate.run:enumerate_plans",
        page="tapioca.commands.enumerate.page",
        result="tapioca.commands.enumerate.result:EnumerateResult",
        file="enumerate.json",
        kept=FINISHED_BATCHES,
    ),
    "scale": Command(
        "Scale the layers a plan drops, random ones and all: dose-response of score and geometry on held-out data.",
        config="tapioca.commands.scale.config:ScaleConfig",
        run="tapioca.commands.scale.run:scale",
        page="tapioca.commands.scale.page",
        result="tapioca.commands.scale.result:ScaleResult",
        file="scale.json",
        kept=FINISHED_BATCHES,
    ),
    "rescale": Command(
        "Give the residual stream the norms it has on ID inputs, nothing dropped and no answer used, and judge that held out.",
        config="tapioca.commands.rescale.config:RescaleConfig",
        run="tapioca.commands.rescale.run:rescale",
        page="tapioca.commands.rescale.page",
        result="tapioca.commands.rescale.result:RescaleResult",
        file="rescale.json",
        kept=FINISHED_BATCHES,
    ),
    "versus": Command(
        "Compare any two models on the same held-out rows: what B changes over A on OOD and ID data, with a verdict.",
        config="tapioca.commands.versus.config:VersusConfig",
        run="tapioca.commands.versus.run:versus",
        page="tapioca.commands.versus.page",
        result="tapioca.commands.versus.result:VersusResult",
        file="versus.json",
        arguments=("model", "other"),
        kept=FINISHED_BATCHES,
        dry_run=("tapioca.commands.versus.preview:preview_versus", "tapioca.commands.versus.preview_screen"),
    ),
    "heal": Command(
        "Train what the plan of a finished run leaves, by its search rows, and judge it on its test rows beside the full model.",
        config="tapioca.commands.heal.config:HealConfig",
        run="tapioca.commands.heal.run:heal",
        page="tapioca.commands.heal.page",
        result="tapioca.commands.heal.result:HealResult",
        file="heal.json",
        arguments=("run",),
        kept="the training's last checkpoint and every finished batch are stored",
    ),
    "study": Command(
        "Measure what a study asks for and judge its claims by the rules in its file; interrupted, the same command goes on.",
        config="tapioca.studies.spec:StudyConfig",
        run="tapioca.studies.run:run_study",
        page="tapioca.studies.page.page",
        result="tapioca.studies.results:StudyResult",
        file="study.json",
        arguments=("file",),
        kept="every finished measurement is stored",
        dry_run=("tapioca.studies.preview:preview_study", "tapioca.studies.page.preview"),
    ),
    "bench": Command(
        "Time a model beside itself under a plan, or beside another model: first token, writing, reading, memory.",
        config="tapioca.commands.bench.config:BenchConfig",
        run="tapioca.commands.bench.run:bench",
        page="tapioca.commands.bench.page",
        result="tapioca.commands.bench.result:BenchResult",
        file="bench.json",
        arguments=("model", "other"),
        kept="every size that is timed is stored",
        dry_run=("tapioca.commands.bench.preview:preview_bench", "tapioca.commands.bench.preview_screen"),
    ),
    "tasks": Command(
        "List the tasks that are ready by name, or show what one asks: prompt, tokens, and where scoring starts.",
        config="tapioca.commands.tasks.config:TasksConfig",
        run="tapioca.commands.tasks.run:show_tasks",
        page="tapioca.commands.tasks.page",
        arguments=("task",),
    ),
    "export": Command(
        "Write a run's plan as an ordinary checkpoint, checked against the live model before it is called done.",
        config="tapioca.commands.export.config:ExportConfig",
        run="tapioca.commands.export.run:export_run",
        page="tapioca.commands.export.page",
        arguments=("run",),
    ),
    "generate": Command(
        "Let a language model write under a plan, without writing weights.",
        config="tapioca.commands.generate.config:GenerateConfig",
        run="tapioca.commands.generate.run:prepare_writer",
        page="tapioca.commands.generate.page",
    ),
    "inspect": Command(
        "Say where a model's layers are and which can be dropped and exported, without loading its weights.",
        config="tapioca.commands.inspect.config:InspectConfig",
        run="tapioca.commands.inspect.run:inspect_model",
        page="tapioca.commands.inspect.page",
    ),
}

OLD_RECORDS = {"profile.json": "tapioca geometry", "space.json": "tapioca enumerate"}
"""Records under the names of commands that are called otherwise now."""


def load_config_class(command: Command) -> type[BaseConfig]:
    """The class of a command's request."""
    config: type[BaseConfig] = resolve_name(command.config)
    return config


def save_result(name: str, result: Any) -> None:
    """Write what a command found into its run folder: the record, and the page."""
    write_record(result, COMMANDS[name].file)
    resolve_name(COMMANDS[name].page).write_page(result)


def read_result(folder: Path) -> tuple[Any, Any]:
    """The record that a finished command left in a folder, and the module that draws, writes and prints it.

    Raises:
        StoreError: the folder holds none, or one this version cannot read.
    """
    for name, command_line in OLD_RECORDS.items():
        if (folder / name).is_file():
            raise StoreError(f"{folder / name} is of an older version; run `{command_line}` to measure it again")
    found = {
        name: command for name, command in COMMANDS.items() if command.file and os.path.lexists(folder / command.file)
    }
    name, command = next(iter(found.items()), ("prune", COMMANDS["prune"]))
    return read_record(resolve_name(command.result), folder, command.file, name), resolve_name(command.page)
