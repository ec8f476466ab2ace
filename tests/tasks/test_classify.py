"""Classification and regression heads: padded equals alone equals the model called by hand, for encoders and decoders."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer as decoder_tokenizer
from tokenizers import processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import tapioca
from tapioca.engine.sweep import Schedule
from tapioca.errors import DataError, ModelError
from tapioca.evaluate import check_task, evaluate
from tapioca.models.capture import capture_layer_outputs
from tapioca.models.edit import apply
from tapioca.models.inputs import classifier_labels
from tapioca.models.load import LoadedModel
from tapioca.models.load import load as load_model
from tapioca.models.tiny import draw_weights, tiny
from tapioca.observe import capture_states
from tapioca.plan import Plan
from tapioca.tasks.base import digest_rows
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

PLANS = [Plan.full(4), Plan.drop(4, [1])]
ENCODERS = ["bert", "distilbert", "modernbert", "roberta"]
DECODERS = ["gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"]
NAMES = ("bad", "middling", "good")


def headed(name: str, outputs: int = 3, **fields: Any) -> PreTrainedModel:
    """A small random model of a type with a classification head."""
    body = tiny(name)
    kind = type(body).__name__
    for end in ("ForMaskedLM", "ForCausalLM", "LMHeadModel"):
        kind = kind.replace(end, "ForSequenceClassification")
    names = dict(enumerate(NAMES)) if outputs == 3 else {0: "stars"}
    config = type(body.config).from_dict({**body.config.to_dict(), "id2label": names, "pad_token_id": 0, **fields})
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config)
    draw_weights(model)
    return model.eval()


def tokenizer_for(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer of words; for encoders with a token before and one behind every text, as BERT has them."""
    tokenizer = decoder_tokenizer()
    if name in ENCODERS:
        around = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        tokenizer.backend_tokenizer.post_processor = around
    return tokenizer


def rows(count: int, outputs: int = 3) -> list[dict]:
    label = [lambda at: NAMES[at % 3], lambda at: at / 4][outputs == 1]
    return [
        {"id": row["id"], "group": row["group"], "text": row["context"], "label": label(at)}
        for at, row in enumerate(choice_rows(count))
    ]


def load(folder: Path, model: PreTrainedModel, name: str, data: list[dict], **given: Any) -> Any:
    encoder = Encoder(tokenizer_for(name), 128, classifier_labels(model))
    return load_task(str(write_lines(folder / "task.jsonl", data)), encoder, given)


def by_hand(model: PreTrainedModel, name: str, text: str) -> torch.Tensor:
    """The outputs for one text, from what the tokenizer itself gives."""
    with torch.inference_mode():
        return model(**tokenizer_for(name)(text, return_tensors="pt", return_token_type_ids=name == "bert")).logits[0]


@pytest.mark.parametrize("outputs", [3, 1])
@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_padded_equals_alone_equals_by_hand(name: str, outputs: int, tmp_path: Path) -> None:
    model = headed(name, outputs)
    task = load(tmp_path, model, name, rows(13, outputs))
    check_task(model, task)
    padded, alone = (evaluate(model, task, PLANS, batch_size=size) for size in (5, 1))
    assert padded.values == pytest.approx(alone.values, abs=2e-5)
    for at, plan in enumerate(PLANS):
        for place, (row, example) in enumerate(zip(rows(13, outputs), task.examples, strict=True)):
            with apply(model, plan):
                logits = by_hand(model, name, row["text"])
            if outputs == 1:
                expected = -((float(logits[0]) - row["label"]) ** 2)
                assert padded.values[at, place] == pytest.approx(expected, rel=1e-4, abs=1e-4)
            else:
                assert example.answer == row["label"]
                assert padded.values[at, place] == (NAMES[int(logits.argmax())] == row["label"])
                likelihood = logits.log_softmax(-1)[NAMES.index(row["label"])]
                assert padded.log_likelihoods[at, place] == pytest.approx(float(likelihood), abs=2e-5)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_states_are_those_of_the_last_token_of_the_text(name: str, tmp_path: Path) -> None:
    model = headed(name)
    task = load(tmp_path, model, name, rows(9))
    found = capture_states(model, PLANS[1], task.examples, batch_size=9)
    for at, example in enumerate(task.examples):
        seen: list[torch.Tensor] = []
        with apply(model, PLANS[1]):
            ids = torch.tensor([example.prompt])
            batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            capture_layer_outputs(model, batch, lambda place, output, seen=seen: seen.append(output[0, -1]))
        assert found[:, at] == pytest.approx(torch.stack(seen).numpy(), abs=2e-5)


def test_likelihood_and_chance(tmp_path: Path) -> None:
    model = headed("bert")
    task = load(tmp_path, model, "bert", rows(6), score="likelihood")
    found = evaluate(model, task, PLANS[:1])
    assert np.array_equal(found.values, found.log_likelihoods)
    assert task.chance == pytest.approx(np.full(6, 1 / 3))
    assert task.companion is not None
    right = evaluate(model, load(tmp_path, model, "bert", rows(6)), PLANS[:1])
    assert np.array_equal(evaluate(model, task.companion, PLANS[:1]).values, right.values)
    assert load(tmp_path, headed("bert", 1), "bert", rows(6, 1)).baseline_score == pytest.approx(
        -np.var([at / 4 for at in range(6)])
    )


@pytest.mark.parametrize(("label", "gold"), [("good", 2), (2, 2), ("2", 2), (0, 0)])
def test_labels_by_name_or_index(tmp_path: Path, label: Any, gold: int) -> None:
    example = load(tmp_path, headed("bert"), "bert", [{"text": "the cat", "label": label}]).examples[0]
    assert (example.gold, example.answer, example.rows[0].inputs) == (gold, NAMES[gold], (1, 3, 5, 2))


@pytest.mark.parametrize(
    ("row", "outputs", "message"),
    [
        ({"text": "the", "label": "Good"}, 3, r"task.jsonl:1: label 'Good' is none of the model's 3 labels \(bad, middling, good\); expected a name or an index from 0"),
        ({"text": "the", "label": 3}, 3, "label 3 is none of"),
        ({"text": "the", "label": -1}, 3, "label -1 is none of"),
        ({"text": "the", "label": True}, 3, "label True is none of"),
        ({"text": "the", "label": None}, 3, "label None is none of"),
        ({"text": "the", "label": "high"}, 1, r"label 'high' is no number; the model's head gives one number"),
        ({"text": "the", "label": True}, 1, "label True is no number"),
        ({"text": None, "label": 1}, 3, "it would print None"),
        ({"text": "the " * 200, "label": 1}, 3, "202 tokens, but the model reads at most 128"),
    ],
)  # fmt: skip
def test_rows_that_cannot_work(tmp_path: Path, row: dict, outputs: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, headed("bert", outputs), "bert", [row])
    assert "\n" not in str(caught.value)


def pairs(count: int) -> list[dict]:
    """Pairs of texts of different lengths."""
    texts = [row["text"] for row in rows(count + 5)]
    return [
        {"premise": texts[at], "hypothesis": texts[at + 5], "label": NAMES[at % 3], "id": str(at)}
        for at in range(count)
    ]


NLI = {"text": "premise", "text_pair": "hypothesis"}


def pair_logits(model: PreTrainedModel, name: str, row: dict, segments: bool) -> torch.Tensor:
    """The outputs for one pair, from what the tokenizer itself gives, with or without the segments."""
    encoded = tokenizer_for(name)(
        row["premise"], row["hypothesis"], return_tensors="pt", return_token_type_ids=segments
    )
    with torch.inference_mode():
        return model(**encoded).logits[0].log_softmax(-1)


@pytest.mark.parametrize("way", ["single", "stacked"])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "llama"])
def test_pairs_of_texts_equal_the_model_called_by_hand(name: str, way: Any, tmp_path: Path) -> None:
    model, data = headed(name, type_vocab_size=2) if name == "roberta" else headed(name), pairs(7)
    segments = name in ("bert", "roberta")
    task = load(tmp_path, model, name, data, kind="classify", fields=NLI)
    check_task(model, task)
    asked = [Plan.full(4), Plan.drop(4, [1]), Plan.drop(4, [2])]
    found = evaluate(model, task, asked, batch_size=5, schedule=Schedule(way=way))
    for place, plan in enumerate(asked):
        with apply(model, plan):
            expected = [pair_logits(model, name, row, segments)[NAMES.index(row["label"])] for row in data]
        assert found.log_likelihoods[place] == pytest.approx([float(value) for value in expected], abs=2e-5)


def test_without_segments_a_pair_is_another_question(tmp_path: Path) -> None:
    model, data = headed("bert"), pairs(7)
    task = load(tmp_path, model, "bert", data, kind="classify", fields=NLI)
    likelihoods = evaluate(model, task, PLANS, batch_size=5).log_likelihoods[0]
    without = [float(pair_logits(model, "bert", row, False)[NAMES.index(row["label"])]) for row in data]
    assert np.abs(likelihoods - without).min() > 1e-4
    first = task.examples[0]
    bare = replace(first.rows[0], inputs=tuple(first.prompt))
    assert digest_rows([bare]) != digest_rows(first.rows)
    assert copy.deepcopy(first.prompt).segments == first.prompt.segments == first.rows[0].inputs.segments


def test_states_of_pairs_are_those_with_segments(tmp_path: Path) -> None:
    model, data = headed("bert"), pairs(6)
    task = load(tmp_path, model, "bert", data, kind="classify", fields=NLI)
    found = capture_states(model, Plan.full(4), task.examples, batch_size=6)
    for at, row in enumerate(data):
        encoded = tokenizer_for("bert")(
            row["premise"], row["hypothesis"], return_tensors="pt", return_token_type_ids=True
        )
        with torch.inference_mode():
            hidden = model(**encoded, output_hidden_states=True).hidden_states
        assert found[:, at] == pytest.approx(torch.stack(hidden[1:])[:, 0, -1].numpy(), abs=2e-5)


def test_a_pair_in_some_rows_is_one_in_all(tmp_path: Path) -> None:
    data = [{"text": "the cat", "label": "good"}, {"text": "the cat", "text_pair": "a dog", "label": "bad"}]
    with pytest.raises(DataError, match=r"task\.jsonl:1: no field 'text_pair'; the row has: text, label"):
        load(tmp_path, headed("bert"), "bert", data)


@pytest.mark.parametrize("second", ["", None, 3, ["the"]])
def test_a_pair_needs_two_texts(second: Any, tmp_path: Path) -> None:
    row = {"text": "the cat", "text_pair": second, "label": "good"}
    with pytest.raises(DataError, match=r"task\.jsonl:1: field 'text_pair' must be some text, got "):
        load(tmp_path, headed("bert"), "bert", [row])


def test_a_model_of_one_segment_reads_none(tmp_path: Path) -> None:
    model, data = headed("roberta", type_vocab_size=1), pairs(3)
    task = load(tmp_path, model, "roberta", data, kind="classify", fields=NLI)
    expected = [float(pair_logits(model, "roberta", row, False)[NAMES.index(row["label"])]) for row in data]
    assert evaluate(model, task, PLANS).log_likelihoods[0] == pytest.approx(expected, abs=2e-5)


def test_a_label_that_is_a_name_and_another_index(tmp_path: Path) -> None:
    model = headed("bert")
    model.config.id2label = {0: "1", 1: "0", 2: "2"}
    assert load(tmp_path, model, "bert", [{"text": "the", "label": "1"}]).examples[0].gold == 0
    with pytest.raises(DataError, match="label 1 may be a name or an index; write it as text to mean the name"):
        load(tmp_path, model, "bert", [{"text": "the", "label": 1}])


def test_models_and_tasks_that_do_not_fit(tmp_path: Path) -> None:
    model, plain = headed("llama"), tiny("llama")
    task = load(tmp_path, model, "llama", rows(4))
    with pytest.raises(DataError, match="no task for this llama model, which has no classification head"):
        check_task(plain, task)
    with pytest.raises(
        DataError, match=r"needs a model with a classification head .* use kind: label for a language model"
    ):
        load(tmp_path, plain, "llama", rows(4), kind="classify")
    assert load(tmp_path, plain, "llama", rows(4), kind="perplexity").metric.name == "loss per token (nats)"
    choices = load_task(str(write_lines(tmp_path / "c.jsonl", choice_rows(4))), Encoder(decoder_tokenizer(), 128), {})
    with pytest.raises(DataError, match="which ends in a classification head; use kind: classify"):
        check_task(model, choices)
    with pytest.raises(ModelError, match="this head gives several labels at once"):
        check_task(headed("bert", problem_type="multi_label_classification"), task)


def test_without_a_padding_token_the_way_out_is_said(tmp_path: Path) -> None:
    model = headed("gpt2")
    task = load(tmp_path, model, "gpt2", rows(4))
    model.config.pad_token_id = None
    with pytest.raises(ModelError, match=r"has no pad_token_id, .* set pad_token_id in its config"):
        evaluate(model, task, PLANS)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_checkpoint_with_its_head_from_file_to_export(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    headed(name).save_pretrained(folder)
    tokenizer_for(name).save_pretrained(folder)
    loaded: LoadedModel = load_model(folder)
    assert classifier_labels(loaded.model) == NAMES
    write_lines(tmp_path / "task.jsonl", rows(48))
    write_lines(
        tmp_path / "id.jsonl",
        [{**row, "id": f"i{at}", "group": f"h{at}", "text": f"{row['text']} it"} for at, row in enumerate(rows(48))],
    )
    info = tapioca.prune(
        folder, task=tmp_path / "task.jsonl", reference=tmp_path / "id.jsonl", score="likelihood", out=tmp_path / "run",
        progress=False, max_drops=1, random_plans=2,
    )  # fmt: skip
    assert "read as a classify task, by its fields label, text" in " ".join(info.notes)
    assert info.canary is None
    assert {judged.data: judged.companion and judged.companion.metric.name for judged in info.judgements if judged.plan == info.shown} == {
        "ood": "accuracy", "id": "accuracy",
    }  # fmt: skip
    assert "ccuracy of drop " in (info.folder / "report.html").read_text()
    assert len(info.profiles) == 4
    done = tapioca.export(folder, tmp_path / "pruned", Plan.drop(4, [1]))
    assert done.difference == 0
    assert classifier_labels(load_model(tmp_path / "pruned").model) == NAMES
