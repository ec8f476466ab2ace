"""Task-aware layer pruning and the geometry that explains it.

Names are imported when first used, so `import tapioca` loads no torch.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from tapioca.registry import Registry

if TYPE_CHECKING:
    from tapioca.api import export, profile, prune
    from tapioca.errors import TapiocaError
    from tapioca.models.edit import apply
    from tapioca.models.load import load
    from tapioca.records import Plan

_PUBLIC = Registry(
    "name of tapioca",
    {
        "Plan": "tapioca.records:Plan",
        "TapiocaError": "tapioca.errors:TapiocaError",
        "apply": "tapioca.models.edit:apply",
        "export": "tapioca.api:export",
        "load": "tapioca.models.load:load",
        "profile": "tapioca.api:profile",
        "prune": "tapioca.api:prune",
    },
)

__all__ = ["Plan", "TapiocaError", "apply", "export", "load", "profile", "prune"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tapioca' has no attribute '{name}'")
    return _PUBLIC[name]


def __dir__() -> list[str]:
    return __all__


@wrapt.when_imported("transformers.models.auto.modeling_auto")
def _register_learner(auto: ModuleType) -> None:
    """Make the lab's learner known to AutoConfig and AutoModel as soon as those are loaded, and not before."""
    import tapioca.lab.learner  # noqa: F401
