from .api import Session, compare, diagnose, enumerate, export, geometry, prune, read_task, scale
from .errors import TapiocaError
from .lab.shifts import register_shift
from .models.edit import apply
from .models.load import load
from .plan import Plan
from .search.criteria import register_criterion
from .version import __version__

__all__ = [
    "Plan",
    "Session",
    "TapiocaError",
    "__version__",
    "apply",
    "compare",
    "diagnose",
    "enumerate",
    "export",
    "geometry",
    "load",
    "prune",
    "read_task",
    "register_criterion",
    "register_shift",
    "scale",
]
