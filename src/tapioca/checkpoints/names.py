"""What the tensors of a checkpoint are called, before and after layers are dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tapioca.errors import ExportError
from tapioca.models.families import LAYER
from tapioca.models.prediction import is_prediction
from tapioca.records import Plan


@dataclass(frozen=True)
class Kept:
    """A tensor that the new checkpoint holds too.

    Attributes:
        new: its name there.
        layer: the layer it belonged to, in the source's numbers; None outside the layers.
        inside: its name inside the layer.
    """

    new: str
    layer: int | None = None
    inside: str = ""


def kept_tensors(names: Iterable[str], plan: Plan, counted: int = 0) -> dict[str, Kept]:
    """The tensors that stay, by their names on disk, which are the source of truth.

    Args:
        names: all tensors of a checkpoint.
        plan: its drops leave tensors out, and give later layers new numbers.
        counted: how many layers for multi-token prediction the configuration counts behind the others; they are left
            out, since models find them by an absolute number or in the size of the whole.

    Raises:
        ExportError: no numbered list, or more than one, has exactly the plan's layers.
    """
    names = [name for name in names if not is_prediction(name, plan.n_layers, counted)]
    prefix = _layer_list(names, plan.n_layers)
    number = {old: new for new, old in enumerate(plan.kept)}
    kept: dict[str, Kept] = {}
    for name in names:
        found = LAYER.match(name)
        if not found or found["before"] != prefix:
            kept[name] = Kept(name)
        elif (old := int(found["layer"])) in number:
            kept[name] = Kept(f"{prefix}{number[old]}{found['after']}", old, found["after"].removeprefix("."))
    return kept


def _layer_list(names: list[str], n_layers: int) -> str:
    """What stands before the number in the names of the layers."""
    lists: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if found := LAYER.match(name):
            lists[found["before"]].add(int(found["layer"]))
    fitting = [before for before, numbers in lists.items() if numbers == set(range(n_layers))]
    if len(fitting) > 1:  # a picture or sound tower may have as many
        fitting = [before for before in fitting if not any(other in before for other in ("vision", "visual", "audio"))]
    if len(fitting) != 1:
        seen = ", ".join(f"{name} ({len(numbers)})" for name, numbers in lists.items()) or "none"
        raise ExportError(f"expected one list of {n_layers} layers in the checkpoint, saw: {seen}")
    return fitting[0]
