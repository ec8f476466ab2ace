"""One call of a model: it writes behind prompts, or reads them; and what of it is timed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from tapioca.commands.bench.config import Size
from tapioca.commands.bench.result import Measure
from tapioca.errors import ModelError
from tapioca.models.failures import explain_failed_run
from tapioca.models.identity import describe_model
from tapioca.models.inputs import collate, find_max_length, is_sequence_classifier, run_forward
from tapioca.timing import read_clock

Times = dict[Measure, float]
Call = Callable[[], Times]
"""Does something once and returns the seconds that its parts took."""

SPECIAL_FIELDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "cls_token_id",
    "sep_token_id",
)


def is_writer(model: PreTrainedModel) -> bool:
    """Whether a model generates text."""
    return model.can_generate() and model.main_input_name == "input_ids" and not is_sequence_classifier(model)


def check_size(model: PreTrainedModel, size: Size, new_tokens: int) -> None:
    """Refuse a size that a model cannot read.

    Raises:
        ModelError: prompts, and what is written behind them, are longer than the model can read.
    """
    most = find_max_length(model)
    if size.length + new_tokens > most:
        behind = f" and {new_tokens} written behind them" if new_tokens else ""
        raise ModelError(
            f"--grid: prompts of {size.length} tokens{behind} are longer than the {most} tokens that "
            f"'{describe_model(model)}' reads; give shorter ones, for instance --grid 1,8x{max(1, (most - new_tokens) // 2)}"
        )


def make_prompts(model: PreTrainedModel, size: Size) -> dict[str, torch.Tensor]:
    """Random prompts of one length, without padding and special tokens: the same at every call.

    Raises:
        ModelError: the model reads neither tokens nor the lab's numbers.
    """
    rng = np.random.default_rng(0)
    if model.main_input_name == "values":
        numbers = rng.standard_normal((size.batch, size.length)).astype(np.float32)
        marks = np.broadcast_to(np.arange(size.length, dtype=np.float32) % 2, numbers.shape)
        return collate(model, [*np.stack([numbers, marks], axis=-1)])
    if model.main_input_name != "input_ids":
        raise ModelError(
            f"'{describe_model(model)}' reads {model.main_input_name}; only models that read tokens, and the lab's, are timed"
        )
    embedding: Any = model.get_input_embeddings()
    tokens = np.setdiff1d(np.arange(embedding.weight.shape[0]), _list_special_tokens(model))
    return collate(model, [*rng.choice(tokens, (size.batch, size.length))])


def _list_special_tokens(model: PreTrainedModel) -> list[int]:
    """Ids that a model does not take for text."""
    config = model.config.get_text_config(decoder=True)
    fields = (getattr(config, name, None) for name in SPECIAL_FIELDS)
    return [token for field in fields for token in (field if isinstance(field, list) else [field]) if token is not None]


def make_reading_call(model: PreTrainedModel, prompts: dict[str, torch.Tensor]) -> Call:
    """A forward over prompts, with outputs at the last token of each."""

    def call() -> Times:
        start = read_clock()
        run_forward(model, prompts, keep=1)
        return {"forward": read_clock() - start}

    return call


def make_writing_call(
    model: PreTrainedModel, prompts: dict[str, torch.Tensor], new_tokens: int, use_cache: bool = True
) -> Call:
    """Greedy writing of so many tokens behind every prompt, by the model's own `generate`."""
    inputs = {name: prompts[name] for name in ("input_ids", "attention_mask")}
    generate: Any = model.generate

    def call() -> Times:
        clock = _TokenClock()
        with _generating(model, new_tokens), explain_failed_run(model), torch.inference_mode():
            start = read_clock()
            generate(**inputs, use_cache=use_cache, stopping_criteria=StoppingCriteriaList([clock]))
            end = read_clock()
        first, last = clock.times[0], clock.times[-1]
        if new_tokens == 1:
            return {"first_token": first - start}
        return {"first_token": first - start, "decode": last - first, "whole": end - start}

    return call


class _TokenClock(StoppingCriteria):
    """Notes when each token is there; stops nothing."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        self.times.append(read_clock())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def _generating(model: PreTrainedModel, new_tokens: int) -> Iterator[None]:
    """Plain greedy decoding of so many tokens; a model's own settings may ask for beams, penalties or an early end."""
    greedy = GenerationConfig(
        max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, num_beams=1, pad_token_id=0
    )
    original_config, model.generation_config = model.generation_config, greedy
    try:
        yield
    finally:
        model.generation_config = original_config
