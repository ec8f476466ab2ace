"""What the full model itself says: what plans can be held against where nobody knows what is right."""

from dataclasses import replace
from itertools import islice

import numpy as np
from transformers import PreTrainedModel

from tapioca.engine.decode import PromptBatch
from tapioca.engine.generate import generate_texts
from tapioca.engine.speculative import DraftStore
from tapioca.engine.sweep import Schedule
from tapioca.evaluate.batch import BatchEvaluator
from tapioca.models.find import find_layers
from tapioca.plan import Plan
from tapioca.records import ComputeCost, Request
from tapioca.tasks.batches import make_batches
from tapioca.tasks.choice import OneOfSeveral
from tapioca.tasks.generate import ANSWER_LOSS, Generate
from tapioca.tasks.without_answers import blind


def read_choice_values(model: PreTrainedModel, task: OneOfSeveral, batch_size: int = 16) -> dict[str, np.ndarray]:
    """The log-likelihood of each choice under the full model, as the task compares them: float64 of shape (choice,), by
    the example's id.

    Raises:
        NonFiniteError: an output is NaN or infinite.
    """
    full, values = Plan.full(len(find_layers(model))), {}
    evaluator = BatchEvaluator(model, task, Schedule())
    for batch in make_batches(task, batch_size):
        readings = iter(evaluator.read_outputs([full], batch, ComputeCost())[full])
        for example in batch.examples:
            values[example.id] = task.compare(example, list(islice(readings, len(example.rows))))
    return values


def write_full_texts(model: PreTrainedModel, task: Generate, batch_size: int = 16) -> Generate:
    """The same prompts, with what the full model writes after each as the answer, scored by its likelihood per token."""
    full, examples = Plan.full(len(find_layers(model))), []
    for batch in make_batches(task, batch_size):
        prompts = PromptBatch([example.prompt for example in batch.examples], task.token_limit, task.is_finished)
        texts = generate_texts(model, [full], prompts, Schedule(), DraftStore(batches=1), ComputeCost())[full]
        for example, written in zip(batch.examples, texts, strict=True):
            answer = written.tolist() or [task.tokenizer.eos_token_id]  # a text that ends at once is EOS alone
            row = Request.continuation(list(example.prompt), answer)
            examples.append(replace(blind(example), rows=(row,)))
    return replace(task, examples=tuple(examples), metric=ANSWER_LOSS)
