from .api import compare, diagnose, enumerate, export, geometry, prune, read_task, scale
from .errors import TapiocaError
from .models.edit import apply
from .models.load import load
from .plan import Plan

__all__ = [
    "Plan",
    "TapiocaError",
    "apply",
    "compare",
    "diagnose",
    "enumerate",
    "export",
    "geometry",
    "load",
    "prune",
    "read_task",
    "scale",
]
