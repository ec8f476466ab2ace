"""Let a model write: greedily, in one padded batch, with its own KV cache."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from tapioca.engine.preallocated_cache import preallocated_cache
from tapioca.errors import NonFiniteError
from tapioca.models.inputs import collate, run_forward
from tapioca.records import ComputeCost, Inputs

TIE_MARGIN = 1e-3
"""Logits closer than this are a near tie. A batch, padding and a cache round otherwise than a text alone does: in float32
they were seen to move the difference of two logits by up to 2e-5, so at this distance they cannot change places."""

HARMLESS_SETTINGS = {
    "_from_model_config", "bos_token_id", "cache_config", "cache_implementation", "do_sample", "eos_token_id",
    "max_length", "max_new_tokens", "output_attentions", "output_hidden_states", "pad_token_id", "temperature", "top_k",
    "top_p", "transformers_version", "use_cache",
}  # fmt: skip
"""What a generation config may say without greedy decoding becoming another than taking the largest logit."""

NAN_MESSAGE = "the outputs became NaN while the model wrote; try --dtype float32"
"""Greedy decoding would take a NaN for the largest number and go on."""

IsFinished = Callable[[Sequence[int]], bool]
"""Told what was written so far after one prompt; true where that is enough."""


@dataclass(frozen=True)
class PromptBatch:
    """Prompts to be continued together, and when the text after each has ended.

    Attributes:
        prompts: token ids.
        max_new_tokens: most tokens to write after a prompt.
        is_finished: told what was written so far after one prompt; true where that is enough.
        name: by which texts that other plans wrote for it are found.
    """

    prompts: Sequence[Inputs]
    max_new_tokens: int
    is_finished: IsFinished
    name: str = ""


def decode(
    model: PreTrainedModel,
    batch: PromptBatch,
    begun: Sequence[Sequence[int]] | None = None,
    alone: Callable[[int], AbstractContextManager[None]] = lambda row: nullcontext(),
    cost: ComputeCost | None = None,
) -> list[np.ndarray]:
    """Continue prompts greedily, by the model's own `generate`.

    The tokens are those of plain greedy decoding: one text at a time, without padding and without a cache. Where two
    logits nearly tie, the model reads that text so, and its answer decides; elsewhere rounding cannot. In half
    precision, whose rounding is larger than any sensible margin, and where the generation config changes the logits,
    `generate` alone decides.

    Args:
        model: a causal language model, possibly under a plan.
        batch: prompts, which are padded on the left.
        begun: what is written already after each prompt, and has not ended; part of the budget.
        alone: entered with the number of a row, lets the model read that row by itself.
        cost: told what it took, as if the model were one layer.

    Returns:
        The ids written after each prompt, int64, without the EOS token they ended with.

    Raises:
        NonFiniteError: an output is NaN.
    """
    if not batch.prompts:
        return []
    begun_ids = [list(ids) for ids in begun or [()] * len(batch.prompts)]
    texts = [(*prompt, *ids) for prompt, ids in zip(batch.prompts, begun_ids, strict=True)]
    inputs = collate(model, texts)
    inputs.pop("position_ids", None)  # `generate` counts them from the mask, step by step
    start, stop_tokens = inputs["input_ids"].shape[1], find_stop_ids(model)
    ends = _FinishTracker(batch, begun_ids, stop_tokens)
    ties = _TieResolver(model, batch.prompts, ends, alone)
    max_tokens = batch.max_new_tokens - min(map(len, begun_ids))
    with torch.inference_mode():
        sequences = model.generate(  # type: ignore[operator]
            **inputs,
            past_key_values=preallocated_cache(model, start + max_tokens),
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=min(stop_tokens, default=0),
            stopping_criteria=StoppingCriteriaList([ends]),
            logits_processor=LogitsProcessorList([_NoNaN(), *([ties] if can_resolve_ties(model) else [])]),
        )
    if cost:
        cost.add(ComputeCost(tokens=len(sequences) * (sequences.shape[1] - 1) + ties.n_tokens))
    return [np.array(ids[:-1] if ids and ids[-1] in stop_tokens else ids, dtype=np.int64) for ids in ends.texts]


def find_stop_ids(model: PreTrainedModel) -> set[int]:
    """The tokens by which a model ends a text."""
    eos = model.generation_config.eos_token_id if model.generation_config else None
    return {eos} if isinstance(eos, int) else set(eos or ())


def is_plain_greedy(model: PreTrainedModel) -> bool:
    """Whether greedy decoding takes the largest logit as it is, without penalties and the like."""
    return not model.generation_config or model.generation_config.to_diff_dict().keys() <= HARMLESS_SETTINGS


def can_resolve_ties(model: PreTrainedModel) -> bool:
    """Whether near ties are few and can be decided by the logits alone."""
    return is_plain_greedy(model) and torch.finfo(model.dtype).eps < TIE_MARGIN**2


def find_near_ties(logits: torch.Tensor) -> torch.Tensor:
    """Where the two largest logits are closer than `TIE_MARGIN`: bool of the shape of all but the last dimension."""
    top_two = logits.topk(2, -1).values
    return ~(top_two[..., 0] - top_two[..., 1] >= TIE_MARGIN)


def decode_token_alone(model: PreTrainedModel, text: Sequence[int]) -> int:
    """The next token of plain greedy decoding: the model reads this text alone, without padding and without a cache.

    Raises:
        NonFiniteError: an output is NaN.
    """
    logits = run_forward(model, collate(model, [tuple(text)]), keep=1)[0, -1]
    if logits.isnan().any():
        raise NonFiniteError(NAN_MESSAGE)
    return int(logits.argmax())


class _FinishTracker(StoppingCriteria):
    """What is written in each row, and whether it has ended: `generate` goes on padding it until the last one has."""

    def __init__(self, batch: PromptBatch, begun: list[list[int]], stop_tokens: set[int]):
        self.batch, self.stop_tokens = batch, stop_tokens
        self.texts = [list(ids) for ids in begun]
        self.has_ended = [False] * len(begun)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if not self.has_ended[row]:
                self.texts[row].append(token)
                self.has_ended[row] = self._ends(self.texts[row])
        return torch.tensor(self.has_ended, device=input_ids.device)

    def _ends(self, ids: list[int]) -> bool:
        return ids[-1] in self.stop_tokens or len(ids) == self.batch.max_new_tokens or self.batch.is_finished(ids)


class _NoNaN(LogitsProcessor):
    """Stops at the first NaN."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        if scores.isnan().any():
            raise NonFiniteError(NAN_MESSAGE)
        return scores


class _TieResolver(LogitsProcessor):
    """Lets plain greedy decoding choose between logits that nearly tie; counts the tokens it read for that."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Inputs], ends: _FinishTracker, alone: Any):
        self.model, self.prompts, self.ends, self.alone = model, prompts, ends, alone
        self.n_tokens = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        for row in find_near_ties(scores).nonzero()[:, 0].tolist():
            if not self.ends.has_ended[row]:
                text = [*self.prompts[row], *self.ends.texts[row]]
                with self.alone(row):
                    token = decode_token_alone(self.model, text)
                self.n_tokens += len(text)
                scores[row] = -torch.inf
                scores[row, token] = 0.0
        return scores
