"""Tasks asked without their right answers: what they are marked by is what the model gives alone.

`blind` takes every right answer out of the examples first, so that no mark can read one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from tapioca.errors import UsageError
from tapioca.records import Example, ExampleScore, Inputs, Metric, Request
from tapioca.records.examples import TextPair
from tapioca.tasks.base import Task
from tapioca.tasks.choice import GOLD_LOSS, OneOfSeveral, is_tied
from tapioca.tasks.regress import Regression

SURENESS = Metric(name="entropy of the answer", kind="error")
DIVERGENCE = Metric(name="divergence from the full model's answer", kind="error")
PREDICTION = Metric(name="prediction", kind="error")


def blind(example: Example) -> Example:
    """An example without its right answer; the choices stay, and of numbers the last point alone is asked for."""
    rows = example.rows
    if isinstance(example.prompt, np.ndarray):
        rows = tuple(replace(row, targets=(0.0,)) for row in rows)
    return replace(example, rows=rows, gold=None, also=(), answer="", also_answers=(), label="", content="")


def ask_sureness(task: OneOfSeveral) -> OneOfSeveral:
    """The same questions, each marked by how sure the model is (`mark_sureness`)."""
    return replace(task, examples=tuple(map(blind, task.examples)), metric=SURENESS, mark=mark_sureness)


def mark_sureness(values: np.ndarray, example: Example, metric: Metric) -> ExampleScore:
    """Minus the entropy of the answer in nats, which answer it is, and, in the place of a likelihood, the margin: by how much
    its log-probability exceeds the next one's.

    Args:
        values: log-likelihoods of the choices, as the task compares them (`normalize`).
    """
    log_probabilities = normalize(values, example)
    second, first = np.sort(log_probabilities)[-2:]
    entropy = -float(np.exp(log_probabilities) @ log_probabilities)
    return ExampleScore(-entropy, float(first - second), tied=is_tied(values), predicted=int(values.argmax()))


def normalize(values: np.ndarray, example: Example) -> np.ndarray:
    """Log-probabilities of an example's choices where one of them is the answer.

    They are ordered as the task compares them. Where it divides log-likelihoods by lengths, which would make any answer look
    unsure, they are brought back to nats by the choices' mean length.
    """
    nats = values * np.mean([row.normalizer for row in example.rows])
    return np.asarray(nats - np.logaddexp.reduce(nats))


@dataclass(frozen=True, eq=False)
class DivergenceMark:
    """Marks answers by how far they are from others.

    Attributes:
        reference: log-probabilities of the other answers to each example, by its id.
    """

    reference: Mapping[str, np.ndarray]

    def __call__(self, values: np.ndarray, example: Example, metric: Metric) -> ExampleScore:
        """Minus the Kullback-Leibler divergence of the answer's distribution from the reference's, in nats."""
        reference = self.reference[example.id]
        divergence = float(np.exp(reference) @ (reference - normalize(values, example)))
        return ExampleScore(-divergence, -divergence, predicted=int(values.argmax()))


def ask_divergence(task: OneOfSeveral, values: Mapping[str, np.ndarray]) -> OneOfSeveral:
    """The same questions, each marked by how far the answer is from one whose log-likelihoods are given by example."""
    mark = DivergenceMark({example.id: normalize(values[example.id], example) for example in task.examples})
    return replace(task, examples=tuple(map(blind, task.examples)), metric=DIVERGENCE, mark=mark)


def ask_prediction(task: Regression) -> Regression:
    """The same prompts; each score is the model's prediction itself, of the last point."""
    return replace(task, examples=tuple(map(blind, task.examples)), metric=PREDICTION, mark=take_prediction)


def take_prediction(predictions: np.ndarray, example: Example) -> float:
    """The last one."""
    return float(predictions[-1])


def ask_likelihood(task: OneOfSeveral, answers: Mapping[str, int]) -> OneOfSeveral:
    """Some questions, with other answers taken for the right ones (an index by example's id), scored by their likelihood."""
    asked = (blind(example) for example in task.examples if example.id in answers)
    examples = tuple(replace(example, gold=answers[example.id]) for example in asked)
    return replace(task, examples=examples, metric=GOLD_LOSS)


Change = Callable[[Inputs], Inputs]
"""Changes the end of a row as it changes the prompt."""


def change_requests(task: Task, seed: int = 0) -> tuple[Example, ...]:
    """The examples, blind, with their requests changed so that the answer should stay; those that cannot be are left out.

    Numbers: the pairs of the context trade places, and the query stays last. Tokens: one is left out, of those between what
    all prompts begin with and what all end with (templates, special tokens, worked examples).

    Raises:
        UsageError: fewer than two requests can be changed so.
    """
    rng, examples = np.random.default_rng(seed), [blind(example) for example in task.examples]
    if isinstance(examples[0].prompt, np.ndarray):
        return tuple(_permute_context(example, rng) for example in examples)
    prompts = [example.prompt for example in examples]
    n_before, n_behind = _count_shared(prompts), _count_shared([prompt[::-1] for prompt in prompts])
    left_out = [_leave_token_out(example, max(n_before, 1), max(n_behind, 1), rng) for example in examples]
    changed = tuple(filter(None, left_out))
    if len(changed) < 2:
        raise UsageError(
            f"{task.name}: no token can be left out of the prompts, which are too short, all alike or pairs of texts"
        )
    return changed


def _permute_context(example: Example, rng: np.random.Generator) -> Example:
    """The pairs (x, y) in front of the query in a random order."""
    prompt = np.asarray(example.prompt)
    pairs = prompt[:-1].reshape(-1, 2, *prompt.shape[1:])
    changed = np.concatenate([rng.permutation(pairs).reshape(prompt[:-1].shape), prompt[-1:]])
    return replace(example, prompt=changed, rows=tuple(replace(row, inputs=changed) for row in example.rows))


def _leave_token_out(example: Example, n_before: int, n_behind: int, rng: np.random.Generator) -> Example | None:
    """None where the prompt has no two tokens to choose from, is of two texts, or rows do not begin with it."""
    prompt = example.prompt
    n_free = len(prompt) - n_before - n_behind
    place = n_before + int(rng.integers(max(n_free, 1)))
    begins = all(tuple(row.inputs[: place + 1]) == tuple(prompt[: place + 1]) for row in example.rows)
    if n_free < 2 or not begins or isinstance(prompt, TextPair):
        return None
    return replace(example, prompt=_cut(prompt, place), rows=tuple(_cut_row(row, place) for row in example.rows))


def _cut_row(row: Request, place: int) -> Request:
    return replace(row, inputs=_cut(row.inputs, place))


def _cut(inputs: Inputs, place: int) -> Inputs:
    return tuple(inputs[:place]) + tuple(inputs[place + 1 :])


def _count_shared(sequences: Sequence[Inputs]) -> int:
    """How many tokens all sequences begin with."""
    columns: Iterable[tuple[int, ...]] = zip(*sequences, strict=False)
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, columns))
