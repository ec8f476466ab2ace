"""What students learn from, beside the same numbers by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.rows import choice_rows, write_lines
from transformers import PreTrainedModel

from tapioca.checkpoints.cut import cut_checkpoint
from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.healing.answers import answer_by_teacher
from tapioca.healing.losses import LabelLoss, TeacherLoss, run_with_states
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.models.load import LoadedModel, load
from tapioca.plan import Plan
from tapioca.session.data import read_task
from tapioca.tasks.base import Task


@pytest.fixture(scope="module")
def loaded(model_folder: Path) -> LoadedModel:
    return load(model_folder, dtype="float32")


@pytest.fixture(scope="module")
def task(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Task:
    rows = write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", choice_rows(6))
    return read_task(str(rows), loaded, {})


def test_labels_are_learnt_as_the_task_scores_them(loaded: LoadedModel, task: Task) -> None:
    full = Plan.full(len(find_layers(loaded.model)))
    expected = evaluate(loaded.model, task, [full]).log_likelihoods.mean()
    assert LabelLoss(task)(loaded.model, task.examples).item() == pytest.approx(-expected, rel=1e-5)


def test_numbers_are_learnt_by_their_squared_error() -> None:
    learner = load("learner")
    task = read_task("lab:id,n=8", learner, {})
    expected = -evaluate(learner.model, task, [Plan.full(8)]).values.mean()
    assert LabelLoss(task)(learner.model, task.examples).item() == pytest.approx(expected, rel=1e-5)


def test_a_teacher_teaches_itself_nothing(loaded: LoadedModel, task: Task) -> None:
    layers = tuple(range(len(find_layers(loaded.model))))
    assert TeacherLoss(task, loaded.model, layers)(loaded.model, task.examples).item() == pytest.approx(0, abs=1e-6)


def test_the_teacher_is_compared_at_outputs_that_are_read_and_after_the_layers_that_were_kept(
    loaded: LoadedModel, task: Task, model_folder: Path, tmp_path: Path
) -> None:
    plan = Plan.drop(len(find_layers(loaded.model)), [1])
    student = cut(model_folder, tmp_path / "cut", plan, loaded.model)
    found = TeacherLoss(task, loaded.model, plan.order)(student, task.examples).item()
    rows = [row for example in task.examples for row in example.rows]
    divergences, distances = [], {layer: [0.0, 0.0] for layer in plan.order}
    for row in rows:
        batch = collate(loaded.model, [row.inputs])
        (wanted, wanted_states), (outputs, states) = (
            run_with_states(model, batch, len(row.targets), with_gradients=False) for model in (loaded.model, student)
        )
        p, q = (side[0].double().softmax(-1).numpy() for side in (wanted, outputs))
        divergences += (p * (np.log(p) - np.log(q))).sum(axis=-1).tolist()
        for place, layer in enumerate(plan.order):
            target, state = (side[:, 1:].double() for side in (wanted_states[layer], states[place]))
            distances[layer][0] += float((state - target).pow(2).sum())
            distances[layer][1] += float(target.pow(2).sum())
    expected = np.mean(divergences) + np.mean([top / bottom for top, bottom in distances.values()])
    assert found == pytest.approx(expected, rel=1e-4)
    assert found > 0.01


def test_numbers_are_compared_where_they_are_read() -> None:
    """At every second position from the last, and nowhere in padding."""
    teacher, student = (load("learner", dtype="float32").model for _ in range(2))
    with torch.no_grad():
        student.read_out.bias += 0.5
    task = read_task("lab:context_shorter=8,n=4", load("learner"), {})
    layers = tuple(range(8))
    assert TeacherLoss(task, teacher, layers)(student, task.examples).item() == pytest.approx(0.25, rel=1e-4)
    read = TeacherLoss(task, teacher, layers)._compare_outputs
    wanted, lengths = torch.zeros(2, 5, 1), [2, 3]
    outputs = torch.tensor([[9.0, 9, 1, 9, 2], [3, 9, 4, 9, 5]])[..., None]
    assert read(outputs, wanted, lengths).item() == pytest.approx((1 + 4 + 9 + 16 + 25) / 5)


def test_the_teacher_gets_no_gradients(loaded: LoadedModel, task: Task, model_folder: Path, tmp_path: Path) -> None:
    plan = Plan.drop(len(find_layers(loaded.model)), [1])
    student = cut(model_folder, tmp_path / "cut", plan, loaded.model)
    TeacherLoss(task, loaded.model, plan.order)(student, task.examples).backward()
    assert all(weight.grad is None for weight in loaded.model.parameters())
    assert all(weight.grad is not None for name, weight in student.named_parameters() if "layers" in name)


def test_the_teacher_chooses_in_place_of_the_right_answers(loaded: LoadedModel, task: Task) -> None:
    full = Plan.full(len(find_layers(loaded.model)))
    chosen = evaluate(loaded.model, task, [full]).predicted[0]
    answered = answer_by_teacher(loaded.model, task, 4)
    assert [example.gold for example in answered.examples] == chosen.tolist()
    assert evaluate(loaded.model, answered, [full]).values.mean() == 1.0
    learner = load("learner")
    with pytest.raises(
        UsageError, match=r"lab:id,n=4 has no answers that the full model could give; heal --by teacher"
    ):
        answer_by_teacher(learner.model, read_task("lab:id,n=4", learner, {}), 4)


def cut(source: Path, target: Path, plan: Plan, model: PreTrainedModel) -> PreTrainedModel:
    cut_checkpoint(source, target, plan, model)
    return load(target, dtype="float32").model
