"""Write into weights what a plan does to residual updates, where that is exact."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from transformers import PreTrainedModel

from tapioca.checkpoints.names import KeptTensor
from tapioca.errors import ExportError
from tapioca.models.branches import find_branch, find_branch_modules, layer_branches
from tapioca.models.families import Branch, find_family, is_condition_met
from tapioca.models.find import find_layers
from tapioca.plan import BRANCHES, Plan

LIVE_INSTEAD = "use the plan live with tapioca generate"


@dataclass(frozen=True)
class ChangedBranch:
    """Weights of one branch of one layer that a plan changes.

    Attributes:
        layer: its number in the source.
        name: "attention" or "mlp".
        branch: what its weights are called.
        scale: of the branch's update.
        matrix: (width, width), float64, that the update is multiplied with; None where it is not.
    """

    layer: int
    name: str
    branch: Branch
    scale: float = 1.0
    matrix: torch.Tensor | None = None

    def matches(self, tensor: KeptTensor) -> bool:
        """Whether a tensor of the checkpoint is one of them."""
        return tensor.layer == self.layer and any(
            fnmatchcase(tensor.inside, pattern) for pattern in self.branch.writers
        )

    def change_weight(self, weight: torch.Tensor, name: str) -> torch.Tensor:
        """The changed weight of that name, rounded once to the dtype it has."""
        wide = weight.double()
        if self.branch.plus_one:
            return (self.scale * (wide + 1) - 1).to(weight.dtype)
        if self.matrix is not None:
            axis = self._find_output_axis(wide, name)
            wide = torch.tensordot(self.matrix, wide, dims=([1], [axis])).movedim(0, axis)
        return (self.scale * wide).to(weight.dtype).contiguous()

    def _find_output_axis(self, weight: torch.Tensor, name: str) -> int:
        """Along which axis of a weight, or of a bias, the values of the update lie."""
        if weight.dim() == 1 or name.endswith("bias"):
            return weight.dim() - 1
        if weight.dim() == 2:
            return 1 if self.branch.transposed else 0
        width = len(self.matrix) if self.matrix is not None else 0
        axes = [axis for axis in (1, 2) if weight.shape[axis] == width]  # experts stand along the first
        if len(axes) != 1:
            raise ExportError(
                f"cannot tell which axis of {name}, {tuple(weight.shape)}, the map of layer {self.layer} is for; {LIVE_INSTEAD}"
            )
        return axes[0]


def rewrite_tensor(weight: torch.Tensor, tensor: KeptTensor, changes: Sequence[ChangedBranch]) -> torch.Tensor:
    """A weight as the new checkpoint holds it; the same object where the plan leaves it alone."""
    for change in changes:
        if change.matches(tensor):
            weight = change.change_weight(weight, tensor.inside)
    return weight


def check_writers(changes: Sequence[ChangedBranch], tensors: Iterable[KeptTensor]) -> None:
    """Refuse with an ExportError a checkpoint in which a branch that is changed has no weight to change."""
    tensors = list(tensors)
    for change in changes:
        if not any(change.matches(tensor) for tensor in tensors):
            raise ExportError(
                f"no weight is called {' or '.join(change.branch.writers)} in layer {change.layer}, "
                f"so the scale of its {change.name} cannot be written; {LIVE_INSTEAD}"
            )


def find_changed_branches(plan: Plan, model: PreTrainedModel) -> list[ChangedBranch]:
    """Which weights of a checkpoint change under a plan.

    Args:
        plan: may drop and repeat layers, and scale branches; layers too where that is the same as scaling their branches,
            the stream where every layer behind reads it through a norm, and map what MLPs add where nothing stands between.
        model: the model in the checkpoint; it may lie on the meta device.

    Raises:
        ExportError: the weights cannot carry the plan.
    """
    if plan.norms:
        raise ExportError(
            f"no weight carries a norm that is set: what it takes depends on what is read; {LIVE_INSTEAD}"
        )
    if plan.maps and (reason := explain_no_maps(model)):
        raise ExportError(reason)
    if plan.factors and plan.repeats:
        raise ExportError(
            f"no weight carries a factor of the stream where blocks are repeated, which read it twice; {LIVE_INSTEAD}"
        )
    branch_plan = spread_factors(express_in_branches(plan, model), model)
    matrices = {layer: torch.from_numpy(held.array.copy()).double() for layer, held in branch_plan.maps}
    changes = []
    for name in BRANCHES:
        scales, maps = dict(getattr(branch_plan, name)), matrices if name == "mlp" else {}
        for layer in sorted(scales.keys() | maps.keys()):
            branch = find_branch(model, find_layers(model).blocks[layer], name)
            changes.append(ChangedBranch(layer, name, branch, scales.get(layer, 1.0), maps.get(layer)))
    if changes and getattr(model.config, "quantization_config", None):
        raise ExportError(
            "the weights are quantised, so neither scales nor maps can be written into them; export the model itself"
        )
    return changes


def express_in_branches(plan: Plan, model: PreTrainedModel) -> Plan:
    """The same plan with scales of whole layers said as scales of their branches; an ExportError where that is not the same."""
    if not plan.scaled:
        return plan
    if reason := explain_no_layer_scales(model):
        raise ExportError(reason)
    family = find_family(model)
    blocks = find_layers(model).blocks
    branch_plan = plan.replace_tables(layers=dict.fromkeys(plan.drops, 0.0))
    for name in BRANCHES:
        branch = getattr(family, name)
        scales = {
            layer: scale
            for layer, scale in plan.scaled.items()
            if branch and find_branch_modules(blocks[layer], branch)
        }
        branch_plan = branch_plan.compose(Plan.scale(plan.n_layers, scales, name))
    return branch_plan


def spread_factors(plan: Plan, model: PreTrainedModel) -> Plan:
    """The same plan with factors of the stream said as scales of the branches behind them.

    A stream of c h + f is c times h + f / c, and the norms that layers and head read it through do not see the size. So
    what a factor c multiplies stays as it is, embedding included, and what is added later is divided by c.

    Raises:
        ExportError: something behind the factor does see the size.
    """
    if not plan.factors:
        return plan
    if reason := explain_no_factors(model):
        raise ExportError(reason)
    blocks = find_layers(model).blocks
    spread = plan.compensate({})
    for first_layer, factor in plan.factors:
        layers = [layer for layer in plan.kept if layer >= first_layer]
        for name in BRANCHES:
            scales = {layer: 1 / factor for layer in layers if name in layer_branches(model, blocks[layer])}
            spread = spread.compose(Plan.scale(plan.n_layers, scales, name))
    return spread


def explain_no_maps(model: PreTrainedModel) -> str:
    """Why a linear map of what an MLP adds cannot be written into a model's weights, or nothing."""
    mlp = find_family(model).mlp
    reason = "it goes through a norm first" if mlp and mlp.normed else ""
    return _explain_no_weight(model, "a map of what its MLPs add", mlp, "its layers normalise after that", reason)


def explain_no_factors(model: PreTrainedModel) -> str:
    """Why a factor of the stream cannot be written into a model's weights, or nothing."""
    family = find_family(model)
    reason = "its branches read it without a norm" if family.raw_input else ""
    after_norm = "its layers normalise what they add to"
    return _explain_no_weight(model, "a factor of its stream", family.attention, after_norm, reason)


def _explain_no_weight(model: PreTrainedModel, what: str, branch: Branch | None, after_norm: str, reason: str) -> str:
    """Why no weight of a model carries something, or nothing.

    Args:
        model: whose weights.
        what: they would carry.
        branch: whose weights they would be; None where it is not known.
        after_norm: why it cannot be in a model whose layers normalise after an update was added.
        reason: why it cannot be in a model of this family; empty where it can.
    """
    config = model.config.get_text_config(decoder=True)
    kind = config.model_type
    if is_condition_met(find_family(model).post_norm, config):
        reason = after_norm
    elif branch is None:
        return f"which weights of a {kind} model carry {what} is not known; {LIVE_INSTEAD}"
    return f"no weight of a {kind} model carries {what}: {reason}; {LIVE_INSTEAD}" if reason else ""


def explain_no_layer_scales(model: PreTrainedModel) -> str:
    """Why the scale of a whole layer cannot be written into a model's weights, or nothing."""
    family, config = find_family(model), model.config.get_text_config(decoder=True)
    if is_condition_met(family.parallel, config):
        return ""
    kind = config.model_type
    if is_condition_met(family.post_norm, config):
        return (
            f"no weight of a {kind} layer carries its scale: it normalises after the update was added; {LIVE_INSTEAD}"
        )
    if family.attention is None:
        return f"which weights of a {kind} layer carry its scale is not known; {LIVE_INSTEAD}"
    return f"no weight of a {kind} layer carries its scale: its MLP reads what attention wrote; scale branches, or {LIVE_INSTEAD}"
