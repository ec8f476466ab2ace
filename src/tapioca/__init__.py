"""Task-aware layer pruning and the geometry that explains it.

Names are imported when first used, so `import tapioca` loads no torch.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from tapioca.registry import Registry

if TYPE_CHECKING:
    from tapioca.api import compare, diagnose, export, profile, prune, read_task, scale, space
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
        "compare": "tapioca.api:compare",
        "diagnose": "tapioca.api:diagnose",
        "export": "tapioca.api:export",
        "load": "tapioca.models.load:load",
        "profile": "tapioca.api:profile",
        "prune": "tapioca.api:prune",
        "read_task": "tapioca.api:read_task",
        "scale": "tapioca.api:scale",
        "space": "tapioca.api:space",
    },
)

__all__ = [
    "Plan",
    "TapiocaError",
    "apply",
    "compare",
    "diagnose",
    "export",
    "load",
    "profile",
    "prune",
    "read_task",
    "scale",
    "space",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tapioca' has no attribute '{name}'")
    return _PUBLIC[name]


def __dir__() -> list[str]:
    return __all__


_NEEDED = tuple(
    f"transformers.{name}" for name in ("models.auto.modeling_auto", "modeling_layers", "models.llama.modeling_llama")
)
"""What the learner's own imports need; transformers imports the first in the middle of the others."""


def _register_learner(module: ModuleType) -> None:
    """Make the lab's learner known to AutoConfig and AutoModel once all it needs is there, and not before."""
    others = (sys.modules.get(name) for name in _NEEDED if name != module.__name__)
    if not any(other and getattr(other.__spec__, "_initializing", False) for other in others):
        import tapioca.lab.learner  # noqa: F401


for _name in _NEEDED:
    wrapt.register_post_import_hook(_register_learner, _name)
