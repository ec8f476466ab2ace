"""Which model is this: a name for it, and a hash of everything that decides what it computes."""

import hashlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import align_module_device
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files

from tapioca.errors import ModelError

NOT_IN_HASH = {"_name_or_path", "architectures", "dtype", "transformers_version", "use_cache"}
"""Fields of a configuration that do not change what a model computes; the dtype is hashed with the weights."""


def describe_model(model: PreTrainedModel) -> str:
    """What to call a live model: where it came from, else its type."""
    return model.name_or_path or model.config.model_type


def has_own_code(model: PreTrainedModel) -> bool:
    """Whether a model's class is none of transformers' or this package's, but came with the model's files."""
    return type(model).__module__.partition(".")[0] == "transformers_modules"


def hash_model(model: PreTrainedModel) -> str:
    """Sixteen hexadecimal digits that name a model by its configuration, weights and dtype: equal models give equal digits.

    Weights are read where they are, module by module, so that an offloaded model is never in memory as a whole.

    Raises:
        ModelError: a weight is on the meta device and no accelerate hook can bring it.
    """
    settings = _select_hashed_settings(json.loads(model.config.to_json_string(use_diff=False)))
    if has_own_code(model):
        settings = {**settings, "auto_map": _hash_code(model)}  # which names the same files in more than one way
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for line in sorted(_hash_weights(model)):
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def _select_hashed_settings(config: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says about the computation, that of its parts included."""
    return {
        name: _select_hashed_settings(setting) if isinstance(setting, dict) else setting
        for name, setting in config.items()
        if name not in NOT_IN_HASH
    }


def _hash_code(model: PreTrainedModel) -> list[str]:
    """Hashes of the Python files a model's class comes from."""
    first = inspect.getfile(type(model))
    files = {first, *get_relative_import_files(first)}
    return sorted(hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files)


def _hash_weights(model: PreTrainedModel) -> Iterator[str]:
    """One line for each saved tensor: name, dtype, shape and hash."""
    for path, module in model.named_modules():
        with align_module_device(module):
            for name, tensor in {**module._parameters, **module._buffers}.items():
                if tensor is not None and name not in module._non_persistent_buffers_set:
                    yield f"{path}.{name} {tensor.dtype} {tuple(tensor.shape)} {_hash_tensor(tensor.detach())}"


def _hash_tensor(tensor: torch.Tensor) -> str:
    if tensor.is_meta:
        raise ModelError("some weights of this model are on the meta device and cannot be read; load it with weights")
    if hasattr(tensor, "__tensor_flatten__"):  # quantised tensors are made of plain ones
        return "+".join(_hash_tensor(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return hashlib.sha256(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data).hexdigest()
