"""What `tapioca study --dry-run` prints."""

from rich.console import Console

from tapioca.report import format as words
from tapioca.report.tables import print_block, print_line
from tapioca.studies.page.tables import tabulate_power
from tapioca.studies.parts import StudyPreview


def show(preview: StudyPreview, console: Console) -> None:
    """Print what there is to measure, what it costs, and the power of the study."""
    print_line(console, preview.title)
    for cost in preview.costs:
        left_out = f", {cost.left_out} left out" if cost.left_out else ""
        print_line(
            console,
            f"  {cost.setting}: {cost.models} model{'s' * (cost.models != 1)}{left_out}, {cost.files} measurements, "
            f"about {words.format_duration(cost.seconds)} of one core",
        )
    total = sum(cost.seconds for cost in preview.costs)
    print_line(
        console, f"in all about {words.format_duration(total)} of one core, divided by the models measured at once"
    )
    if preview.power:
        print_block(console, tabulate_power(preview.power))
    print_line(console, "nothing of this is kept; without --dry-run the study begins")
