"""What `tapioca diagnose` is fitted on: models on many shifts, their states without labels, and what labels say of a search.

    python studies/diagnosis.py measure runs/diagnosis     # an hour on two cores; goes on where it stopped
    python studies/diagnosis.py describe runs/diagnosis    # 20 minutes: cases.json
    python studies/diagnosis.py fit runs/diagnosis         # seconds: classifier.json

The last file ships as `src/tapioca/data/diagnosis.json`. The intents need `runs/intents` (studies/intents.py); what a model or file is missing of is left out
and said.

Labels decide a shift's truth by every plan of at most three drops: *distorted* where greedy's plan, found on the search rows, gains
on the test rows (lower 95 % bound above 0), *misaligned* where no plan can reach the margin there (an upper bound for all at
once), else undecided; and a deviation is above its null at the largest number of examples, else it is in distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import track

from tapioca.commands.diagnose.page import explain_cross_validation, tabulate_bands, tabulate_left_out, tabulate_unseen
from tapioca.diagnosis.fit import fit_file
from tapioca.diagnosis.records import Case, Shift
from tapioca.disk import make_folder, replace_atomically, write_text
from tapioca.errors import TapiocaError
from tapioca.evaluate import evaluate
from tapioca.models.find import find_layers
from tapioca.models.load import PACKAGED, LoadedModel, load
from tapioca.observe import capture_last_and_mean_states, draw_sample
from tapioca.plan import Plan
from tapioca.profiles.evidence import EVIDENCE, READS, MeasuredEvidence, measure_evidence
from tapioca.records import Metric
from tapioca.report.tables import print_block, print_line
from tapioca.search.base import SearchSpace
from tapioca.search.population import list_all_plans
from tapioca.session.data import read_task
from tapioca.session.search_space import find_droppable_layers
from tapioca.stats import bootstrap_counts, percentile_interval
from tapioca.studies.analyse.labels import simultaneous_upper_bound
from tapioca.studies.analyse.log_ratios import PlanSet
from tapioca.tasks.base import Task

ROOT = Path(__file__).parent
MAX_DROPS = 3
SIZES = (32, 64, 128, 256, 512)
"""Examples of each set: `tapioca diagnose` reads as many of 64, 128, 256, 512 and 2,048 rows of each data set."""
MAX_DRAWS = 4
"""Disjoint samples of one size, as far as the largest holds them."""
ID_DRAWN, OOD_DRAWN = 4096, 2432
"""Prompts drawn of every data set of the lab."""
SEARCH, TEST = 128, 256
"""Examples of a data set that are searched and tested on, its last ones; the first are observed."""
MARGINS = {"error": -float(np.log(1 - 0.02)), "accuracy": 0.01}
"""What is held to be nothing, as in claims.yaml: a log ratio of errors, a difference of accuracies."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class Setting:
    """Models of one sort, their ID task, and the ways in which data drift from it.

    Attributes:
        models: folders or names, and the seed of each one's prompts.
        id: the ID task; `{model}` stands for the folder.
        shifts: tasks by kind and strength.
        options: of all tasks.
    """

    name: str
    models: dict[str, int]
    id: str
    shifts: dict[tuple[str, float], str]
    options: dict[str, str] = field(default_factory=dict)
    batch_size: int = 64


LAB_STRENGTHS: dict[str, tuple[float, float]] = {
    "context_noise": (0.2, 0.5),
    "context_outliers": (0.1, 0.5),
    "context_heteroscedastic": (0.5, 2),
    "context_missing": (0.25, 0.75),
    "context_scrambled": (0.5, 1),
    "context_jittered": (0.2, 0.5),
    "context_sorted": (0.5, 1),
    "context_repeated": (0.5, 0.9),
    "context_duplicated": (0.5, 1),
    "context_longer": (8, 32),
    "context_shorter": (8, 15),
    "context_narrowed": (0.5, 0.9),
    "input_translation": (1, 2),
    "input_scale": (1, 2),
    "target_offset": (2, 3),
    "coefficient_scale": (2, 3),
    "coefficient_tails": (0.35, 0.5),
    "function_turned": (0.5, 1),
    "functions_interleaved": (0.5, 1),
    "chebyshev": (0.5, 1),
    "input_displacement": (1, 2),
    "input_narrowing": (0.5, 0.9),
    "input_widening": (0.5, 1),
    "input_reweighting": (4, 8),
    "higher_degree": (2, 5),
    "sines": (0.5, 1),
    "absolutes": (0.5, 1),
    "steps": (0.5, 1),
    "splines": (0.5, 1),
    "mixture": (0.25, 0.75),
}
LAB_PAIR = {"learner": 7000, f"{ROOT}/weights/learner_40_1": 7010}
LAB_MORE = {
    f"{ROOT}/weights/learner_24_0": 7001,
    f"{ROOT}/weights/learner_64_2": 7002,
}
LIKELIHOOD = {"score": "likelihood"}
MOVIES = ("first_12", "first_6", "two_of_three", "one_of_two", "reversed", "framed")
DRIFTS = (
    "fillers_0.5",
    "order_3",
    "punctuation_1",
    "speech_0.3",
    "speech_1",
    "truncation_0.3",
    "typing_0.05",
    "typing_0.1",
)
DRIFTS += ("typing_0.2", "words_0.3")
STORIES = ROOT.parent.parent / "shared/data/cloze"
INTENTS = ROOT.parent / "runs/intents"


def lab_setting(models: dict[str, int], strengths: slice) -> Setting:
    """Learners on every shift of the lab, at some of its strengths."""
    shifts = {
        (kind, strength): f"lab:{kind}={strength}"
        for kind, pair in LAB_STRENGTHS.items()
        for strength in pair[strengths]
    }
    return Setting("lab", models, "lab:id", shifts, batch_size=256)


SETTINGS = (
    lab_setting(LAB_PAIR, slice(2)),
    lab_setting(LAB_MORE, slice(1, 2)),
    *(
        Setting(
            f"scan_{split}",
            {f"{ROOT}/weights/scan_{split}_{seed}": 0 for seed in seeds},
            "held-out:{model}",
            {(split, 1): f"{ROOT}/tasks/scan_{split}_test.yaml"},
            LIKELIHOOD,
        )
        for split, seeds in {"length": (0, 1, 2), "jump": (0, 1)}.items()
    ),
    Setting(
        "words",
        {f"{ROOT}/weights/movie_sentences": 0},
        f"{ROOT}/tasks/movie_sentences_whole.yaml",
        {(kind, 1): f"{ROOT}/tasks/movie_sentences_{kind}.yaml" for kind in MOVIES},
        LIKELIHOOD,
    ),
    Setting(
        "polarity",
        {f"{ROOT}/weights/movie_sentences": 0},
        f"{ROOT}/tasks/movie_sentences_test.yaml",
        {("topic", 1): f"{ROOT}/tasks/product_sentences.yaml", ("length", 1): f"{ROOT}/tasks/movie_reviews.yaml"},
        LIKELIHOOD,
    ),
    Setting(
        "intents",
        {f"{INTENTS}/model": 0},
        f"{INTENTS}/id.jsonl",
        {(name.split("_")[0], float(name.split("_")[1])): f"{INTENTS}/{name}.jsonl" for name in DRIFTS},
    ),
    Setting(
        "stories",
        {f"{ROOT.parent.parent}/shared/models/stories260K": 0},
        f"{STORIES}/tinystories.jsonl",
        {
            ("typos", 10): f"{STORIES}/tinystories_typos10.jsonl",
            ("typos", 20): f"{STORIES}/tinystories_typos20.jsonl",
            ("shuffled", 1): f"{STORIES}/tinystories_shuffled.jsonl",
            ("lower_case", 1): f"{STORIES}/tinystories_lower.jsonl",
        },
        LIKELIHOOD,
    ),
)

app = typer.Typer(add_completion=False)


@app.command()
def measure(out: Path) -> None:
    """Keep the states and scores of every model on every shift, a file each; what is there already is left as it is."""
    make_folder(out)
    console = Console(stderr=True)
    torch.set_num_threads(1)
    for setting in SETTINGS:
        for model_name, seed in setting.models.items():
            try:
                loaded = load(PACKAGED.get(model_name, model_name))
                names = {("id", 0.0): setting.id.format(model=model_name), **setting.shifts}
                for (kind, strength), task_name in track(
                    names.items(), f"{setting.name}, {model_name}", console=console
                ):
                    path = cell_path(out, setting, model_name, kind, strength)
                    if not path.exists():
                        task = read_cell_task(task_name, loaded, setting, seed)
                        arrays = measure_cell(loaded, task, setting.batch_size, is_id=kind == "id")
                        with replace_atomically(path) as temporary, temporary.open("wb") as file:
                            np.savez(file, **arrays)
            except TapiocaError as error:
                console.print(f"left out: {error}", markup=False)


def cell_path(out: Path, setting: Setting, model_name: str, kind: str, strength: float) -> Path:
    """Where the arrays of one model on one task are kept."""
    return out / f"{setting.name}--{Path(model_name).name}--{kind}={strength:g}.npz"


def read_cell_task(task_name: str, loaded: LoadedModel, setting: Setting, seed: int) -> Task:
    """A task, its rows in random order, at most one of a group."""
    if task_name.startswith("lab:"):
        drawn = ID_DRAWN if task_name == "lab:id" else OOD_DRAWN
        return read_task(f"{task_name},n={drawn},seed={seed}", loaded, {})
    task = read_task(task_name, loaded, setting.options)
    sampled = draw_sample(task.examples, len(task.examples), seed)
    order = np.random.default_rng(seed).permutation(len(sampled))
    return replace(task, examples=tuple(sampled[index] for index in order))


def measure_cell(loaded: LoadedModel, task: Task, batch_size: int, is_id: bool) -> dict[str, np.ndarray]:
    """States of the first examples under the full model, by what is read; of a shift also every plan's scores of the last ones."""
    model, n_layers = loaded.model, len(find_layers(loaded.model))
    observed = task.examples[: (2 if is_id else 1) * max(SIZES)]
    states = capture_last_and_mean_states(model, Plan.full(n_layers), observed, batch_size)
    arrays = {read: read_states.astype(np.float16) for read, read_states in states.items()}
    if is_id:
        return arrays
    space = SearchSpace.of_layers(n_layers, find_droppable_layers(model), MAX_DROPS)
    plans = [Plan.full(n_layers), *(plan for size in space.sizes for plan in list_all_plans(space, size))]
    scored = replace(task, examples=task.examples[-(SEARCH + TEST) :])
    scores = evaluate(model, scored, plans, batch_size=batch_size).values
    return arrays | {
        "scores": scores,
        "drops": np.array([[layer in plan.drops for layer in range(n_layers)] for plan in plans]),
        "is_accuracy": np.array(task.metric.kind == "accuracy"),
        "parameters": np.array(model.num_parameters()),
    }


@app.command()
def describe(out: Path) -> None:
    """Say what every measured shift is, without labels and by them."""
    cases = [case for setting in SETTINGS for case in list_cases(out, setting)]
    write_text(out / "cases.json", TypeAdapter(list[Case]).dump_json(cases).decode())


@app.command()
def fit(out: Path) -> None:
    """Fit a classifier on these cases, and judge it on what was left out."""
    classifier = fit_file(out / "cases.json")
    write_text(out / "classifier.json", classifier.model_dump_json())
    console = Console()
    print_block(console, tabulate_left_out(classifier.cross_validation))
    print_block(console, tabulate_bands(classifier.bands))
    print_block(console, tabulate_unseen(classifier.unseen))
    for line in explain_cross_validation(classifier.cross_validation):
        print_line(console, f"· {line}.")


def list_cases(out: Path, setting: Setting) -> Iterator[Case]:
    """Every measured shift of a setting's models, at every number of examples."""
    for model_name in setting.models:
        id_path = cell_path(out, setting, model_name, "id", 0)
        if not id_path.exists():
            continue
        id_states = np.load(id_path)
        pool = {read: id_states[read] for read in READS}
        for kind, strength in track(
            setting.shifts, f"{setting.name}, {Path(model_name).name}", console=Console(stderr=True)
        ):
            path = cell_path(out, setting, model_name, kind, strength)
            if path.exists():
                cell = dict(np.load(path))
                name = {"setting": setting.name, "model": Path(model_name).name, "kind": kind, "strength": strength}
                yield from make_cases(name, cell, pool)


def make_cases(name: dict[str, Any], cell: dict[str, np.ndarray], pool: dict[str, np.ndarray]) -> list[Case]:
    """One shift at every number of examples that it has; its truth is that of the most."""
    samples = list(measure_samples(cell, pool))
    is_shifted = samples[-1][1].is_shifted
    truth, gain, low = find_truth(cell)
    return [
        Case(
            **name,
            size=int(cell["parameters"]),
            n=n,
            excess=evidence.excess,
            evidence=dict(zip(EVIDENCE, np.round(evidence.values, 5).tolist(), strict=True)),
            halves=np.round(evidence.halves, 4).tolist(),
            truth=truth if is_shifted else "in distribution",
            gain=gain,
            low=low,
            metric="accuracy" if cell["is_accuracy"] else "error",
        )
        for n, evidence in samples
    ]


def measure_samples(cell: dict[str, np.ndarray], pool: dict[str, np.ndarray]) -> Iterator[tuple[int, MeasuredEvidence]]:
    """Evidence of disjoint samples of every size, the smallest first."""
    most = min(cell["last"].shape[1], pool["last"].shape[1] // 2)
    for n in (size for size in SIZES if size <= most):
        for draw in range(min(MAX_DRAWS, most // n)):
            ood, first, second = (
                {read: states[read][:, n * place : n * (place + 1)] for read in READS}
                for states, place in ((cell, draw), (pool, 2 * draw), (pool, 2 * draw + 1))
            )
            yield n, measure_evidence(ood, first, second, seed=draw)


def find_truth(cell: dict[str, np.ndarray]) -> tuple[Shift | None, float, float]:
    """What labels say of a shift that deviates, and the held-out gain of greedy's plan with its lower 95 % bound."""
    kind: Literal["accuracy", "error"] = "accuracy" if cell["is_accuracy"] else "error"
    gains = resample_gains(cell["scores"][:, SEARCH:], kind)
    plans = PlanSet(~cell["drops"])
    search = plans.run_greedy(cell["scores"][:, :SEARCH].mean(axis=1), Metric(name=kind, kind=kind))
    best = plans.index_by_plan[search.best.plan]
    low, _ = percentile_interval(gains[1:, best])
    truth: Shift | None = "misaligned" if simultaneous_upper_bound(gains[:, 1:]) < MARGINS[kind] else None
    gain = gains[0, best]
    if kind == "error":
        gain, low = -np.expm1(-gain), -np.expm1(-low)  # the share of the error that is gone
    return "distorted" if low > 0 else truth, float(gain), float(low)


def resample_gains(scores: np.ndarray, kind: Literal["accuracy", "error"]) -> np.ndarray:
    """Gains of every plan over the full model, the first, in the units of `MARGINS`, (1 + draw, plan)."""
    counts = bootstrap_counts(scores.shape[1], RESAMPLES, np.random.default_rng(0))
    means = counts @ scores.T / scores.shape[1]
    return means - means[:, :1] if kind == "accuracy" else np.log(-means[:, :1]) - np.log(-means)


if __name__ == "__main__":
    app()
