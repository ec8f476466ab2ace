"""Ship a plan: write a plain checkpoint, reload it in a fresh process, and compare."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel

from tapioca.checkpoints.cut import cut_checkpoint
from tapioca.checkpoints.files import copy_files, describe_left_behind, read_settings, vocabulary_files
from tapioca.checkpoints.verify import (
    ExpectedAnswers,
    check_tokenizer,
    compare_reloaded,
    compute_expected,
    refuse_difference,
)
from tapioca.commands.export.card import render_model_card
from tapioca.commands.export.config import ExportConfig
from tapioca.commands.export.result import Exported
from tapioca.commands.export.rows import collect_seen_rows
from tapioca.commands.export.source import ExportSource
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.disk import list_contents, make_folder_atomically, scratch_folder, write_text
from tapioca.errors import ExportError, UsageError
from tapioca.models.edit import check_fits
from tapioca.models.files import find_weight_files
from tapioca.models.identity import hash_model
from tapioca.models.load import load, load_on_meta, load_tokenizer
from tapioca.plan import Plan
from tapioca.progress import SILENT, Progress
from tapioca.runs.lock import FolderLock
from tapioca.runs.places import recall_places
from tapioca.runs.rows import write_seen_rows


def export(
    source: str | Path | PruneResult | PreTrainedModel,
    to: str | Path,
    plan: Plan | str | Path | None = None,
    *,
    revision: str | None = None,
    adapter: str | Path | None = None,
    trust_remote_code: bool = False,
    take_over: bool = False,
) -> Exported:
    """Write a model under a plan as an ordinary checkpoint: dropped layers are gone, scales are in the weights.

    Nothing stands under `to` until the copy was reloaded by plain transformers in a fresh process and gave the
    logits of the live model under the plan, in one forward and in a short generation with KV cache. Models of a kind
    that this package or their own files bring are reloaded with that code, which `needs` says.

    Args:
        source: a run folder or its record; or, with `plan`, a model folder, a hub id or a live model.
        to: a new or empty folder.
        plan: what to drop and scale, or the file that says so; by default the run's best plan.
        revision: branch, tag or commit of a hub model; by default the run's.
        adapter: a folder with a LoRA adapter to merge into the weights; by default the run's.
        trust_remote_code: run code that comes with the model, as a run that was given the flag did.
        take_over: write there although another process that you know to be gone seems to.

    Raises:
        ExportError: the plan changes nothing, weights cannot carry it, or the copy does not equal the live plan.
        ModelError: the model cannot be loaded, or the adapter cannot be merged exactly.
        UsageError: `to` is not empty, or there is no such run.
    """
    target = Path(to)
    info = _read_source_run(source)
    chosen = _choose_plan(plan, info)
    if chosen is None:
        raise UsageError(
            f"{source} is no run folder, and a model alone says nothing about what to drop; give a finished run, or a plan"
        )
    if chosen.is_full:
        raise ExportError("the plan changes nothing, so there is nothing to export; use the model as it is")
    places = recall_places(info.model_hash) if info else {}
    origin = ExportSource(
        places.get("model", info.model) if info else _refuse_other_source(source),
        revision or (info.revision if info else None),
        adapter or places.get("adapter", info.adapter if info else None),
        trust_remote_code or bool(info and info.trust_remote_code),
    )
    # the lock first: where a killed export had put its checkpoint in place, what else it left goes all the same
    with FolderLock(target, take_over, is_beside=True) as lock, scratch_folder() as saved, scratch_folder() as merged:
        _refuse_filled(target)
        folder = origin.find_folder(saved)
        if info:
            _check_same_model(info, origin, folder)
        about = info if plan is None else None
        card = partial(render_model_card, origin.name, chosen, folder, about, Path(origin.adapter or "").name)
        merged_folder = origin.merge_into_folder(folder, merged)
        with origin.name_in_errors(merged_folder):
            rows = collect_seen_rows(folder, origin.adapter, info, plan)
            exported = _write_checked(origin, merged_folder, target, chosen, card, rows, lock)
        weights = find_weight_files(folder, read_settings(folder / "config.json"))
        left_behind = describe_left_behind(folder, target, weights)
        return replace(exported, left_out=(*exported.left_out, *left_behind))


def export_run(config: ExportConfig, progress: Progress = SILENT) -> Exported:
    """The same for a request of the command line."""
    progress.stage(f"exporting {config.run}", 0)
    return export(
        config.run,
        config.to,
        config.plan,
        revision=config.revision,
        adapter=config.adapter,
        trust_remote_code=config.trust_remote_code,
        take_over=config.take_over,
    )


def _choose_plan(plan: Plan | str | Path | None, info: PruneResult | None) -> Plan | None:
    """The plan that was given, or that of the run."""
    if isinstance(plan, str | Path):
        return Plan.read(plan)
    return plan or (info.plan if info else None)


def _refuse_filled(target: Path) -> None:
    """Refuse to put a checkpoint where something is."""
    if list_contents(target):
        raise UsageError(f"{target} is not empty; choose a new folder for the checkpoint")


def _refuse_other_source(source: object) -> str | Path | PreTrainedModel:
    """What stands for a model, where the source is no run."""
    if isinstance(source, (str, Path, PreTrainedModel)):
        return source
    raise UsageError(
        f"a model is a folder, a hub id or a transformers model, this is a {type(source).__name__}; "
        "merge a model of peft first, with merge_and_unload()"
    )


def _compute_live_answers(folder: Path, plan: Plan, code: bool) -> ExpectedAnswers:
    """What the live model under the plan answers; the model is gone again afterwards.

    Where weights were scaled and stored with few digits, both sides compute in float32, so that the one rounding of
    the weights is all that may differ.
    """
    model = load(folder, device="cpu", trust_remote_code=code).model
    stored = model.dtype
    if not plan.only_drops_layers and torch.finfo(stored).bits < 32:
        del model
        model = load(folder, device="cpu", dtype="float32", trust_remote_code=code).model
    return compute_expected(model, plan, stored)


def _check_same_model(info: PruneResult, origin: ExportSource, folder: Path) -> None:
    """Refuse to ship another model than the one the plan was found on, in the dtype it was found in."""
    code = origin.trust_remote_code
    searched = load(folder, device="cpu", dtype=info.dtype, adapter=origin.adapter, trust_remote_code=code)
    if hash_model(searched.model) != info.model_hash:
        raise ExportError(
            f"{info.model} is not the model the run searched (weights or configuration differ); give the model itself and the plan"
        )


def _write_checked(
    origin: ExportSource,
    folder: Path,
    target: Path,
    plan: Plan,
    card: Callable[..., str],
    rows: frozenset[str] | None,
    lock: FolderLock,
) -> Exported:
    """Write, check, and only then put in place."""
    code = origin.runs_own_code
    meta_model = load_on_meta(folder, trust_remote_code=code)
    check_fits(meta_model, plan)
    with make_folder_atomically(target) as checkpoint:
        left_out = cut_checkpoint(folder, checkpoint, plan, meta_model, code)
        copy_files(folder, vocabulary_files(folder, load_tokenizer(folder, trust_remote_code=code)), checkpoint)
        expected = _compute_live_answers(folder, plan, code)
        needs = _loading_requirements(checkpoint, expected)
        write_text(checkpoint / "README.md", card(needs=needs, rows=rows))
        write_seen_rows(checkpoint, rows or ())
        check_tokenizer(folder, checkpoint, code)
        [difference] = compare_reloaded([(checkpoint, expected)])
        refuse_difference(difference, expected)
        lock.check()
    return Exported(target, plan, difference, expected.steps, left_out, needs, None if rows is None else len(rows))


def _loading_requirements(checkpoint: Path, expected: ExpectedAnswers) -> str:
    """What loading a checkpoint takes beside plain transformers."""
    if expected.own:
        return "import tapioca.models.learner"
    return "trust_remote_code=True" if any(checkpoint.glob("*.py")) else ""


def _read_source_run(source: object) -> PruneResult | None:
    """The record of a run, where the source is one."""
    if isinstance(source, PruneResult):
        return source
    if isinstance(source, (str, Path)) and (Path(source) / "manifest.json").is_file():
        return read_run(Path(source))
    return None
