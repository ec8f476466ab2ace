"""Find the list of layers inside a model: by table, else by structure, else refuse."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.families import find_family
from tapioca.models.identity import describe_model


@dataclass(frozen=True)
class Layers:
    """Where a model keeps its layers.

    Attributes:
        path: dotted path of the list from the model's root, for instance "model.layers".
        parent: the module that holds the list.
        name: the attribute of `parent` that is the list.
        config: the configuration that counts these layers (the text part of a multimodal model).
    """

    path: str
    parent: nn.Module
    name: str
    config: PretrainedConfig

    @property
    def blocks(self) -> nn.ModuleList:
        """The list as it is now."""
        blocks = getattr(self.parent, self.name)
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    def __len__(self) -> int:
        return len(self.blocks)


def find_layers(model: PreTrainedModel) -> Layers:
    """Find the layer list of a model.

    Raises:
        ModelError: no list, or more than one, could be it; the message lists the candidates.
    """
    config = model.config.get_text_config(decoder=True)
    count = getattr(config, "num_hidden_layers", None)
    length_by_path = {name: len(module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    attempts = (
        [path for path in candidate_paths if length_by_path.get(path) == count]
        for candidate_paths in (*_candidates(model), length_by_path)
    )
    fitting: list[str] = next(filter(None, attempts), [])
    if len(fitting) != 1:
        candidates = ", ".join(f"{path} ({length})" for path, length in length_by_path.items()) or "none"
        raise ModelError(
            f"cannot tell which modules are the {count} layers of '{describe_model(model)}' ({model.config.model_type}); "
            f"expected one list of that length, saw: {candidates}"
        )
    path = fitting[0]
    parent, _, name = path.rpartition(".")
    return Layers(path=path, parent=model.get_submodule(parent), name=name, config=config)


def _candidates(model: PreTrainedModel) -> Iterator[list[str]]:
    """Paths to try, the surest first: the table's, then every list inside the decoder."""
    prefix, layers = model.base_model_prefix, find_family(model).layers
    if layers:
        yield [f"{prefix}.{layers}" if hasattr(model, prefix) else layers]
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    inside = {id(module) for module in (decoder or model).modules()}
    yield [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and id(module) in inside]
