"""What drops would change to first order, against finite differences of the layers' scales."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer
from transformers import PreTrainedModel

from tapioca.cli.main import main
from tapioca.evaluate import evaluate
from tapioca.evaluate.scale_effects import measure_drop_effects
from tapioca.lab.tasks import load_lab_task
from tapioca.models.learner import Learner, learner_config
from tapioca.models.tiny import tiny
from tapioca.plan import BRANCHES, GRAINS, Plan
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

KINDS = ("choice", "likelihood", "label", "perplexity", "generate", "regression")


def make_case(folder: Path, kind: str) -> tuple[PreTrainedModel, Task]:
    """A model and a task for it; examples of a window weigh as many as they have tokens."""
    if kind == "regression":
        torch.manual_seed(0)
        return Learner(learner_config(layers=4, width=16, heads=2)).eval(), load_lab_task("lab:context_noise=0.5,n=13")
    rows = choice_rows(13)
    options: dict = {"score": "likelihood"} if kind == "likelihood" else {}
    if kind == "perplexity":
        rows = [{"id": row["id"], "text": row["context"]} for row in rows]
    if kind == "label":
        options = {"labels": ("yes", "no", "one", "two"), "template": "{{ context }}", "kind": "label"}
    if kind == "generate":
        rows = [{"id": row["id"], "question": row["context"], "answer": row["choices"][0]} for row in rows]
        options = {"score": "likelihood", "kind": "generate", "max_new_tokens": 8}
    return tiny("llama"), load_task(
        str(write_lines(folder / f"{kind}.jsonl", rows)), Encoder(word_tokenizer(), 128), options
    )


@pytest.mark.parametrize("kind", KINDS)
def test_effects_are_the_slopes_of_the_gold_answers_likelihood(kind: str, tmp_path: Path) -> None:
    model, task = make_case(tmp_path, kind)
    wanted = {name: weight.requires_grad for name, weight in model.named_parameters()}
    effects = measure_drop_effects(model, task, batch_size=5)
    step = 0.02
    scales = [(grain, {layer: 1 + sign * step}) for grain in GRAINS for layer in range(4) for sign in (1, -1)]
    plans = [Plan(n_layers=4, **{grain: scale}) for grain, scale in scales]
    table = evaluate(model, task, plans, batch_size=5).log_likelihoods
    above, below = np.average(table, axis=1, weights=task.weights).reshape(3, 4, 2).transpose(2, 0, 1)
    assert list(effects) == list(GRAINS)
    for grain, slopes in zip(GRAINS, (below - above) / (2 * step), strict=True):
        assert effects[grain] == pytest.approx(slopes, rel=0.02, abs=5e-4), grain
    assert np.ptp(effects["layers"]) > 1e-3
    assert {name: weight.requires_grad for name, weight in model.named_parameters()} == wanted
    assert all(weight.grad is None for weight in model.parameters())


def test_the_model_is_what_it_was_and_batches_change_nothing(tmp_path: Path) -> None:
    model, task = make_case(tmp_path, "choice")
    before = evaluate(model, task, [Plan.full(4)], batch_size=5).log_likelihoods
    effects = measure_drop_effects(model, task, batch_size=5)
    for grain, by_layer in measure_drop_effects(model, task, batch_size=13).items():
        assert effects[grain] == pytest.approx(by_layer, rel=1e-3, abs=1e-6), grain
    assert (evaluate(model, task, [Plan.full(4)], batch_size=5).log_likelihoods == before).all()


def test_a_run_by_taylor_ranks_layers_by_their_effects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = [
        "prune",
        "learner",
        "--task",
        "lab:context_noise=0.2,n=40",
        "--batch-size",
        "20",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*request, "--criterion", "taylor", "--random-plans", "0", "--max-drops", "2"]) == 0
    assert "taylor: 3 plans on 20 search examples" in capsys.readouterr().out
    assert (tmp_path / "run" / "effects.json").is_file()


def test_branches_are_ranked_from_the_same_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = ["prune", "learner", "--task", "lab:context_noise=0.2,n=40", "--batch-size", "20", "--random-plans", "0"]
    out = tmp_path / "run"
    assert main([*request, "--criterion", "taylor-mixed", "--max-drops", "3", "--out", str(out)]) == 0
    assert "taylor-mixed: 4 plans on 20 search examples" in capsys.readouterr().out
    effects = json.loads((out / "effects.json").read_text())
    ranked = sorted((-effects[kind][layer], layer, kind) for layer in range(8) for kind in ("attention", "mlp"))
    winners = [
        Plan.model_validate(found["winner"]["plan"]) for found in json.loads((out / "run.json").read_text())["rounds"]
    ]
    for size, plan in enumerate(winners, 1):
        assert {(layer, kind) for _, layer, kind in ranked[:size]} == {
            (layer, kind) for kind in BRANCHES for layer in plan.dropped(kind)
        }


def test_what_has_no_gradients_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tapioca.tasks.regress.Regression.gold_log_likelihoods", Task.gold_log_likelihoods)
    request = ["learner", "--task", "lab:context_noise=0.2,n=40", "--batch-size", "20", "--random-plans", "0"]
    assert main(["prune", *request, "--criterion", "taylor", "--out", str(tmp_path / "run")]) == 2
    assert (
        "--criterion taylor cannot be used: no log-likelihood with gradients follows from the answers to "
        "lab:context_noise=0.2,n=40; choose another"
    ) in " ".join(capsys.readouterr().err.split())
    assert main(["prune", *request, "--shortlist", "3", "--out", str(tmp_path / "other")]) == 2
    assert (
        "--shortlist 3 cannot be used: no log-likelihood with gradients follows from the answers to "
        "lab:context_noise=0.2,n=40; leave it out"
    ) in " ".join(capsys.readouterr().err.split())


def test_a_shortlist_scores_fewer_plans_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = ["prune", "learner", "--task", "lab:context_noise=0.2,n=40", "--batch-size", "20", "--random-plans", "0"]
    assert main([*request, "--max-drops", "2", "--shortlist", "3", "--out", str(tmp_path / "run")]) == 0
    screen = " ".join(capsys.readouterr().out.split())
    assert "tale: 7 plans on 20 search examples" in screen
    assert (
        "each round scores the 3 drops that gradients, then the round before, rank first; it may miss its best"
        in screen
    )
    assert main([*request, "--criterion", "last", "--shortlist", "3", "--out", str(tmp_path / "other")]) == 2
    assert "--shortlist belongs to --criterion tale, got last; leave it out" in capsys.readouterr().err
