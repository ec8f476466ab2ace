"""What the tensors of a checkpoint are called, before and after layers are dropped."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tapioca.errors import ExportError
from tapioca.models.families import LAYER_NAME
from tapioca.models.prediction import is_prediction_weight
from tapioca.plan import Plan


@dataclass(frozen=True)
class KeptTensor:
    """A tensor that the new checkpoint holds too.

    Attributes:
        new: its name there.
        layer: the layer it belonged to, in the source's numbers; None outside the layers.
        inside: its name inside the layer.
    """

    new: str
    layer: int | None = None
    inside: str = ""


def map_kept_tensors(names: Iterable[str], plan: Plan, counted: int = 0) -> dict[str, tuple[KeptTensor, ...]]:
    """The tensors that stay, once for each place of their layer, by their names on disk, which are the source of truth.

    Args:
        names: all tensors of a checkpoint.
        plan: its drops leave tensors out, its repeats hold them twice, and both give later layers new numbers.
        counted: how many layers for multi-token prediction the configuration counts behind the others; they are left
            out, since models find them by an absolute number or in the size of the whole.

    Raises:
        ExportError: no numbered list, or more than one, has exactly the plan's layers.
    """
    names = [name for name in names if not is_prediction_weight(name, plan.n_layers, counted)]
    prefix = _find_layer_prefix(names, plan.n_layers)
    places = find_places(plan)
    tensors_by_name: dict[str, tuple[KeptTensor, ...]] = {}
    for name in names:
        match = LAYER_NAME.match(name)
        if not match or match["before"] != prefix:
            tensors_by_name[name] = (KeptTensor(name),)
        elif (old := int(match["layer"])) in places:
            inside = match["after"].removeprefix(".")
            tensors_by_name[name] = tuple(
                KeptTensor(f"{prefix}{new}{match['after']}", old, inside) for new in places[old]
            )
    return tensors_by_name


def find_places(plan: Plan) -> dict[int, tuple[int, ...]]:
    """The numbers that each layer which runs has under a plan: one, or two where it is repeated."""
    return {old: tuple(new for new, layer in enumerate(plan.order) if layer == old) for old in plan.kept}


def _find_layer_prefix(names: list[str], n_layers: int) -> str:
    """What stands before the number in the names of the layers."""
    lists: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if match := LAYER_NAME.match(name):
            lists[match["before"]].add(int(match["layer"]))
    prefixes = [prefix for prefix, numbers in lists.items() if numbers == set(range(n_layers))]
    if len(prefixes) > 1:  # a picture or sound tower may have as many
        prefixes = [
            prefix for prefix in prefixes if not any(tower in prefix for tower in ("vision", "visual", "audio"))
        ]
    if len(prefixes) != 1:
        list_sizes = ", ".join(f"{name} ({_describe_numbers(numbers)})" for name, numbers in lists.items()) or "none"
        raise ExportError(
            f"expected the tensors of one list of {n_layers} layers, numbered from 0, saw: {list_sizes}; save the model anew with save_pretrained"
        )
    return prefixes[0]


def _describe_numbers(numbers: set[int]) -> str:
    """How many layers a list has, and the first that a gap leaves out."""
    gap = min(set(range(max(numbers))) - numbers, default=None)
    return f"{len(numbers)}" if gap is None else f"{len(numbers)}, without {gap}"
