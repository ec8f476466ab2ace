from .api import compare, diagnose, export, profile, prune, read_task, scale, space
from .errors import TapiocaError
from .models.edit import apply
from .models.load import load
from .records import Plan

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
