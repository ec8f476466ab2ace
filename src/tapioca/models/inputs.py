"""What a model is fed: sequences become one batch, padded on the side on which padding leaves the outputs alone."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import DataError, ModelError
from tapioca.models.failures import explain_failed_run
from tapioca.models.identity import describe_model
from tapioca.records import Inputs, TextPair


def collate(model: PreTrainedModel, sequences: Sequence[Inputs]) -> dict[str, torch.Tensor]:
    """Pad sequences into the keyword arguments of the model's forward.

    Padded on the left, so that every sequence ends at the last position. Positions are counted from each
    sequence's first token and given explicitly, since models with learned positions do not derive them from
    the mask. A classification head reads the first token, or finds the last one that is no padding: for it
    sequences are padded on the right with the model's own padding token, and positions are its own affair.

    Args:
        model: decides the device and which arguments its forward knows.
        sequences: token ids, or float32 arrays of shape (token, channel); all of one kind.

    Returns:
        The model's main input, `attention_mask` and, where known, `position_ids`, and `token_type_ids` where a sequence
        is of two texts and the model tells them apart: (batch, token).

    Raises:
        ModelError: a classification head without a padding token.
    """
    is_classifier = is_sequence_classifier(model)
    longest = max(len(sequence) for sequence in sequences)
    first = np.asarray(sequences[0])
    padding_token = _find_padding_token(model) if is_classifier else 0
    padded = np.full((len(sequences), longest, *first.shape[1:]), padding_token, dtype=first.dtype)
    mask, segments = np.zeros((2, len(sequences), longest), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        columns = slice(len(sequence)) if is_classifier else slice(longest - len(sequence), None)
        padded[row, columns] = sequence
        mask[row, columns] = 1
        segments[row, columns] = getattr(sequence, "segments", 0)
    batch = {model.main_input_name: padded, "attention_mask": mask}
    parameters = inspect.signature(model.forward).parameters
    if not is_classifier and "position_ids" in parameters:
        batch["position_ids"] = (mask.cumsum(1) - 1).clip(0)
    if _has_segments(model) and any(isinstance(sequence, TextPair) for sequence in sequences):
        batch["token_type_ids"] = segments
    return {name: torch.from_numpy(array).to(find_input_device(model)) for name, array in batch.items()}


def find_last_tokens(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The position of each sequence's last token in a batch of `collate`: int64 of shape (batch,)."""
    mask = batch["attention_mask"]
    return mask.shape[1] - 1 - mask.flip(1).argmax(1)


def is_sequence_classifier(model: PreTrainedModel) -> bool:
    """Whether a model ends in a classification head over whole texts, by the name of its class."""
    return type(model).__name__.endswith("ForSequenceClassification")


def classifier_labels(model: PreTrainedModel) -> tuple[str, ...] | None:
    """The names of a classification head's outputs, in order; None where the model has no such head."""
    names: dict[int, str] = model.config.id2label if is_sequence_classifier(model) else {}  # type: ignore[assignment]
    return tuple(names[index] for index in sorted(names)) or None


def _has_segments(model: PreTrainedModel) -> bool:
    """Whether a model tells the tokens of two texts apart; RoBERTa and DeBERTa take the argument and do not."""
    kinds = getattr(model.config, "type_vocab_size", None)
    return "token_type_ids" in inspect.signature(model.forward).parameters and (kinds is None or kinds > 1)


def _find_padding_token(model: PreTrainedModel) -> int:
    """The token that a classification head takes for padding."""
    token = model.config.get_text_config().pad_token_id
    if not isinstance(token, int):
        raise ModelError(
            f"'{describe_model(model)}' has no pad_token_id, by which its classification head finds the end of a text; "
            "set pad_token_id in its config, for instance to the EOS token"
        )
    return token


def check_ids(model: PreTrainedModel, largest: int, where: str) -> None:
    """Refuse a token id behind the model's embedding: tokens were added to a tokenizer and the embedding was not resized.

    Raises:
        DataError: the embedding has no row for the largest id that `where` holds. It may have more rows than a tokenizer
            has ids.
    """
    embedding: Any = model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    if largest >= rows:
        raise DataError(
            f"{where} holds token id {largest}, but the model's embedding has {rows} rows (ids 0 to {rows - 1}); use the "
            "tokenizer the model was trained with, or resize the embedding (resize_token_embeddings) and train it"
        )


def find_input_device(model: PreTrainedModel) -> torch.device:
    """Where a model takes its inputs: the device accelerate computes on, where it places the weights; else its own."""
    devices = (getattr(hook, "execution_device", None) for hook in _list_hooks(model))
    return torch.device(next((device for device in devices if device is not None), model.device))


def is_offloaded(model: PreTrainedModel) -> bool:
    """Whether accelerate fetches weights anew for every call of their module."""
    return any(getattr(hook, "offload", False) for hook in _list_hooks(model))


def _list_hooks(model: PreTrainedModel) -> Iterator[Any]:
    """What accelerate put on the modules of a model; None where it put nothing."""
    return (getattr(module, "_hf_hook", None) for module in model.modules())


def find_max_length(model: PreTrainedModel) -> int:
    """Most tokens the model can read; practically unbounded where its config says nothing."""
    length = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    return length if isinstance(length, int) and length > 0 else 1_000_000


def run_forward(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], keep: int, with_gradients: bool = False
) -> torch.Tensor:
    """The model's own outputs at the last `keep` positions: (batch, keep, output), float32.

    Outputs are logits, or the last hidden states of a model without a head. A classification head has one set of
    outputs for a whole text: they count as one position.

    Raises:
        ModelError: the model is in training mode, where dropout makes every answer a matter of luck.
    """
    if model.training:
        raise ModelError("the model is in training mode; call model.eval() first")
    parameters = inspect.signature(model.forward).parameters
    options = {"logits_to_keep": keep, "use_cache": False}
    options = {name: option for name, option in options.items() if name in parameters}
    with explain_failed_run(model), torch.inference_mode(not with_gradients):
        outputs = model(**batch, **options)
        raw_outputs: torch.Tensor = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]
    return (raw_outputs if raw_outputs.dim() > 2 else raw_outputs[:, None])[:, -keep:].float()


def is_causal(model: PreTrainedModel, sequence: np.ndarray) -> bool:
    """Whether what stands at the end of a sequence leaves the outputs before it alone, as tried on one."""
    if len(sequence) < 2:
        return True
    changed = sequence.copy()
    changed[-1] = changed[0]
    first, second = run_forward(model, collate(model, [sequence, changed]), keep=len(sequence))[:, :-1]
    largest = float(first.nan_to_num().abs().max())  # what is NaN is said where answers are scored
    return bool(torch.allclose(first, second, rtol=1e-2, atol=1e-2 * largest, equal_nan=True))
