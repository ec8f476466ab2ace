"""What a task of lm-eval may do: render templates within bounds, and run Python code of its own only where that is trusted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapioca.errors import DataError
from tapioca.tasks import bounded
from tapioca.tasks.lm_eval.errors import CostlyDocument
from tapioca.tasks.sandbox import TooCostly

CURE = "read it, then say --trust-task-code"


def bound_templates() -> None:
    """From now on lm-eval's templates are rendered in a sandbox and within bounds; of its own they may do anything."""
    from lm_eval import utils

    utils.apply_template = _apply_template


def _apply_template(template: str, doc: dict[str, Any]) -> str:
    """What lm-eval's function of this name writes; a CostlyDocument where it costs too much."""
    try:
        return bounded.render("lm-eval", template, dict(doc))
    except TooCostly as error:
        row = " ".join(repr(dict(doc))[:60].split())
        raise CostlyDocument(f"template {template!r:.60} costs too much for one row ({row}): {error}") from error


@contextmanager
def watch_code(trusted: bool) -> Iterator[list[str]]:
    """While tasks are loaded: refuse code that lm-eval itself does not bring, unless it is trusted.

    Yields:
        The functions that were loaded, as module.function, in the order in which the tasks name them.

    Raises:
        DataError: a YAML names a function of its own, or a metric that is no metric of lm-eval and so is fetched as code.
    """
    from lm_eval.api import registry, task
    from lm_eval.tasks import _yaml_loader

    loaded: list[str] = []
    home = Path(_yaml_loader.__file__).resolve().parent
    make_reader, get_metric = _yaml_loader._mk_function_ctor, task.get_metric

    def make_watched(folder: Path, resolve: bool) -> Any:
        read = make_reader(folder, resolve)

        def read_watched(loader: Any, node: Any) -> Any:
            if resolve and not trusted and not folder.resolve().is_relative_to(home):
                place = f"{node.start_mark.name}:{node.start_mark.line + 1}"
                raise DataError(f"{place}: !function {node.value!s:.60} runs Python code; {CURE}")
            loaded.extend([f"{node.value}"] if resolve else [])
            return read(loader, node)

        return read_watched

    def get_watched(name: str, hf_evaluate_metric: bool = False) -> Any:
        if hf_evaluate_metric or name not in registry.METRIC_REGISTRY:
            if not trusted:
                raise DataError(
                    f"metric {name!r:.60} is none of lm-eval's, so the evaluate library runs its code; {CURE}"
                )
            loaded.append(f"metric {name}")
        return get_metric(name, hf_evaluate_metric)

    _yaml_loader._mk_function_ctor, task.get_metric = make_watched, get_watched
    try:
        yield loaded
    finally:
        _yaml_loader._mk_function_ctor, task.get_metric = make_reader, get_metric


def refuse_written_code(tasks: list[Any], trusted: bool) -> None:
    """Refuse with a DataError tasks that run what the model writes, unless their code is trusted."""
    unsafe = next((task for task in tasks if getattr(task, "UNSAFE_CODE", False)), None)
    if unsafe and not trusted:
        raise DataError(f"{unsafe.task_name}: the task runs the code that the model writes (unsafe_code); {CURE}")
