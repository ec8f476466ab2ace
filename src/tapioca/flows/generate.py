"""Use a plan on a live model from the shell, without writing weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import TextStreamer

from tapioca.errors import ModelError
from tapioca.flows.prepare import load_configured_model
from tapioca.models.edit import apply
from tapioca.models.inputs import check_ids, find_input_device
from tapioca.plan import Plan
from tapioca.records import GenerateConfig


class _CallbackStreamer(TextStreamer):
    """Hands over pieces of text as they are finished."""

    def __init__(self, tokenizer: object, tell: Callable[[str], None]):
        super().__init__(tokenizer, skip_special_tokens=True)  # type: ignore[arg-type]
        self.tell = tell

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.tell(text)


def generate(config: GenerateConfig, plan: Plan, tell: Callable[[str], None]) -> None:
    """Continue a prompt greedily under a plan.

    Args:
        config: model, prompt and number of tokens.
        plan: what to drop or scale.
        tell: called with each piece of text, the prompt first.

    Raises:
        DataError: the tokenizer gives an id the model has no embedding for.
        ModelError: the model has no tokenizer, or the plan does not fit it.
    """
    model, tokenizer = load_configured_model(config)
    if tokenizer is None or not model.can_generate():
        raise ModelError(f"'{config.model}' cannot write text; use a causal language model with its tokenizer")
    inputs = tokenizer(config.prompt, return_tensors="pt", return_token_type_ids=False).to(find_input_device(model))
    check_ids(model, int(inputs["input_ids"].max()), "the prompt")
    with apply(model, plan), torch.inference_mode():
        model.generate(  # type: ignore[operator]
            **inputs, max_new_tokens=config.tokens, do_sample=False, streamer=_CallbackStreamer(tokenizer, tell)
        )
