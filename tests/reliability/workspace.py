"""Every file that the program reads, whole: what is damaged."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
from datasets import Dataset
from support.simulated_cells import World, cells, setting, study
from support.words import whole_tokenizer

from tapioca.cli.main import main
from tapioca.commands.heal.result import HealResult, OrderResult, OrderTrial, Training
from tapioca.commands.versus.result import VersusResult
from tapioca.diagnosis.classify import PACKAGED_CLASSIFIER
from tapioca.models.tiny import tiny
from tapioca.plan import HashedArray, Plan
from tapioca.profiles.evidence import NULL_TEST
from tapioca.records.results import RunHeader
from tapioca.runs.records import read_record, write_record
from tapioca.runs.rows import write_seen_rows
from tapioca.studies.analyse.cells import CellGrid
from tapioca.studies.analyse.collect import measure_numbers
from tapioca.studies.model_numbers import ModelNumbers

PLAN = '{"n_layers":4,"layers":{"2":0.0}}'
BENCH = ("--grid", "1x4", "--new-tokens", "2", "--max-rounds", "10")
MODEL = ("tinylm", "--score", "likelihood", "--random-plans", "2")

TASK = """\
data: rows.jsonl
kind: choice
template: "Question: {{ question }} Answer:"
continuation: " {{ choice }}"
answers: index
normalize: tokens
fields:
  answer: gold
note: small
skip_bad_rows: false
"""

CHAT = """\
{%- for message in messages -%}
{{ message['role'] }}: {{ message['content'] | trim }}.
{%- endfor -%}
{%- if add_generation_prompt %}then: {% endif -%}
"""

STUDIES = Path(__file__).parents[2] / "studies"


def make_rows(answers: tuple[str, str] = ("cat", "dog")) -> list[dict[str, object]]:
    """Questions with two choices each."""
    words = product(answers, ("sat", "ran", "on", "and"), ("big", "red", "then", "it"))
    return [
        {"question": f"the {word} {verb} {end}", "choices": ["yes", "no"], "gold": number % 2}
        for number, (word, verb, end) in enumerate(words)
    ]


def run_quietly(*arguments: str) -> tuple[int, str]:
    """Run a command line in this process; its exit code and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(list(arguments))
    return code, printed.getvalue()


def build_inputs(root: Path) -> None:
    """Models, data and studies alone."""
    _write_data(root / "data")
    for folder, size in (("tinylm", "1GB"), ("tinyshards", "100KB")):
        tiny("llama").save_pretrained(root / folder, max_shard_size=size)
        tokenizer = whole_tokenizer()
        tokenizer.chat_template = CHAT
        tokenizer.save_pretrained(root / folder)
    write_seen_rows(root / "tinylm", ["0123456789abcdef"])
    for name in ("quick.yaml", "claims.yaml"):
        shutil.copy(STUDIES / name, root / "data")
    (root / "plans").mkdir()
    (root / "plans/plan.json").write_text(PLAN)
    mapped = Plan.from_json(PLAN).replace_tables(maps={1: HashedArray.hold(0.9 * np.eye(32))})
    mapped.write(root / "plans/mapped.json")
    _write_adapter(root / "tinylora")
    _write_diagnosis(root / "data")
    _write_measured(root / "cell.npz", root / "numbers.npz")


def build_workspace(root: Path) -> None:
    """Models, data, studies and finished runs in the current folder, `root`."""
    build_inputs(root)
    tasks = ("--task", "data/rows.jsonl", "--reference", "data/id.jsonl")
    commands = {
        "prune": (*MODEL, *tasks),
        "compare": (*MODEL, *tasks, "--drops", "1", "--criteria", "tale,shortgpt"),
        "diagnose": ("tinylm", *tasks),
        "geometry": ("tinylm", *tasks, "--plan", "plans/plan.json"),
        "scale": ("tinylm", *tasks, "--score", "likelihood", "--plan", "plans/plan.json", "--scales", "0,0.5,1"),
        "rescale": ("tinylm", *tasks, "--score", "likelihood"),
        "versus": ("tinyshards", "tinylm", *tasks),
        "bench": ("tinylm", "tinyshards", *BENCH),
        "enumerate": ("tinylm", *tasks, "--score", "likelihood", "--max-drops", "1"),
    }
    for name, arguments in commands.items():
        _run(name, *arguments, "--out", f"runs/{name}")
    _write_healed(root)
    shape = ("--layers", "3", "--width", "8", "--heads", "1", "--steps", "2")
    _run("lab", "train", "--out", "tinylab", *shape)
    _run("lab", "train-text", "data/rows.jsonl", "--out", "tinytext", *shape)


def _write_healed(root: Path) -> None:
    """The record of a healed run, with numbers of a comparison, and how a checkpoint was trained."""
    compared = read_record(VersusResult, root / "runs/versus", "versus.json", "versus")
    training = Training(
        by="labels",
        rank=2,
        rows={"ood": 4},
        steps=2,
        batch=2,
        learning_rate=0.1,
        seed=0,
        losses=(0.5, 0.25),
        seconds=1.0,
    )
    comparisons = dict.fromkeys(("over_full", "over_plan", "plan_over_full"), compared.comparisons)
    header = {name: getattr(compared, name) for name in RunHeader.model_fields} | {"folder": root / "runs/heal"}
    healed = HealResult(
        **header,
        **comparisons,
        run="prune",
        plan=Plan.drop(4, [1]),
        training=training,
        checkpoint="healed",
        metric=compared.metric,
        models=(*compared.models, compared.models[1]),
        verdict=compared.verdict.model_copy(update={"action": "keep the full model"}),
        orders=(
            OrderResult(
                order="tune",
                trials=(OrderTrial(seed=0, plan=Plan.full(4), seconds=1.0, over_full=compared.comparisons),),
            ),
        ),
    )
    (root / "runs/heal").mkdir()
    write_record(healed, "heal.json")
    (root / "healed").mkdir()
    (root / "healed/training.json").write_text(training.model_dump_json())


def _run(*arguments: str) -> None:
    code, printed = run_quietly(*arguments)
    assert code == 0, f"{' '.join(arguments)}: {printed}"


def _write_data(folder: Path) -> None:
    folder.mkdir()
    rows = make_rows()
    table = [{"question": row["question"], "gold": ("yes", "no")[number % 2]} for number, row in enumerate(rows)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "id.jsonl").write_text("\n".join(map(json.dumps, make_rows(("mat", "rug")))))
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "numbers.jsonl").write_text(
        "\n".join(
            json.dumps({"x": [0.1 * n + k for k in range(8)], "y": [0.2 * k for k in range(8)]}) for n in range(20)
        )
    )
    dataset = Dataset.from_list(table)
    dataset.to_csv(folder / "rows.csv")
    dataset.to_csv(folder / "rows.tsv", sep="\t")
    dataset.to_parquet(folder / "rows.parquet")
    dataset.save_to_disk(folder / "saved")
    (folder / "task.yaml").write_text(TASK)
    (folder / "learner.yaml").write_text("data: numbers.jsonl\nkind: regression\n")


def _write_adapter(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model

    get_peft_model(tiny("llama"), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)


def _write_diagnosis(folder: Path) -> None:
    """A classifier, and cases to fit one on."""
    shutil.copy(PACKAGED_CLASSIFIER, folder / "classifier.json")
    case = {"setting": "s", "size": 10, "strength": 1.0, "n": 64, "gain": 0.1, "low": 0.05}
    case |= {"excess": dict.fromkeys(NULL_TEST, 0.5), "halves": [[0.4, -0.1], [0.6, 0.1]]}
    cases = [
        {
            **case,
            "model": f"m{number % 3}",
            "kind": f"{truth}{number % 2}",
            "truth": truth,
            "evidence": {"shift": 0.5, "slope": slope},
        }
        for number in range(6)
        for truth, slope in (("distorted", number), ("misaligned", -number))
    ]
    (folder / "cases.json").write_text(json.dumps(cases))


def _write_measured(cell_file: Path, numbers_file: Path) -> None:
    """A measured cell of a study, and the numbers of its model."""
    simulated_setting = setting(models=1, kinds=1, strengths=1)
    measured = cells(World(), simulated_setting)
    measured[0].save(cell_file)
    numbers = measure_numbers(CellGrid(study(simulated_setting), simulated_setting, measured))
    ModelNumbers.pack(numbers, measured[0].where, "asked").save(numbers_file)
