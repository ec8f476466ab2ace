"""Scores of plans without right answers, against numpy on plain forwards, one row at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.special import log_softmax
from sklearn.covariance import LedoitWolf
from sklearn.metrics import cohen_kappa_score
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer
from transformers import LlamaForSequenceClassification, PreTrainedModel

from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.tasks import load_lab_task
from tapioca.models.edit import apply
from tapioca.models.inputs import classifier_labels
from tapioca.models.learner import Learner, learner_config
from tapioca.models.tiny import tiny
from tapioca.observe import capture_states
from tapioca.plan import Plan
from tapioca.profiles.linear_maps import RIDGE, measure_map_residuals
from tapioca.records import Example
from tapioca.search.criteria import UNLABELLED
from tapioca.session.unlabelled_judge import MEASURES
from tapioca.session.without_labels import UnlabelledData, UnlabelledJudge, explain_missing, score_without_labels
from tapioca.stats.agreement import measure_concordance, measure_kappa
from tapioca.tasks.base import Task
from tapioca.tasks.choice import OneOfSeveral
from tapioca.tasks.files import load_task
from tapioca.tasks.regress import Regression
from tapioca.tasks.text import Encoder
from tapioca.tasks.without_answers import change_requests

PLANS = [Plan.full(4), *(Plan.drop(4, drops) for size in (1, 2) for drops in combinations(range(4), size))]


def text_tasks(folder: Path, kind: str) -> tuple[Task, Task]:
    """OOD and ID data of one kind."""
    options: dict = {}
    if kind == "label":
        options = {"labels": ("yes", "no", "one", "two"), "template": "{{ context }}", "kind": "label"}
    rows = choice_rows(16)
    if kind == "generate":
        rows = [{"id": row["id"], "question": row["context"], "answer": row["choices"][0]} for row in rows]
        options = {"kind": "generate", "max_new_tokens": 5}
    halves = {"ood": rows[:8], "id": rows[8:]}
    files = [str(write_lines(folder / f"{name}.jsonl", half)) for name, half in halves.items()]
    ood, id_task = (load_task(file, Encoder(word_tokenizer(), 128), options) for file in files)
    return ood, id_task


def learner() -> Learner:
    torch.manual_seed(0)
    return Learner(learner_config(layers=4, width=16, heads=2)).eval()


def compare_alone(model: PreTrainedModel, task: OneOfSeveral, examples: tuple[Example, ...], plan: Plan) -> np.ndarray:
    """Log-likelihoods of the choices of each example, (example, choice), from every row alone."""
    values = []
    for example in examples:
        readings = []
        for row in example.rows:
            with torch.inference_mode(), apply(model, plan):
                logits = model(torch.tensor([row.inputs])).logits.float()
            readings += task.extract(logits[:, -task.logits_to_keep([row]) :], [row])
        values.append(task.compare(example, readings))
    return np.array(values)


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    chance = sum((first == answer).mean() * (second == answer).mean() for answer in range(4))
    return 0.0 if chance == 1 else ((first == second).mean() - chance) / (1 - chance)


def in_nats(values: np.ndarray, task: Task) -> np.ndarray:
    """Log-probabilities of the choices of each example, whose log-likelihoods may be divided by their lengths."""
    lengths = np.array([[row.normalizer for row in example.rows] for example in task.examples]).mean(1)
    return log_softmax(values * lengths[:, None], axis=1)


@pytest.mark.parametrize("kind", ["choice", "label"])
def test_scores_of_choices(kind: str, tmp_path: Path) -> None:
    model, (ood, id_task) = tiny("llama"), text_tasks(tmp_path, kind)
    assert isinstance(ood, OneOfSeveral)
    assert isinstance(id_task, OneOfSeveral)
    names = ["entropy", "margin", "agreement", "faithful", "proxy"]
    scores = score_without_labels(model, PLANS, UnlabelledData(ood, id_task, seed=3), names, batch_size=7)
    changed = change_requests(ood, 3)
    full, full_id = (compare_alone(model, task, task.examples, PLANS[0]) for task in (ood, id_task))
    ranked = np.sort(in_nats(full, ood), axis=1)
    sure = np.argsort(ranked[:, -2] - ranked[:, -1], kind="stable")[:4]
    plan = PLANS[2]
    values, id_values = (compare_alone(model, task, task.examples, plan) for task in (ood, id_task))
    log_p, id_log_p, full_log_p = in_nats(values, ood), in_nats(id_values, id_task), in_nats(full_id, id_task)
    ranked = np.sort(log_p, axis=1)
    expected = {
        "entropy": (np.exp(log_p) * log_p).sum(1).mean(),
        "margin": (ranked[:, -1] - ranked[:, -2]).mean(),
        "agreement": kappa(values.argmax(1), compare_alone(model, ood, changed, plan).argmax(1)),
        "faithful": -(np.exp(full_log_p) * (full_log_p - id_log_p)).sum(1).mean(),
        "proxy": values[sure, full[sure].argmax(1)].mean(),
    }
    assert {name: scores[name][PLANS.index(plan)] for name in names} == pytest.approx(expected, abs=5e-5)
    assert scores["faithful"][0] == 0.0 == scores["faithful"].max()


def test_scores_of_numbers() -> None:
    model, ood, id_task = learner(), load_lab_task("lab:context_noise=0.5,n=30"), load_lab_task("lab:id,n=30")
    scores = score_without_labels(model, PLANS, UnlabelledData(ood, id_task, seed=1), ["agreement", "faithful"], 8)

    def predict(examples: tuple[Example, ...], plan: Plan) -> np.ndarray:
        with torch.inference_mode(), apply(model, plan):
            return model(torch.tensor(np.stack([example.prompt for example in examples]))).logits[:, -1, 0].numpy()

    changed, full = change_requests(ood, 1), predict(id_task.examples, PLANS[0])
    for index, plan in enumerate(PLANS):
        asked, again = predict(ood.examples, plan), predict(changed, plan)
        spread = asked.var() + again.var() + (asked.mean() - again.mean()) ** 2
        assert scores["agreement"][index] == pytest.approx(2 * np.cov(asked, again, ddof=0)[0, 1] / spread, abs=1e-5)
        error = ((predict(id_task.examples, plan) - full) ** 2).mean() / full.var()
        assert scores["faithful"][index] == pytest.approx(-error, abs=1e-5)


def test_rounding_does_not_choose_between_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last layer no state that is compared is another, and the two scores differ by 1e-17 at most."""
    monkeypatch.setitem(MEASURES, "linear", lambda judge, plans: np.array([-1e-17, 0.0, 1e-17, -1e-9]))
    judge = UnlabelledJudge(learner(), UnlabelledData(load_lab_task("lab:id,n=4"), None))
    assert judge.score("linear", [Plan.full(8), *(Plan.drop(8, [layer]) for layer in (7, 6, 5))]).tolist() == [
        0,
        0,
        0,
        -1e-9,
    ]


def test_changed_requests_keep_what_the_answer_hangs_on(tmp_path: Path) -> None:
    numbers = load_lab_task("lab:id,n=5")
    for example, changed in zip(numbers.examples, change_requests(numbers, 0), strict=True):
        before, after = np.asarray(example.prompt), np.asarray(changed.prompt)
        assert (after[-1] == before[-1]).all()
        assert (after != before).any()
        pairs = [sorted(map(tuple, prompt[:-1].reshape(-1, 4))) for prompt in (before, after)]
        assert pairs[0] == pairs[1]
        assert changed.rows[0].targets == (0.0,)
    words = text_tasks(tmp_path, "choice")[0]
    for example, changed in zip(words.examples, change_requests(words, 0), strict=True):
        assert len(changed.prompt) == len(example.prompt) - 1
        assert (changed.prompt[0], changed.prompt[-1]) == (example.prompt[0], example.prompt[-1])
        assert [row.targets for row in changed.rows] == [row.targets for row in example.rows]
        assert changed.golds == ()
    with pytest.raises(UsageError, match="no token can be left out of the prompts, which are too short, all alike or "):
        change_requests(words.select_examples(words.examples[:1]), 0)  # one prompt alone is what all begin with


def test_closeness_of_states() -> None:
    model, ood, id_task = learner(), load_lab_task("lab:context_noise=0.5,n=30"), load_lab_task("lab:id,n=40")
    names = ["geometry", "geometry-unit", "mahalanobis"]
    scores = score_without_labels(model, PLANS, UnlabelledData(ood, id_task), names, batch_size=8)
    reference = capture_states(model, PLANS[0], id_task.examples)
    covariance = LedoitWolf().fit(reference[-1].astype(float))

    def deviate(states: np.ndarray, layers: tuple[int, ...]) -> np.ndarray:
        """Mean |log ratio| of norm, distance and distance at unit length."""
        ratios = []
        for layer, of_layer in zip(layers, states.astype(float), strict=True):
            pair = [of_layer, reference[layer].astype(float)]
            norms = [np.linalg.norm(of, axis=1) for of in pair]
            unit = [of / norm[:, None] for of, norm in zip(pair, norms, strict=True)]
            values = np.array(
                [[norm.mean() for norm in norms], *([pdist(of).mean() for of in two] for two in (pair, unit))]
            )
            ratios.append(np.abs(np.log(values[:, 0] / values[:, 1])))
        return np.mean(ratios, axis=0)

    full = capture_states(model, PLANS[0], ood.examples)
    for index, plan in enumerate(PLANS):
        states = capture_states(model, plan, ood.examples)
        norm, distance, unit = deviate(full[list(plan.kept)], plan.kept) - deviate(states, plan.kept)
        centred = states[-1].astype(float) - covariance.location_
        squares = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance.covariance_), centred)
        expected = [(norm + distance) / 2, unit, -np.sqrt(squares).mean()]
        assert [scores[name][index] for name in names] == pytest.approx(expected, rel=1e-3, abs=1e-6), plan


def test_residuals_of_linear_maps() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(3, 40, 2, 5))
    states[1] = states[0] @ rng.normal(size=(5, 5)) + 1.0  # a map with an offset does all of layer 0
    residuals = measure_map_residuals(states, seed=4)
    assert residuals[0, 1] == pytest.approx(0.0, abs=1e-3)
    order = np.random.default_rng(4).permutation(40)
    fitted, judged = states[:, order[:20]].reshape(3, -1, 5), states[:, order[20:]].reshape(3, -1, 5)
    means = fitted.mean(1)
    inputs, outputs = fitted[1] - means[1], fitted[2] - means[2]
    ridge = RIDGE * (inputs**2).sum() / 5 * np.eye(5)
    predicted = (judged[1] - means[1]) @ np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ outputs) + means[2]
    expected = ((judged[2] - predicted) ** 2).sum() / ((judged[2] - judged[2].mean(0)) ** 2).sum()
    assert residuals[1, 2] == pytest.approx(expected)
    assert expected > 0.9  # noise


def test_a_plan_costs_what_its_blocks_leave_unexplained() -> None:
    model, ood = learner(), load_lab_task("lab:context_noise=0.5,n=30")
    judge = UnlabelledJudge(model, UnlabelledData(ood))
    assert judge.residuals.shape == (5, 5)
    plans = [Plan.full(4), Plan.drop(4, [1, 2]), Plan.drop(4, [0, 2, 3])]
    expected = [0.0, -judge.residuals[1, 3], -judge.residuals[0, 1] - judge.residuals[2, 4]]
    assert judge.score("linear", plans) == pytest.approx(expected)


def test_texts_of_the_full_model_are_what_plans_are_faithful_to(tmp_path: Path) -> None:
    model, (ood, id_task) = tiny("llama"), text_tasks(tmp_path, "generate")
    scores = score_without_labels(model, PLANS[:3], UnlabelledData(ood, id_task), ["faithful"], batch_size=7)[
        "faithful"
    ]
    for index, plan in enumerate(PLANS[:3]):
        likelihoods = []
        for example in id_task.examples:
            ids, prompt = list(example.prompt), len(example.prompt)
            with torch.inference_mode():
                for _ in range(5):
                    ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
                    if ids[-1] == word_tokenizer().eos_token_id:
                        break
            written = ids[prompt:-1] or ids[prompt:] if ids[-1] == word_tokenizer().eos_token_id else ids[prompt:]
            with torch.inference_mode(), apply(model, plan):
                logits = model(torch.tensor([ids[:prompt] + written])).logits[0].double().log_softmax(-1)
            tokens = [float(logits[prompt - 1 + place, token]) for place, token in enumerate(written)]
            likelihoods.append(np.mean(tokens))
        assert scores[index] == pytest.approx(np.mean(likelihoods), abs=1e-4)
    assert scores[0] == scores.max()


def shuffle_labels(task: Task) -> Task:
    """The same questions with the right answers of others."""
    order, examples = np.random.default_rng(1).permutation(len(task.examples)), []
    for example, other in zip(task.examples, (task.examples[index] for index in order), strict=True):
        rows = example.rows
        if isinstance(task, Regression):
            rows = tuple(replace(row, targets=of.targets) for row, of in zip(rows, other.rows, strict=True))
        labels = {"gold": other.gold, "also": other.also, "answer": other.answer, "label": other.label}
        examples.append(replace(example, rows=rows, **labels))
    shuffled = task.select_examples(examples)
    assert shuffled.digest != task.digest
    return shuffled


def make_case(folder: Path, kind: str) -> tuple[PreTrainedModel, Task, Task]:
    """A model with OOD and ID data."""
    if kind == "numbers":
        return learner(), load_lab_task("lab:context_noise=0.5,n=20"), load_lab_task("lab:id,n=20")
    if kind == "choice":
        return tiny("llama"), *text_tasks(folder, kind)
    config = type(tiny("llama").config)(**{**tiny("llama").config.to_dict(), "pad_token_id": 0})
    config.id2label = {0: "bad", 1: "middling", 2: "good"}
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(config).eval()
    rows = [{"id": row["id"], "text": row["context"], "label": index % 3} for index, row in enumerate(choice_rows(16))]
    encoder = Encoder(word_tokenizer(), 128, classifier_labels(model))
    ood, id_task = (
        load_task(str(write_lines(folder / f"{part[0]['id']}.jsonl", part)), encoder, {})
        for part in (rows[:8], rows[8:])
    )
    return model, ood, id_task


@pytest.mark.parametrize("kind", ["choice", "classify", "numbers"])
def test_shuffled_labels_change_no_score(kind: str, tmp_path: Path) -> None:
    model, ood, id_task = make_case(tmp_path, kind)
    shuffled = shuffle_labels(ood)
    data = UnlabelledData(ood, id_task)
    names = [name for name in UNLABELLED if not explain_missing(name, data)]
    assert len(names) == (6 if kind == "numbers" else 9)
    plans = [Plan.full(4), Plan.drop(4, [1]), Plan.drop(4, [2, 3])]
    scores, again = (
        score_without_labels(model, plans, UnlabelledData(task, id_task), names) for task in (ood, shuffled)
    )
    assert {name: values.tolist() for name, values in scores.items()} == {name: again[name].tolist() for name in names}
    assert (evaluate(model, ood, plans).values != evaluate(model, shuffled, plans).values).any()


def test_what_cannot_be_had_says_why(tmp_path: Path) -> None:
    words, numbers = text_tasks(tmp_path, "generate")[0], load_lab_task("lab:id,n=5")
    reasons = {
        ("geometry", numbers): "it holds plans against the full model on ID data, and there are none; give --reference",
        (
            "proxy",
            numbers,
        ): f"{numbers.name} asks for numbers, and by the full model's own numbers no plan is better than it",
        ("margin", numbers): f"{numbers.name} asks for numbers, which come without probabilities",
        ("agreement", words): f"{words.name} is of no kind whose answers are choices or numbers",
        ("linear", words): "",
    }
    assert {key: explain_missing(key[0], UnlabelledData(key[1])) for key in reasons} == reasons
    with pytest.raises(
        UsageError, match=r"^entropy cannot be had: .* asks for numbers, which come without probabilities$"
    ):
        score_without_labels(learner(), PLANS, UnlabelledData(numbers), ["entropy"])
    with pytest.raises(UsageError, match="no criterion without labels is called 'tale'; there are geometry, "):
        explain_missing("tale", UnlabelledData(numbers))


def test_what_is_always_the_same_agrees_by_chance() -> None:
    rng = np.random.default_rng(0)
    first, second, weights = rng.integers(0, 3, (5, 50)), rng.integers(0, 3, (5, 50)), rng.random(50)
    expected = [cohen_kappa_score(a, b, sample_weight=weights) for a, b in zip(first, second, strict=True)]
    assert measure_kappa(first, second, weights) == pytest.approx(expected)
    assert measure_kappa(np.zeros((1, 9), int), np.zeros((1, 9), int), np.ones(9)) == [0.0]
    assert measure_concordance(np.ones((1, 9)), np.ones((1, 9)), np.ones(9)) == [0.0]
    numbers = rng.normal(size=(1, 9))
    assert measure_concordance(numbers, numbers, np.ones(9)) == [1.0]
    assert measure_concordance(numbers, -numbers, np.ones(9)) < 0
