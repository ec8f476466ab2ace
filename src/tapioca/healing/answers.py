"""A task answered by its teacher, the full model, in place of the right answers."""

from dataclasses import replace

from transformers import PreTrainedModel

from tapioca.errors import UsageError
from tapioca.evaluate.full_answers import read_choice_values, write_full_texts
from tapioca.tasks.base import Task
from tapioca.tasks.choice import OneOfSeveral
from tapioca.tasks.generate import Generate


def answer_by_teacher(teacher: PreTrainedModel, task: Task, batch_size: int) -> Task:
    """The same examples with what the full model writes, or chooses, as the right answer; no right answer is read.

    Raises:
        UsageError: it gives numbers, or is asked for running text, where it has no answer of its own.
    """
    if isinstance(task, Generate):
        return write_full_texts(teacher, task, batch_size)
    if isinstance(task, OneOfSeveral):
        values = read_choice_values(teacher, task, batch_size)
        chosen = (
            replace(example, gold=int(values[example.id].argmax()), also=(), answer="") for example in task.examples
        )
        return task.select_examples(chosen)
    raise UsageError(f"{task.name} has no answers that the full model could give; heal --by teacher")
