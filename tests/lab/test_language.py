"""Small language models: what they are trained on, that training can be interrupted, and that they answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.rows import write_lines
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from tapioca.errors import DataError, UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.config import TextConfig
from tapioca.lab.corpus import TrainingText, load_held_out, read_corpus
from tapioca.lab.tokenizer import EOS_ID, OpenVocabulary, make_word_tokenizer
from tapioca.lab.train_text import measure_losses, train_text
from tapioca.models.load import PACKAGED, load
from tapioca.plan import Plan
from tapioca.session.data import read_task
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

ROOT = Path(__file__).parents[2]
TINY = {"layers": 2, "width": 16, "heads": 2, "batch": 8, "warmup": 2, "learning_rate": 1e-2}
NOUNS, VERBS = ["cat", "dog", "hen", "fox"], ["sat", "ran", "fell", "slept"]


def label_task(folder: Path, rows: int = 64) -> str:
    """Does the sentence begin with a cat or a hen? Answered by a label token."""
    said = [f"{NOUNS[at % 4]} {VERBS[at // 4 % 4]} on day {at}" for at in range(rows)]
    write_lines(
        folder / "pets.jsonl", [{"id": text, "text": text, "answer": (at + 1) % 2} for at, text in enumerate(said)]
    )
    (folder / "pets.yaml").write_text('data: pets.jsonl\nkind: label\ntemplate: "{{ text }}:"\nlabels: [bad, good]\n')
    return str(folder / "pets.yaml")


def choice_task(folder: Path) -> str:
    rows = [
        {
            "id": at,
            "context": f"the {NOUNS[at % 4]} {at}",
            "choices": ["a bird", "no bird at all"],
            "answer": int(at % 4 != 2),
        }
        for at in range(40)
    ]
    return str(write_lines(folder / "birds.jsonl", rows))


def writing_task(folder: Path) -> str:
    """SCAN's form: a command, and the actions that carry it out."""
    times = ["once", "twice", "thrice"]
    rows = [
        {"in": f"{verb} {often} {at}", "out": " ".join([verb.upper()] * (times.index(often) + 1))}
        for at, (verb, often) in enumerate((verb, often) for verb in VERBS for often in times)
    ]
    write_lines(folder / "scan.jsonl", rows)
    (folder / "scan.yaml").write_text(
        'data: scan.jsonl\nkind: generate\nfields: {question: in, answer: out}\ntemplate: "{{ question }}"\n'
        'continuation: " {{ answer }}"\nmax_new_tokens: 6\n'
    )
    return str(folder / "scan.yaml")


def reload(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """What plain transformers makes of a trained folder."""
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("make", [label_task, choice_task, writing_task])
def test_a_training_reads_what_the_evaluation_reads(make, tmp_path: Path) -> None:
    config = TextConfig(task=make(tmp_path), out=tmp_path / "m", held_out=0, vocabulary=30)
    corpus = read_corpus(config)
    assert len(corpus.words) <= 30
    tokenizer = make_word_tokenizer(corpus.words, 128)
    task = load_task(config.task, Encoder(tokenizer, 128), {})
    for text, example in zip(corpus.trained, task.examples, strict=True):
        right = example.rows[example.gold if make is choice_task else 0]
        answer = text.ids[text.answer : -1]
        assert text.ids[: text.answer] == example.prompt
        assert text.ids[-1] == EOS_ID
        assert answer == ((right.targets[example.gold],) if make is label_task else right.targets)


def test_the_vocabulary_is_the_most_frequent_words_of_the_training_rows(tmp_path: Path) -> None:
    corpus = read_corpus(TextConfig(task=label_task(tmp_path), out=tmp_path / "m", vocabulary=4, held_out=0.5))
    assert (len(corpus.trained), len(corpus.held_out)) == (32, 32)
    assert set(corpus.words[:3]) == {"on", "day", ":"}
    assert corpus.words[3] in ("bad", "good")
    tokenizer = make_word_tokenizer(corpus.words, 128)
    assert tokenizer.decode(corpus.held_out[0].ids).startswith("<s> <unk> <unk> on day <unk> :")
    numbers = [{text.ids for text in part} for part in (corpus.trained, corpus.held_out)]
    assert numbers[0] | numbers[1]


def test_an_open_vocabulary_cuts_as_the_tokenizer_does() -> None:
    text = "it's TURN_LEFT, café -- 3.5\n(ok)"
    encoder = OpenVocabulary(64)
    ids = encoder.encode_text(text)
    tokenizer = make_word_tokenizer(list(encoder.ids)[4:], 64)
    assert ids == Encoder(tokenizer, 64).encode_text(text)
    assert tokenizer.tokenize(text) == ["it", "'", "s", "TURN_LEFT", ",", "café", "--", "3", ".", "5", "(", "ok", ")"]


def test_an_interrupted_training_ends_the_same_and_reloads(tmp_path: Path) -> None:
    asked = {"task": label_task(tmp_path), "steps": 100, "held_out": 0.25, **TINY}
    whole = train_text(TextConfig(out=tmp_path / "a", **asked))
    said = json.loads((tmp_path / "a" / "training.json").read_text())

    class Stop(Exception):
        pass

    def stop(done: int, loss: float) -> None:
        if done == 73:
            raise Stop

    config = TextConfig(out=tmp_path / "b", **asked)
    with pytest.raises(Stop):
        train_text(config, stop, checkpoint_every=10)
    seen: list[int] = []
    resumed = train_text(config, lambda done, loss: seen.append(done), checkpoint_every=10)
    assert seen[0] == 71
    assert json.loads((tmp_path / "b" / "training.json").read_text()) == said
    model, tokenizer = reload(tmp_path / "b")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])
        assert torch.equal(tensor, model.state_dict()[name])
    assert said["held_out"]["rows"] == 16
    assert said["held_out"]["answers_right"] == 1.0
    assert tokenizer.decode(model.generate(**asking(tokenizer, "hen ran on day 7:"), max_new_tokens=3)[0, -2:]) == (
        "good </s>"
    )


def asking(tokenizer: PreTrainedTokenizerFast, text: str) -> dict[str, torch.Tensor]:
    return dict(tokenizer(text, return_tensors="pt", return_token_type_ids=False))


@pytest.mark.parametrize("make", [choice_task, writing_task])
def test_what_is_learnt_is_what_is_marked(make, tmp_path: Path) -> None:
    """A trained model is marked right by `evaluate` as often as its own record says it writes the answer."""
    task = make(tmp_path)
    train_text(TextConfig(task=task, out=tmp_path / "m", steps=100, held_out=0.0, **TINY))
    loaded = load(tmp_path / "m")
    assert loaded.tokenizer is not None
    scores = evaluate(loaded.model, load_task(task, Encoder(loaded.tokenizer, 128), {}), [Plan.full(2)]).values
    texts = read_corpus(TextConfig(task=task, out=tmp_path / "m", held_out=0.0)).trained
    assert scores.mean() == measure_losses(loaded.model, texts)["answers_right"] == 1.0


def test_what_is_measured(tmp_path: Path) -> None:
    """Losses against one unpadded text at a time."""
    task = label_task(tmp_path)
    model = train_text(TextConfig(task=task, out=tmp_path / "m", steps=3, held_out=0.0, **TINY))
    texts = read_corpus(TextConfig(task=task, out=tmp_path / "m", held_out=0.0)).trained[:9]
    texts = [*texts, TrainingText((*texts[0].ids[: texts[0].answer], 5, 6, EOS_ID), texts[0].answer)]
    prompts, answers = [], []
    for text in texts:
        with torch.inference_mode():
            found = model(torch.tensor([text.ids])).logits[0, :-1].log_softmax(-1)
        each = -found.gather(1, torch.tensor(text.ids[1:])[:, None])[:, 0].numpy()
        prompts += [*each[: text.answer - 1]]
        answers += [*each[text.answer - 1 :]]
    said = measure_losses(model, texts)
    assert said["rows"] == 10
    assert said["prompt_loss"] == pytest.approx(np.mean(prompts), rel=1e-5)
    assert said["answer_loss"] == pytest.approx(np.mean(answers), rel=1e-5)
    assert measure_losses(model, [])["answers_right"] is None


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    task = label_task(tmp_path)
    write_lines(tmp_path / "running.jsonl", [{"text": f"some text {at}"} for at in range(9)])
    write_lines(tmp_path / "shown.jsonl", [{"context": f"text {at} is", "answer": "red"} for at in range(9)])
    (tmp_path / "shown.yaml").write_text("kind: generate\nnum_fewshot: 2\nmax_new_tokens: 4\n")
    asked = {"out": tmp_path / "m", **TINY}
    for said, message in [
        (
            {"task": str(tmp_path / "running.jsonl")},
            "has no answers to learn; expected a task of kind choice, label or g",
        ),
        (
            {"task": str(tmp_path / "shown.jsonl")},
            "questions are learnt alone, without worked examples; leave out num_fewshot",
        ),
        ({"task": str(tmp_path / "none.jsonl")}, "cannot read .*none.jsonl: No such file"),
        ({"task": task, "context": 6}, "pets.jsonl:1: 7 tokens, but the model reads at most 5"),
        ({"task": task, "held_out": 0.999}, "all 64 rows are held out; give more rows or a smaller --held-out"),
    ]:
        with pytest.raises(DataError, match=message) as caught:
            train_text(TextConfig(**said, **asked))
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="--held-out: Input should be less than 1, got 1"):
        TextConfig(task=task, held_out=1, **asked)


def test_a_training_on_other_data_is_not_continued(tmp_path: Path) -> None:
    task = label_task(tmp_path)
    config = TextConfig(task=task, out=tmp_path / "m", steps=2, **TINY)
    train_text(config)
    label_task(tmp_path, rows=60)
    with pytest.raises(UsageError, match="a training with other settings"):
        train_text(config)


@pytest.mark.parametrize("make", [label_task, choice_task, writing_task])
def test_the_rows_left_out_are_a_task_of_their_own(make, tmp_path: Path) -> None:
    """They are the very texts of the training's own measurement, none of those it read, and the same every time."""
    config = TextConfig(task=make(tmp_path), out=tmp_path / "m", steps=1, seed=4, held_out=0.25, **TINY)
    train_text(config)
    loaded = load(tmp_path / "m")
    assert loaded.tokenizer is not None
    task = read_task(f"held-out:{tmp_path / 'm'}", loaded, {"score": "likelihood"})
    whole = load_task(config.task, Encoder(loaded.tokenizer, 128), {"score": "likelihood"})
    corpus = read_corpus(config)
    prompts = [text.ids[: text.answer] for text in corpus.held_out]
    assert [example.prompt for example in task.examples] == prompts
    assert len(prompts) == json.loads((tmp_path / "m" / "training.json").read_text())["held_out"]["rows"] > 2
    assert not {text.ids for text in corpus.trained} & {text.ids for text in corpus.held_out}
    assert {example.id for example in task.examples} < {example.id for example in whole.examples}
    assert (type(task), task.metric, task.shared_prefix_length) == (
        type(whole),
        whole.metric,
        whole.shared_prefix_length,
    )
    again = read_task(f"held-out:{tmp_path / 'm'}", loaded, {"score": "likelihood"})
    assert (again.name, again.digest) == (f"held-out:{tmp_path / 'm'}", task.digest)
    assert f"the {len(prompts)} of {len(whole.examples)} rows" in task.notes[-1]
    other = read_corpus(config.model_copy(update={"seed": 5}))
    assert {text.ids for text in other.held_out} != {text.ids for text in corpus.held_out}


def test_rows_left_out_that_cannot_be_told(tmp_path: Path) -> None:
    config = TextConfig(task=label_task(tmp_path), out=tmp_path / "m", steps=1, **TINY)
    train_text(config)
    train_text(TextConfig(task=config.task, out=tmp_path / "all", steps=1, held_out=0, **TINY))
    encoder = Encoder(reload(tmp_path / "m")[1], 128)

    def refused(name: str, message: str, **given: object) -> None:
        with pytest.raises(DataError, match=message) as caught:
            load_held_out(name, encoder, given)
        assert "\n" not in str(caught.value)

    expected = "expected a model of `tapioca lab train-text`"
    refused(f"held-out:{tmp_path}", rf"cannot read \S+training.json: No such file or directory; {expected}")
    refused("held-out:learner", f"cannot read learner/training.json: No such file or directory; {expected}")
    refused(f"held-out:{PACKAGED['learner']}", rf"cannot read \S+learner/training.json: it lacks 'data'; {expected}")
    refused(f"held-out:{tmp_path / 'all'}", "the training held no rows out; train with --held-out above 0")
    refused(f"held-out:{tmp_path / 'm'}", "128 examples of 64 rows; ask one question", kind="perplexity", window=4)
    label_task(tmp_path, rows=60)
    refused(f"held-out:{tmp_path / 'm'}", "pets.yaml is no longer what the model was trained on; restore the file")
    (tmp_path / "pets.jsonl").unlink()
    refused(f"held-out:{tmp_path / 'm'}", "No such file or directory .read again where its training ran")


@pytest.mark.slow
def test_the_model_of_the_studies_is_what_its_record_says(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers on the rows it was never trained on; needs the real sentences."""
    folder = ROOT / "studies" / "weights" / "movie_sentences"
    said = json.loads((folder / "training.json").read_text())
    del said["config"]["data"]
    config = TextConfig(out=folder, **{**said["config"], "task": str(ROOT / said["config"]["task"])})
    model, tokenizer = reload(folder)
    corpus = read_corpus(config)
    assert tokenizer.decode([4 + at for at in range(9)]).split() == list(corpus.words[:9])
    assert measure_losses(model, corpus.held_out) == pytest.approx(said["held_out"], rel=1e-4)
    assert said["held_out"]["answers_right"] > 0.7
    monkeypatch.chdir(ROOT)
    task = load_held_out(f"held-out:{folder}", Encoder(tokenizer, config.context), {})
    assert [example.prompt for example in task.examples] == [text.ids[: text.answer] for text in corpus.held_out]
    assert (folder / "model.safetensors").stat().st_size < 4_000_000


@pytest.mark.parametrize("name", ["scan_length_0", "movie_sentences"])
@pytest.mark.slow
def test_committed_models_know_the_data_they_were_trained_on(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest that changes with the program would cut them off from the rows they have never seen."""
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    request.getfixturevalue("scan_data" if name.startswith("scan") else "shared")
    folder = root / "studies" / "weights" / name
    config = json.loads((folder / "training.json").read_text())["config"]
    assert (
        read_corpus(TextConfig(out=folder, **{key: config[key] for key in config if key != "data"})).digest
        == config["data"]
    )
