"""Tuning a learner: what it is trained on, that it learns it, and that it can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tapioca.cli.main import main
from tapioca.errors import ModelError, StoreError, UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.config import TuneConfig
from tapioca.lab.functions import Polynomials
from tapioca.lab.tasks import draw_lab_batch, draw_lab_prompts, load_lab_task
from tapioca.lab.train import compute_squared_error, tune
from tapioca.models.learner import Learner, learner_config
from tapioca.models.load import load
from tapioca.plan import Plan

SHIFTED, ID = "lab:target_offset=3,points=8", "lab:id,points=8"
QUICK = {"batch": 16, "warmup": 2, "learning_rate": 1e-2}


@pytest.fixture
def learner(tmp_path: Path) -> str:
    """A learner of two layers that has learnt nothing yet."""
    torch.manual_seed(0)
    Learner(learner_config(layers=2, width=16, heads=2)).save_pretrained(tmp_path / "learner")
    return str(tmp_path / "learner")


def error(model: Learner, name: str) -> float:
    return -float(evaluate(model, load_lab_task(f"{name},n=200"), [Plan.full(2)]).values.mean())


def test_tuning_lowers_the_error_on_what_it_is_tuned_on(learner: str, tmp_path: Path) -> None:
    """A control tuned equally long on ID data does not follow."""
    before = load(learner).model
    assert error(before, SHIFTED) > 5
    tuned, control = (
        tune(TuneConfig(model=learner, task=name, out=tmp_path / str(at), steps=60, **QUICK))
        for at, name in enumerate((SHIFTED, ID))
    )
    assert error(tuned, SHIFTED) < 1 < 3 < error(control, SHIFTED)
    assert error(control, ID) < error(before, ID)
    assert error(control, ID) < error(tuned, ID)
    assert error(load(tmp_path / "0").model, SHIFTED) == error(tuned, SHIFTED)
    said = json.loads((tmp_path / "0" / "training.json").read_text())
    assert (said["config"]["model"], said["config"]["task"], said["config"]["steps"]) == (
        Path(learner).name,
        SHIFTED,
        60,
    )
    assert set(said["config"]) == {
        "batch", "learning_rate", "model", "model_hash", "seed", "steps", "task", "warmup"
    }  # fmt: skip


def test_an_interrupted_tuning_ends_the_same(learner: str, tmp_path: Path) -> None:
    asked = {"model": learner, "task": SHIFTED, "steps": 20, **QUICK}
    whole = tune(TuneConfig(out=tmp_path / "a", **asked))

    class Stop(Exception):
        pass

    def stop(done: int, loss: float) -> None:
        if done == 13:
            raise Stop

    config = TuneConfig(out=tmp_path / "b", **asked)
    with pytest.raises(Stop):
        tune(config, stop, checkpoint_every=5)
    seen: list[int] = []
    resumed = tune(config, lambda done, loss: seen.append(done), checkpoint_every=5)
    assert seen == list(range(11, 21))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])
    assert (tmp_path / "a" / "training.json").read_text() == (tmp_path / "b" / "training.json").read_text()


def test_another_tuning_in_the_folder_is_refused(learner: str, tmp_path: Path) -> None:
    asked = {"model": learner, "task": SHIFTED, "out": tmp_path / "out", "steps": 2, **QUICK}
    tune(TuneConfig(**asked))
    with pytest.raises(UsageError, match="holds a training with other settings; choose another folder"):
        tune(TuneConfig(**{**asked, "task": ID}))
    with pytest.raises(StoreError, match="holds something else than a training"):
        tune(TuneConfig(**{**asked, "out": Path(learner)}))
    Learner(learner_config(layers=2, width=16, heads=2)).save_pretrained(learner)
    with pytest.raises(UsageError, match="holds a training with other settings"):
        tune(TuneConfig(**asked))


def test_bad_input_is_one_line(learner: str, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for said, message in [
        ({"model": str(model_folder)}, "is a LlamaForCausalLM; expected an in-context learner, such as `learner`"),
        ({"model": str(tmp_path / "none")}, "no model"),
        ({"task": "lab:nope=1"}, "unknown shift 'nope'"),
        ({"task": "lab:higher_degree=10"}, "expected at most 9"),
        ({"task": "lab:id,n=100"}, "n and seed are those of a data set; a training draws its own"),
        ({"task": "lab:context_sorted=1,scored=3"}, "scored must be 1 or left out"),
        ({"task": "data.jsonl"}, "--task: a learner is tuned on lab:id or lab:SHIFT=STRENGTH, got 'data.jsonl'"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            tune(TuneConfig(**{"model": learner, "task": SHIFTED, "out": out, **said}))
        assert "\n" not in str(caught.value)
        assert not out.exists()
    with pytest.raises(ModelError, match="is a LlamaForCausalLM; expected an in-context learner, such as `learner`"):
        tune(TuneConfig(model=str(model_folder), task=SHIFTED, out=out))


def test_a_step_reads_fresh_prompts_of_the_distribution() -> None:
    """None of them stands in a data set of that name, another step, or another seed."""
    name = "lab:target_offset=2,noise=0.3"
    drawn = [draw_lab_batch(name, 500, seed, step) for seed in (0, 1) for step in (0, 1)]
    xs = [batch.prompts.x for batch in drawn] + [draw_lab_prompts(f"{name},n=500").prompts.x]
    assert len({float(x) for x in np.concatenate(xs).ravel()}) == 5 * 500 * 20
    again = draw_lab_batch(name, 500, 1, 0).prompts
    assert np.array_equal(again.x, drawn[2].prompts.x)
    assert np.array_equal(again.context_y, drawn[2].prompts.context_y)
    for batch in drawn:
        assert batch.prompts.targets.mean() == pytest.approx(2, abs=0.1)
        assert np.std(batch.prompts.context_y - batch.prompts.targets) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("name", "points", "scored"),
    [
        ("lab:id", 20, 20),
        ("lab:id,points=5", 5, 5),
        ("lab:id,scored=1", 20, 1),
        ("lab:rule_offset=1", 20, 20),
        ("lab:context_sorted=1", 20, 1),
        ("lab:context_longer=44", 64, 1),
        ("lab:context_shorter=17", 3, 1),
    ],
)
def test_what_is_learnt_of_a_prompt(name: str, points: int, scored: int) -> None:
    batch = draw_lab_batch(name, 3, 0, 0)
    assert batch.prompts.x.shape == (3, points)
    assert batch.scored == scored


def test_the_loss_is_that_of_the_scored_points() -> None:
    """By the task's own marking, prompt by prompt."""
    model = Learner(learner_config(layers=2, width=16, heads=2)).eval()
    named = draw_lab_prompts("lab:rule_offset=1,n=10,points=9,scored=3")
    marked = evaluate(model, load_lab_task("lab:rule_offset=1,n=10,points=9,scored=3"), [Plan.full(2)]).values
    assert compute_squared_error(model, named.prompts, named.scored).item() == pytest.approx(-marked.mean(), rel=1e-5)
    prompts = Polynomials(points=6).draw(4, np.random.default_rng(0))
    assert compute_squared_error(model, prompts, 6) != compute_squared_error(model, prompts, 5)


def test_from_the_command_line(learner: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--task", ID, "--steps", "2", "--batch", "4", "--warmup", "1", "--seed", "3"]
    assert main(["lab", "tune", learner, "--out", str(tmp_path / "m"), *asked]) == 0
    assert "wrote" in capsys.readouterr().out
    assert json.loads((tmp_path / "m" / "training.json").read_text())["config"]["seed"] == 3
    assert main(["lab", "tune", learner, "--out", str(tmp_path / "n"), "--task", "lab:nope=1"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
