"""Does a written checkpoint equal the live plan? Asked of plain transformers, in a fresh process."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.checkpoints import reload
from tapioca.disk import make_folder, replace_atomically, scratch_folder, write_json
from tapioca.errors import ExportError
from tapioca.models.edit import apply
from tapioca.models.identity import has_own_code
from tapioca.models.inputs import collate, find_max_length
from tapioca.models.load import find_reload_class, load_tokenizer
from tapioca.plan import Plan

N_COMPARED = 16
"""How many of the last outputs are compared."""

MAX_PROBE_TOKENS = 4096
"""Most tokens of a probe, however long a sliding window is."""

TOKENIZER_PROBE = "The cat's 12,345 + 6.7 = x²?\n\n\tÄpfel, Київ, 数字, العربية, 한국어 🙂  "
"""What tokenizers are compared on."""

ROUNDINGS, ROUNDINGS_STORED = 256, 4
"""How many rounding steps an output may differ, relative to the largest one: of float32, which recurrent layers amplify
most; and, where weights have fewer digits, of their dtype."""


@dataclass(frozen=True)
class ExpectedAnswers:
    """What a checkpoint must answer; holds no model.

    Attributes:
        batch: the probe.
        answers: of the live model under the plan, as `reload.answers` gives them.
        kind: name of the class of transformers that loads it.
        layers: how many the plan keeps.
        dtype: what both sides compute in.
        allowed: largest difference of an output that counts as equal.
        own: whether the model is of a kind this package brings.
        code: whether it is of a kind that comes with its files.
    """

    batch: dict[str, np.ndarray]
    answers: dict[str, np.ndarray]
    kind: str
    layers: int
    dtype: str
    allowed: float
    own: bool
    code: bool = False

    @property
    def steps(self) -> int:
        """How many tokens generated with a KV cache are compared."""
        return len(self.answers.get("steps", ()))


def compute_expected(model: PreTrainedModel, plan: Plan, stored: torch.dtype | None = None) -> ExpectedAnswers:
    """Run the live model under a plan on seeded inputs: outputs, and a short generation with KV cache.

    Args:
        model: the model the plan is for, on the CPU.
        plan: the plan that was exported.
        stored: dtype of the checkpoint's weights, where the live model computes in another.

    Raises:
        ExportError: the live model gives NaN or infinity.
    """
    batch = _make_probe(model)
    with apply(model, plan):
        answers = reload.compute_answers(model, batch, N_COMPARED)
    largest = float(np.max([np.abs(answers[name]).max() for name in ("logits", "steps") if name in answers]))
    if not np.isfinite(largest):
        raise ExportError("the live model gives NaN or infinity, so nothing can be compared; check its weights")
    weights = torch.finfo(stored or model.dtype)
    rounding = ROUNDINGS * torch.finfo(torch.float32).eps + (ROUNDINGS_STORED * weights.eps if weights.bits < 32 else 0)
    return ExpectedAnswers(
        batch={name: tensor.numpy() for name, tensor in batch.items()},
        answers=answers,
        kind=find_reload_class(model),
        layers=len(plan.order),
        dtype=str(model.dtype).removeprefix("torch."),
        allowed=rounding * largest,
        own=type(model).__module__.startswith("tapioca."),
        code=has_own_code(model),
    )


def compare_reloaded(checkpoints: Sequence[tuple[Path, ExpectedAnswers]]) -> list[float]:
    """Reload checkpoints in one fresh process and compare what they answer with what is expected.

    Generation follows the live model's tokens, so that a near tie cannot hide or make a difference.

    Returns:
        The largest absolute difference of an output, for each; exactly 0 where the same kernels ran.

    Raises:
        ExportError: one does not load cleanly, has another number of layers, or answers in another shape.
    """
    with scratch_folder() as scratch:
        folders = [scratch / str(index) for index in range(len(checkpoints))]
        for folder, (checkpoint, expected) in zip(folders, checkpoints, strict=True):
            _write_job(folder, checkpoint, expected)
        process = subprocess.run([sys.executable, reload.__file__, *map(str, folders)], capture_output=True, text=True)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
            raise ExportError(f"the exported checkpoint does not reload in a fresh process: {reason}")
        return [
            _measure_difference(dict(np.load(folder / "found.npz")), expected)
            for folder, (_, expected) in zip(folders, checkpoints, strict=True)
        ]


def _write_job(folder: Path, checkpoint: Path, expected: ExpectedAnswers) -> None:
    job = {name: getattr(expected, name) for name in ("kind", "layers", "dtype", "own", "code")}
    job |= {"checkpoint": str(checkpoint), "keep": N_COMPARED, "threads": torch.get_num_threads()}
    forced = {"tokens": expected.answers["tokens"]} if "tokens" in expected.answers else {}
    make_folder(folder)
    write_json(folder / "job.json", job)
    with replace_atomically(folder / "batch.npz") as temporary:
        np.savez(temporary, **expected.batch, **forced)  # type: ignore[arg-type]


def _measure_difference(answers: dict[str, np.ndarray], expected: ExpectedAnswers) -> float:
    """The largest absolute difference of an answer."""
    differences = []
    for name, live_answer in expected.answers.items():
        if answers[name].shape != live_answer.shape:
            raise ExportError(
                f"the exported checkpoint gives {name} of shape {answers[name].shape}, the live plan {live_answer.shape}"
            )
        differences.append(np.abs(answers[name] - live_answer).max())
    return float(np.max(differences))  # unlike max(), it lets no NaN pass


def refuse_difference(difference: float, expected: ExpectedAnswers) -> None:
    """Refuse with an ExportError a difference that rounding does not explain."""
    if not difference <= expected.allowed:
        raise ExportError(
            f"the exported checkpoint differs from the live plan by {difference:.3g} in an output "
            f"(allowed {expected.allowed:.3g}); not written"
        )


def check_tokenizer(source: Path, written: Path, code: bool) -> None:
    """Refuse with an ExportError a tokenizer that is gone, or reads a text of many scripts and all special tokens otherwise."""
    before, after = (load_tokenizer(folder, trust_remote_code=code) for folder in (source, written))
    if before is None:
        return
    text = " ".join([TOKENIZER_PROBE, *before.all_special_tokens])
    if after is None or before(text)["input_ids"] != after(text)["input_ids"]:
        raise ExportError("the tokenizer of the exported checkpoint does not read as that of the model; not written")


def _make_probe(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Seeded inputs: two sequences, one longer than a sliding window and one that is padded; or two images."""
    rng, config = np.random.default_rng(0), model.config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None) or 0
    lengths = (min(max(24, window + 8), MAX_PROBE_TOKENS, find_max_length(model)), 17)
    if model.main_input_name == "pixel_values":
        shape = (2, model.config.num_channels, model.config.image_size, model.config.image_size)
        return {"pixel_values": torch.from_numpy(rng.normal(size=shape).astype(np.float32)).to(model.dtype)}
    if model.main_input_name != "input_ids":
        return collate(model, [rng.uniform(0, 1, (length, 2)).round(2).astype(np.float32) for length in lengths])
    return collate(model, [tuple(rng.integers(0, config.vocab_size, length).tolist()) for length in lengths])
