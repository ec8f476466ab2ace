"""Kinds of input: which file is damaged, how, and which command reads it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reliability import generate, mutate
from reliability.workspace import BENCH, MODEL, PLAN
from tapioca.commands import COMMANDS
from tapioca.commands.heal.job import read_training
from tapioca.diagnosis.fit import fit_file
from tapioca.studies.cell import Cell
from tapioca.studies.model_numbers import ModelNumbers
from tapioca.studies.read import read_study

Case = tuple[str | Callable[[], Any], ...]
"""A command line; or a function alone, of what no command reads by itself."""

BYTES = (mutate.damage_bytes,) * 4 + (mutate.damage_encoding, mutate.damage_place)
JSON = (mutate.damage_json,) * 8 + (generate.write_json, *BYTES)
YAML = (mutate.damage_yaml,) * 8 + (generate.write_yaml,) * 3 + BYTES


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: in the table.
        files: one of which is damaged, in a fresh workspace.
        damages: what may be done to it.
        read: makes the command line, or a function, that reads it.
        named: what a message may name in place of the file itself.
    """

    name: str
    files: tuple[str, ...]
    damages: tuple[mutate.Damage, ...]
    read: Callable[[random.Random], Case]
    named: tuple[str, ...] = ()


TASKS = ("--model", "tinylm")
DATA = ("--task", "data/rows.jsonl", "--reference", "data/id.jsonl")
WRITE = ("--prompt", "the cat", "--tokens", "2")


def _always(*arguments: str | Callable[[], Any]) -> Callable[[random.Random], Case]:
    return lambda rng: arguments


def _rows(name: str, *damages: mutate.Damage) -> Kind:
    read = _always("tasks", f"data/{name}", *TASKS)
    return Kind(f"rows, {name.partition('.')[2]}", (f"data/{name}",), (*damages, generate.write_rows, *BYTES), read)


def _record(name: str) -> Kind:
    return Kind(f"record, {name}", (f"runs/{name}/{COMMANDS[name].file}",), JSON, _always("report", f"runs/{name}"))


KINDS = (
    Kind("task YAML", ("data/task.yaml",), YAML, _always("tasks", "data/task.yaml", *TASKS), ("data/",)),
    Kind(
        "study YAML",
        ("data/quick.yaml", "data/claims.yaml"),
        YAML,
        _always(lambda: read_study(Path("data/quick.yaml"))),
    ),
    _rows("rows.jsonl", *(mutate.damage_json,) * 4),
    _rows("rows.json", *(mutate.damage_json,) * 4),
    _rows("rows.csv"),
    _rows("rows.tsv"),
    Kind(
        "rows, parquet",
        ("data/rows.parquet",),
        (generate.write_arrow,) * 8 + BYTES,
        _always("tasks", "data/rows.parquet", *TASKS),
    ),
    Kind(
        "rows, saved",
        ("data/saved/data-00000-of-00001.arrow", "data/saved/dataset_info.json", "data/saved/state.json"),
        BYTES,
        _always("tasks", "data/saved", *TASKS),
        ("data/saved",),
    ),
    Kind(
        "regression rows",
        ("data/numbers.jsonl",),
        (mutate.damage_json,) * 8 + BYTES,
        _always("tasks", "data/learner.yaml", "--model", "learner"),
    ),
    Kind(
        "template",
        (),
        (),
        lambda rng: (
            "tasks",
            "data/rows.jsonl",
            *TASKS,
            rng.choice(("--template", "--continuation")),
            generate.make_template(rng),
        ),
        ("data/rows.jsonl", "--template", "--continuation"),
    ),
    Kind(
        "chat template",
        ("tinylm/chat_template.jinja",),
        (lambda path, rng: path.write_text(generate.make_template(rng), errors="replace") and None,) * 8 + BYTES,
        _always("tasks", "data/rows.jsonl", *TASKS, "--chat"),
        ("tinylm",),
    ),
    Kind("config.json, inspected", ("tinylm/config.json",), JSON, _always("inspect", "tinylm")),
    Kind(
        "config.json, run",
        ("tinylm/config.json",),
        JSON,
        _always("generate", "tinylm", "--plan", PLAN, *WRITE),
        ("tinylm",),
    ),
    Kind(
        "config.json, pruned",
        ("tinylm/config.json",),
        JSON,
        _always("prune", *MODEL, *DATA, "--limit", "24", "--out", "new"),
        ("tinylm",),
    ),
    Kind(
        "generation_config.json",
        ("tinylm/generation_config.json",),
        JSON,
        _always("generate", "tinylm", "--plan", PLAN, *WRITE),
        ("tinylm",),
    ),
    Kind(
        "safetensors",
        ("tinylm/model.safetensors",),
        BYTES,
        _always("generate", "tinylm", "--plan", PLAN, *WRITE),
        ("tinylm",),
    ),
    Kind(
        "index of weights",
        ("tinyshards/model.safetensors.index.json",),
        JSON,
        _always("generate", "tinyshards", "--plan", PLAN, *WRITE),
        ("tinyshards",),
    ),
    Kind(
        "exported files",
        ("tinyshards/model.safetensors.index.json", "tinyshards/config.json", "tinyshards/generation_config.json"),
        JSON,
        _always("export", "tinyshards", "--plan", PLAN, "--to", "exported"),
        ("tinyshards",),
    ),
    Kind(
        "tokenizer",
        ("tinylm/tokenizer.json", "tinylm/tokenizer_config.json"),
        JSON,
        _always("tasks", "data/rows.jsonl", *TASKS),
        ("tinylm",),
    ),
    Kind(
        "adapter",
        ("tinylora/adapter_config.json", "tinylora/adapter_config.json", "tinylora/adapter_model.safetensors"),
        BYTES
        + (lambda path, rng: (mutate.damage_json if path.suffix == ".json" else mutate.damage_bytes)(path, rng),) * 8,
        _always("generate", "tinylm", "--adapter", "tinylora", "--plan", PLAN, *WRITE),
        ("tinylora",),
    ),
    Kind("plan.json", ("plans/plan.json",), JSON, _always("generate", "tinylm", "--plan", "plans/plan.json", *WRITE)),
    Kind(
        "arrays of a plan",
        ("plans/mapped.safetensors",),
        BYTES,
        _always("generate", "tinylm", "--plan", "plans/mapped.json", *WRITE),
    ),
    Kind(
        "manifest.json",
        ("runs/prune/manifest.json",),
        JSON,
        lambda rng: rng.choice(
            (
                ("prune", *MODEL, *DATA, "--out", "runs/prune"),
                ("scale", "tinylm", *DATA, "--score", "likelihood", "--plan", "runs/prune/plan.json", "--out", "new"),
            )
        ),
        ("runs/prune",),
    ),
    *(
        _record(name)
        for name in (
            "prune",
            "compare",
            "diagnose",
            "geometry",
            "enumerate",
            "scale",
            "rescale",
            "versus",
            "heal",
            "bench",
        )
    ),
    Kind(
        "timing of a size",
        ("runs/bench/timings/1x4.json",),
        JSON,
        _always("bench", "tinylm", "tinyshards", *BENCH, "--out", "runs/bench"),
    ),
    Kind(
        "run.sqlite",
        ("runs/prune/run.sqlite",),
        BYTES,
        _always("prune", *MODEL, *DATA, "--out", "runs/prune"),
        ("runs/prune",),
    ),
    Kind(
        "rows.json",
        ("runs/prune/rows.json",),
        JSON,
        lambda rng: rng.choice(
            (
                ("export", "runs/prune", "--plan", PLAN, "--to", "exported"),
                ("versus", "tinyshards", "tinylm", "--run", "runs/prune", "--out", "new"),
            )
        ),
        ("runs/prune", "data/"),
    ),
    Kind(
        "seen_rows.json",
        ("tinylm/seen_rows.json",),
        JSON,
        lambda rng: rng.choice(
            (
                ("export", "tinylm", "--plan", PLAN, "--to", "exported"),
                ("versus", "tinyshards", "tinylm", *DATA, "--out", "new"),
            )
        ),
    ),
    Kind(
        "similarity.json",
        ("runs/compare/similarity.json",),
        JSON,
        _always("compare", *MODEL, *DATA, "--drops", "1", "--criteria", "tale,shortgpt", "--out", "runs/compare"),
    ),
    Kind(
        "classifier",
        ("data/classifier.json",),
        JSON,
        _always("diagnose", "tinylm", *DATA, "--classifier", "data/classifier.json", "--out", "new"),
    ),
    Kind("cases", ("data/cases.json",), JSON, _always(lambda: fit_file(Path("data/cases.json")))),
    Kind(
        "training.json",
        ("tinytext/training.json",),
        JSON,
        _always("tasks", "held-out:tinytext", "--model", "tinytext"),
        ("tinytext", "data/rows.jsonl"),
    ),
    Kind(
        "training.pt",
        ("tinylab/training.pt",),
        BYTES,
        _always("lab", "train", "--out", "tinylab", "--layers", "3", "--width", "8", "--heads", "1", "--steps", "2"),
        ("tinylab",),
    ),
    Kind("learner's config", ("tinylab/config.json",), JSON, _always("inspect", "tinylab"), ("tinylab",)),
    Kind("training.json, healed", ("healed/training.json",), JSON, _always(lambda: read_training(Path("healed")))),
    Kind("cell of a study", ("cell.npz",), BYTES, _always(lambda: Cell.load(Path("cell.npz")))),
    Kind(
        "numbers of a studied model", ("numbers.npz",), BYTES, _always(lambda: ModelNumbers.load(Path("numbers.npz")))
    ),
)

VALUES = (
    *(
        "",
        " ",
        "-1",
        "0",
        "1",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 400,
        "9" * 5000,
        "0x10",
        "1_0",
        "٣",
        "a" * 300,
        "a/" * 3000,
    ),
    *(
        "/dev/null",
        "/dev/null/x",
        "/proc/self/mem",
        "/",
        ".",
        "..",
        "data",
        "data/rows.jsonl",
        "tinylm",
        "plans/plan.json",
        "runs/prune",
    ),
    *(
        "\udcff",
        "\ud800",
        "é",
        "\x1b[2J",
        "[/b]",
        "run[v2]",
        "a\nb",
        "a\x00b",
        "{{",
        "{",
        "[",
        "[]",
        PLAN,
        "hub:",
        "hub:x",
        "lab:",
    ),
    *(
        "lab:id",
        "lab:context_noise=",
        "lab:context_noise=nan",
        "lab:context_noise=1e308",
        "harness:",
        "held-out:",
        "held-out:tinylm",
    ),
    *(
        "true",
        "2024-02-30",
        "8GiB",
        "-8GiB",
        "1e30GB",
        "auto",
        "cpu",
        "cuda:99",
        "meta",
        "cuda:",
        "float8",
        "a=b",
        "=",
        "a=",
        "0:2:1e-9",
    ),
)
"""What may stand behind a flag."""


def make_arguments(rng: random.Random) -> Case:
    """A command line whose flags have values of any kind."""
    name = rng.choice([*COMMANDS, "report", "lab train", "lab tune", "lab train-text"])
    base: dict[str, tuple[str, ...]] = {
        "tasks": ("data/rows.jsonl", *TASKS),
        "inspect": ("tinylm",),
        "bench": ("tinylm", "tinyshards", *BENCH, "--out", "new"),
        "generate": ("tinylm", "--plan", PLAN, *WRITE),
        "export": ("tinylm", "--plan", PLAN, "--to", "exported"),
        "versus": ("tinyshards", "tinylm", *DATA, "--out", "new"),
        "report": ("runs/prune",),
        "study": ("data/quick.yaml",),
        "lab train": ("--out", "lab2", "--steps", "1", "--layers", "2", "--width", "8", "--heads", "1"),
        "lab tune": ("tinylab", "--task", "lab:id", "--out", "tuned", "--steps", "1"),
        "lab train-text": (
            "data/rows.jsonl",
            "--out",
            "text2",
            "--steps",
            "1",
            "--layers",
            "2",
            "--width",
            "8",
            "--heads",
            "1",
        ),
    }
    arguments = [
        *name.split(),
        *base.get(
            name,
            (*MODEL, *DATA, "--limit", "8", "--out", "new")
            if name in ("prune", "compare")
            else ("tinylm", *DATA, "--out", "new"),
        ),
    ]
    if name == "study":
        return (
            *arguments,
            rng.choice(("--workers", "--out", "--nothing")),
            rng.choice(("", "0", "-1", "x", "/dev/null", "a" * 300)),
        )
    for _ in range(rng.choice((1, 1, 2))):
        flag = rng.choice(list_flags(name))
        value = rng.choice(VALUES)
        if rng.random() < 0.2:
            arguments[rng.randrange(len(name.split()), len(arguments))] = value
        else:
            arguments += [flag, value]
    return tuple(arguments)


def list_flags(name: str) -> list[str]:
    """The flags of a command."""
    import typer
    from typer.main import get_command

    from tapioca.cli.main import app

    command: Any = get_command(app)
    context = typer.Context(command)
    for part in name.split():
        command = command.get_command(context, part)
    return [option for parameter in command.params for option in parameter.opts if option.startswith("--")]


ARGUMENTS = Kind("command line", (), (), make_arguments)
