"""Run as a script in a fresh process: load checkpoints with plain transformers and save what they answer.

Each argument is a folder with `job.json` and `batch.npz`; `found.npz` is written beside them. Nothing of this
project is imported, except for its own kind of model.
"""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModel, GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

N_GENERATED = 8
"""Tokens that are generated."""


class ForcedTokens(LogitsProcessor):
    """Leaves only the given next tokens (row, token) possible."""

    def __init__(self, tokens: np.ndarray):
        self.tokens = torch.from_numpy(tokens)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        forced = self.tokens[:, input_ids.shape[1]].to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter_(1, forced[:, None], 0.0)


def compute_answers(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], logits_to_keep: int, tokens: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What a model makes of a batch.

    Args:
        model: in evaluation mode.
        batch: keyword arguments of its forward.
        logits_to_keep: how many of the last outputs are kept.
        tokens: (row, token) to follow while generating; by default the likeliest.

    Returns:
        `logits` (row, keep, output), float32; where the model can generate also `tokens`, and `steps`: the logits
        (token, row, output) of STEPS tokens generated with a KV cache.
    """
    parameters = inspect.signature(model.forward).parameters
    optional_arguments = {"logits_to_keep": logits_to_keep, "use_cache": False}
    options = {name: option for name, option in optional_arguments.items() if name in parameters}
    with torch.inference_mode():
        outputs = model(**batch, **options)
    output = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]
    answered = {"logits": output[:, -logits_to_keep:].float().cpu().numpy()}
    if model.can_generate() and "input_ids" in batch:
        answered |= _generate_with_cache(model, batch, tokens)
    return answered


def _generate_with_cache(
    model: Any, batch: dict[str, torch.Tensor], tokens: np.ndarray | None
) -> dict[str, np.ndarray]:
    processors = LogitsProcessorList([] if tokens is None else [ForcedTokens(tokens)])
    prompt = {name: batch[name][:, :-N_GENERATED] for name in ("input_ids", "attention_mask")}
    greedy = GenerationConfig(
        max_new_tokens=N_GENERATED,
        do_sample=False,
        use_cache=True,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    # a checkpoint's own may ask for beams or stop strings
    original_config, model.generation_config = model.generation_config, greedy
    try:
        generated = model.generate(**prompt, logits_processor=processors)
    finally:
        model.generation_config = original_config
    return {"tokens": generated.sequences.cpu().numpy(), "steps": torch.stack(generated.logits).float().cpu().numpy()}


def main(*folders: str) -> None:
    """Do the job in each folder."""
    for folder in folders:
        job = json.loads((Path(folder) / "job.json").read_text())
        torch.set_num_threads(job["threads"])
        if job["own"]:
            import tapioca.models.learner  # noqa: F401  (makes its model type known)
        model = load_strictly(job["checkpoint"], job["kind"], job["layers"], job["dtype"], job["code"])
        arrays = dict(np.load(Path(folder) / "batch.npz"))
        tokens = arrays.pop("tokens", None)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        answers = compute_answers(model, batch, job["keep"], tokens)
        try:
            np.savez(Path(folder) / "found.npz", **answers)  # type: ignore[arg-type]
        except OSError as error:
            sys.exit(f"cannot write to {folder}: {error.strerror}; free some space, or name another folder by TMPDIR")


def load_strictly(checkpoint: str, kind: str, layers: int, dtype: str, code: bool) -> PreTrainedModel:
    """The model, or the end of the process with one line about what does not fit."""
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=code)
    model, report = getattr(transformers, kind, AutoModel).from_pretrained(
        checkpoint, dtype=dtype, output_loading_info=True, use_safetensors=True, trust_remote_code=code
    )
    mismatches = [
        f"{len(names)} {what.replace('_', ' ')} ({min(map(str, names))}, ...)"
        for what, names in report.items()
        if names
    ]
    if mismatches:
        sys.exit(f"weights and architecture differ: {', '.join(mismatches)}; save the model anew with save_pretrained")
    count = config.get_text_config(decoder=True).num_hidden_layers
    if count != layers:
        sys.exit(f"{count} layers, expected {layers}")
    return model.eval()


if __name__ == "__main__":
    main(*sys.argv[1:])
