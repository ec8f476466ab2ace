"""Names of layers in settings, as tools that quantise write them, under the numbers that the new model has."""

import re
from typing import Any

from tapioca.checkpoints.names import find_places
from tapioca.errors import ExportError
from tapioca.plan import Plan

NAMED_LAYER = re.compile(r"(?:^|(?<=[./]))(?:layers|h|blocks|block|layer)\.(?P<number>\d+)(?=\.|$)")
"""A layer by its number, anywhere in a name."""

UNCLEAR_LAYER = re.compile(r"(?:layers?|blocks?|\bh)\W+\d")
"""A number, or what a pattern has in its place, behind the name of a list of layers."""

TOWERS = ("vision", "visual", "audio")
"""Parts of models whose layers are not the plan's."""


def renumber_layers(settings: dict[str, Any], plan: Plan, where: str) -> dict[str, Any]:
    """Settings in which every name of a layer, in lists and as names of fields, is the one it has under a plan, or the two;
    those of dropped layers are gone.

    Raises:
        ExportError: a layer is named by a pattern, or a dropped one by a field that cannot go; begins with `where`.
    """
    return {
        new: _renumber(setting, plan, f"{where}: {name}")
        for name, setting in settings.items()
        for new in _rename(name, plan, where)
    }


def _renumber(setting: Any, plan: Plan, where: str) -> Any:
    if isinstance(setting, dict):
        return renumber_layers(setting, plan, where)
    if isinstance(setting, list):
        return [
            new
            for part in setting
            for new in (_rename(part, plan, where) if isinstance(part, str) else [_renumber(part, plan, where)])
        ]
    if not isinstance(setting, str):
        return setting
    names = _rename(setting, plan, where)
    if len(names) != 1:
        does = "repeats" if names else "drops"
        raise ExportError(f"{where} names {setting!r}, a layer that the plan {does}; take it out of the file")
    return names[0]


def _rename(name: str, plan: Plan, where: str) -> list[str]:
    """A name as it is under a plan; none where it is about a dropped layer, two where about a repeated one."""
    if any(tower in name for tower in TOWERS):
        return [name]
    match = NAMED_LAYER.search(name)
    rest = name[: match.start()] + name[match.end() :] if match else name
    if not match and UNCLEAR_LAYER.search(rest):
        raise ExportError(
            f"{where} names layers by {name!r:.100}, which cannot be given new numbers; name each by itself (model.layers.3.mlp)"
        )
    if not match or int(match["number"]) >= plan.n_layers:
        return [name]
    places = find_places(plan).get(int(match["number"]), ())
    return [f"{name[: match.start('number')]}{place}{name[match.end('number') :]}" for place in places]
