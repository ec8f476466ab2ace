"""Where the model and the data of a finished run lie on this machine."""

from tapioca.commands.prune.result import PruneResult
from tapioca.runs.folder import read_manifest
from tapioca.runs.places import recall_places


def recall_run_places(info: PruneResult) -> dict[str, str]:
    """Where model and data of a run were when it was made; its record has their names alone."""
    digests: dict[str, str] = read_manifest(info.folder).get("data") or {}
    data_places = {
        option: recall_places(digests[role]).get("data", "")
        for option, role in (("task", "ood"), ("reference", "id"))
        if role in digests
    }
    return recall_places(info.model_hash) | {option: place for option, place in data_places.items() if place}
