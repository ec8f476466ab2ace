"""The arms beside a plan of drops: each against what it is by hand, and left out with a reason where it cannot be had."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import arms
import numpy as np
import pytest
import torch
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.compare.arms import ARMS
from tapioca.commands.compare.config import CompareConfig
from tapioca.commands.compare.result import ArmResult, CompareResult
from tapioca.commands.compare.run import compare
from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.evaluate.output_scale import GRID, explain_no_scale
from tapioca.lab.tasks import load_lab_task
from tapioca.models.capture import capture_residual_stream
from tapioca.models.edit import apply
from tapioca.models.inputs import collate
from tapioca.models.load import PACKAGED, load
from tapioca.models.tiny import tiny
from tapioca.observe.compensation import fit_factors
from tapioca.observe.mlp_maps import fit_maps
from tapioca.observe.norms import measure_norm_profiles
from tapioca.plan import OutputSum, Plan
from tapioca.records import Example
from tapioca.stats import correct_holm
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.split import search_groups, split
from tapioca.tasks.text import Encoder

TASK, REFERENCE = "lab:context_noise=0.5,n=40", "lab:id,n=40"
SETTINGS = {"criteria": "tale", "drops": "2", "batch_size": 20, "random_plans": 4}


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    out = tmp_path_factory.mktemp("runs") / "run"
    return compare(CompareConfig(model="learner", task=TASK, reference=REFERENCE, arms=True, out=out, **SETTINGS))


@pytest.fixture(scope="module")
def splits() -> dict[str, tuple[Task, Task]]:
    tasks = {"ood": load_lab_task(TASK), "id": load_lab_task(REFERENCE)}
    groups = search_groups([task.examples for task in tasks.values()], 0.5, 0)
    return {domain: split(task, groups) for domain, task in tasks.items()}


def find_arm(info: CompareResult, name: str) -> ArmResult:
    (arm,) = (arm for arm in info.arms if arm.name == name)
    return arm


def test_every_arm_is_judged_as_plans_are(info: CompareResult, splits: dict[str, tuple[Task, Task]]) -> None:
    assert [arm.name for arm in info.arms] == list(ARMS)
    model, (_, test) = load(PACKAGED["learner"]).model, splits["ood"]
    full, *scores = evaluate(model, test, [Plan.full(8), *(arm.scored for arm in info.arms)], batch_size=20).values
    pairing = test.pairing(0)
    for arm, values in zip(info.arms, scores, strict=True):
        assert arm.ood == pairing.compare(full, values)
        assert arm.gain_beside == arm.ood.gain
        assert arm.beaten == sum(arm.ood.gain > gain for gain in info.random[2])
        if arm.name != "drop":
            assert arm.against == pairing.compare(scores[0], values)
    assert [arm.p_ood for arm in info.arms] == correct_holm([pairing.paired_p(full, values) for values in scores])
    p_against = correct_holm([pairing.paired_p(scores[0], values) for values in scores[1:]])
    assert [arm.p_against for arm in info.arms] == [None, *p_against]
    drop, pick = find_arm(info, "drop"), info.find_pick("tale", 2)
    assert pick is not None
    assert (drop.scored, drop.ood, drop.id, drop.flops) == (pick.plan, pick.ood, pick.id, pick.flops)


def test_what_each_arm_reads(info: CompareResult) -> None:
    labels, inputs = ("OOD labels",), ("ID inputs",)
    reads = {
        "drop": labels,
        "drop + factor": labels + inputs,
        "drop + map": labels + inputs,
        "rescale last": inputs,
        "rescale all": inputs,
        "repeat": labels,
        "output scale": labels,
        "mean of outputs": labels,
    }
    assert {arm.name: arm.reads for arm in info.arms} == reads


def test_outputs_are_scaled_by_least_squares(info: CompareResult, splits: dict[str, tuple[Task, Task]]) -> None:
    model, (search, _) = load(PACKAGED["learner"]).model, splits["ood"]
    predicted, right = [], []
    for example in search.examples:
        with torch.inference_mode(), apply(model, Plan.full(8)):
            logits = model(torch.tensor(example.rows[0].inputs)[None]).logits.float()
        predicted += search.extract(logits[:, -search.logits_to_keep(example.rows) :], example.rows)[0].tolist()
        right += example.rows[0].targets
    number = np.linalg.lstsq(np.array(predicted)[:, None], np.array(right), rcond=None)[0].item()
    arm = find_arm(info, "output scale")
    assert isinstance(arm.scored, OutputSum)
    ((plan, fitted),) = arm.scored.terms
    assert plan.is_full
    assert fitted == pytest.approx(number, rel=1e-4)
    assert 0.1 < fitted < 0.99  # it answers too far from 0 where the context is noise
    assert arm.flops == 1.0


def test_the_mean_takes_both_models(info: CompareResult) -> None:
    drop, arm = find_arm(info, "drop"), find_arm(info, "mean of outputs")
    assert arm.scored == OutputSum.mean(Plan.full(8), drop.scored)
    assert arm.flops == pytest.approx(1 + drop.flops)


def test_norms_are_those_of_id_search_inputs(info: CompareResult, splits: dict[str, tuple[Task, Task]]) -> None:
    model, (search, _) = load(PACKAGED["learner"]).model, splits["id"]
    norms = []
    for example in search.examples:
        states: list[torch.Tensor] = []
        capture_residual_stream(
            model, collate(model, [example.prompt]), lambda _, state, states=states: states.append(state)
        )
        norms.append(torch.linalg.vector_norm(torch.cat(states[:8]).double(), dim=-1).numpy())
    for name, expected in (("rescale last", [n[:, -1:] for n in norms]), ("rescale all", [n[:, 1:] for n in norms])):
        arm = find_arm(info, name)
        assert isinstance(arm.scored, Plan)
        assert arm.scored.norm_tokens == name.split()[1]
        assert list(dict(arm.scored.norms)) == list(range(8))
        means = np.concatenate(expected, axis=1).mean(1)
        assert list(dict(arm.scored.norms).values()) == pytest.approx(means, rel=1e-5)
        assert arm.flops == 1.0


def test_norms_leave_out_padding_and_first_tokens() -> None:
    model, examples = tiny("llama"), load_prompts((3, 7, 1, 5))
    profiles = measure_norm_profiles(model, examples, batch_size=4)
    alone = [measure_norm_profiles(model, [example], batch_size=1) for example in examples]
    assert profiles["last"] == pytest.approx(np.mean([one["last"] for one in alone], axis=0), rel=1e-5)
    counts = [2, 6, 1, 4]  # of one token that token
    assert profiles["all"] == pytest.approx(np.average([one["all"] for one in alone], axis=0, weights=counts), rel=1e-5)


def load_prompts(lengths: tuple[int, ...]) -> list[Example]:
    return [Example(id=str(n), group=str(n), rows=(), prompt=tuple(range(5, 5 + n))) for n in lengths]


def test_the_repeated_block_is_the_best_on_search_labels(
    info: CompareResult, splits: dict[str, tuple[Task, Task]]
) -> None:
    model, (search, _) = load(PACKAGED["learner"]).model, splits["ood"]
    blocks = [(first, first + length) for length in range(4) for first in range(8 - length)]
    plans = [Plan(n_layers=8, repeats=(block,)) for block in blocks]
    means = evaluate(model, search, plans, batch_size=20).values.mean(1)
    arm = find_arm(info, "repeat")
    assert arm.scored == plans[int(means.argmax())]
    assert arm.flops > 1


def test_factors_and_maps_stand_around_the_same_drops(
    info: CompareResult, splits: dict[str, tuple[Task, Task]]
) -> None:
    drop, factor = find_arm(info, "drop").scored, find_arm(info, "drop + factor").scored
    assert isinstance(drop, Plan)
    prompts = [example.prompt for example in splits["id"][0].examples]
    assert factor == fit_factors(load(PACKAGED["learner"]).model, drop, prompts, 20)
    assert factor != drop
    linear = find_arm(info, "drop + map").scored
    assert isinstance(linear, Plan)
    fitted = fit_maps(load(PACKAGED["learner"]).model, drop, prompts, 20)
    assert (linear.drops, [layer for layer, _ in linear.maps]) == (drop.drops, [layer for layer, _ in fitted.maps])
    for (_, held), (_, expected) in zip(linear.maps, fitted.maps, strict=True):
        assert held.array == pytest.approx(expected.array, rel=1e-3, abs=1e-3)


def test_the_record_the_page_and_the_screen(info: CompareResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert CompareResult(**json.loads((info.folder / "compare.json").read_text()), folder=info.folder) == info
    page = (info.folder / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "Blue: by inputs alone, without any answer." in page
    for arm in info.arms:
        assert f"{arm.name}: {arm.about}".replace("'", "&#39;") in page
    assert main(["report", str(info.folder)]) == 0
    out, _ = capsys.readouterr()
    assert "beside 2 drops" in out
    assert "p: paired t-test, corrected for 8 arms (Holm)" in out
    table = out[out.index("beside 2 drops") :].splitlines()
    assert [line.split("  ")[0] for line in table if line.startswith(tuple(ARMS))] == list(ARMS)


def test_the_table_of_the_study_says_what_each_arm_came_to(info: CompareResult, tmp_path: Path) -> None:
    case = arms.Case("lab", "context_noise=0.5", CompareConfig(model="learner", task=TASK, out=info.folder))
    assert arms.read_case(case) == info
    assert arms.read_case(case._replace(request=case.request.model_copy(update={"out": tmp_path}))) is None
    head, _, part, row, _, *summaries = (line.split(" | ") for line in arms.write_table([(case, info), (case, info)]))
    assert head == ["|", "plan", *ARMS, "random |"]
    assert part[0].startswith("| **lab**: OOD error ×")
    drop, mean = find_arm(info, "drop"), find_arm(info, "mean of outputs")
    assert row[:3] == ["| context_noise=0.5", str(drop.scored), info.metric.format_effect(drop.ood.gain, drop.ood.ci95)]
    assert mean.against is not None
    assert row[9].endswith(" +") == (mean.against.ci95[0] > 0)
    assert row[9].endswith(" −") == (mean.against.ci95[1] < 0)
    by_title = {line[0].strip("| *"): line[2:] for line in summaries}
    assert by_title["mean of 2"][0] == f"{1 - drop.ood.gain:.3g}"
    assert ("against drop, there" in by_title) == (drop.ood.ci95[0] > 0)
    assert by_title["operations left"][7] == f"{100 * mean.flops:.0f} %"


@pytest.mark.slow
def test_the_same_call_again_evaluates_nothing(info: CompareResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("tapioca.evaluate.batch.sweep", refuse)
    request = CompareConfig(model="learner", task=TASK, reference=REFERENCE, arms=True, out=info.folder, **SETTINGS)
    assert compare(request) == info


def compare_words(folder: Path, **options: object) -> CompareResult:
    task = write_lines(folder / "ood.jsonl", choice_rows(40))
    settings: dict = {"criteria": "tale", "drops": "1", "random_plans": 1, "arms": True, "out": folder / "run"}
    return tapioca.compare(tiny("llama"), word_tokenizer(), task=task, progress=False, **{**settings, **options})


def notes_of_arms(found: CompareResult) -> list[str]:
    return [note for note in found.notes if note.startswith("arm ")]


ORDER = "logits times a number keep the order of {}, so that no answer changes"
LABELS: dict = {"kind": "label", "label": ("yes", "no", "one", "two"), "template": "{{ context }}"}


def test_what_cannot_be_had_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapioca.session.preflight._FullModel.refuse_at_chance", lambda *_: None)
    found = compare_words(tmp_path, **LABELS)
    assert notes_of_arms(found)[-3:] == [
        "arm rescale last is left out: without --reference no ID norms are known",
        "arm rescale all is left out: without --reference no ID norms are known",
        f"arm output scale is left out: {ORDER.format('labels')}",
    ]
    assert find_arm(found, "mean of outputs").id is None
    if find_arm(found, "drop").scored == Plan.drop(4, [3]):
        assert notes_of_arms(found)[0] == "arm drop + factor is left out: no layer stands behind what 'drop 3' drops"
    else:
        assert find_arm(found, "drop + factor").reads == ("OOD labels", "OOD inputs")


@pytest.mark.slow
def test_likelihoods_have_a_temperature(tmp_path: Path) -> None:
    arm = find_arm(compare_words(tmp_path, score="likelihood", **LABELS), "output scale")
    assert isinstance(arm.scored, OutputSum)
    assert arm.scored.terms[0][1] == GRID[0]  # weights are random, so that a flat answer is the likeliest
    assert arm.ood.gain > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"labels": LABELS["label"], "kind": "label", "template": "{{ context }}"}, ORDER.format("labels")),
        (
            {"kind": "generate", "template": "{{ context }}", "max_new_tokens": 2},
            ORDER.format("tokens that are written"),
        ),
        ({"kind": "generate", "template": "{{ context }}", "max_new_tokens": 2, "score": "likelihood"}, ""),
        ({}, ""),
        ({"score": "likelihood"}, ""),
    ],
)
def test_whether_a_number_changes_answers(options: dict, reason: str, tmp_path: Path) -> None:
    task = load_task(str(write_lines(tmp_path / "ood.jsonl", choice_rows(8))), Encoder(word_tokenizer(), 128), options)
    assert explain_no_scale(task) == reason
    source: Any = SimpleNamespace(job=SimpleNamespace(search={"ood": task}))
    if task.max_new_tokens:
        with pytest.raises(UsageError, match="texts are written under one plan at a time, so there are no outputs to"):
            ARMS["mean of outputs"].make(source, Plan.drop(4, [1]))
    else:
        assert ARMS["mean of outputs"].make(source, Plan.drop(4, [1])).plans == (Plan.full(4), Plan.drop(4, [1]))


def test_a_criterion_that_drops_nothing_has_no_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = ["--task", "lab:target_offset=2,n=40", "--batch-size", "40", "--random-plans", "1"]
    code = main(["compare", "learner", *task, "--criteria", "repeat", "--drops", "1", "--arms", "--out", str(tmp_path)])
    _, err = capsys.readouterr()
    assert code == 2
    assert err.endswith("--arms stand beside plans of drops, and repeat drops nothing; name another criterion first\n")
