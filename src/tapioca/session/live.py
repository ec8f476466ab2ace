"""Models and data that are in memory already, beside those that are named."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tapioca.errors import UsageError
from tapioca.models.identity import describe_model
from tapioca.models.load import LoadedModel
from tapioca.progress import Progress
from tapioca.records import DataConfig
from tapioca.session.context import RunInputs, load_inputs
from tapioca.session.data import LiveData
from tapioca.tasks.base import Task
from tapioca.tasks.rows import Rows, rows_in_memory

Model = str | Path | PreTrainedModel
"""A folder, a hub id, or a live transformers model."""
Data = str | Path | Task | Rows
"""A file or another source by its name, rows in memory, or a task object."""


@dataclass(frozen=True, eq=False)
class GivenData:
    """A model and data as a caller names or hands them over."""

    model: Model
    tokenizer: PreTrainedTokenizerBase | None
    task: Data | None
    reference: Data | None

    def names(self) -> dict[str, Any]:
        """What a request calls them.

        Raises:
            UsageError: a task object has the name of the other data.
        """
        task = "" if self.task is None else name_data(self.task, "rows")
        reference = None if self.reference is None else name_data(self.reference, "reference rows")
        if task == reference and (isinstance(self.task, Task) or isinstance(self.reference, Task)):
            raise UsageError(f"task and reference are both named '{task}'; give them different names")
        return {"model": name_model(self.model), "task": task, "reference": reference}

    @property
    def loaded(self) -> LoadedModel | None:
        """The model and its tokenizer where they are in memory."""
        return LoadedModel(self.model, self.tokenizer) if isinstance(self.model, PreTrainedModel) else None

    def name_live(self, config: DataConfig) -> LiveData:
        """The data that are in memory, by what a request calls them."""
        live: LiveData = {}
        for name, data in ((config.task, self.task), (config.reference, self.reference)):
            if name is not None and not isinstance(data, str | Path | None):
                live[name] = data if isinstance(data, Task) else rows_in_memory(data)
        return live

    def load(self, config: DataConfig, progress: Progress) -> RunInputs | None:
        """What is in memory, loaded with the rest; None where everything is given by its name."""
        loaded, live = self.loaded, self.name_live(config)
        return load_inputs(config, progress, loaded, live) if loaded or live else None


def name_model(model: Model) -> str:
    """What a model is called: where it came from, where it is in memory."""
    return describe_model(model) if isinstance(model, PreTrainedModel) else str(model)


def name_data(data: Data, otherwise: str) -> str:
    """What data are called; `otherwise` where they are rows in memory."""
    name = data.name if isinstance(data, Task) else data
    return str(name) if isinstance(name, str | Path) else otherwise
