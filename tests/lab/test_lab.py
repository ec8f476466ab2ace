"""The lab: functions, shifts, the learner, and training that can be interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.config import TrainConfig
from tapioca.lab.functions import Distribution, Polynomials
from tapioca.lab.shifts import KINDS, shift
from tapioca.lab.tasks import load_lab
from tapioca.lab.train import train
from tapioca.models.load import PACKAGED, load
from tapioca.records import Plan
from tapioca.tasks.regress import interleave

RNG = np.random.default_rng


def test_polynomials_have_their_degree_and_their_laws() -> None:
    prompts = Polynomials(degree=2, points=8).draw(4000, RNG(0))
    assert prompts.x.shape == prompts.seen.shape == (4000, 8)
    for x, y in zip(prompts.x[:20], prompts.targets[:20], strict=True):
        assert np.polyval(np.polyfit(x, y, 2), x) == pytest.approx(y, abs=1e-8)
    assert scipy_stats.kstest(prompts.x.ravel(), "uniform", (-1, 2)).pvalue > 0.001
    constants = np.array(
        [np.polyfit(x, y, 2)[2] for x, y in zip(prompts.x[:1000], prompts.targets[:1000], strict=True)]
    )
    assert scipy_stats.kstest(constants, "uniform", (-1, 2)).pvalue > 0.001


def test_distributions() -> None:
    assert Distribution(kind="normal", a=3, b=0.5).draw(RNG(0), (5000,)).mean() == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_strength_zero_is_no_shift(kind: str) -> None:
    prompts = Polynomials().draw(10, RNG(0))
    shifted = shift(prompts, kind, 0.0, RNG(1))
    for name in ("x", "seen", "targets"):
        assert np.array_equal(getattr(shifted, name), getattr(prompts, name))


@pytest.mark.parametrize("kind", KINDS)
def test_answer_preserving_shifts_leave_the_answers_alone(kind: str) -> None:
    """Two-sample Kolmogorov-Smirnov test on the targets of independent draws."""
    plain, other = Polynomials().draw(4000, RNG(0)), shift(Polynomials().draw(4000, RNG(1)), kind, 1.0, RNG(2))
    same = scipy_stats.ks_2samp(plain.targets[:, -1], other.targets[:, -1]).pvalue
    assert (same > 0.001) == KINDS[kind].preserves_answers
    assert (
        not np.array_equal(other.x, Polynomials().draw(4000, RNG(1)).x)
        or not np.array_equal(other.seen, other.targets)
        or same < 0.001
    )


def test_what_each_shift_does() -> None:
    prompts = Polynomials().draw(3, RNG(0))
    assert shift(prompts, "target_offset", 2, RNG(0)).seen == pytest.approx(prompts.seen + 2)
    assert shift(prompts, "coefficient_scale", 4, RNG(0)).targets == pytest.approx(5 * prompts.targets)
    noisy = shift(prompts, "context_noise", 0.3, RNG(0))
    assert np.array_equal(noisy.targets, prompts.targets)
    assert np.std(noisy.seen - prompts.seen) == pytest.approx(0.3, rel=0.3)
    assert shift(prompts, "input_translation", 1, RNG(0)).x == pytest.approx(prompts.x + 1)
    assert shift(prompts, "input_scale", 1, RNG(0)).x == pytest.approx(2 * prompts.x)


def test_unknown_shifts_and_strengths() -> None:
    prompts = Polynomials().draw(3, RNG(0))
    with pytest.raises(UsageError, match="did you mean 'target_offset'"):
        shift(prompts, "target_ofset", 1, RNG(0))
    for strength in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="finite number >= 0"):
            shift(prompts, "target_offset", strength, RNG(0))


def test_tasks_by_name() -> None:
    task = load_lab("lab:context_noise=0.5,n=30,points=9,degree=1")
    assert len(task.examples) == 30
    assert task.examples[0].rows[0].inputs.shape == (17, 2)
    assert len(task.examples[0].rows[0].targets) == 4
    assert load_lab("lab:context_noise=0.5,n=30,points=9,degree=1").digest == task.digest
    contents = [
        {e.content for e in load_lab(f"lab:{name},n=50").examples}
        for name in ("id", "target_offset=1", "target_offset=2")
    ]
    assert not contents[0] & contents[1]
    assert not contents[1] & contents[2]


def test_the_constant_answer() -> None:
    task = load_lab("lab:id,n=500")
    targets = np.concatenate([e.rows[0].targets for e in task.examples])
    assert task.constant == pytest.approx(-np.mean((targets - targets.mean()) ** 2))
    assert -task.constant == pytest.approx((1 + 1 / 3 + 1 / 5 + 1 / 7) / 3, rel=0.1)


@pytest.mark.parametrize(
    "name", ["lab:", "lab:target_offset", "lab:target_offset=x", "lab:id,m=3", "lab:id,n=x", "lab:id,n=0", "lab:nope=1"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError):
        load_lab(name)


def test_tokens() -> None:
    values = interleave(np.array([[0.1, 0.2, 0.3]]), np.array([[1.0, 2.0, 9.0]]))
    assert values.dtype == np.float32
    assert values[0].tolist() == [
        [pytest.approx(0.1), 0],
        [1, 1],
        [pytest.approx(0.2), 0],
        [2, 1],
        [pytest.approx(0.3), 0],
    ]


@pytest.mark.parametrize(
    "first",
    [
        "pass",
        "from transformers import LlamaForCausalLM",
        "from transformers import BertForMaskedLM",
        "import transformers.modeling_layers",
        "from transformers import Trainer, pipeline",
    ],
)
def test_the_learner_loads_after_import_tapioca_whatever_comes_first(first: str) -> None:
    code = (
        "import tapioca, sys; assert 'torch' not in sys.modules\n"
        f"{first}\n"
        "from transformers import AutoModel\n"
        f"model = AutoModel.from_pretrained({str(PACKAGED['learner'])!r})\n"
        "print(type(model).__name__, len(model.body.layers), sum(p.numel() for p in model.parameters()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Learner", "8", "390593"]


def test_the_learner_loads_where_transformers_came_before_tapioca() -> None:
    code = (
        "from transformers import AutoModel, LlamaModel; import tapioca; "
        f"print(type(AutoModel.from_pretrained({str(PACKAGED['learner'])!r})).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Learner"]


def test_the_packaged_learner_is_what_its_card_says() -> None:

    said = json.loads((PACKAGED["learner"] / "training.json").read_text())
    config = TrainConfig(out=Path("x"), **said["config"])
    assert (PACKAGED["learner"] / "model.safetensors").stat().st_size < 4_000_000
    assert f"{said['final_loss']:.4f}" in (PACKAGED["learner"] / "README.md").read_text()
    model = load(PACKAGED["learner"]).model
    prompts = config.functions.draw(256, RNG(123))
    with torch.inference_mode():
        predicted = model(torch.from_numpy(interleave(prompts.x, prompts.seen))).logits[:, 0::2, 0].numpy()
    assert np.mean((predicted - prompts.targets) ** 2) == pytest.approx(said["final_loss"], rel=0.15)
    task = load_lab("lab:id,n=64")
    assert -evaluate(model, task, [Plan.full(8)]).values.mean() < 0.01 * -task.constant


TINY = {"layers": 2, "width": 16, "heads": 2, "points": 8, "batch": 8, "warmup": 2}


def test_training_learns_and_an_interrupted_one_ends_the_same(tmp_path: Path) -> None:
    whole = train(TrainConfig(out=tmp_path / "a", steps=30, **TINY))
    losses = json.loads((tmp_path / "a" / "training.json").read_text())

    class Stop(Exception):
        pass

    def stop(done: int, loss: float) -> None:
        if done == 17:
            raise Stop

    config = TrainConfig(out=tmp_path / "b", steps=30, **TINY)
    with pytest.raises(Stop):
        train(config, stop, checkpoint_every=5)
    seen: list[int] = []
    resumed = train(config, lambda done, loss: seen.append(done), checkpoint_every=5)
    assert seen[0] == 16
    assert json.loads((tmp_path / "b" / "training.json").read_text()) == losses
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_training_of_another_config_is_not_overwritten(tmp_path: Path) -> None:
    train(TrainConfig(out=tmp_path, steps=2, **TINY))
    with pytest.raises(UsageError, match="a training with other settings"):
        train(TrainConfig(out=tmp_path, steps=2, seed=1, **TINY))
