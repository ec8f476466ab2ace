"""Whether a model can be asked a task."""

import numpy as np
from transformers import PreTrainedModel

from tapioca.errors import DataError, ModelError
from tapioca.models.inputs import check_ids, find_max_length, is_causal, is_sequence_classifier
from tapioca.tasks.base import Task


def check_task(model: PreTrainedModel, task: Task) -> None:
    """Refuse a task the model cannot read or cannot be asked.

    Raises:
        DataError: the model reads token ids and the task holds numbers, or the other way round; or the model ends in
            a classification head and the task does not ask it, or the other way round; or the tokenizer gives ids the
            model has no embedding for.
        ModelError: the model sees later tokens, so it could read the answers off its input; or it cannot write.
    """
    holds_numbers = isinstance(task.examples[0].rows[0].inputs, np.ndarray)
    if holds_numbers != (model.main_input_name != "input_ids"):
        kinds = {True: "numbers", False: "text"}
        raise DataError(
            f"{task.name} holds {kinds[holds_numbers]}, but the model reads {kinds[not holds_numbers]}; use a task of its kind"
        )
    if not holds_numbers:
        _check_ids(model, task)
    longest = max(example.length for example in task.examples)
    if longest > find_max_length(model):
        raise DataError(
            f"{task.name} has rows of {longest} tokens, but the model reads at most {find_max_length(model)}; shorten them"
        )
    if task.is_sequence_classifier != is_sequence_classifier(model):
        ends = (
            "ends in a classification head; use kind: classify"
            if is_sequence_classifier(model)
            else "has no classification head"
        )
        raise DataError(f"{task.name} is no task for this {model.config.model_type} model, which {ends}")
    if task.is_sequence_classifier and model.config.problem_type == "multi_label_classification":
        raise ModelError("this head gives several labels at once; use one with a single label or a number")
    if task.max_new_tokens and not model.can_generate():
        raise ModelError(f"this {model.config.model_type} model cannot write text; use a causal language model")
    row = np.asarray(max((row.inputs for row in task.examples[0].rows), key=len))
    if not task.is_sequence_classifier and not is_causal(model, row):
        raise ModelError(
            f"this {model.config.model_type} model sees later tokens; scores need a causal (decoder) model"
        )


def _check_ids(model: PreTrainedModel, task: Task) -> None:
    """Refuse ids without an embedding, among those to be scored too: a model has no output for them either."""
    for example in task.examples:
        sequences = [row.inputs for row in example.rows] + (
            [] if task.is_sequence_classifier else [row.targets for row in example.rows]
        )
        largest = max((max(sequence) for sequence in sequences if len(sequence)), default=0)
        check_ids(model, int(largest), f"{task.name}, example {example.id},")
