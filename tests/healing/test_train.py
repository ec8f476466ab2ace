"""Training of students: what each step reads, adapters, and going on after a break."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError, NonFiniteError
from tapioca.healing.losses import LabelLoss
from tapioca.healing.train import Batches, TrainingSet, TrainSettings, train_student
from tapioca.models.load import load
from tapioca.progress import SILENT, NullProgress
from tapioca.session.data import read_task

SETTINGS = TrainSettings(steps=8, batch=4, learning_rate=1e-2, rank=2, seed=3)


def student() -> PreTrainedModel:
    return load("learner", dtype="float32").model


@pytest.fixture(scope="module")
def sets() -> list[TrainingSet]:
    tasks = [read_task(name, load("learner"), {}) for name in ("lab:context_noise=0.5,n=10", "lab:id,n=6")]
    return [TrainingSet(task.examples, LabelLoss(task)) for task in tasks]


def test_steps_take_the_data_sets_in_turn_and_every_example_once_an_epoch(sets: list[TrainingSet]) -> None:
    batches = Batches(sets, TrainSettings(steps=20, batch=4, learning_rate=1, rank=0, seed=0))
    steps = [batches[step] for step in range(len(batches))]
    assert [place for place, _ in steps] == [0, 1] * 10
    first = [index for place, indices in steps for index in indices if place == 0]
    assert sorted(first[:10]) == sorted(first[10:20]) == list(range(10))
    assert first[:10] != first[10:20]
    assert steps == [Batches(sets, batches.settings)[step] for step in range(20)]


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_training_that_broke_off_goes_on_to_the_same_weights(
    sets: list[TrainingSet], tmp_path: Path, rank: int
) -> None:
    settings = TrainSettings(steps=8, batch=4, learning_rate=1e-2, rank=rank, seed=3)
    whole, losses = train_student(student(), sets, settings, tmp_path / "whole", SILENT)
    assert len(losses) == 8

    class Break(NullProgress):
        done = 0

        def advance(self, steps: int) -> None:
            self.done += steps
            if self.done == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_student(student(), sets, settings, tmp_path / "parts", Break())
    (tmp_path / "parts" / "checkpoint-6").mkdir()  # killed while it was written
    again, more = train_student(student(), sets, settings, tmp_path / "parts", SILENT)
    assert more == losses
    for (name, one), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_adapters_are_merged_and_leave_what_is_not_linear_alone(sets: list[TrainingSet], tmp_path: Path) -> None:
    before = student().state_dict()
    trained, _ = train_student(student(), sets, SETTINGS, tmp_path, SILENT)
    after = trained.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith("proj.weight") or name == "read_in.weight"} | {
        "read_out.weight"
    }
    assert not trained.training


def test_a_loss_that_is_nan_is_refused(sets: list[TrainingSet], tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=r"the loss is nan at step 1; lower --learning-rate"):
        train_student(
            student(),
            [TrainingSet(sets[0].examples, lambda *_: torch.tensor(float("nan"), requires_grad=True))],
            SETTINGS,
            tmp_path,
            SILENT,
        )


def test_without_peft_all_weights_can_be_trained(
    sets: list[TrainingSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(
        ModelError, match=r"healing with adapters needs peft; pip install 'tapioca-prune\[heal\]', or --full"
    ):
        train_student(student(), sets, SETTINGS, tmp_path, SILENT)
