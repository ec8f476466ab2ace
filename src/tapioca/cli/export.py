"""tapioca export"""

from __future__ import annotations

from rich.console import Console

from tapioca.records import ExportConfig


def run(config: ExportConfig) -> None:
    """Write a run's plan as an ordinary checkpoint, checked against the live model before it is called done."""
    from tapioca.flows.export import export, read_plan

    exported = export(
        config.run,
        config.to,
        read_plan(config.plan) if config.plan else None,
        revision=config.revision,
        adapter=config.adapter,
        trust_remote_code=config.trust_remote_code,
    )
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"wrote     {exported.folder}: {len(exported.plan.kept)} of {exported.plan.n_layers} layers ({exported.plan})"
    )
    steps = f", {exported.steps} cached steps" if exported.steps else ""
    with_what = f"transformers with {exported.needs}" if exported.needs else "plain transformers"
    console.print(
        f"checked   reloaded by {with_what} in a fresh process: one forward{steps}; "
        f"largest difference {exported.difference:.3g}"
    )
    for sentence in exported.left_out:
        console.print(f"left out  {sentence}", markup=False)
