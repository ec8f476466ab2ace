"""`tapioca versus --dry-run`: both models and their rows are read and matched, and nothing is asked."""

from tapioca.commands.versus.config import VersusConfig
from tapioca.commands.versus.prepare import prepare
from tapioca.commands.versus.preview_result import Preview
from tapioca.progress import SILENT, Progress
from tapioca.session.preflight import measure_no_change


def preview_versus(config: VersusConfig, progress: Progress = SILENT) -> Preview:
    """What would be compared, and what it could show."""
    prepared = prepare(config, progress)
    tasks, seed = prepared.first.test, prepared.first.config.seed
    return Preview(
        models=(prepared.first.describe(), prepared.second.describe()),
        metric=tasks["ood"].metric,
        same_tokens=prepared.same_tokens,
        n={domain: len(task.examples) for domain, task in tasks.items()},
        left_out=prepared.left_out,
        unchanged={domain: measure_no_change(task, seed) for domain, task in tasks.items()},
        prompt=tasks["ood"].examples[0].text,
    )
