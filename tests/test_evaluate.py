"""The contract of every task and family: scores equal a direct computation, and padding or plans change nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer
from transformers import PreTrainedModel

from tapioca.errors import DataError, ModelError, NonFiniteError
from tapioca.evaluate import check_task, evaluate
from tapioca.evaluate.reading import Reader
from tapioca.lab.tasks import load_lab_task
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, run_forward
from tapioca.models.learner import Learner, learner_config
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records import NO_CHOICE, ComputeCost, Example, ExampleScore
from tapioca.tasks.base import Task
from tapioca.tasks.batches import looks, make_batches, make_chunks, sample_batches
from tapioca.tasks.choice import ACCURACY, GOLD_LOSS, score_choice
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

PLANS = [Plan.full(4), Plan.drop(4, [1]), Plan.scale(4, {2: 0.5})]


def text_task(folder: Path, kind: str) -> Task:
    rows = choice_rows(13)
    given: dict = {"score": "likelihood"} if kind == "likelihood" else {}
    if kind == "perplexity":
        rows = [{"id": row["id"], "text": row["context"]} for row in rows]
    if kind == "label":
        given = {"labels": ("yes", "no", "one", "two"), "template": "{{ context }}", "kind": "label"}
    return load_task(str(write_lines(folder / f"{kind}.jsonl", rows)), Encoder(word_tokenizer(), 128), given)


@pytest.fixture(params=["choice", "likelihood", "label", "perplexity", "regression"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[PreTrainedModel, Task]:
    """A model and a task for it, one of every kind."""
    if request.param == "regression":
        torch.manual_seed(0)
        return Learner(learner_config(layers=4, width=16, heads=2)).eval(), load_lab_task("lab:context_noise=0.5,n=13")
    return tiny("llama"), text_task(tmp_path, request.param)


def direct(model: PreTrainedModel, task: Task, plan: Plan) -> list[ExampleScore]:
    """Every row alone, without padding, with the full logits."""
    answers = []
    for example in task.examples:
        readings = []
        for row in example.rows:
            inputs = torch.tensor(np.asarray(row.inputs))[None]
            with torch.inference_mode(), apply(model, plan):
                logits = model(inputs).logits.float()
            readings += task.extract(logits[:, -task.logits_to_keep([row]) :], [row])
        answers.append(task.score(example, readings))
    return answers


def test_scores_equal_a_direct_computation(case: tuple[PreTrainedModel, Task]) -> None:
    model, task = case
    found = evaluate(model, task, PLANS, batch_size=5)
    for row, plan in enumerate(PLANS):
        expected = np.array(direct(model, task, plan))
        assert found.values[row] == pytest.approx(expected[:, 0], abs=2e-5)
        assert found.log_likelihoods[row] == pytest.approx(expected[:, 1], abs=2e-5)
    assert found.ids == tuple(example.id for example in task.examples)


def test_what_all_prompts_begin_with_is_read_once(tmp_path: Path) -> None:
    model, encoder = tiny("llama"), Encoder(word_tokenizer(), 128)
    template = "yes no one two " * 8 + "{{ context }}"
    rows, given = choice_rows(13), {"labels": ("yes", "no", "one", "two"), "kind": "label", "template": template}
    task = load_task(str(write_lines(tmp_path / "shots.jsonl", rows)), encoder, given)
    shared = min(len(row.inputs) for example in task.examples for row in example.rows)
    assert 32 <= task.shared_prefix_length < shared
    assert task.select_examples(task.examples[:1]).shared_prefix_length == task.shared_prefix_length
    spent, found = {}, {}
    for opening in (task.shared_prefix_length, 0):
        asked = replace(task, shared_prefix_length=opening)
        ledger = SimpleNamespace(
            recall=lambda plan, batch: None,
            record=lambda plan, batch, answers, cost, at=opening: spent.setdefault(at, []).append(cost),
        )
        found[opening] = evaluate(model, asked, PLANS, batch_size=5, result_cache=ledger).values
        assert found[opening] == pytest.approx(np.array([[a.score for a in direct(model, task, p)] for p in PLANS]))
    whole, apart = (sum(cost.tokens for cost in spent[opening]) for opening in (0, task.shared_prefix_length))
    layers = (
        4 + 2 + 3
    )  # of a tree of the full model, one without layer 1 and one that scales layer 2 and so differs after
    assert whole - apart == pytest.approx(
        task.shared_prefix_length * layers * 13 - task.shared_prefix_length * layers, rel=0.2
    )


@pytest.mark.parametrize("name", ["llama", "qwen2", "mamba"])
def test_what_rows_of_a_question_begin_with_is_read_once(name: str, tmp_path: Path) -> None:
    model, spent, scores = tiny(name), {}, {}
    shared = text_task(tmp_path, "choice")
    for task in (shared, replace(shared, shares_contexts=False)):
        costs: list[ComputeCost] = []
        ledger = SimpleNamespace(
            recall=lambda plan, batch: None, record=lambda plan, batch, answers, cost, costs=costs: costs.append(cost)
        )
        scores[task.shares_contexts] = evaluate(model, task, PLANS, batch_size=5, result_cache=ledger)
        spent[task.shares_contexts] = sum(cost.tokens for cost in costs)
    assert np.abs(scores[True].log_likelihoods - scores[False].log_likelihoods).max() < 1e-4
    assert np.array_equal(scores[True].predicted, scores[False].predicted)
    reader, batches = Reader(model, shared), make_batches(shared, 5)
    layers = 8  # of the tree of these plans
    assert spent[True] == layers * sum(reader.count_tokens(batch.examples) for batch in batches)
    assert (spent[True] < 0.75 * spent[False]) == (name != "mamba")


def test_rows_are_read_whole_on_request(tmp_path: Path) -> None:
    """Bit for bit the outputs of whole rows, under a key of their own."""
    model, shared = tiny("llama"), text_task(tmp_path, "choice")
    task = replace(shared, shares_contexts=False)
    batch = make_batches(task, 5)[0]
    assert batch.digest != make_batches(shared, 5)[0].digest
    rows = [row for example in batch.examples for row in example.rows]
    outputs = run_forward(model, collate(model, [row.inputs for row in rows]), task.logits_to_keep(rows))
    readings = iter(task.extract(outputs, rows))
    expected = [task.score(example, [next(readings) for _ in example.rows]) for example in batch.examples]
    found = evaluate(model, task, PLANS[:1], batch_size=5)
    indices = [found.ids.index(example.id) for example in batch.examples]
    assert found.log_likelihoods[0][indices].tolist() == [answer.log_likelihood for answer in expected]


def test_the_model_is_left_as_it_was(case: tuple[PreTrainedModel, Task]) -> None:
    model, task = case
    first = evaluate(model, task, PLANS[:1], batch_size=5)
    evaluate(model, task, PLANS, batch_size=5)
    assert np.array_equal(evaluate(model, task, PLANS[:1], batch_size=5).values, first.values)


def test_repeated_plans_are_scored_once(case: tuple[PreTrainedModel, Task]) -> None:
    model, task = case
    seen: list[Plan] = []
    found = evaluate(model, task, [*PLANS, PLANS[1]], batch_size=50, on_batch=lambda plan, done: seen.append(plan))
    assert seen == PLANS
    assert np.array_equal(found.values[3], found.values[1])


def test_a_ledger_is_asked_first_and_told_everything(case: tuple[PreTrainedModel, Task]) -> None:
    model, task = case

    class Memory(dict):
        def recall(self, plan: Plan, batch: str) -> list[ExampleScore] | None:
            return self.get((plan, batch))

        def record(self, plan: Plan, batch: str, answers: list[ExampleScore], spent: ComputeCost) -> None:
            assert (plan, batch) not in self
            assert spent.seconds > 0
            assert 0 < spent.layers < spent.tokens
            self[plan, batch] = answers

    memory = Memory()
    first = evaluate(model, task, PLANS, batch_size=5, result_cache=memory)
    assert len(memory) == 9
    memory[PLANS[0], make_batches(task, 5)[0].digest] = [ExampleScore(7.0, 7.0)] * 5
    again = evaluate(model, task, PLANS, batch_size=5, result_cache=memory)
    assert (again.values[0] == 7.0).sum() == 5
    assert np.array_equal(again.values[1:], first.values[1:])


def test_batches_depend_on_the_task_alone(tmp_path: Path) -> None:
    task = text_task(tmp_path, "choice")
    cut = make_batches(task, 5)
    assert [len(batch.examples) for batch in cut] == [5, 5, 3]
    assert len({batch.digest for batch in cut}) == 3
    lengths = [example.length for batch in cut for example in batch.examples]
    assert lengths == sorted(lengths, reverse=True)
    same = text_task(tmp_path, "choice")
    assert [batch.digest for batch in make_batches(same, 5)] == [batch.digest for batch in cut]
    likelihood = text_task(tmp_path, "likelihood")
    assert not {batch.digest for batch in make_batches(likelihood, 5)} & {batch.digest for batch in cut}


@pytest.mark.parametrize(("size", "most", "sizes"), [(3, 7, [3, 3]), (3, 100, None), (5, 4, [4]), (2, 4, [2, 2])])
def test_a_sample_is_of_whole_batches_of_all_lengths(
    size: int, most: int, sizes: list[int] | None, tmp_path: Path
) -> None:
    task = text_task(tmp_path, "choice")
    sample, whole = sample_batches(task, size, most), make_batches(task, size)
    if sizes is None:
        assert sample is task
        return
    batches = make_batches(sample, size)
    assert [len(batch.examples) for batch in batches] == sizes
    if size <= most:
        digests = [batch.digest for batch in whole]
        places = [digests.index(batch.digest) for batch in batches]
        assert places == [len(whole) // 4, 3 * len(whole) // 4]


def test_loss_does_not_depend_on_batches(tmp_path: Path) -> None:
    model, task = tiny("gpt2"), text_task(tmp_path, "perplexity")
    means = [
        np.average(evaluate(model, task, PLANS[:1], batch_size=size).values[0], weights=task.weights)
        for size in (1, 4, 13)
    ]
    assert means == pytest.approx([means[0]] * 3, abs=1e-5)


def test_random_logits_score_at_chance() -> None:
    """Words no longer get credit for their first letter: a model that knows nothing is right as often as a guess."""
    rng = np.random.default_rng(0)
    from tapioca.records import Example, Request
    from tapioca.tasks.choice import ACCURACY, Choice

    task = Choice(name="t", examples=(), metric=ACCURACY)
    rows = tuple(Request(inputs=(1,), targets=(token,)) for token in range(4))
    right = 0.0
    for at in range(2000):
        example = Example(id=str(at), group=str(at), rows=rows, prompt=(1,), gold=at % 4)
        logits = torch.tensor(rng.normal(size=(4, 1, 9)), dtype=torch.float32)
        right += task.score(example, task.extract(logits, rows)).score
    assert right / 2000 == pytest.approx(0.25, abs=0.03)


def test_nan_stops_and_names_the_layer(tmp_path: Path) -> None:
    model, task = tiny("llama"), text_task(tmp_path, "choice")
    find_layers(model).blocks[2].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="under plan 'full model' from layer 2 on"):
        evaluate(model, task, [Plan.full(4)])
    with pytest.raises(NonFiniteError, match="under plan 'drop 0' from layer 2 on"):
        evaluate(model, task, [Plan.drop(4, [0])])
    assert np.isfinite(evaluate(model, task, [Plan.drop(4, [2])]).values).all()


def test_a_task_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds numbers, but the model reads text"):
        check_task(tiny("llama"), load_lab_task("lab:id,n=8"))
    with pytest.raises(DataError, match="holds text, but the model reads numbers"):
        check_task(Learner(learner_config(2, 16, 2)), text_task(tmp_path, "choice"))


def test_no_graph_is_kept(tmp_path: Path) -> None:
    model, task = tiny("llama"), text_task(tmp_path, "choice")
    seen: list[bool] = []
    with (
        find_layers(model)
        .blocks[0]
        .register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    ):
        evaluate(model, task, [Plan.full(4)], batch_size=50)
    assert seen
    assert not any(seen)


def test_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"call model\.eval\(\) first"):
        evaluate(tiny("gpt2").train(), text_task(tmp_path, "choice"), [Plan.full(4)])


def test_a_model_that_sees_the_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertConfig, BertLMHeadModel

    monkeypatch.setattr("transformers.models.bert.modeling_bert.logger.warning", lambda *args: None)
    config = BertConfig(num_hidden_layers=2, hidden_size=32, intermediate_size=64, num_attention_heads=2, vocab_size=64)
    torch.manual_seed(0)
    bert = BertLMHeadModel(config).eval()
    for parameter in bert.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with pytest.raises(ModelError, match="this bert model sees later tokens"):
        check_task(bert, text_task(tmp_path, "choice"))
    check_task(tiny("gpt_neox"), text_task(tmp_path, "choice"))


def test_a_stopped_plan_is_not_asked_any_more(case: tuple[PreTrainedModel, Task]) -> None:
    """What is known of it stays; the others get the scores they would have got."""

    class Second:
        """Stops the second plan at the first look."""

        def __init__(self) -> None:
            self.running, self.looks = np.arange(3), list[tuple[int, ...]]()

        def look(self, scores: np.ndarray) -> np.ndarray:
            self.looks.append(scores.shape)
            self.running = self.running[self.running != 1]
            return self.running

    model, task = case
    told: dict[Plan, int] = dict.fromkeys(PLANS, 0)

    def count(plan: Plan, examples: int) -> None:
        told[plan] += examples

    found = evaluate(model, task, PLANS, batch_size=3, stopping=(stopping := Second()), on_batch=count)
    whole = evaluate(model, task, PLANS, batch_size=3)
    examples = len(task.examples)
    assert stopping.looks[:2] == [(3, 3), (2, 3)]
    assert np.isnan(found.values[1]).sum() == examples - 3
    assert np.array_equal(found.values[[0, 2]], whole.values[[0, 2]])
    assert set(told.values()) == {examples}


def test_examples_drawn_at_random_are_sorted_between_looks(tmp_path: Path) -> None:
    task = text_task(tmp_path, "choice")
    drawn = make_chunks(task, 1, seed=1)
    assert [len(chunk.examples) for chunk in drawn] == [*[1] * 8, 4, 1]
    assert [example.id for chunk in drawn for example in chunk.examples] != [
        example.id for example in sorted(task.examples, key=lambda example: -example.length)
    ]
    for chunk in drawn:
        together = [example for batch in chunk.batches for example in batch.examples]
        assert sorted(together, key=lambda e: e.id) == sorted(chunk.examples, key=lambda e: e.id)
        assert [e.length for e in together] == sorted((e.length for e in together), reverse=True)
    assert [batch.digest for batch in make_batches(task, 1, 1)] == [b.digest for chunk in drawn for b in chunk.batches]


@pytest.mark.parametrize(
    ("examples", "size", "ends"),
    [
        (5, 8, [5]),
        (16, 8, [8, 16]),
        (100, 8, [8, 16, 24, 32, 40, 48, 56, 64, 96, 100]),
        (96, 8, [8, 16, 24, 32, 40, 48, 56, 64, 96]),
    ],
)
def test_one_looks_often_at_first(examples: int, size: int, ends: list[int]) -> None:
    assert looks(examples, size) == ends


def test_equal_choices_are_ties_up_to_rounding() -> None:
    example = Example(id="a", group="g", rows=(), prompt=(1,), gold=1)
    for values, expected in (
        ([-1.0, -1.0, -2.0], True),
        ([-1.0, -1.000001, -2.0], True),
        ([-1.0, -1.001, -2.0], False),
    ):
        assert score_choice(np.array(values), example, ACCURACY) == ExampleScore(
            0.0, values[1], tied=expected, predicted=0
        )
    assert not score_choice(np.array([-1.0, -1.0]), example, GOLD_LOSS).tied
    assert score_choice(np.array([-2.0, -1.0]), example, GOLD_LOSS) == ExampleScore(-1.0, -1.0, predicted=1)
    assert score_choice(np.array([-2.0, float("nan")]), example, ACCURACY).predicted == NO_CHOICE
