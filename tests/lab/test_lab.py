"""The lab: tasks by name, the learner, and training that can be interrupted."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.config import TrainConfig
from tapioca.lab.tasks import draw_lab_prompts, load_lab_task
from tapioca.lab.train import train
from tapioca.models.load import PACKAGED, load
from tapioca.plan import Plan
from tapioca.tasks.regress import interleave

RNG = np.random.default_rng


def test_tasks_by_name() -> None:
    task = load_lab_task("lab:context_noise=0.5,n=30,points=9,degree=1")
    assert len(task.examples) == 30
    assert task.examples[0].rows[0].inputs.shape == (17, 2)
    assert len(task.examples[0].rows[0].targets) == 4
    assert load_lab_task("lab:context_noise=0.5,n=30,points=9,degree=1").digest == task.digest
    contents = [
        {e.content for e in load_lab_task(f"lab:{name},n=50").examples}
        for name in ("id", "target_offset=1", "target_offset=2")
    ]
    assert not contents[0] & contents[1]
    assert not contents[1] & contents[2]


def test_the_constant_answer() -> None:
    task = load_lab_task("lab:id,n=500")
    targets = np.concatenate([e.rows[0].targets for e in task.examples])
    assert task.baseline_score == pytest.approx(-np.mean((targets - targets.mean()) ** 2))
    assert -task.baseline_score == pytest.approx((1 + 1 / 3 + 1 / 5 + 1 / 7) / 3, rel=0.1)


NO_NAMES = {
    "lab:": "expected lab:id or lab:SHIFT=STRENGTH",
    "lab:target_offset": "expected lab:id or lab:SHIFT=STRENGTH",
    "lab:target_offset=x": "expected lab:id or lab:SHIFT=STRENGTH",
    "lab:id=1": "the ID data have no strength; write lab:id",
    "lab:id,m=3": "unknown option 'm'; expected n, degree, points, seed, least_degree, noise, scored",
    "lab:id,n=x": "with whole-number options",
    "lab:id,n=0": "expected n 1 to 1000000",
    "lab:id,points=65": "expected points 2 to 64",
    "lab:id,points=5": "the first 5 points are not scored; expected more points, or scored=1",
    "lab:id,degree=13": "expected degree 0 to 12",
    "lab:id,least_degree=4": "expected least_degree 0 to the degree, 3",
    "lab:id,noise=nan": "expected noise a finite number, at least 0",
    "lab:id,scored=20": "expected scored 1 to 19, the points that have a context",
    "lab:nope=1": "unknown shift 'nope'",
    "lab:context_sorted=1,scored=2": "keeps the answer of the query alone; scored must be 1 or left out",
    "lab:context_sorted=1.5": "the strength of context_sorted is a share; expected 0 to 1, got 1.5",
    "lab:context_longer=1.5": "a number of points; expected a whole number, got 1.5",
    "lab:context_longer=45": "context_longer=45 on 20 points is too long; expected at most 44",
    "lab:context_shorter=19": "context_shorter=19 leaves no context of 20 points; expected at most 18",
    "lab:higher_degree=9.5": "higher_degree=9.5 on degree 3 is above degree 12; expected at most 9",
}


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(NO_NAMES[name])) as caught:
        load_lab_task(name)
    assert "\n" not in str(caught.value)


BEFORE = {
    "lab:id,n=50": "665718f200f5c1f5",
    "lab:id,n=50,points=9,degree=1,seed=3": "542dbe8a612ec4b4",
    "lab:target_offset=3,n=50": "8dd14d7677eefc15",
    "lab:coefficient_scale=1,n=50": "510498e02d65bc1e",
    "lab:context_noise=0.2,n=50": "75cc663d0d449a4c",
    "lab:input_translation=0.5": "e5f636961480e4f9",
    "lab:input_scale=0.5,degree=5,n=50": "d345cd21623ee28c",
}
"""What each of the first names stood for when figures were first published under it."""


@pytest.mark.parametrize("name", BEFORE)
def test_names_mean_what_they_always_meant(name: str) -> None:
    """In float32, in which a model reads them: the last bit of a float64 is the processor's affair."""
    digest = hashlib.sha256()
    for example in load_lab_task(name).examples:
        digest.update(example.rows[0].inputs.tobytes())
        digest.update(np.array(example.rows[0].targets, dtype=np.float32).tobytes())
    assert digest.hexdigest()[:16] == BEFORE[name]


def test_a_training_step_reads_what_it_always_read() -> None:
    prompts = TrainConfig(out=Path("x")).functions.draw(64, RNG([0, 17]))
    arrays = (prompts.x, prompts.context_y, prompts.targets)
    digest = hashlib.sha256(b"".join(array.astype(np.float32).tobytes() for array in arrays))
    assert digest.hexdigest()[:16] == "a0a438670ae49c31"


def test_what_a_name_scores() -> None:
    """All points after the burn-in, or the query alone where the shift or the name says so."""
    for name, scored in (
        ("id", 15),
        ("id,scored=1", 1),
        ("id,points=4,scored=2", 2),
        ("rule_offset=1", 15),
        ("context_sorted=1", 1),
        ("context_shorter=17", 1),
        ("context_longer=44", 1),
    ):
        task, drawn = load_lab_task(f"lab:{name},n=3"), draw_lab_prompts(f"lab:{name},n=3")
        assert drawn.scored == scored
        for example, targets in zip(task.examples, drawn.prompts.targets, strict=True):
            assert example.rows[0].targets == tuple(targets[-scored:])
            assert len(example.rows[0].inputs) == 2 * drawn.prompts.x.shape[1] - 1


def test_ways_of_asking_share_no_prompts() -> None:
    names = ("id", "id,noise=0.1", "id,least_degree=1", "id,scored=1", "context_sorted=0", "context_sorted=0.5")
    inputs = [draw_lab_prompts(f"lab:{name},n=40").prompts.x for name in names]
    assert len({float(x) for x in np.concatenate(inputs).ravel()}) == len(names) * 40 * 20


def test_noise_and_mixtures_of_degrees() -> None:
    prompts = draw_lab_prompts("lab:target_offset=2,noise=0.3,n=500").prompts
    assert np.std(prompts.context_y - prompts.targets) == pytest.approx(0.3, rel=0.03)
    assert prompts.targets.mean() == pytest.approx(2, abs=0.1)
    mixed = draw_lab_prompts("lab:id,least_degree=1,degree=4,n=400").prompts
    degrees = [degree_of(x, y) for x, y in zip(mixed.x, mixed.targets, strict=True)]
    assert np.bincount(degrees, minlength=5) == pytest.approx([0, 100, 100, 100, 100], abs=30)


def degree_of(x: np.ndarray, y: np.ndarray) -> int:
    """The lowest degree that passes through all points."""
    return next(degree for degree in range(12) if np.ptp(y - np.polyval(np.polyfit(x, y, degree), x)) < 1e-9)


@pytest.mark.parametrize("name", ["context_shorter=17", "context_longer=44", "context_repeated=1", "rule_negated=0.5"])
def test_the_learner_answers_prompts_of_other_lengths(name: str) -> None:
    task = load_lab_task(f"lab:{name},n=20")
    assert np.isfinite(evaluate(load(PACKAGED["learner"]).model, task, [Plan.full(8)]).values).all()


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
    "first", [pytest.param("pass", marks=pytest.mark.slow), "from transformers import LlamaForCausalLM"]
)
def test_one_import_makes_the_learner_known_to_transformers(first: str) -> None:
    code = (
        f"{first}\n"
        "import tapioca.models.learner\n"
        "from transformers import AutoModel\n"
        f"model = AutoModel.from_pretrained({str(PACKAGED['learner'])!r})\n"
        "print(type(model).__name__, len(model.body.layers), sum(p.numel() for p in model.parameters()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Learner", "8", "390593"]


def test_the_packaged_learner_is_what_its_card_says() -> None:

    said = json.loads((PACKAGED["learner"] / "training.json").read_text())
    config = TrainConfig(out=Path("x"), **said["config"])
    assert (PACKAGED["learner"] / "model.safetensors").stat().st_size < 4_000_000
    assert f"{said['final_loss']:.4f}" in (PACKAGED["learner"] / "README.md").read_text()
    model = load(PACKAGED["learner"]).model
    prompts = config.functions.draw(256, RNG(123))
    with torch.inference_mode():
        predicted = model(torch.from_numpy(interleave(prompts.x, prompts.context_y))).logits[:, 0::2, 0].numpy()
    assert np.mean((predicted - prompts.targets) ** 2) == pytest.approx(said["final_loss"], rel=0.15)
    task = load_lab_task("lab:id,n=64")
    assert -evaluate(model, task, [Plan.full(8)]).values.mean() < 0.01 * -task.baseline_score


TINY = {"layers": 2, "width": 16, "heads": 2, "points": 8, "batch": 8, "warmup": 2}


def test_training_learns_and_an_interrupted_one_ends_the_same(tmp_path: Path) -> None:
    whole = train(TrainConfig(out=tmp_path / "a", steps=30, **TINY))
    losses = json.loads((tmp_path / "a" / "training.json").read_text())
    weights, config_file = (tmp_path / "a" / name for name in ("model.safetensors", "config.json"))
    assert weights.stat().st_mode == config_file.stat().st_mode  # whoever reads one reads both

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


def test_a_training_stopped_while_weights_change_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(TrainConfig(out=tmp_path / "a", steps=12, **TINY))
    n_updates = 0

    def stop_halfway(optimiser: torch.optim.Optimizer) -> None:
        nonlocal n_updates
        n_updates += 1
        if n_updates == 8:
            next(iter(optimiser.param_groups[0]["params"])).data.add_(1.0)  # the first weights are new, the others old
            raise KeyboardInterrupt
        torch.optim.AdamW.__base__.step(optimiser)  # type: ignore[union-attr]

    config = TrainConfig(out=tmp_path / "b", steps=12, **TINY)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", stop_halfway)
        with pytest.raises(KeyboardInterrupt):
            train(config, checkpoint_every=5)
    assert torch.load(config.out / "training.pt")["done"] == 5
    train(config)
    assert (config.out / "model.safetensors").read_bytes() == (tmp_path / "a" / "model.safetensors").read_bytes()


def test_a_training_begun_before_a_setting_existed_goes_on(tmp_path: Path) -> None:
    config = TrainConfig(out=tmp_path, steps=2, **TINY)
    train(config)
    saved = torch.load(tmp_path / "training.pt", weights_only=True)
    del saved["config"]["noise"], saved["config"]["least_degree"]
    torch.save(saved, tmp_path / "training.pt")
    steps: list[int] = []
    train(config, lambda done, loss: steps.append(done))
    assert steps == []
    with pytest.raises(UsageError, match="a training with other settings"):
        train(TrainConfig(out=tmp_path, steps=2, noise=0.1, **TINY))


def test_trainings_of_mixtures() -> None:
    functions = TrainConfig(out=Path("x"), degree=5, least_degree=1, noise=0.1).functions
    assert (functions.degree, functions.least_degree, functions.noise) == (5, 1, 0.1)
    with pytest.raises(UsageError, match="--least-degree 6 is above --degree 5"):
        TrainConfig(out=Path("x"), degree=5, least_degree=6)


def test_training_of_another_config_is_not_overwritten(tmp_path: Path) -> None:
    train(TrainConfig(out=tmp_path, steps=2, **TINY))
    with pytest.raises(UsageError, match="a training with other settings"):
        train(TrainConfig(out=tmp_path, steps=2, seed=1, **TINY))
