"""What is known of a model before its weights are touched."""

from dataclasses import dataclass

from tapioca.plan import BranchName


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before its weights are touched.

    Attributes:
        path: where the list of layers is.
        kinds: module classes of the layers, in order of first use.
        droppable: layers that can be dropped from the live model.
        exportable: layers a checkpoint can do without.
        branches: which branches of the live model can be scaled or dropped alone.
        written: those whose scales a checkpoint's weights can carry.
        reasons: why other layers and branches cannot, one line each.
        whole_rows: why the rows of a question are read whole; empty where what they begin with is read once.
        no_layer_scales: why the scale of a whole layer works on the live model only, or nothing.
        repeatable: layers of which the live model can run blocks twice.
        doubled: those that a checkpoint can hold twice.
        no_factors, no_maps: why factors of the stream, and maps of what MLPs add, work on the live model only, or nothing.
    """

    model_type: str
    path: str
    n_layers: int
    kinds: tuple[str, ...]
    parameters: int
    layer_parameters: int
    droppable: tuple[int, ...]
    exportable: tuple[int, ...]
    branches: tuple[BranchName, ...]
    written: tuple[BranchName, ...]
    reasons: tuple[str, ...]
    no_layer_scales: str
    repeatable: tuple[int, ...]
    doubled: tuple[int, ...]
    no_factors: str
    no_maps: str
    whole_rows: str = ""
