"""Whether a model can be given what its prompts begin with apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from tapioca.engine.options import SweepInput
from tapioca.engine.shared_prefix import SharedPrefix
from tapioca.engine.sweep import Schedule, sweep
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, run_forward
from tapioca.plan import Plan
from tapioca.records import Inputs


def find_shared_prefix(
    model: PreTrainedModel, sequences: Sequence[Inputs], length: int, keep: int
) -> SharedPrefix | None:
    """An opening that can be read apart, as tried on sequences which begin with it; else None.

    It cannot where the model keeps more of the past than keys and values, or counts padded places as distance.

    Args:
        model: left as it was.
        sequences: the longest and the shortest there are.
        length: of the opening, in tokens.
        keep: number of last positions whose outputs are wanted.
    """
    shared_prefix, full_plan = SharedPrefix(model, sequences[0][:length]), Plan.full(len(find_layers(model)))
    expected_outputs = run_forward(model, collate(model, sequences), keep)
    try:
        rest_batch = shared_prefix.collate_rest([sequence[length:] for sequence in sequences])
        sweep_input = SweepInput(rest_batch, keep, shared_prefix=shared_prefix)
        split_outputs = dict(sweep(model, [full_plan], sweep_input, Schedule(way="single")))[full_plan]
    except torch.OutOfMemoryError:
        raise
    except Exception:  # models that keep another kind of past fail in ways of their own
        return None
    tolerance = float(expected_outputs.abs().max()) * torch.finfo(model.dtype).eps ** 0.5
    return shared_prefix if torch.allclose(split_outputs, expected_outputs, rtol=0, atol=tolerance) else None
