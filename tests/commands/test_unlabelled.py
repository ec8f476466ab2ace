"""Criteria that read no answer to OOD data, through `prune` and `compare`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.rows import choice_rows, write_lines

from tapioca.cli.main import main
from tapioca.commands import read_result
from tapioca.commands.compare.result import CompareResult
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.result import read_run
from tapioca.commands.prune.search import restrict_sizes, run_search
from tapioca.commands.prune.words import describe_blind_choice
from tapioca.evaluate.batch import BatchEvaluator
from tapioca.progress import SILENT
from tapioca.records import Example
from tapioca.search.criteria import UNLABELLED
from tapioca.search.path import SearchPath
from tapioca.session.context import RunInputs, load_inputs, open_run
from tapioca.tasks.regress import Regression

LAB = {"model": "learner", "task": "lab:context_noise=0.5,n=24", "reference": "lab:id,n=24"}
ON_NUMBERS = [name for name in UNLABELLED if name not in ("entropy", "margin", "proxy")]


def choice_data(folder: Path, model_folder: Path) -> dict[str, str]:
    rows = [row | {"group": row["id"]} for row in choice_rows(40)]
    files = [str(write_lines(folder / f"{name}.jsonl", part)) for name, part in (("ood", rows[:20]), ("id", rows[20:]))]
    return {"model": str(model_folder), "task": files[0], "reference": files[1]}


def shuffle_search_labels(inputs: RunInputs) -> RunInputs:
    """The same split with the right answers of others on the OOD search split."""
    task = inputs.search["ood"]
    order = np.random.default_rng(3).permutation(len(task.examples))

    def swap(example: Example, other: Example) -> Example:
        if isinstance(task, Regression):
            return replace(example, rows=(replace(example.rows[0], targets=other.rows[0].targets),))
        return replace(example, gold=other.gold, also=other.also, label=other.label, answer=other.answer)

    pairs = zip(task.examples, (task.examples[index] for index in order), strict=True)
    shuffled = task.select_examples([swap(*pair) for pair in pairs])
    return replace(inputs, search={**inputs.search, "ood": shuffled})


def search(out: Path, inputs: RunInputs, data: dict[str, str], criterion: str, max_drops: int) -> SearchPath:
    config = PruneConfig(**data, criterion=criterion, out=out, max_drops=max_drops, batch_size=20)
    with open_run(config, SILENT, inputs) as job:
        job.space = restrict_sizes(job)
        return run_search(job)


def check_shuffled(folder: Path, data: dict[str, str], criteria: list[str], max_drops: int = 2) -> None:
    inputs = load_inputs(PruneConfig(**data), SILENT)
    shuffled = shuffle_search_labels(inputs)
    assert shuffled.search["ood"].digest != inputs.search["ood"].digest
    for name in criteria:
        paths = [
            search(folder / f"{name}{number}", of, data, name, max_drops)
            for number, of in enumerate((inputs, shuffled))
        ]
        assert paths[0].path == paths[1].path, name
        assert paths[0].rounds == paths[1].rounds, name


def test_shuffled_search_labels_change_no_plan(tmp_path: Path, model_folder: Path) -> None:
    check_shuffled(tmp_path, choice_data(tmp_path, model_folder), ["margin"], max_drops=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "choice"])
def test_shuffled_search_labels_change_no_plan_of_any_criterion(kind: str, tmp_path: Path, model_folder: Path) -> None:
    data = LAB if kind == "numbers" else choice_data(tmp_path, model_folder)
    check_shuffled(tmp_path, data, ON_NUMBERS if kind == "numbers" else list(UNLABELLED))


def test_a_run_without_labels_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    argv = ["prune", "learner", "--task", LAB["task"], "--reference", LAB["reference"], "--batch-size", "20"]
    argv += ["--random-plans", "1", "--max-drops", "1", "--criterion", "agreement", "--out", str(out)]
    assert main(argv) == 0
    info = read_run(out)
    assert info.without_labels is not None
    assert (info.without_labels.guide, info.without_labels.margin) == ("agreement", 0.1)
    assert all(trial.log_likelihood is None and trial.change is not None for trial in info.rounds[0].trials)
    said = "chosen without OOD answers, from OOD inputs and ID inputs alone: plans had to stay within 0.1 of the full model's"
    assert describe_blind_choice(info).startswith(said)
    assert said in " ".join(capsys.readouterr().out.split())
    page = (out / "report.html").read_text()
    assert said.replace("'", "&#39;") in page or said in page
    assert "Each point is a plan scored by agreement, without answers to OOD data" in page


def test_a_search_without_labels_goes_on_where_it_was(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = choice_data(tmp_path, model_folder)
    inputs = load_inputs(PruneConfig(**data), SILENT)
    first = search(tmp_path / "run", inputs, data, "proxy", 1)
    monkeypatch.setattr(BatchEvaluator, "evaluate_batch", lambda self, plans, batch: iter([1 / 0] if plans else []))
    assert search(tmp_path / "run", inputs, data, "proxy", 1).path == first.path


@pytest.mark.parametrize(
    ("criterion", "more", "reason"),
    [
        ("geometry", [], "it holds plans against the full model on ID data, and there are none; give --reference"),
        ("agreement", [], "it holds plans against the full model on ID data, and there are none; give --reference"),
        ("margin", ["--reference", LAB["reference"]], "asks for numbers, which come without probabilities"),
    ],
)
def test_a_criterion_that_cannot_be_had_is_refused_in_one_line(
    criterion: str, more: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["prune", "learner", "--task", LAB["task"], "--criterion", criterion, "--out", str(tmp_path / "run"), *more]
    assert main(argv) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: --criterion {criterion} cannot be used: ")
    assert error.endswith(f"{reason}; choose another")


@pytest.mark.slow
def test_compare_says_who_chose_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "compared"
    argv = ["compare", "learner", "--task", LAB["task"], "--reference", LAB["reference"], "--batch-size", "20"]
    argv += [
        "--random-plans",
        "2",
        "--drops",
        "1",
        "--criteria",
        "tale,geometry-unit,linear,faithful",
        "--out",
        str(out),
    ]
    assert main(argv) == 0
    assert "Chosen without OOD labels: geometry-unit, linear, faithful." in " ".join(capsys.readouterr().out.split())
    info = read_result(out)[0]
    assert isinstance(info, CompareResult)
    reads = {searched.name: searched.reads for searched in info.searched}
    assert reads == {
        "tale": ("OOD labels",),
        "geometry-unit": ("OOD inputs", "ID inputs"),
        "linear": ("OOD inputs",),
        "faithful": ("ID inputs",),
    }
    forwards = {searched.name: searched.layer_forwards for searched in info.searched}
    assert forwards["linear"] == 8 * 12  # one pass over the search prompts
    assert forwards["geometry-unit"] == forwards["faithful"] == forwards["tale"]
    assert all(searched.plans_tried == 8 for searched in info.searched)
