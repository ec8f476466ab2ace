"""What can be done with a model, found from its configuration alone: no weights are loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass

from transformers import PreTrainedModel

from tapioca.checkpoints.cut import cut_config
from tapioca.checkpoints.guard import check_rebuild
from tapioca.errors import ExportError, ModelError
from tapioca.models.edit import check_fits
from tapioca.models.families import family_of
from tapioca.models.find import find_layers
from tapioca.models.load import skeleton
from tapioca.records import Plan


@dataclass(frozen=True)
class Facts:
    """What is known of a model before its weights are touched.

    Attributes:
        path: where the list of layers is.
        kinds: module classes of the layers, in order of first use.
        droppable: layers that can be dropped from the live model.
        exportable: layers a checkpoint can do without.
        reasons: why other layers cannot, one line each.
    """

    model_type: str
    path: str
    n_layers: int
    kinds: tuple[str, ...]
    parameters: int
    layer_parameters: int
    droppable: tuple[int, ...]
    exportable: tuple[int, ...]
    reasons: tuple[str, ...]


def inspect(name: str, revision: str | None = None, trust_remote_code: bool = False) -> Facts:
    """Find the layers of a model, and try every single drop on a copy without weights.

    Raises:
        ModelError: there is no such model, or its layers cannot be found.
    """
    return facts(skeleton(name, revision, trust_remote_code))


def facts(model: PreTrainedModel) -> Facts:
    """The same for a model in memory; it may lie on the meta device."""
    layers = find_layers(model)
    blocks = list(layers.blocks)
    droppable: list[int] = []
    exportable: list[int] = []
    reasons: dict[str, None] = {}
    config = json.loads(model.config.to_json_string(use_diff=False))
    for layer in range(len(blocks)):
        plan = Plan.drop(len(blocks), [layer])
        try:
            check_fits(plan, len(blocks), family_of(model))
            droppable.append(layer)
            check_rebuild(model, plan, cut_config(config, plan, model.config))
            exportable.append(layer)
        except (ModelError, ExportError) as error:
            reasons[str(error)] = None
    return Facts(
        model_type=model.config.model_type,
        path=layers.path,
        n_layers=len(blocks),
        kinds=tuple(dict.fromkeys(type(block).__name__ for block in blocks)),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layer_parameters=sum(parameter.numel() for block in blocks for parameter in block.parameters()),
        droppable=tuple(droppable),
        exportable=tuple(exportable),
        reasons=tuple(reasons),
    )
