"""Whether a model can be given what its prompts begin with apart from the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, forward
from tapioca.models.opening import Opening
from tapioca.models.sweep import Schedule, sweep
from tapioca.records import Inputs, Plan


def find_opening(model: PreTrainedModel, sequences: Sequence[Inputs], length: int, keep: int) -> Opening | None:
    """An opening that can be read apart, as tried on sequences which begin with it; else None.

    It cannot where the model keeps more of the past than keys and values, or counts padded places as distance.

    Args:
        model: left as it was.
        sequences: the longest and the shortest there are.
        length: number of tokens they all begin with.
        keep: number of last positions whose outputs are wanted.
    """
    opening, full = Opening(model, sequences[0][:length]), Plan.full(len(find_layers(model)))
    whole = forward(model, collate(model, sequences), keep)
    try:
        behind = opening.batch([sequence[length:] for sequence in sequences])
        apart = dict(sweep(model, [full], behind, keep, Schedule(way="single"), opening=opening))[full]
    except torch.OutOfMemoryError:
        raise
    except Exception:  # models that keep another kind of past fail in ways of their own
        return None
    near = float(whole.abs().max()) * torch.finfo(model.dtype).eps ** 0.5
    return opening if torch.allclose(apart, whole, rtol=0, atol=near) else None
