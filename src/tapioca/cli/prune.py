"""tapioca prune"""

from __future__ import annotations

from rich.console import Console

from tapioca.records import PruneConfig


def run(config: PruneConfig) -> None:
    """Find the layers a model is better without on OOD data, and judge the plan on held-out data."""
    from tapioca.report.screen import LiveScreen, show_run

    console = Console()
    if config.dry_run:
        from tapioca.cli.dry_run import show_preview
        from tapioca.flows.preview import preview_run

        with LiveScreen(console) as screen:
            preview_info = preview_run(config, screen)
        show_preview(preview_info, console)
        return
    from tapioca.flows.prune import prune

    with LiveScreen(console) as screen:
        info = prune(config, screen)
    show_run(info, console)
