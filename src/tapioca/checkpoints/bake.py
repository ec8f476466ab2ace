"""Write residual scales into weights, where that is exact."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from transformers import PreTrainedModel

from tapioca.checkpoints.names import KeptTensor
from tapioca.errors import ExportError
from tapioca.models.branches import find_branch, find_branch_modules, layer_branches
from tapioca.models.families import find_family, is_condition_met
from tapioca.models.find import find_layers
from tapioca.plan import BRANCHES, Plan


@dataclass(frozen=True)
class ScaledBranch:
    """Weights of one branch of one layer that a plan scales.

    Attributes:
        layer: its number in the source.
        branch: "attention" or "mlp".
        scale: factor of the branch's update.
        writers: patterns of the weights' names inside the layer.
        plus_one: they belong to a norm that multiplies by 1 + weight.
    """

    layer: int
    branch: str
    scale: float
    writers: tuple[str, ...]
    plus_one: bool

    def matches(self, tensor: KeptTensor) -> bool:
        """Whether a tensor of the checkpoint is one of them."""
        return tensor.layer == self.layer and any(fnmatchcase(tensor.inside, pattern) for pattern in self.writers)

    def scale_weight(self, weight: torch.Tensor) -> torch.Tensor:
        """The scaled weight, rounded once to the dtype it has: a w, or a (1 + w) - 1."""
        wide = weight.double()
        return (self.scale * (wide + 1) - 1 if self.plus_one else self.scale * wide).to(weight.dtype)


def rescale_tensor(weight: torch.Tensor, tensor: KeptTensor, scaled: Sequence[ScaledBranch]) -> torch.Tensor:
    """A weight as the new checkpoint holds it; the same object where the plan leaves it alone."""
    for change in scaled:
        if change.matches(tensor):
            weight = change.scale_weight(weight)
    return weight


def check_writers(scaled: Sequence[ScaledBranch], tensors: Iterable[KeptTensor]) -> None:
    """Refuse with an ExportError a checkpoint in which a branch that is scaled has no weight to scale."""
    tensors = list(tensors)
    for change in scaled:
        if not any(change.matches(tensor) for tensor in tensors):
            raise ExportError(
                f"no weight is called {' or '.join(change.writers)} in layer {change.layer}, "
                f"so the scale of its {change.branch} cannot be written; use the plan live with tapioca generate"
            )


def find_scaled_branches(plan: Plan, model: PreTrainedModel) -> list[ScaledBranch]:
    """Which weights of a checkpoint change under a plan.

    Args:
        plan: may drop layers, and scale branches; layers too where that is the same as scaling their branches, and the
            stream where every layer behind reads it through a norm.
        model: the model in the checkpoint; it may lie on the meta device.

    Raises:
        ExportError: the weights cannot carry the plan.
    """
    branch_plan = spread_factors(express_in_branches(plan, model), model)
    pairs = [(name, layer, scale) for name in BRANCHES for layer, scale in getattr(branch_plan, name)]
    if pairs and getattr(model.config, "quantization_config", None):
        raise ExportError("the weights are quantised, so scales cannot be written into them; export the model itself")
    blocks, scaled_branches = find_layers(model).blocks, []
    for name, layer, scale in pairs:
        branch = find_branch(model, blocks[layer], name)
        scaled_branches.append(ScaledBranch(layer, name, scale, branch.writers, branch.plus_one))
    return scaled_branches


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


def explain_no_factors(model: PreTrainedModel) -> str:
    """Why a factor of the stream cannot be written into a model's weights, or nothing."""
    family, config = find_family(model), model.config.get_text_config(decoder=True)
    kind, instead = config.model_type, "use the plan live with tapioca generate"
    if is_condition_met(family.post_norm, config):
        return f"no weight of a {kind} model carries a factor of its stream: its layers normalise what they add to; {instead}"
    if family.attention is None:
        return f"which weights of a {kind} model carry a factor of its stream is not known; {instead}"
    if family.raw_input:
        return f"no weight of a {kind} model carries a factor of its stream: its branches read it without a norm; {instead}"
    return ""


def explain_no_layer_scales(model: PreTrainedModel) -> str:
    """Why the scale of a whole layer cannot be written into a model's weights, or nothing."""
    family, config = find_family(model), model.config.get_text_config(decoder=True)
    if is_condition_met(family.parallel, config):
        return ""
    kind, instead = config.model_type, "use the plan live with tapioca generate"
    if is_condition_met(family.post_norm, config):
        return f"no weight of a {kind} layer carries its scale: it normalises after the update was added; {instead}"
    if family.attention is None:
        return f"which weights of a {kind} layer carry its scale is not known; {instead}"
    return f"no weight of a {kind} layer carries its scale: its MLP reads what attention wrote; scale branches, or {instead}"
