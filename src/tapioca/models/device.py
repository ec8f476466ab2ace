"""Where a model is put."""

import torch

from tapioca.errors import ModelError, first_line

DEVICES = "cpu, cuda, cuda:N, mps or auto"


def choose_device(device: str | None) -> str:
    """The device asked for, else an NVIDIA or AMD GPU where there is one, else the CPU.

    Raises:
        ModelError: there is no such device, or it holds no numbers.
    """
    if device == "auto":
        return device
    if device == "meta":
        raise ModelError(f"device 'meta' holds no numbers; use {DEVICES}")
    target = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"cannot use device '{device}': {first_line(error)}; use {DEVICES}") from error
    return target


def describe_idle_gpu(device: str | None) -> str:
    """What to say of a GPU that nobody asked for; nothing where there is none, or it is used anyway.

    An Apple GPU has no float64 and rounds in its own way, so scores on it differ a little: it is used when asked for.
    """
    if device is None and not torch.cuda.is_available() and torch.backends.mps.is_available():
        return "the CPU is used; a GPU (mps) is there, --device mps uses it"
    return ""
