"""Let a model write: greedily, in one padded batch, with its own KV cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from tapioca.errors import NonFiniteError
from tapioca.models.inputs import collate
from tapioca.records import Inputs


def decode(
    model: PreTrainedModel, prompts: Sequence[Inputs], budget: int, ended: Callable[[Sequence[int]], bool]
) -> list[np.ndarray]:
    """Continue prompts greedily, by the model's own `generate`.

    Args:
        model: a causal language model, possibly under a plan.
        prompts: token ids; padded on the left.
        budget: most tokens to write after a prompt.
        ended: told what was written so far after one prompt; true where that is enough.

    Returns:
        The ids written after each prompt, int64, without the EOS token they ended with.

    Raises:
        NonFiniteError: an output is NaN.
    """
    if not prompts:
        return []
    batch = collate(model, prompts)
    batch.pop("position_ids", None)  # `generate` counts them from the mask, step by step
    start = batch["input_ids"].shape[1]
    eos = model.generation_config.eos_token_id if model.generation_config else None
    stops = {eos} if isinstance(eos, int) else set(eos or ())
    ends = _Ends(start, stops, ended, len(prompts))
    with torch.inference_mode():
        whole = model.generate(  # type: ignore[operator]
            **batch,
            max_new_tokens=budget,
            do_sample=False,
            num_beams=1,
            pad_token_id=min(stops, default=0),
            stopping_criteria=StoppingCriteriaList([ends]),
            logits_processor=LogitsProcessorList([_NoNaN()]),
        )
    found = [row[start:end].cpu().numpy() for row, end in zip(whole, ends.at, strict=True)]
    return [ids[:-1] if len(ids) and int(ids[-1]) in stops else ids for ids in found]


class _Ends(StoppingCriteria):
    """Remembers where each row ended, since `generate` goes on padding it until the last one has."""

    def __init__(self, start: int, stops: set[int], ended: Callable[[Sequence[int]], bool], rows: int):
        self.start, self.stops, self.ended = start, stops, ended
        self.at: list[int | None] = [None] * rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        for row, ids in enumerate(input_ids[:, self.start :].tolist()):
            if self.at[row] is None and (ids[-1] in self.stops or self.ended(ids)):
                self.at[row] = input_ids.shape[1]
        return torch.tensor([at is not None for at in self.at], device=input_ids.device)


class _NoNaN(LogitsProcessor):
    """Greedy decoding would take a NaN for the largest number and go on."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        if scores.isnan().any():
            raise NonFiniteError("the outputs became NaN while the model wrote; try --dtype float32")
        return scores
