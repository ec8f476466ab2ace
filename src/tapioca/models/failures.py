"""What goes wrong where a model is built or asked, in one line: transformers raises anything over a strange file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError, TapiocaError, describe_error, first_line, is_out_of_memory
from tapioca.hub import explain_hub_error
from tapioca.reading import describe_damage


@contextmanager
def explain_failed_load(source: str, revision: str | None, what: str) -> Iterator[None]:
    """Turn whatever a body raises that makes something of a model's files into one line that names them.

    Raises:
        ModelError: transformers, safetensors and code that comes with a model raise anything over a strange file.
    """
    try:
        yield
    except TapiocaError as error:
        if source in str(error):
            raise
        raise ModelError(f"{what}: {error}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise ModelError(
                f"{what} do not fit into memory; use --dtype bfloat16, --device auto or a smaller model"
            ) from error
        raise ModelError(_explain_failure(error, what, source, revision)) from error


def _explain_failure(error: Exception, what: str, source: str, revision: str | None) -> str:
    """Why something of a model could not be loaded: code nobody allowed, what the hub says, or the error's first line."""
    if "trust_remote_code" in str(error):
        return f"'{source}' needs code that comes with it; read the code, then add --trust-remote-code"
    hub_reason = None if Path(source).is_dir() else explain_hub_error(error, "model", source, revision)
    reason = describe_damage(error) if isinstance(error, KeyError) else first_line(error)
    return hub_reason or f"cannot load {what}: {reason}"


@contextmanager
def explain_failed_run(model: PreTrainedModel) -> Iterator[None]:
    """Turn what a model raises that was built but cannot compute into one line.

    Raises:
        ModelError: its configuration or its code is at fault.
        torch.OutOfMemoryError: the device has no memory; the CPU raises something else by itself.
    """
    try:
        yield
    except (torch.OutOfMemoryError, TapiocaError):
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise torch.OutOfMemoryError(first_line(error)) from error
        name = model.name_or_path or type(model).__name__
        raise ModelError(
            f"'{name}' cannot compute: {describe_error(error):.300}; check its config.json and generation_config.json"
        ) from error
