"""What can be done with a model, found from its configuration alone: no weights are loaded."""

import json
from collections.abc import Callable
from functools import partial

from transformers import PreTrainedModel

from tapioca.checkpoints.bake import (
    explain_no_factors,
    explain_no_layer_scales,
    explain_no_maps,
    find_changed_branches,
)
from tapioca.checkpoints.cut import cut_config
from tapioca.checkpoints.guard import check_rebuild
from tapioca.commands.inspect.config import InspectConfig
from tapioca.commands.inspect.result import ModelFacts
from tapioca.engine.context_support import explain_whole_rows
from tapioca.errors import ExportError, ModelError
from tapioca.models.branches import find_branch
from tapioca.models.edit import check_fits
from tapioca.models.failures import explain_failed_load
from tapioca.models.find import find_layers
from tapioca.models.load import load_on_meta
from tapioca.plan import BRANCHES, Plan
from tapioca.progress import SILENT, Progress


def inspect_model(config: InspectConfig, progress: Progress = SILENT) -> ModelFacts:
    """Find the layers of a model, and try every single drop on a copy without weights.

    Raises:
        ModelError: there is no such model, or its layers cannot be found.
    """
    progress.stage(f"reading {config.model}", 0)
    with explain_failed_load(config.model, config.revision, f"the model '{config.model}'"):
        return collect_model_facts(load_on_meta(config.model, config.revision, config.trust_remote_code))


def collect_model_facts(model: PreTrainedModel) -> ModelFacts:
    """The same for a model in memory; it may lie on the meta device."""
    layers = find_layers(model)
    blocks, tried = layers.blocks, range(len(layers))
    reasons: dict[str, None] = {}
    config = json.loads(model.config.to_json_string(use_diff=False))

    def works(check: Callable[[], object]) -> bool:
        try:
            check()
        except (ModelError, ExportError) as error:
            reasons[str(error)] = None
            return False
        return True

    def rebuilds(plan: Plan) -> None:
        check_rebuild(model, plan, cut_config(config, plan, model.config))

    drops = [Plan.drop(len(blocks), [layer_index]) for layer_index in tried]
    droppable = [layer_index for layer_index in tried if works(partial(check_fits, model, drops[layer_index]))]
    exportable = [layer_index for layer_index in droppable if works(partial(rebuilds, drops[layer_index]))]
    live = [name for name in BRANCHES if all(works(partial(find_branch, model, block, name)) for block in blocks)]
    half = {name: Plan.scale(len(blocks), dict.fromkeys(tried, 0.5), name) for name in live}
    repeats = [Plan(n_layers=len(blocks), repeats=[(layer_index, layer_index)]) for layer_index in tried]
    repeatable = [layer_index for layer_index in tried if works(partial(check_fits, model, repeats[layer_index]))]
    all_twice = Plan(n_layers=len(blocks), repeats=[(layer_index, layer_index) for layer_index in repeatable])
    doubled = repeatable
    if not works(partial(rebuilds, all_twice)):  # one by one where it matters, since each builds a whole model
        doubled = [layer_index for layer_index in repeatable if works(partial(rebuilds, repeats[layer_index]))]
    return ModelFacts(
        model_type=model.config.model_type,
        path=layers.path,
        n_layers=len(blocks),
        kinds=tuple(dict.fromkeys(type(block).__name__ for block in blocks)),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layer_parameters=sum(parameter.numel() for block in blocks for parameter in block.parameters()),
        droppable=tuple(droppable),
        exportable=tuple(exportable),
        branches=tuple(live),
        written=tuple(name for name in live if works(partial(find_changed_branches, half[name], model))),
        reasons=tuple(reasons),
        no_layer_scales=explain_no_layer_scales(model),
        repeatable=tuple(repeatable),
        doubled=tuple(doubled),
        no_factors=explain_no_factors(model),
        no_maps=explain_no_maps(model) if "mlp" in live else "",
        whole_rows=explain_whole_rows(model),
    )
