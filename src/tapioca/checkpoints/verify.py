"""Does the written checkpoint equal the live plan? Asked of plain transformers, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import ExportError
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, forward, max_length
from tapioca.records import Plan

KEEP = 16
"""How many of the last outputs are compared."""

LONGEST = 4096
"""Most tokens of a probe, however long a sliding window is."""


def verify(model: PreTrainedModel, plan: Plan, folder: Path) -> float:
    """Compare a checkpoint's logits with those of the live model under the plan.

    Args:
        model: the model the plan is for, loaded on the CPU in the checkpoint's dtype.
        plan: the plan that was exported.
        folder: the written checkpoint.

    Returns:
        The largest absolute difference of a logit; exactly 0 where the same kernels ran.

    Raises:
        ExportError: it does not load cleanly, has another number of layers, or gives other logits.
    """
    batch = _probe(model)
    with apply(model, plan):
        expected = forward(model, batch, keep=KEEP).numpy()
    found = _reload(folder, {name: tensor.numpy() for name, tensor in batch.items()}, len(plan.kept), model)
    if found.shape != expected.shape:
        raise ExportError(
            f"the exported checkpoint gives logits of shape {found.shape}, the live plan {expected.shape}"
        )
    if not np.isfinite(expected).all():
        raise ExportError("the live model gives NaN or infinity, so nothing can be compared; check its weights")
    difference = float(np.abs(found - expected).max())
    allowed = 16 * torch.finfo(model.dtype).eps * float(np.abs(expected).max())
    if not difference <= allowed:
        raise ExportError(
            f"the exported checkpoint differs from the live plan by {difference:.3g} in a logit (allowed {allowed:.3g}); not written"
        )
    return difference


def _probe(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Seeded inputs: two sequences, one longer than a sliding window and one that is padded; or two images."""
    rng, config = np.random.default_rng(0), model.config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None) or 0
    lengths = (min(max(24, window + 8), LONGEST, max_length(model)), 17)
    if model.main_input_name == "pixel_values":
        shape = (2, model.config.num_channels, model.config.image_size, model.config.image_size)
        return {"pixel_values": torch.from_numpy(rng.normal(size=shape).astype(np.float32)).to(model.dtype)}
    if model.main_input_name != "input_ids":
        return collate(model, [rng.uniform(0, 1, (length, 2)).round(2).astype(np.float32) for length in lengths])
    return collate(model, [tuple(rng.integers(0, config.vocab_size, length).tolist()) for length in lengths])


def _reload(folder: Path, batch: dict[str, np.ndarray], layers: int, model: PreTrainedModel) -> np.ndarray:
    """Logits of the checkpoint in a fresh process that knows nothing of plans."""
    script = Path(__file__).with_name("reload.py")
    own = ["own"] if type(model).__module__.startswith("tapioca.") else []
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(Path(scratch) / "batch.npz", **batch)  # type: ignore[arg-type]
        words = [
            sys.executable,
            str(script),
            str(folder),
            scratch,
            str(layers),
            str(KEEP),
            str(torch.get_num_threads()),
            *own,
        ]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ExportError(f"the exported checkpoint does not reload with plain transformers: {reason}")
        logits: np.ndarray = np.load(Path(scratch) / "logits.npy")
        return logits
