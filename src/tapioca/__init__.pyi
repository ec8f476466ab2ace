from .api import (
    Session,
    bench,
    compare,
    compensate,
    diagnose,
    enumerate,
    export,
    geometry,
    heal,
    prune,
    read_task,
    rescale,
    scale,
    versus,
)
from .commands.bench.config import BenchConfig
from .commands.bench.result import BenchResult
from .commands.compare.config import CompareConfig
from .commands.compare.result import CompareResult
from .commands.diagnose.config import DiagnoseConfig
from .commands.diagnose.result import DiagnoseResult
from .commands.enumerate.config import EnumerateConfig
from .commands.enumerate.result import EnumerateResult
from .commands.geometry.config import GeometryConfig
from .commands.geometry.result import GeometryResult
from .commands.heal.config import HealConfig
from .commands.heal.result import HealResult
from .commands.prune.config import PruneConfig
from .commands.prune.result import PruneResult
from .commands.rescale.config import RescaleConfig
from .commands.rescale.result import RescaleResult
from .commands.scale.config import ScaleConfig
from .commands.scale.result import ScaleResult
from .commands.versus.config import VersusConfig
from .commands.versus.result import VersusResult
from .errors import TapiocaError
from .lab.shifts import register_shift
from .models.edit import apply
from .models.load import load
from .plan import Plan
from .search.criteria import register_criterion
from .version import __version__

__all__ = [
    "BenchConfig",
    "BenchResult",
    "CompareConfig",
    "CompareResult",
    "DiagnoseConfig",
    "DiagnoseResult",
    "EnumerateConfig",
    "EnumerateResult",
    "GeometryConfig",
    "GeometryResult",
    "HealConfig",
    "HealResult",
    "Plan",
    "PruneConfig",
    "PruneResult",
    "RescaleConfig",
    "RescaleResult",
    "ScaleConfig",
    "ScaleResult",
    "Session",
    "TapiocaError",
    "VersusConfig",
    "VersusResult",
    "__version__",
    "apply",
    "bench",
    "compare",
    "compensate",
    "diagnose",
    "enumerate",
    "export",
    "geometry",
    "heal",
    "load",
    "prune",
    "read_task",
    "register_criterion",
    "register_shift",
    "rescale",
    "scale",
    "versus",
]
