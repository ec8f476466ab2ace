"""Names of layers in settings, as tools that quantise write them, under the numbers that a shorter model has."""

import re
from typing import Any

from tapioca.errors import ExportError
from tapioca.plan import Plan

NAMED_LAYER = re.compile(r"(?:^|(?<=[./]))(?:layers|h|blocks|block|layer)\.(?P<number>\d+)(?=\.|$)")
"""A layer by its number, anywhere in a name."""

UNCLEAR_LAYER = re.compile(r"(?:layers?|blocks?|\bh)\W+\d")
"""A number, or what a pattern has in its place, behind the name of a list of layers."""

TOWERS = ("vision", "visual", "audio")
"""Parts of models whose layers are not the plan's."""


def renumber_layers(settings: dict[str, Any], plan: Plan, where: str) -> dict[str, Any]:
    """Settings in which every name of a layer, in lists and as names of fields, is the one it has under a plan; those of
    dropped layers are gone.

    Raises:
        ExportError: a layer is named by a pattern, or a dropped one by a field that cannot go; begins with `where`.
    """
    return {
        new: _renumber(setting, plan, f"{where}: {name}")
        for name, setting in settings.items()
        if (new := _rename(name, plan, where)) is not None
    }


def _renumber(setting: Any, plan: Plan, where: str) -> Any:
    if isinstance(setting, dict):
        return renumber_layers(setting, plan, where)
    if isinstance(setting, list):
        pairs = [(part, _rename(part, plan, where) if isinstance(part, str) else part) for part in setting]
        return [
            new if isinstance(part, str) else _renumber(part, plan, where)
            for part, new in pairs
            if not (isinstance(part, str) and new is None)
        ]
    if not isinstance(setting, str):
        return setting
    name = _rename(setting, plan, where)
    if name is None:
        raise ExportError(f"{where} names {setting!r}, a layer that the plan drops; take it out of the file")
    return name


def _rename(name: str, plan: Plan, where: str) -> str | None:
    """A name as it is under a plan; None where it is about a dropped layer."""
    if any(tower in name for tower in TOWERS):
        return name
    new_numbers = {old: new for new, old in enumerate(plan.kept)}
    match = NAMED_LAYER.search(name)
    rest = name[: match.start()] + name[match.end() :] if match else name
    if not match and UNCLEAR_LAYER.search(rest):
        raise ExportError(
            f"{where} names layers by {name!r:.100}, which cannot be given new numbers; name each by itself (model.layers.3.mlp)"
        )
    if not match or int(match["number"]) >= plan.n_layers:
        return name
    new = new_numbers.get(int(match["number"]))
    return None if new is None else f"{name[: match.start('number')]}{new}{name[match.end('number') :]}"
