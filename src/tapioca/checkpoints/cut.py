"""Copy a checkpoint under a plan, one file in memory at a time.

Tensors of dropped layers are left out, those of repeated ones are there twice, later layers are renumbered, the last
weights of branches that are scaled or mapped are changed, and everything else is copied byte for byte.
"""

import shutil
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.checkpoints.bake import ChangedBranch, check_writers, find_changed_branches, rewrite_tensor
from tapioca.checkpoints.companions import copy_companions, drop_paths, write_settings
from tapioca.checkpoints.guard import check_rebuild
from tapioca.checkpoints.names import KeptTensor, map_kept_tensors
from tapioca.checkpoints.older import add_version_4_fields, newer_only
from tapioca.checkpoints.renumber import renumber_layers
from tapioca.disk import make_folder, replace_atomically, write_json
from tapioca.errors import ExportError
from tapioca.models.edit import cut_fields
from tapioca.models.files import check_inside, find_weight_files, find_weights_name
from tapioca.models.prediction import find_prediction_counts, is_prediction_weight, remove_prediction_layers
from tapioca.plan import Plan
from tapioca.reading import explain_damage, read_object

COUNT_FIELDS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
TEXT_FIELD = "text_config"
QUANTISATION_FIELDS = ("quantization_config", "compression_config")


def cut_checkpoint(
    source: Path, target: Path, plan: Plan, model: PreTrainedModel, code: bool = False
) -> tuple[str, ...]:
    """Write `target` as the checkpoint `source` under a plan.

    Args:
        source: a Hugging Face model folder with safetensors weights.
        target: a folder that is empty or not there yet.
        plan: drops, repeats, and what else weights can carry.
        model: the model in `source`, for the guards; it may lie on the meta device.
        code: whether Python files that come with the model are to come along.

    Returns:
        What was left out, one sentence each.

    Raises:
        ExportError: weights cannot carry the plan, transformers would build other layers from the cut config, or the
            files do not hold exactly the plan's layers.
    """
    changes = find_changed_branches(plan, model)
    source_config = read_object(source / "config.json", ExportError)
    with explain_damage(source / "config.json", ExportError):
        config = drop_paths(cut_config(source_config, plan, model.config))
    check_rebuild(model, plan, config)
    weight_files = find_weight_files(source, source_config)
    for path in (source / "config.json", *weight_files):
        check_inside(path, source)
    files = {file: _read_tensor_names(file) for file in weight_files}
    names, counts = list(chain(*files.values())), _count_prediction_layers(source_config, model.config)
    weights_name = find_weights_name(source, source_config)
    with explain_damage(source / weights_name, ExportError):
        tensors_by_name = map_kept_tensors(names, plan, counted=max(counts.values(), default=0))
        check_writers(changes, chain(*tensors_by_name.values()))
    make_folder(target)
    write_settings(target / "config.json", config)
    index: dict[str, str] = {}
    size = 0
    for file, names_in_file in files.items():
        tensors_in_file = {name: tensors_by_name[name] for name in names_in_file if name in tensors_by_name}
        if tensors_in_file:
            size += _copy_tensors(file, target / file.name, tensors_in_file, changes)
            index |= {tensor.new: file.name for tensor in chain(*tensors_in_file.values())}
    if weights_name.endswith(".json"):
        write_json(target / weights_name, {"metadata": {"total_size": size}, "weight_map": index})
    left_out = (*_describe_left_out(names, plan, counts), *newer_only(config))
    return *left_out, *copy_companions(source, target, plan, code)


def _count_prediction_layers(config: dict[str, Any], live: PretrainedConfig) -> dict[str, int]:
    """What the file, or the class's own default, counts of layers for multi-token prediction."""
    sections = config_parts(config)
    parts = [*sections, *(part for section in sections for part in section.values() if isinstance(part, dict))]
    derived = find_prediction_counts(vars(live.get_text_config(decoder=True)))
    field_names = {name for part in parts for name in part}
    counts = {name: count for name, count in derived.items() if name not in field_names}
    for part in parts:
        counts |= find_prediction_counts(part)
    return counts


def _describe_left_out(names: list[str], plan: Plan, counts: dict[str, int]) -> list[str]:
    """What to say of layers for multi-token prediction."""
    tensors = [name for name in names if is_prediction_weight(name, plan.n_layers, max(counts.values(), default=0))]
    if not (tensors or counts):
        return []
    left_out = f"{len(tensors)} tensors ({tensors[0]}, ...)" if tensors else "no tensors"
    fields = "".join(f", {name} is 0 instead of {count}" for name, count in counts.items())
    return [f"layers for multi-token prediction: {left_out}{fields}"]


def cut_config(config: dict[str, Any], plan: Plan, live: PretrainedConfig) -> dict[str, Any]:
    """A config.json with the layer count and every per-layer list of the layers that run; nested configs too.

    Args:
        config: the file's content.
        plan: what it drops and repeats counts.
        live: what transformers makes of it. Lists it derives from a layer's position (which layers slide
            their attention window, for instance) are written out, since a shorter model derives others.

    Raises:
        ExportError: no field counts the plan's layers, or layers are named by a pattern.
    """
    text = live.get_text_config(decoder=True)
    counting_parts = [
        part for part in config_parts(config) if any(part.get(name) == plan.n_layers for name in COUNT_FIELDS)
    ]
    if not counting_parts and text.num_hidden_layers != plan.n_layers:
        raise ExportError(
            f"no field counts {plan.n_layers} layers ({', '.join(COUNT_FIELDS)}); add the one that its type has"
        )
    derived = {name: attribute for name, attribute in vars(text).items() if not name.startswith("_")}
    cut_parts = [
        remove_prediction_layers(
            _cut_part(part, plan, derived) if part in (counting_parts or config_parts(config)[-1:]) else part
        )
        for part in config_parts(config)
    ]
    cut_parts = [_renumber_quantisation(part, plan) for part in cut_parts]
    return add_version_4_fields(cut_parts[0] if len(cut_parts) == 1 else {**cut_parts[0], TEXT_FIELD: cut_parts[1]})


def _renumber_quantisation(part: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """A part of a config.json in which what says how weights were quantised names the layers kept."""
    named = {name: part[name] for name in QUANTISATION_FIELDS if isinstance(part.get(name), dict)}
    return {**part, **{name: renumber_layers(field, plan, name) for name, field in named.items()}}


def config_parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """A config.json, and its text part where it has one."""
    return [config, config[TEXT_FIELD]] if isinstance(config.get(TEXT_FIELD), dict) else [config]


def _cut_part(part: dict[str, Any], plan: Plan, derived: dict[str, Any]) -> dict[str, Any]:
    """The part that counts the layers, cut; fields it leaves empty are derived, and cut as derived."""
    behind = max(find_prediction_counts({**derived, **part}).values(), default=0)
    own_fields = {
        name: _without_prediction_entries(field, plan.n_layers, behind)
        for name, field in part.items()
        if field not in (None, [])
    }
    counts = [name for name in COUNT_FIELDS if part.get(name) == plan.n_layers] or COUNT_FIELDS[:1]
    promised = find_prediction_counts(derived)  # some classes count one where the file says nothing
    return {**promised, **part, **cut_fields({**derived, **own_fields}, plan), **dict.fromkeys(counts, len(plan.order))}


def _without_prediction_entries(field: Any, n_layers: int, behind: int) -> Any:
    """A list by layer without what it says of the layers for multi-token prediction behind them."""
    return field[:n_layers] if isinstance(field, list) and behind and len(field) == n_layers + behind else field


def _read_tensor_names(file: Path) -> list[str]:
    with explain_damage(file, ExportError), safe_open(file, framework="pt") as tensors:
        return list(tensors.keys())


def _copy_tensors(
    file: Path, target: Path, tensors_by_name: dict[str, tuple[KeptTensor, ...]], changes: list[ChangedBranch]
) -> int:
    """Copy some tensors of one file under new names, and return their size in bytes."""
    with safe_open(file, framework="pt") as tensors:
        copies = {}
        for name, places in tensors_by_name.items():
            for number, tensor in enumerate(places):
                weight = tensors.get_tensor(name)
                copies[tensor.new] = rewrite_tensor(weight.clone() if number else weight, tensor, changes)
        with replace_atomically(target) as temporary:
            save_file(copies, temporary, metadata=tensors.metadata() or {"format": "pt"})
        shutil.copymode(target.with_name("config.json"), target)  # safetensors 0.8 lets only the owner read it
        return sum(copy.nbytes for copy in copies.values())
