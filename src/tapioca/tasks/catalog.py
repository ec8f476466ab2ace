"""Tasks that are ready by name: descriptions of hub data sets in `ready/`, and in `ready/tale/` as TALE asks them."""

from pathlib import Path

from tapioca.errors import UsageError

_READY = Path(__file__).with_name("ready")

CATALOG = {path.relative_to(_READY).with_suffix("").as_posix(): path for path in sorted(_READY.rglob("*.yaml"))}
"""Description by name."""


def find_variant(name: str, compat: str | None) -> str:
    """The name of a ready task as another code asks and marks it; the name itself where `compat` is None.

    Raises:
        UsageError: that code has no such task.
    """
    if compat is None:
        return name
    variant_name = f"{compat}/{name.removeprefix(f'{compat}/')}"
    if variant_name not in CATALOG:
        known = [ready_name.removeprefix(f"{compat}/") for ready_name in CATALOG if ready_name.startswith(f"{compat}/")]
        raise UsageError(f"--compat {compat} has no task '{name}'; leave it out, or take one of: {', '.join(known)}")
    return variant_name
