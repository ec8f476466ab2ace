"""Run as a script in a fresh process: load a checkpoint with plain transformers and save its logits.

Nothing of this project is imported, except with a last argument "own" for its own kind of model.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM


def main(folder: str, scratch: str, layers: str, keep: str, threads: str, own: str = "") -> None:
    """Load `folder`, check it, run `scratch`/batch.npz, and write `scratch`/logits.npy."""
    torch.set_num_threads(int(threads))
    if own:
        import tapioca  # noqa: F401  (makes its model type known)
    kind = AutoModel if own else AutoModelForCausalLM
    model, report = kind.from_pretrained(folder, dtype="auto", output_loading_info=True, use_safetensors=True)  # type: ignore[misc]
    wrong = {what: sorted(map(str, names)) for what, names in report.items() if names}
    if wrong:
        sys.exit(f"weights and architecture differ: {wrong}")
    count = AutoConfig.from_pretrained(folder).get_text_config(decoder=True).num_hidden_layers
    if count != int(layers):
        sys.exit(f"{count} layers, expected {layers}")
    batch = {name: torch.from_numpy(array) for name, array in np.load(Path(scratch) / "batch.npz").items()}
    with torch.inference_mode():
        logits = model.eval()(**batch, logits_to_keep=int(keep), use_cache=False).logits
    np.save(Path(scratch) / "logits.npy", logits.float().numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
