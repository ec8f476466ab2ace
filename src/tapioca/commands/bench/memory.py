"""The most memory that a call holds at once beside the weights."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from tapioca.machine import watch_memory
from tapioca.models.inputs import find_input_device


def measure_held_bytes(model: PreTrainedModel, inputs: Iterable[torch.Tensor], call: Callable[[], Any]) -> int:
    """Bytes: on a CUDA device what torch's allocator gave out at once; elsewhere what tensors held at once, which unlike the
    process's memory is the same in every run, and leaves out what an operation holds inside itself."""
    if find_input_device(model).type == "cuda":
        with watch_memory("cuda") as held:
            call()
        return held.bytes
    with _TensorCount([*inputs, *model.parameters(), *model.buffers()]) as count:
        call()
    return count.most


class _TensorCount(TorchDispatchMode):
    """Counts the bytes of tensors from the operation that makes them until they are gone.

    Args:
        known: tensors that were there before.
    """

    def __init__(self, known: Iterable[torch.Tensor]):
        super().__init__()
        self.now = self.most = 0
        self._storages = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place in self._storages:
            return
        self._storages.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._remove, place, size).atexit = False

    def _remove(self, place: int, size: int) -> None:
        self._storages.discard(place)
        self.now -= size
