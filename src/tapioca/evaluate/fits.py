"""Whether a model can be asked a task."""

from __future__ import annotations

import numpy as np
from transformers import PreTrainedModel

from tapioca.errors import DataError, ModelError
from tapioca.models.inputs import check_ids, has_head, is_causal, max_length
from tapioca.tasks.base import Task


def check_task(model: PreTrainedModel, task: Task) -> None:
    """Refuse a task the model cannot read or cannot be asked.

    Raises:
        DataError: the model reads token ids and the task holds numbers, or the other way round; or the model ends in
            a classification head and the task does not ask it, or the other way round; or the tokenizer gives ids the
            model has no embedding for.
        ModelError: the model sees later tokens, so it could read the answers off its input; or it cannot write.
    """
    numbers = isinstance(task.examples[0].rows[0].inputs, np.ndarray)
    if numbers != (model.main_input_name != "input_ids"):
        kinds = {True: "numbers", False: "text"}
        raise DataError(
            f"{task.name} holds {kinds[numbers]}, but the model reads {kinds[not numbers]}; use a task of its kind"
        )
    if not numbers:
        _check_ids(model, task)
    longest = max(example.length for example in task.examples)
    if longest > max_length(model):
        raise DataError(
            f"{task.name} has rows of {longest} tokens, but the model reads at most {max_length(model)}; shorten them"
        )
    if task.classifies != has_head(model):
        ends = "ends in a classification head; use kind: classify" if has_head(model) else "has no classification head"
        raise DataError(f"{task.name} is no task for this {model.config.model_type} model, which {ends}")
    if task.classifies and model.config.problem_type == "multi_label_classification":
        raise ModelError("this head gives several labels at once; use one with a single label or a number")
    if task.budget and not model.can_generate():
        raise ModelError(f"this {model.config.model_type} model cannot write text; use a causal language model")
    row = np.asarray(max((row.inputs for row in task.examples[0].rows), key=len))
    if not task.classifies and not is_causal(model, row):
        raise ModelError(
            f"this {model.config.model_type} model sees later tokens; scores need a causal (decoder) model"
        )


def _check_ids(model: PreTrainedModel, task: Task) -> None:
    """Refuse ids without an embedding, among those to be scored too: a model has no output for them either."""
    for example in task.examples:
        ids = [row.inputs for row in example.rows] + ([] if task.classifies else [row.targets for row in example.rows])
        largest = max((max(some) for some in ids if len(some)), default=0)
        check_ids(model, int(largest), f"{task.name}, example {example.id},")
