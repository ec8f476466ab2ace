"""What a model is fed: sequences become one left-padded batch with explicit positions."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.records import Inputs


def collate(model: PreTrainedModel, sequences: Sequence[Inputs]) -> dict[str, torch.Tensor]:
    """Left-pad sequences into the keyword arguments of the model's forward.

    Positions are counted from each sequence's first token and given explicitly, since models with
    learned positions do not derive them from the mask.

    Args:
        model: decides the device and which arguments its forward knows.
        sequences: token ids, or float32 arrays of shape (token, channel); all of one kind.

    Returns:
        The model's main input, `attention_mask` and, where known, `position_ids`: (batch, token).
    """
    longest = max(len(sequence) for sequence in sequences)
    first = np.asarray(sequences[0])
    padded = np.zeros((len(sequences), longest, *first.shape[1:]), dtype=first.dtype)
    mask = np.zeros((len(sequences), longest), dtype=np.int64)
    for at, sequence in enumerate(sequences):
        padded[at, longest - len(sequence) :] = sequence
        mask[at, longest - len(sequence) :] = 1
    batch = {model.main_input_name: padded, "attention_mask": mask}
    if "position_ids" in inspect.signature(model.forward).parameters:
        batch["position_ids"] = (mask.cumsum(1) - 1).clip(0)
    return {name: torch.from_numpy(array).to(device_of(model)) for name, array in batch.items()}


def device_of(model: PreTrainedModel) -> torch.device:
    """Where a model takes its inputs: the device accelerate computes on, where it places the weights; else its own."""
    hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
    placed = next((device for hook in hooks if (device := getattr(hook, "execution_device", None)) is not None), None)
    return model.device if placed is None else torch.device(placed)


def max_length(model: PreTrainedModel) -> int:
    """Most tokens the model can read; practically unbounded where its config says nothing."""
    length = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else 1_000_000


def forward(model: PreTrainedModel, batch: dict[str, torch.Tensor], keep: int) -> torch.Tensor:
    """The model's own outputs at the last `keep` positions: (batch, keep, output), float32.

    Outputs are logits, or the last hidden states of a model without a head.

    Raises:
        ModelError: the model is in training mode, where dropout makes every answer a matter of luck.
    """
    if model.training:
        raise ModelError("the model is in training mode; call model.eval() first")
    known = inspect.signature(model.forward).parameters
    options = {name: value for name, value in (("logits_to_keep", keep), ("use_cache", False)) if name in known}
    with torch.inference_mode():
        outputs = model(**batch, **options)
    found: torch.Tensor = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]
    return found[:, -keep:].float()


def is_causal(model: PreTrainedModel, sequence: np.ndarray) -> bool:
    """Whether what stands at the end of a sequence leaves the outputs before it alone, as tried on one."""
    if len(sequence) < 2:
        return True
    changed = sequence.copy()
    changed[-1] = changed[0]
    first, second = forward(model, collate(model, [sequence, changed]), keep=len(sequence))[:, :-1]
    return bool(torch.allclose(first, second, rtol=1e-2, atol=1e-2 * float(first.abs().max()), equal_nan=True))
