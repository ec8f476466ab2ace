"""Run as a script in a fresh process: load a checkpoint with plain transformers and save its logits.

Nothing of this project is imported, except with a last argument "own" for its own kind of model.
"""

import inspect
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModel


def main(folder: str, scratch: str, layers: str, keep: str, threads: str, own: str = "") -> None:
    """Load `folder`, check it, run `scratch`/batch.npz, and write `scratch`/logits.npy."""
    torch.set_num_threads(int(threads))
    if own:
        import tapioca  # noqa: F401  (makes its model type known)
    config = AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0], AutoModel)
    model, report = kind.from_pretrained(folder, dtype="auto", output_loading_info=True, use_safetensors=True)
    wrong = {what: sorted(map(str, names)) for what, names in report.items() if names}
    if wrong:
        sys.exit(f"weights and architecture differ: {wrong}")
    count = config.get_text_config(decoder=True).num_hidden_layers
    if count != int(layers):
        sys.exit(f"{count} layers, expected {layers}")
    batch = {name: torch.from_numpy(array) for name, array in np.load(Path(scratch) / "batch.npz").items()}
    known = inspect.signature(model.forward).parameters
    options = {name: value for name, value in (("logits_to_keep", int(keep)), ("use_cache", False)) if name in known}
    with torch.inference_mode():
        outputs = model.eval()(**batch, **options)
    found = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]
    np.save(Path(scratch) / "logits.npy", found[:, -int(keep) :].float().numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
