"""Ship a plan: write a plain checkpoint, reload it in a fresh process, and compare."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from tapioca.checkpoints.card import model_card
from tapioca.checkpoints.cut import cut_checkpoint
from tapioca.checkpoints.verify import Expected, accept, compare, expect
from tapioca.errors import ExportError, StoreError, UsageError
from tapioca.models.edit import check_fits, is_planned
from tapioca.models.identity import model_hash, name_of
from tapioca.models.load import load, local_name, skeleton, without_bars
from tapioca.records import Plan, RunInfo
from tapioca.runs.store import read_run


@dataclass(frozen=True)
class Exported:
    """A checkpoint that was written and checked.

    Attributes:
        folder: where it is.
        plan: what was dropped and scaled.
        difference: largest absolute difference of an output from the live model under the plan.
        steps: how many tokens generated with a KV cache were compared beside one forward.
        prediction_layers: how many layers for multi-token prediction were left out.
    """

    folder: Path
    plan: Plan
    difference: float
    steps: int
    prediction_layers: int


def export(source: str | Path | RunInfo | PreTrainedModel, to: str | Path, plan: Plan | None = None) -> Exported:
    """Write a model under a plan as an ordinary checkpoint: dropped layers are gone, scales are in the weights.

    Nothing stands under `to` until the copy was reloaded by plain transformers in a fresh process and gave the
    logits of the live model under the plan, in one forward and in a short generation with KV cache.

    Args:
        source: a run folder or its record; or, with `plan`, a model folder, a hub id or a live model.
        to: a new or empty folder.
        plan: what to drop and scale; by default the run's best plan.

    Raises:
        ExportError: the plan changes nothing, weights cannot carry it, or the copy does not equal the live plan.
        UsageError: `to` is not empty, or there is no such run.
    """
    target = Path(to)
    if target.is_file():
        raise UsageError(f"{target} is a file; choose a new folder for the checkpoint")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty; choose a new folder for the checkpoint")
    info = _run(source)
    chosen = plan or (info.plan if info else None)
    if chosen is None:
        raise UsageError(
            f"{source} is no run folder, and a model alone says nothing about what to drop; give a finished run, or a plan"
        )
    if chosen.is_full:
        raise ExportError("the plan changes nothing, so there is nothing to export; use the model as it is")
    with tempfile.TemporaryDirectory() as scratch:
        origin = info.model if info else source
        folder = _model_folder(origin, info.revision if info else None, Path(scratch))
        name = name_of(origin) if isinstance(origin, PreTrainedModel) else str(origin)
        card = model_card(name, chosen, info if plan is None else None)
        return _write(folder, target, chosen, card, info)


def _expected(folder: Path, plan: Plan, info: RunInfo | None) -> Expected:
    """What the live model under the plan answers; the model is gone again afterwards.

    Where weights were scaled and stored with few digits, both sides compute in float32, so that the one rounding of
    the weights is all that may differ.
    """
    model = load(folder, device="cpu").model
    if info:
        _check_same_model(info, folder, model)
    stored = model.dtype
    if plan != Plan.drop(plan.n_layers, plan.drops) and torch.finfo(stored).bits < 32:
        del model
        model = load(folder, device="cpu", dtype="float32").model
    return expect(model, plan, stored)


def _check_same_model(info: RunInfo, folder: Path, model: PreTrainedModel) -> None:
    """Refuse to ship another model than the one the plan was found on, in the dtype it was found in."""
    searched = model if info.dtype == "auto" else load(folder, device="cpu", dtype=info.dtype).model
    if model_hash(searched) != info.model_hash:
        raise ExportError(
            f"{info.model} is not the model the run searched (weights or configuration differ); give the model itself and the plan"
        )


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        UsageError: there is none, or it holds no plan.
    """
    try:
        return Plan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _write(folder: Path, target: Path, plan: Plan, card: str, info: RunInfo | None) -> Exported:
    """Write, check, and only then put in place."""
    bones = skeleton(folder)
    check_fits(bones, plan)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
            made = Path(beside) / "checkpoint"
            left_out = cut_checkpoint(folder, made, plan, bones)
            (made / "README.md").write_text(card, encoding="utf-8")
            expected = _expected(folder, plan, info)
            [difference] = compare([(made, expected)])
            accept(difference, expected)
            if target.exists():
                target.rmdir()
            made.rename(target)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"cannot write {target}: {error}; free some space or choose another folder") from error
    return Exported(target, plan, difference, expected.steps, left_out)


def _run(source: object) -> RunInfo | None:
    """The record of a run, where the source is one."""
    if isinstance(source, RunInfo):
        return source
    if isinstance(source, (str, Path)) and (Path(source) / "manifest.json").is_file():
        return read_run(Path(source))
    return None


def _model_folder(source: object, revision: str | None, scratch: Path) -> Path:
    """The model's files: its folder, the hub's snapshot of it, or a live model saved to `scratch`."""
    if isinstance(source, PreTrainedModel):
        if is_planned(source):
            raise UsageError("the model is under a plan; leave the with block, or compose the two plans into one")
        try:
            with without_bars():
                source.save_pretrained(scratch)
        except (ValueError, NotImplementedError) as error:  # some ways of quantising cannot be saved
            raise ExportError(f"transformers cannot save this live model: {str(error).splitlines()[0]}") from error
        return scratch
    folder = Path(local_name(str(source)))
    if folder.is_dir():
        return folder
    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(source),
                revision=revision,
                ignore_patterns=["*.bin", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.msgpack", "*.h5"],
            )
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no run and no model at '{source}': neither a folder here nor a hub model that can be reached"
        ) from error
