"""The stream's norms set to those of ID inputs: what is set, what that changes, and where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.rows import write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.commands.rescale.result import RescaleResult
from tapioca.errors import ExportError, UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.tasks import load_lab_task
from tapioca.models.capture import capture_residual_stream
from tapioca.models.inputs import collate
from tapioca.models.load import load
from tapioca.models.tiny import tiny
from tapioca.observe.sample import draw_sample
from tapioca.plan import Plan
from tapioca.tasks.split import search_groups, split

OPTIONS = {"reference": "lab:id,n=60", "batch_size": 30, "progress": False}
SHIFT = "lab:input_scale=1,n=60"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> RescaleResult:
    return tapioca.rescale("learner", task=SHIFT, out=tmp_path_factory.mktemp("runs") / "rescaled", **OPTIONS)


def test_norms_are_those_of_id_search_inputs(found: RescaleResult) -> None:
    ood, reference = load_lab_task(SHIFT), load_lab_task("lab:id,n=60")
    search, _ = split(reference, search_groups([ood.examples, reference.examples], 0.5, 0))
    model, norms = load("learner").model, dict[int, torch.Tensor]()
    batch = collate(model, [example.prompt for example in draw_sample(search.examples, 512, 0)])
    capture_residual_stream(model, batch, lambda layer, states: norms.update({layer: states.double().norm(dim=-1)}))
    last, every = (rescaling.plan for rescaling in found.rescalings)
    assert (last.norm_tokens, every.norm_tokens) == ("last", "all")
    for layer in range(8):
        assert dict(last.norms)[layer] == pytest.approx(float(norms[layer][:, -1].mean()), rel=1e-5)
        assert dict(every.norms)[layer] == pytest.approx(float(norms[layer][:, 1:].mean()), rel=1e-5)
    assert found.inputs == {"ood": 30, "id": 30}


def test_changes_are_measured_on_held_out_prompts(found: RescaleResult) -> None:
    ood, reference = load_lab_task(SHIFT), load_lab_task("lab:id,n=60")
    _, test = split(ood, search_groups([ood.examples, reference.examples], 0.5, 0))
    plans = [Plan.full(8), *(rescaling.plan for rescaling in found.rescalings)]
    scores = evaluate(load("learner").model, test, plans, batch_size=30).values
    for number, rescaling in enumerate(found.rescalings, 1):
        assert rescaling.gains["ood"].gain == pytest.approx(test.pairing(0).effect(scores[0], scores[number]))
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    assert "Nothing is dropped and no answer was used" in page
    assert "OOD norms at last tokens: " in page


def test_the_plans_are_for_live_use(found: RescaleResult, tmp_path: Path) -> None:
    plan = Plan.read(found.folder / "plan_all.json")
    assert plan == found.rescalings[1].plan
    with pytest.raises(
        ExportError, match="no weight carries a norm that is set: what it takes depends on what is read"
    ):
        tapioca.export("learner", tmp_path / "never", plan)
    assert not (tmp_path / "never").exists()


def test_the_same_command_goes_on(found: RescaleResult) -> None:
    again = tapioca.rescale("learner", task=SHIFT, out=found.folder, **OPTIONS)
    assert again == found


def test_texts_are_written_with_norms_at_all_tokens(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    words = sorted(tokenizer.get_vocab())[-20:]
    for shift, name in enumerate(("ood", "id")):
        rows = [
            {"question": f"{words[(i + shift) % 19]} {words[(i * 7 + shift) % 20]}", "answer": words[i % 3]}
            for i in range(16)
        ]
        write_lines(tmp_path / f"{name}.jsonl", rows)
        spec = f"data: {name}.jsonl\nkind: generate\nmax_new_tokens: 2\ntemplate: '{{{{ question }}}}'\n"
        (tmp_path / f"{name}.yaml").write_text(spec)
    options = {"batch_size": 4, "progress": False, "device": "cpu"}
    data = {"task": tmp_path / "ood.yaml", "reference": tmp_path / "id.yaml"}
    model = tiny("llama")
    with pytest.raises(
        UsageError, match="--tokens last: the model writes, and of a text that goes on each token is once"
    ):
        tapioca.rescale(model, tokenizer, tokens="last", out=tmp_path / "no", **data, **options)
    written = tapioca.rescale(model, tokenizer, out=tmp_path / "run", **data, **options)
    assert [rescaling.tokens for rescaling in written.rescalings] == ["all"]
    assert "norms are set at all tokens alone: of a text that is written each token is once the last" in written.notes
