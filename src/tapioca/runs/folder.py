"""A run folder: whose it is, and which requests may go on in it."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tapioca.disk import make_marked_folder, write_json
from tapioca.errors import StoreError
from tapioca.reading import explain_damage, read_object
from tapioca.runs.fingerprint import KEY, add_fingerprint, refuse_changed

MANIFEST = "manifest.json"

AMOUNT_SETTINGS = {"limit", "max_drops", "shortlist", "random_plans", "drops", "criteria", "scales", "random_sets"}
"""Settings that say how many examples and plans a request takes. No answer hangs on them, only how many are needed and
what is made of them: requests that differ in these alone can share a folder that keeps answers."""


def claim_folder(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Make a folder this run's, or check that it is; returns the manifest with its fingerprint.

    Raises:
        StoreError: the folder belongs to another run, is no run folder, or cannot be written.
    """
    manifest = add_fingerprint(manifest)
    if existing := open_manifest(folder):
        refuse_differing(folder, existing, manifest)
    else:
        write_json(folder / MANIFEST, manifest)
    return manifest


def without_amounts(manifest: dict[str, Any]) -> dict[str, Any]:
    """What stays the same where a run grows, and the digests of its data, which may."""
    settings = {
        name: setting for name, setting in (manifest.get("settings") or {}).items() if name not in AMOUNT_SETTINGS
    }
    return {**manifest, "settings": settings}


def open_manifest(folder: Path) -> dict[str, Any] | None:
    """Make a folder if it is not there, and read whose it is; None where it is empty.

    Raises:
        StoreError: it holds something else than a run, or cannot be used.
    """
    return read_manifest(folder) if make_marked_folder(folder, MANIFEST, "a run") else None


def refuse_differing(
    folder: Path, existing: dict[str, Any], manifest: dict[str, Any], may_differ: Collection[str] = ()
) -> None:
    """Refuse a folder whose manifest is another one.

    Raises:
        StoreError: it differs in more than it may; the message names all keys that differ.
    """
    keys = (existing.keys() | manifest.keys()) - {KEY}
    differing = {key for key in keys if existing.get(key) != manifest.get(key)}
    if differing - set(may_differ):
        raise StoreError(
            f"{folder} belongs to another run (differs in: {', '.join(sorted(differing))}); choose another folder with --out"
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    remedy = f"delete {folder} and run the same command again"
    manifest = read_json(folder, MANIFEST, remedy)
    if not isinstance(manifest.get("settings", {}), dict):
        raise StoreError(f"cannot read {folder / MANIFEST}: 'settings' is no JSON object; {remedy}")
    return manifest


def read_json(folder: Path, name: str, remedy: str = "run the same command again") -> dict[str, Any]:
    """One JSON file of a run folder; `remedy` is what to do where it is damaged.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    if not os.path.lexists(folder / name):
        raise StoreError(f"{folder} has no {name}; expected the folder of a finished `tapioca prune`")
    content = read_object(folder / name, StoreError, remedy)
    with explain_damage(folder / name, StoreError, remedy):
        refuse_changed(folder / name, content, remedy)
    return content
