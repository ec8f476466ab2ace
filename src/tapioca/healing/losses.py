"""What a student learns from: right answers, or what its teacher, the full model, gives on the same rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import kl_div
from transformers import PreTrainedModel

from tapioca.evaluate.reading import compute_gold_log_likelihoods
from tapioca.models.capture import capture_layers
from tapioca.models.inputs import collate, run_forward
from tapioca.observe.streams import find_counted_tokens
from tapioca.records import Example
from tapioca.tasks.base import Task
from tapioca.tasks.regress import Regression

Loss = Callable[[PreTrainedModel, Sequence[Example]], torch.Tensor]
"""Of a student on some examples of one task, a scalar to learn from."""


@dataclass(frozen=True, eq=False)
class LabelLoss:
    """Minus the mean log-likelihood of the right answers, as the task scores them; of numbers the mean squared error."""

    task: Task

    def __call__(self, student: PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
        return -compute_gold_log_likelihoods(student, self.task, examples).mean()


@dataclass(frozen=True, eq=False)
class TeacherLoss:
    """How far a student's outputs are from its teacher's, and its states from those after the same layers there.

    Outputs differ by the Kullback-Leibler divergence of the student from the teacher, a mean over the positions that the task
    reads; where they are numbers, by the mean squared difference. States after a layer, but for those of first tokens, differ by
    the squared distance over the squared length of the teacher's, a mean over layers. No right answer is read.

    Attributes:
        task: of the examples.
        teacher: the full model.
        layers: the layer of the teacher that each layer of the student was, ascending.
    """

    task: Task
    teacher: PreTrainedModel
    layers: tuple[int, ...]

    def __call__(self, student: PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
        rows = [row for example in examples for row in example.rows]
        batch, keep = collate(student, [row.inputs for row in rows]), self.task.logits_to_keep(rows)
        wanted, wanted_states = run_with_states(self.teacher, batch, keep, with_gradients=False)
        outputs, states = run_with_states(student, batch, keep)
        is_counted = find_counted_tokens(batch).to(outputs.device)
        pairs = ((states[place], wanted_states[layer]) for place, layer in enumerate(self.layers))
        distances = [_measure_distance(state[is_counted], target[is_counted]) for state, target in pairs]
        return (
            self._compare_outputs(outputs, wanted, [len(row.targets) for row in rows]) + torch.stack(distances).mean()
        )

    def _compare_outputs(self, outputs: torch.Tensor, wanted: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """A mean over the last positions of every row that the task reads."""
        from_end, n_read = torch.arange(outputs.shape[1]).flip(0), torch.tensor(lengths)[:, None]
        if isinstance(self.task, Regression):  # numbers are read at every second position, that of an x
            is_read = (from_end % 2 == 0) & (from_end < 2 * n_read)
            return torch.nn.functional.mse_loss(outputs[is_read], wanted[is_read])
        is_read = (from_end < n_read) | (outputs.shape[1] == 1)
        student, teacher = (side[is_read].log_softmax(-1) for side in (outputs, wanted))
        return kl_div(student, teacher, log_target=True, reduction="batchmean")


def run_with_states(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], keep: int, with_gradients: bool = True
) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Outputs at the last `keep` positions, and states after every layer, (batch, token, width), by its place."""
    states: dict[int, torch.Tensor] = {}
    with capture_layers(model, states.__setitem__):
        outputs = run_forward(model, batch, keep, with_gradients)
    if with_gradients:
        return outputs, states
    # of inference mode, which a loss with gradients cannot hold
    return outputs.clone(), {place: state.clone() for place, state in states.items()}


def _measure_distance(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Squared distance of states from others over the squared length of these, in float32."""
    states, wanted = states.float(), wanted.float()
    return (states - wanted).pow(2).sum() / wanted.pow(2).sum()
