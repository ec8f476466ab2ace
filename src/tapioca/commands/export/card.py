"""The model card that goes with an exported checkpoint, and other tools' words for the same plan."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from tapioca.commands.prune.result import PruneResult
from tapioca.models.load import PACKAGED
from tapioca.plan import Plan, format_layers
from tapioca.records.portable import last_path_part

TEMPLATE = Path(__file__).with_name("card.md.j2")
SNAPSHOT = re.compile(r"models--(?P<owner>.+?)(--(?P<name>.+))?")
"""The folder of the hub's cache that holds a model."""

MARKUP = re.compile(r"[\\`*\[\]<>#|~$&]|\b_|_\b")
"""What means something within a line of Markdown; an underscore does at the ends of words."""


def render_model_card(
    model: str,
    plan: Plan,
    folder: Path,
    info: PruneResult | None = None,
    adapter: str = "",
    needs: str = "",
    rows: Collection[str] | None = None,
) -> str:
    """Base model, licence, what was changed, and the plan for other tools; with a run also its scores, verdict and command.

    Args:
        model: what the user called the model.
        plan: what was done to the layers.
        folder: the model's files, whose own card says the licence.
        info: the run that found the plan.
        adapter: name of the adapter that was merged.
        needs: what loading it takes beside plain transformers.
        rows: those that it was searched or tuned on; None where nothing is known.
    """
    scales = plan.replace_tables(layers=plan.scaled, factors={}, maps={}, repeats=())
    base = find_base_model(model, folder)
    name = base or last_path_part(model)
    card = ModelCard.from_template(
        ModelCardData(
            base_model=base,
            library_name="transformers",
            tags=["layer-pruning", *(["custom_code"] if needs.startswith("trust") else [])],
            **read_licence(folder),
        ),
        template_path=str(TEMPLATE),
        escape=escape_markdown,
        fence=fence_code,
        name=name.rpartition("/")[2],
        plan=plan,
        dropped=format_layers(plan.drops),
        title=_write_title(plan),
        repeated=_format_repeats(plan),
        scales="" if scales.is_full else str(scales),
        factors=", ".join(f"{factor:.4g} (layer {layer})" for layer, factor in plan.factors),
        mapped=format_layers(layer for layer, _ in plan.maps),
        has_own_weights=plan
        == Plan(n_layers=plan.n_layers, layers=dict.fromkeys(plan.drops, 0.0), repeats=plan.repeats),
        info=info,
        command=info.command if info else "",
        adapter=adapter,
        needs=needs,
        n_rows=len(rows or ()),
        task=Path(info.task).name if info else "",
        judgements=[judgement for judgement in info.judgements if judgement.plan == plan] if info else [],
        mergekit=render_mergekit(name, plan).rstrip(),
    )
    return str(card)


def _write_title(plan: Plan) -> str:
    """What became of the layers, behind the model's name."""
    parts = [f"without layers {format_layers(plan.drops)}" if plan.drops else ""]
    parts += [f"with layers {_format_repeats(plan)} twice" if plan.repeats else ""]
    return " and ".join(filter(None, parts)) or "with scaled updates"


def _format_repeats(plan: Plan) -> str:
    return ", ".join(format_layers(range(first, last + 1)) for first, last in plan.repeats)


def escape_markdown(text: object) -> str:
    """A text that stands in Markdown as it is, in one line: no name of a file makes a heading, a link or a tag."""
    return MARKUP.sub(r"\\\g<0>", " ".join(str(text).split()))


def fence_code(text: str, language: str = "") -> str:
    """A block of code that nothing in it can end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def find_base_model(model: str, folder: Path) -> str | None:
    """A model's id on the hub: as the user named it, as its place in the hub's cache says, or as its own card names its
    base; None where nothing says it. A folder's path is no id, though it may look like one."""
    for part in folder.parts:
        if match := SNAPSHOT.fullmatch(part):
            return "/".join(filter(None, (match["owner"], match["name"])))
    if not Path(model).exists() and model not in PACKAGED and _is_repo_id(model):
        return model
    base_id = _read_own_card(folder).get("base_model")
    return base_id if isinstance(base_id, str) and not Path(base_id).exists() and _is_repo_id(base_id) else None


def _is_repo_id(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def read_licence(folder: Path) -> dict[str, Any]:
    """The licence of a model, as its own card says it; else the file that holds it."""
    card_fields = {name: _read_own_card(folder).get(name) for name in ("license", "license_name", "license_link")}
    licence_fields: dict[str, Any] = {name: field for name, field in card_fields.items() if isinstance(field, str)}
    files = sorted(path.name for path in folder.glob("LICEN[CS]E*"))
    if "license" not in licence_fields and files:
        return {"license": "other", "license_link": files[0]}
    return licence_fields


def _read_own_card(folder: Path) -> dict[str, Any]:
    """The front matter of a model's README.md; nothing where there is none, or it cannot be read."""
    try:
        return ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data.to_dict()
    except Exception:  # whatever people write there
        return {}


def render_mergekit(model: str, plan: Plan) -> str:
    """A passthrough configuration for mergekit with the layers that run; ranges end before their last number."""
    ranges: list[list[int]] = []
    for layer in plan.order:
        if ranges and ranges[-1][1] == layer:
            ranges[-1][1] += 1
        else:
            ranges.append([layer, layer + 1])
    slices = [{"sources": [{"model": model, "layer_range": layer_range}]} for layer_range in ranges]
    return yaml.safe_dump({"merge_method": "passthrough", "slices": slices}, sort_keys=False, default_flow_style=None)
