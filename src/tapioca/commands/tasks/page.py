"""The ready tasks, or one task token by token, on the screen."""

from rich.console import Console

from tapioca.commands.tasks.result import TaskList, TaskSample
from tapioca.report.format import format_label_counts
from tapioca.report.tables import TableBlock, print_block, print_line

OTHER_TASKS = (
    "\nand data files (.jsonl, .json, .csv, .tsv, .parquet) or folders of them, task .yaml files, hub:ID, harness:TASK, "
    "lab:SHIFT=STRENGTH, held-out:MODEL"
)


def show(found: TaskList | TaskSample, console: Console) -> None:
    """Print the list, and what else can be a task; or the task and its first examples."""
    if isinstance(found, TaskSample):
        _show_sample(found, console)
        return
    print_block(console, TableBlock("", ("name", "kind", "data"), found.tasks), folded=["data"])
    if found.whole:
        print_line(console, OTHER_TASKS)


def _show_sample(sample: TaskSample, console: Console) -> None:
    chance = "" if sample.chance is None else f", chance {sample.metric.format(sample.chance)}"
    about = f"{sample.name}: {sample.examples} examples, measured by {sample.metric.name}{chance}"
    for line in filter(None, (about, format_label_counts(sample.labels), *sample.notes)):
        print_line(console, line)
    for text, read, scored in sample.shown:
        console.rule(align="left")
        print_line(console, text)
        print_line(console, ("read", "dim"), f"   {' '.join(read)}")
        print_line(console, ("scored", "dim"), f" {' '.join(scored) or 'what the model writes'}")
    if sample.written:
        print_line(console, f"written to {sample.written}; edit it, then --task {sample.written}")
