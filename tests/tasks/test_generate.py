"""Tasks that write: equal to the model's own `generate`, padded or alone; chat templates, stop strings, bad rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.rows import choice_rows, write_lines
from support.words import WORDS, whole_tokenizer, word_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import tapioca
from tapioca.commands.prune.fluency import measure_repetition
from tapioca.commands.prune.words import describe_companions
from tapioca.engine.decode import PromptBatch, decode
from tapioca.errors import DataError, ModelError, NonFiniteError
from tapioca.evaluate import check_task, evaluate
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records import ComputeCost
from tapioca.tasks.batches import make_batches
from tapioca.tasks.files import load_task
from tapioca.tasks.generate import Generate
from tapioca.tasks.text import Encoder

PLANS = [Plan.full(4), Plan.drop(4, [1])]
BUDGET = 10


def rows(count: int, answer: str = "the") -> list[dict]:
    return [
        {"id": row["id"], "group": row["group"], "context": row["context"], "answer": answer}
        for row in choice_rows(count)
    ]


def load(path: Path, data: list[dict], tokenizer: Any = None, **given: Any) -> Any:
    given = {"kind": "generate", "max_new_tokens": BUDGET, **given}
    return load_task(str(write_lines(path / "task.jsonl", data)), Encoder(tokenizer or whole_tokenizer(), 128), given)


def plain(model: PreTrainedModel, prompt: Any) -> tuple[str, bool]:
    """What the model writes by itself after one prompt, and whether it came to an end."""
    with torch.inference_mode():
        ids = model.generate(torch.tensor([prompt]), max_new_tokens=BUDGET, do_sample=False, pad_token_id=0)  # type: ignore[operator]
    written = ids[0, len(prompt) :].tolist()
    return whole_tokenizer().decode(written, skip_special_tokens=True), 2 in written


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_written_answers_are_those_of_plain_generate(model: PreTrainedModel, plan: Plan, tmp_path: Path) -> None:
    task = load(tmp_path, rows(13))
    prompts = [example.prompt for example in task.examples]
    with apply(model, plan):
        alone = [plain(model, prompt) for prompt in prompts]
        written = [
            task.answer_text(ids.tolist()) for ids in decode(model, PromptBatch(prompts, BUDGET, task.is_finished))
        ]
    assert written == [text for text, _ in alone]
    stop = next(text.split()[-1] for text, _ in alone if len(text.split()) > 2)
    cut = [text.split(stop)[0].strip() for text, _ in alone]
    golds = [{**row, "answer": text or "nothing"} for row, text in zip(rows(13), cut, strict=True)]
    found = evaluate(model, load(tmp_path, golds, stop=(stop,)), [plan], batch_size=5)
    assert found.values[0].tolist() == [float(bool(text)) for text in cut]
    assert found.truncated[0].tolist() == [stop not in text and not ended for text, ended in alone]
    assert found.unparsed[0].tolist() == [not text for text in cut]
    if plan.is_full:
        ids = decode(model, PromptBatch(prompts, BUDGET, load(tmp_path, golds, stop=(stop,)).is_finished))
        assert found.lengths[0].tolist() == list(map(len, ids))


def test_eos_ends_a_text_and_does_not_count_as_broken_off(tmp_path: Path) -> None:
    model, task = tiny("llama"), load(tmp_path, rows(13))
    free = decode(model, PromptBatch([example.prompt for example in task.examples], BUDGET, lambda ids: False))
    assert any(0 < len(ids) < BUDGET for ids in free)
    assert not any(2 in ids for ids in free)
    found = evaluate(model, task, PLANS[:1], batch_size=5)
    assert found.truncated[0].tolist() == [len(ids) == BUDGET for ids in free]


def test_the_likelihood_is_that_of_the_gold_answer_per_token(tmp_path: Path) -> None:
    model = tiny("llama")
    written, likely = (load(tmp_path, rows(13, "the red cat"), score=score) for score in ("accuracy", "likelihood"))
    found, again = evaluate(model, written, PLANS, batch_size=5), evaluate(model, likely, PLANS, batch_size=5)
    assert np.array_equal(again.values, again.log_likelihoods)
    assert found.log_likelihoods == pytest.approx(again.values)
    assert not again.truncated.any()
    assert likely.max_new_tokens == 0
    assert likely.companion.max_new_tokens == BUDGET
    example = written.examples[4]
    answer = [3, 17, 5]
    with torch.inference_mode():
        logits = model(torch.tensor([[*example.prompt, *answer]])).logits[0].log_softmax(-1)
    start = len(example.prompt) - 1
    expected = np.mean([float(logits[start + at, token]) for at, token in enumerate(answer)])
    assert found.log_likelihoods[0, 4] == pytest.approx(expected, abs=1e-5)


def test_batches_are_named_by_all_that_changes_an_answer(tmp_path: Path) -> None:
    variants: list[dict] = [
        {},
        {"stop": (".",)},
        {"max_new_tokens": 9},
        {"ignore_case": True},
        {"score": "likelihood"},
        {"template": "{{ context }} it"},
    ]
    digests = {make_batches(load(tmp_path, rows(5), **given), 5)[0].digest for given in variants}
    assert len(digests) == len(variants)


@pytest.mark.parametrize(
    ("stop", "written", "text", "ended"),
    [
        ((), "the cat sat", "the cat sat", False),
        (("sat",), "the cat sat", "the cat ", True),
        (("sat", "cat"), "the cat sat", "the ", True),
        (("cat sat",), "the cat sat", "the ", True),
        (("cat",), "the dog ran", "the dog ran", False),
        (("</s>",), "the cat </s>", "the cat", True),
    ],
)
def test_stop_strings(tmp_path: Path, stop: tuple[str, ...], written: str, text: str, ended: bool) -> None:
    task, ids = load(tmp_path, rows(1), stop=stop), word_tokenizer(bos=False).encode(written)
    assert task.answer_text(ids) == text
    assert task.is_finished(ids) is ended
    assert not any(
        task.is_finished(ids[:at])
        for at in range(1, len(ids))
        if not any(s in task.tokenizer.decode(ids[:at]) for s in stop)
    )


def test_a_stop_string_in_the_prompt_stops_nothing(tmp_path: Path) -> None:
    task, model = load(tmp_path, rows(4), stop=("the",)), tiny("llama")
    assert all("the" in example.text for example in task.examples)
    assert (
        max(len(ids) for ids in decode(model, PromptBatch([e.prompt for e in task.examples], BUDGET, task.is_finished)))
        > 1
    )


CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
CHATS: dict[str, tuple[str, bool]] = {
    "llama-3": ("{{ bos_token }}" + CHAT, True),
    "mistral": ("{{ bos_token }}" + CHAT, True),
    "gemma": ("{{ bos_token }}" + NO_SYSTEM + CHAT, True),
    "qwen": (CHAT, False),
    "gpt2": (CHAT, False),
}
"""Chat templates as these families have them: with a BOS of their own where the tokenizer adds one to plain text too."""


def chat_tokenizer(name: str) -> PreTrainedTokenizerFast:
    template, bos = CHATS[name]
    words = {word: at for at, word in enumerate([*WORDS, "[", "]", "user", "system", "assistant"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=template
    )


@pytest.mark.parametrize("name", CHATS)
def test_chats_have_the_ids_of_the_chat_template(tmp_path: Path, name: str) -> None:
    tokenizer = chat_tokenizer(name)
    task = load(tmp_path, [{"context": "the cat", "answer": "sat"}], tokenizer, chat=True)
    asked = [{"role": "user", "content": "the cat"}]
    expected = tokenizer.apply_chat_template(asked, tokenize=True, add_generation_prompt=True, return_dict=False)
    example = task.examples[0]
    assert list(example.prompt) == expected
    assert example.prompt.count(1) == CHATS[name][1]
    assert (example.rows[0].inputs, example.rows[0].targets) == (tuple(expected), (7,))


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_encoded_as_text_has_a_second_bos(tmp_path: Path, name: str) -> None:
    task = load(tmp_path, [{"context": "the cat", "answer": "sat"}], chat_tokenizer(name), chat="text")
    plain = load(tmp_path, [{"context": "the cat", "answer": "sat"}], chat_tokenizer(name), chat=True)
    [example], [expected] = task.examples, plain.examples
    assert example.prompt == (*[1] * CHATS[name][1], *expected.prompt)
    assert example.rows[0].targets == expected.rows[0].targets


def test_a_system_prompt(tmp_path: Path) -> None:
    data = [{"context": "the cat", "answer": "sat"}]
    task = load(tmp_path, data, chat_tokenizer("qwen"), chat=True, system="one dog")
    text = chat_tokenizer("qwen").decode(list(task.examples[0].prompt))
    assert text == "[ system ] one dog [ user ] the cat [ assistant ]"
    with pytest.raises(
        DataError,
        match=r"task.jsonl:1: the chat template of the tokenizer does not take this conversation: System role not supported",
    ):
        load(tmp_path, data, chat_tokenizer("gemma"), chat=True, system="one dog")


@pytest.mark.parametrize(
    ("row", "given", "message"),
    [
        ({"context": "the"}, {}, r"a generate task lacks answer \(--field answer=COLUMN\); the rows have 'context' \(the\)"),
        ({"context": "the", "answer": " "}, {}, r"task.jsonl:1: the answer is empty"),
        ({"context": "the", "answer": [["a"]]}, {}, r"it would print \['a'\]"),
        ({"context": "the", "answer": "cat"}, {"match": "number"}, r"task.jsonl:1: answer 'cat' is no number"),
        ({"context": "the", "answer": "cat"}, {"chat": True}, r"the tokenizer has no chat template; leave out --chat, or chat: true"),
        ({"context": "the", "answer": "cat"}, {"system": "x"}, r"a system prompt needs chat: true"),
        ({"context": "the", "answer": "cat"}, {"stop": ("",)}, r"a stop string is empty"),
        ({"context": "the", "answer": "cat"}, {"extract": "("}, r"extract '\(' is no regular expression \(missing \), .*\)"),
        ({"context": "the", "answer": "cat"}, {"max_new_tokens": 0}, r"max_new_tokens: input should be greater"),
        ({"context": "the", "answer": "cat"}, {"max_new_tokens": 127}, r"129 tokens \(127 of them to write\), but the model reads at most 128"),
        ({"text": "the"}, {"chat": True, "kind": None}, r"a chat is for questions \(choice, label, generate\), this is a perplexity task; leave out --chat"),
        ({"answer": "cat"}, {}, r"a generate task lacks the prompt \(--template, or --field text=COLUMN\); the rows have 'answer' \(cat\)"),
    ],
)  # fmt: skip
def test_rows_and_options_that_cannot_work(tmp_path: Path, row: dict, given: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, [row], **given)
    assert "\n" not in str(caught.value)


def test_the_gold_answer_may_be_a_part_of_a_field(tmp_path: Path) -> None:
    given = {"gold": "{{ answer.split('####')[1] }}", "continuation": " {{ answer }}", "match": "number"}
    example = load(tmp_path, [{"question": "the cat", "answer": "one and two #### 3"}], **given).examples[0]
    assert (example.answer, len(example.rows[0].targets)) == ("3", 5)


def test_a_model_that_cannot_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    monkeypatch.setattr(model, "can_generate", lambda: False)
    with pytest.raises(ModelError, match="this llama model cannot write text"):
        check_task(model, load(tmp_path, rows(2)))


def test_nan_while_writing_stops(tmp_path: Path) -> None:
    model, task = tiny("llama"), load(tmp_path, rows(2))
    find_layers(model).blocks[2].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="the outputs became NaN while the model wrote"):
        decode(model, PromptBatch([example.prompt for example in task.examples], 4, task.is_finished))


def test_at_the_floor_the_way_out_is_said(tmp_path: Path) -> None:
    load(tmp_path, rows(40, "yes no yes"))
    (tmp_path / "task.yaml").write_text("max_new_tokens: 10\n")
    with pytest.raises(
        DataError, match=r"scores 0\.0 % .* use --score likelihood; \d+ of 20 answers broke off at max_new"
    ):
        tapioca.prune(
            tiny("llama"), whole_tokenizer(), task=tmp_path / "task.jsonl", kind="generate",
            out=tmp_path / "run", progress=False,
        )  # fmt: skip


@pytest.mark.parametrize(("longest", "tokens"), [(256, 64), (64, 32)])
def test_a_run_guided_by_the_likelihood(tmp_path: Path, longest: int, tokens: int) -> None:
    model = tiny("llama")
    model.config.max_position_embeddings = longest
    load(tmp_path, rows(40, "yes no"))
    (tmp_path / "task.yaml").write_text("kind: generate\nmax_new_tokens: 6\nstop: ['cat']\n")
    info = tapioca.prune(
        model, whole_tokenizer(), task=tmp_path / "task.jsonl", score="likelihood", out=tmp_path / "run",
        progress=False, max_drops=1, random_plans=2,
    )  # fmt: skip
    main = next(judged for judged in info.judgements if judged.plan == info.shown)
    assert main.companion is not None
    assert main.companion.metric.name == "exact match"
    assert main.written is not None
    assert 0 < main.written.truncated[0] <= 20
    assert 0 < main.written.mean_length[0] <= 6
    assert all(0 <= count <= 20 for count in main.written.unparsed)
    lines = [line for line in describe_companions(info) if line.startswith(f"written answers of {info.shown} on OOD: ")]
    shares = [f"{main.written.unparsed[index] / 20:.0%}" for index in range(2)]
    assert f": {' → '.join(shares)} hold no answer, " in lines[0]
    assert lines[0].endswith(
        f"mean length {main.written.mean_length[0]:.3g} → {main.written.mean_length[1]:.3g} tokens"
    )
    canary = info.canary
    assert canary is not None
    assert (canary.plan, canary.prompts, canary.tokens) == (info.shown, 8, tokens)
    page = (info.folder / "report.html").read_text()
    assert f"8 free texts of at most {tokens} tokens" in page
    assert "xact match of" in page
    assert type(info).model_validate_json(info.model_dump_json()) == info.model_copy(update={"folder": Path()})


def test_repetition() -> None:
    assert measure_repetition(np.arange(20)) == 0
    assert measure_repetition(np.array([7] * 10)) == pytest.approx(6 / 7)
    assert measure_repetition(np.array([1, 2, 3])) == 0


def test_the_task_is_what_it_says(tmp_path: Path) -> None:
    task = load(tmp_path, rows(3))
    assert isinstance(task, Generate)
    assert (task.metric.name, task.chance.tolist()) == ("exact match", [0, 0, 0])


def test_plans_scored_together_or_one_by_one_get_the_same_answers(tmp_path: Path) -> None:
    """Answers of a stopped run are not asked for again, and what is missing does not depend on them."""

    class Memory(dict):
        def recall(self, plan: Plan, batch: str) -> Any:
            return self.get((plan, batch))

        def record(self, plan: Plan, batch: str, answers: Any, spent: ComputeCost) -> None:
            assert (plan, batch) not in self
            assert spent.layers > 4 * len(answers)  # more than reading the gold answers takes, by writing
            self[plan, batch] = answers

    model, plans = tiny("llama"), [Plan.full(4), *(Plan.drop(4, [layer]) for layer in range(4))]
    task = load(tmp_path, rows(7), stop=("w90", "dog"))
    golds = rows(7)
    for at, (gold, example) in enumerate(zip(golds, task.examples, strict=True)):
        with apply(model, plans[at % 3]):
            [ids] = decode(model, PromptBatch([example.prompt], BUDGET, task.is_finished))
        gold["answer"] = task.answer_text(ids.tolist()).strip() or "the"
    task = load(tmp_path, golds, stop=("w90", "dog"))
    memory = Memory()
    whole = evaluate(model, task, plans, batch_size=3, result_cache=memory)
    assert (whole.values[:3].mean(1) > 0).all()
    assert whole.values.mean() < 1
    single = [evaluate(model, task, [plan], batch_size=3).values[0] for plan in plans]
    assert np.array_equal(whole.values, single)
    for key in list(memory)[::2]:
        del memory[key]
    assert np.array_equal(evaluate(model, task, plans, batch_size=3, result_cache=memory).values, whole.values)
