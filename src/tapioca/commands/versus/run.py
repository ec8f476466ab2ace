"""From two models and rows that neither has seen to what the second changes, and a verdict."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapioca.commands import save_result
from tapioca.commands.prune.examples import select_most_changed, write_examples
from tapioca.commands.versus.answers import SideAnswers, compare, decide, list_examples
from tapioca.commands.versus.config import VersusConfig
from tapioca.commands.versus.prepare import Given, Prepared, prepare
from tapioca.commands.versus.result import VersusResult
from tapioca.commands.versus.sides import SideProgress, merge_notes, note_both
from tapioca.progress import SILENT, Progress
from tapioca.records.portable import portable_name
from tapioca.runs.folder import claim_folder
from tapioca.runs.lock import FolderLock
from tapioca.session.context import RunInputs, make_header
from tapioca.session.folder import choose_run_folder


def versus(
    config: VersusConfig, progress: Progress = SILENT, inputs: RunInputs | None = None, given: Given | None = None
) -> VersusResult:
    """Ask two models the same held-out rows, each by its own tokenizer, and judge what the second changes.

    Args:
        config: the request.
        progress: told how far it is.
        inputs: A and its rows, where they are there already; their test splits are compared then.
        given: what is in memory of A, B and their data.
    """
    prepared = prepare(config, progress, inputs, given)
    with _open_folder(config, prepared) as header:
        screens = SideProgress(progress, "A"), SideProgress(progress, "B")
        answers = []
        for side, screen in zip(prepared.sides, screens, strict=True):
            answers.append(SideAnswers.evaluate(side, header["folder"], screen))
            side.release()
        note_both(progress, *screens)
        first, second = answers
        results = {domain: list_examples(first, second, domain) for domain in first.scores}
        comparisons = {domain: compare(first, second, domain, prepared.left_out[domain]) for domain in first.scores}
        info = VersusResult(
            **header | {"notes": (*merge_notes(first.notes, second.notes), *prepared.notes)},
            models=(prepared.first.describe(), prepared.second.describe()),
            run=portable_name(str(config.run)) if config.run else None,
            metric=first.tasks["ood"].metric,
            same_tokens=prepared.same_tokens,
            comparisons=comparisons,
            verdict=decide(comparisons),
            changed=select_most_changed([result for part in results.values() for result in part]),
        )
        write_examples(info.folder, [result for part in results.values() for result in part])
        save_result("versus", info)
    return info


@contextmanager
def _open_folder(config: VersusConfig, prepared: Prepared) -> Iterator[dict[str, Any]]:
    """Hold the folder of a comparison; gives the fields of its `RunHeader`."""
    side, manifest = prepared.first.config, {**prepared.first.manifest, "other": prepared.second.manifest}
    names = "-vs-".join(Path(each.config.model).name for each in prepared.sides)
    folder = choose_run_folder(side.model_copy(update={"model": names}), manifest)
    with FolderLock(folder, config.take_over):
        header = make_header(side, folder, claim_folder(folder, manifest), ())
        yield {**header, "command": config.command()}
