"""The model of a run in this process, and in the workers that a run is spread over."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import PreTrainedModel

from tapioca.cluster.dispatch import Dispatcher
from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import Schedule
from tapioca.errors import ModelError
from tapioca.evaluate import Scorer
from tapioca.models.identity import describe_model, hash_model
from tapioca.models.inputs import find_input_device
from tapioca.models.load import LoadedModel, load
from tapioca.progress import Progress
from tapioca.records import DataConfig, RunConfig
from tapioca.session.folder import describe_setup
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches


def load_configured_model(config: DataConfig) -> LoadedModel:
    """The model of a request, where and as it asks for it.

    Raises:
        ModelError: it cannot be loaded.
    """
    return load(
        config.model,
        device=config.device,
        dtype=config.dtype,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        adapter=config.adapter,
    )


def allowed_state_bytes(config: RunConfig, loaded: LoadedModel) -> int:
    """Bytes for hidden states: what the user allows, else a quarter of what is free."""
    device = find_input_device(loaded.model)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return config.state_memory_bytes or free // 4


@dataclass(frozen=True)
class WorkerModel:
    """The model as a worker has it: the one that this process has, or that the same request leads to where it is.

    Attributes:
        config: the request, in words that hold in another working folder.
        name: of the model, as errors of this process call it.
        setup: `describe_setup` of this process.
        live: a model that has no name.
        workers: how many share the batches of a task, and the memory where they may share a machine.
        batches: of the task that is searched on.
    """

    config: RunConfig
    name: str
    setup: dict[str, Any]
    live: LoadedModel | None
    workers: int
    batches: int

    def __call__(self) -> tuple[PreTrainedModel, Schedule]:
        """The model, and how plans run together.

        Raises:
            ModelError: it cannot be loaded, or is not the one of the process that asks.
        """
        loaded = self.live or load_configured_model(self.config)
        loaded.model.name_or_path = self.name
        setup = describe_setup(self.config, loaded, hash_model(loaded.model))
        for name, expected in self.setup.items():
            if setup[name] != expected:
                raise ModelError(
                    f"its {name} is {setup[name]}, expected {expected} as where the command runs; make both the same"
                )
        on_gpu = find_input_device(loaded.model).type == "cuda"
        state_bytes = allowed_state_bytes(self.config, loaded) // (1 if on_gpu else self.workers)
        state_cache = StateCache(state_bytes, -(-self.batches // self.workers))
        return loaded.model, Schedule(self.config.plan_batching, self.config.state_memory_bytes, state_cache)


@contextmanager
def open_scorer(
    config: RunConfig, loaded: LoadedModel, model_hash: str, is_live: bool, searched: Task, progress: Progress
) -> Iterator[Scorer | None]:
    """Workers that compute the answers of a run as long as the body lasts; None where this process does.

    Args:
        config: the request.
        loaded, model_hash, is_live: the model, its name, and whether it has no other.
        searched: the task whose states are kept from round to round.
        progress: told that workers are started.

    Raises:
        UsageError: the cluster cannot be reached, or has no room for the workers.
    """
    if not config.ray:
        yield None
        return
    from tapioca.cluster.connect import STARTING, connect_ray, list_nodes
    from tapioca.cluster.ray_crew import RayCrew
    from tapioca.cluster.share import Share

    progress.stage(STARTING, 0)
    device = find_input_device(loaded.model).type
    with connect_ray(config.ray, config.workers, progress.shows_logs) as ray:
        share = Share.choose(list_nodes(ray), config.workers, on_gpu=device == "cuda")
        setup = describe_setup(config, loaded, model_hash)
        batches = make_batches(searched, config.batch_size, config.order_seed)
        worker_config = config.model_copy(update=_find_anywhere(config, device))
        live, name = loaded if is_live else None, describe_model(loaded.model)
        model = WorkerModel(worker_config, name, setup, live, share.workers, len(batches))
        progress.note(f"batches are spread over {share.workers} Ray workers of {share.threads} threads")
        yield Dispatcher(RayCrew(ray, share, model, searched), progress.note)


def _find_anywhere(config: RunConfig, device: str) -> dict[str, Any]:
    """What of a request to change for a worker: folders by their full path, and the device without its number."""
    paths = {name: path for name in ("model", "adapter") if (path := getattr(config, name)) and Path(path).exists()}
    full_paths = {name: type(path)(Path(path).resolve()) for name, path in paths.items()}
    return {**full_paths, "device": config.device if config.device == "auto" else device}
