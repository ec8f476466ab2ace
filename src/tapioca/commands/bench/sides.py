"""What is timed in turn: a model, the same under a plan, a checkpoint of that plan, or another model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from transformers import PreTrainedModel

from tapioca.commands.bench.config import BenchConfig
from tapioca.commands.bench.result import BenchSide, SideName
from tapioca.commands.export.run import export
from tapioca.disk import scratch_folder
from tapioca.errors import ExportError, ModelError, UsageError
from tapioca.models.cost import count_parameters
from tapioca.models.edit import check_fits
from tapioca.models.files import find_weight_files
from tapioca.models.find import find_layers
from tapioca.models.inputs import find_input_device
from tapioca.models.load import LoadedModel, load
from tapioca.plan import Plan
from tapioca.progress import Progress
from tapioca.reading import explain_damage
from tapioca.records.portable import last_path_part
from tapioca.session.context import RunInputs

GUARD = "runs a hook that keeps other threads off the model"
COMPUTED = "computes what it scales, maps, adds or sets, which a checkpoint has in its weights"


@dataclass(frozen=True)
class GivenModels:
    """Models that are in memory already.

    Attributes:
        loaded: the first.
        other: the second.
    """

    loaded: LoadedModel | None = None
    other: LoadedModel | None = None


@dataclass(frozen=True, eq=False)
class Side:
    """A model ready to be timed.

    Attributes:
        model: in memory.
        plan: that it is put under while it runs.
        about: the record of it.
    """

    model: PreTrainedModel
    plan: Plan
    about: BenchSide

    @property
    def name(self) -> SideName:
        """Which side it is."""
        return self.about.name


@dataclass(frozen=True, eq=False)
class OpenSides:
    """All that is timed.

    Attributes:
        sides: the first is the one that others are compared with.
        notes: what is to be said of them.
        difference: largest difference of an output of a checkpoint that was exported from the live plan's.
    """

    sides: tuple[Side, ...]
    notes: tuple[str, ...] = ()
    difference: float | None = None


@contextmanager
def open_sides(
    config: BenchConfig, progress: Progress, given: RunInputs | GivenModels | None = None
) -> Iterator[OpenSides]:
    """Load everything that a request names; a checkpoint that is exported for the time is gone afterwards.

    Raises:
        UsageError: there is nothing to compare with, or the plan changes nothing.
        ModelError: a model cannot be loaded, or the plan does not fit it.
    """
    config.refuse_single()
    plan = _read_plan(config)
    other = given.other if isinstance(given, GivenModels) else None
    loaded = given.loaded if given else None
    progress.stage(f"loading {config.model}", 0)
    model = loaded.model if loaded else _load(config, config.model, config.device, is_first=True)
    full = _make_side("full", model, _last_part(config.model))
    device = config.device or str(find_input_device(model))
    if plan:
        with explain_damage(str(config.plan), ModelError):
            check_fits(full.model, plan)
    with scratch_folder() as scratch:
        sides, notes, difference = [full], [], None
        if plan:
            sides.append(_make_side("plan", full.model, str(plan), plan, beside=full))
        if config.other:
            progress.stage(f"loading {config.other}", 0)
            second = other.model if other else _load(config, config.other, device)
            sides.append(_name_other(second, config, full, plan))
        elif plan:
            progress.stage("exporting the plan", 0)
            try:
                source = model if _is_live(given) else config.model
                difference = _export(source, plan, scratch / "checkpoint", config)
                checkpoint = _load(config, str(scratch / "checkpoint"), device)
                sides.append(_make_side("checkpoint", checkpoint, "checkpoint", beside=full))
            except ExportError as error:
                notes.append(f"no checkpoint is timed beside the live plan: {error}")
        yield OpenSides(tuple(sides), tuple(notes), difference)


def explain_live_costs(plan: Plan) -> str:
    """What the live model under a plan does at every forward that a checkpoint of it does not."""
    return GUARD if plan.only_drops_layers else f"{GUARD}, and {COMPUTED}"


def _read_plan(config: BenchConfig) -> Plan | None:
    """The plan asked for.

    Raises:
        UsageError: it changes nothing, or cannot be read.
    """
    plan = Plan.read(config.plan) if config.plan else None
    if plan and plan.is_full:
        raise UsageError(
            f"{config.plan} changes nothing, so there is nothing to time; give a plan that drops something"
        )
    return plan


def _is_live(given: RunInputs | GivenModels | None) -> bool:
    """Whether the first model came from memory, so that no name leads to it."""
    return given.is_live if isinstance(given, RunInputs) else given is not None


def _load(config: BenchConfig, name: str, device: str | None, is_first: bool = False) -> PreTrainedModel:
    """One of the models; what is said of a revision or an adapter is said of the first."""
    return load(
        name,
        device=device,
        dtype=config.dtype,
        revision=config.revision if is_first else None,
        trust_remote_code=config.trust_remote_code,
        adapter=config.adapter if is_first else None,
    ).model


def _export(source: PreTrainedModel | str, plan: Plan, folder: Path, config: BenchConfig) -> float:
    """Write a checkpoint of the plan and return its largest difference from the live plan."""
    return export(
        source,
        folder,
        plan,
        revision=config.revision,
        adapter=config.adapter,
        trust_remote_code=config.trust_remote_code,
    ).difference


def _name_other(model: PreTrainedModel, config: BenchConfig, full: Side, plan: Plan | None) -> Side:
    """The side of the second model: a checkpoint where there is a plan."""
    assert config.other
    if plan and len(find_layers(model)) != len(plan.order):
        raise UsageError(
            f"{config.other} has {len(find_layers(model))} layers, a checkpoint of the plan has {len(plan.order)}; give the "
            "checkpoint of this plan, or leave it out and one is exported for the time"
        )
    if plan:
        return _make_side("checkpoint", model, "checkpoint", beside=full)
    label = _last_part(config.other)
    return _make_side("other", model, label if label != full.about.label else f"{label} (second)", beside=full)


def _make_side(
    name: SideName, model: PreTrainedModel, label: str, plan: Plan | None = None, beside: Side | None = None
) -> Side:
    """A side and its record."""
    n_all = len(find_layers(model))
    chosen = plan or Plan.full(n_all)
    about = BenchSide(
        name=name,
        label=label,
        plan=plan,
        n_layers=len(chosen.order),
        parameters=count_parameters(model, chosen),
        weight_bytes=model.get_memory_footprint(),
        disk_bytes=_measure_disk(model),
        dtype=str(model.dtype).removeprefix("torch."),
        attention=str(model.config._attn_implementation),
        by_layers=_predict_by_layers(model, len(chosen.order), beside),
    )
    return Side(model, chosen, about)


def _predict_by_layers(model: PreTrainedModel, n_layers: int, beside: Side | None) -> float | None:
    """The share of the first side's layers that are left, where a layer of one is as large as a layer of the other."""
    if beside is None:
        return None
    config, other = find_layers(model).config, find_layers(beside.model).config
    if any(getattr(config, name, None) != getattr(other, name, None) for name in ("model_type", "hidden_size")):
        return None
    return n_layers / beside.about.n_layers


def _measure_disk(model: PreTrainedModel) -> int | None:
    """Bytes of the files of weights that a model came from, those of the hub's cache included."""
    try:
        name = model.name_or_path or ""
        folder = Path(name)
        if not (name and folder.is_dir()):
            revision = getattr(model.config, "_commit_hash", None)
            cached = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision)
            folder = Path(cached if isinstance(cached, str) else "").parent
        return sum(path.stat().st_size for path in find_weight_files(folder, vars(model.config)))
    except (ModelError, OSError, ValueError):  # a live model that came from nowhere
        return None


def _last_part(name: str) -> str:
    """A model's name as it stands in tables."""
    return last_path_part(name) or name
