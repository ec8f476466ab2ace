"""The plan: how much of each layer's update a model keeps."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from tapioca.errors import UsageError
from tapioca.reading import explain_damage, read_text

BranchName = Literal["attention", "mlp"]
BRANCHES: tuple[BranchName, ...] = ("attention", "mlp")
Grain = Literal["layers", "attention", "mlp"]
GRAINS: tuple[Grain, ...] = ("layers", "attention", "mlp")
"""What a scale is of: whole layers, or one branch of them."""


def _canonical_scales(scales: Any) -> tuple[tuple[int, float], ...]:
    """Pairs (layer, scale), sorted, without the scales of 1."""
    try:
        items = scales.items() if isinstance(scales, Mapping) else scales
        table = {int(layer): float(scale) + 0.0 for layer, scale in items}  # + 0.0 turns -0.0 into 0.0
    except (TypeError, OverflowError) as error:
        raise ValueError(f"scales must map layers to numbers, got {scales!r:.60}") from error
    return tuple(sorted((layer, scale) for layer, scale in table.items() if scale != 1.0))


Scales = Annotated[
    tuple[tuple[int, float], ...],
    BeforeValidator(_canonical_scales),
    PlainSerializer(lambda pairs: {str(layer): scale for layer, scale in pairs}, return_type=dict[str, float]),
]


EXAMPLE = '{"n_layers":6,"layers":{"2":0.0}}'
"""A plan that drops one layer of six, as JSON."""


DIGEST = re.compile(r',\s*"digest"\s*:\s*"(\w*)"\s*}\s*$')
"""How a plan's text ends where it has its digest."""


class Plan(BaseModel, frozen=True, extra="forbid"):
    """How much of each residual update a model keeps. Frozen, hashable, and stable as JSON.

    A transformer is a chain of updates h <- h + f_l(h). A plan gives every layer a scale alpha >= 0:
    1 leaves the layer as it is, 0 drops it (it is not computed at all), anything else makes the layer
    h + alpha * (layer(h) - h). `attention` and `mlp` scale one branch inside a layer instead. Only
    scales other than 1 are kept, and a dropped layer has no branch scales, so plans that mean the same
    are equal. Layers are numbered from 0.

    A factor multiplies the residual stream itself in front of a layer, to make up for what dropped layers before it would
    have added (Prune&Comp, arXiv 2507.18212). In front of a dropped layer it is one of the next that is kept, if there is
    one. Plans without factors have the JSON they always had.

    Attributes:
        n_layers: number of layers of the model the plan is for.
        layers, attention, mlp: scales by layer, of whole layers and of one branch, as (layer, scale) pairs; 1 where
            none stands, 0 drops.
        factors: of the stream in front of layers, as (layer, factor) pairs above 0; 1 where none stands.
    """

    n_layers: int = Field(ge=1)
    layers: Scales = ()
    attention: Scales = ()
    mlp: Scales = ()
    factors: Scales = ()

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise UsageError(_reason(error)) from error

    @model_validator(mode="after")
    def _check(self) -> Plan:
        for layer, scale in (*self.layers, *self.attention, *self.mlp, *self.factors):
            if not 0 <= layer < self.n_layers:
                raise ValueError(f"layer {layer} is outside 0-{self.n_layers - 1}, the layers of this model")
            if not (math.isfinite(scale) and scale >= 0):
                raise ValueError(f"layer {layer} has scale {scale}; a scale is a finite number >= 0")
        dropped = set(self.drops)
        if zeros := [layer for layer, factor in self.factors if factor == 0.0]:
            raise ValueError(
                f"a factor of 0 in front of layer {zeros[0]} leaves nothing of the stream; a factor is above 0"
            )
        object.__setattr__(self, "factors", _canonical_scales(self._list_read_factors().items()))
        for branch in BRANCHES:
            pairs = tuple(pair for pair in getattr(self, branch) if pair[0] not in dropped)
            object.__setattr__(self, branch, pairs)
        return self

    def _list_read_factors(self) -> dict[int, float]:
        """Factors by the layers that read the stream behind them: the next that is kept; behind the last, none does."""
        factors: dict[int, float] = {}
        for layer, factor in self.factors:
            reader = next((kept for kept in self.kept if kept >= layer), None)
            if reader is not None:
                factors[reader] = factors.get(reader, 1.0) * factor
        return factors

    @model_serializer(mode="wrap")
    def _leave_out_no_factors(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return fields if self.factors else {name: fields[name] for name in fields if name != "factors"}

    @classmethod
    def full(cls, n_layers: int) -> Plan:
        """The model as it came."""
        return cls(n_layers=n_layers)

    @classmethod
    def drop(cls, n_layers: int, layers: Iterable[int]) -> Plan:
        """Drop whole layers."""
        return cls(n_layers=n_layers, layers=dict.fromkeys(layers, 0.0))

    @classmethod
    def scale(cls, n_layers: int, scales: Mapping[int, float], branch: BranchName | None = None) -> Plan:
        """Scale whole layers, or one branch of them."""
        return cls(**{"n_layers": n_layers, branch or "layers": dict(scales)})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read a plan written by `to_json`, or with its digest by `to_checked_json`.

        Raises:
            UsageError: the text is not a plan, or has the digest of another one.
        """
        digest = DIGEST.search(text)
        try:
            plan = cls.model_validate_json(DIGEST.sub("}", text))
        except ValidationError as error:
            raise UsageError(_reason(error)) from error
        if digest and digest[1] != plan.digest:
            raise UsageError(
                'damaged: its "digest" is that of another plan; take it from where it came, or take the digest out if you '
                "changed the plan yourself"
            )
        return plan

    @classmethod
    def read(cls, source: str | Path) -> Plan:
        """Read a plan: a file, or its JSON.

        Raises:
            UsageError: there is no such file, or what is there is no plan.
        """
        if str(source).lstrip().startswith("{"):
            return cls.from_json(str(source))
        path = Path(source)
        with explain_damage(path, UsageError):
            return cls.from_json(read_text(path))

    def to_json(self) -> str:
        """The stable JSON form: the same plan always gives the same text."""
        return self.model_dump_json()

    def to_checked_json(self) -> str:
        """The same with the plan's digest, by which `from_json` sees whether a file is damaged."""
        return f'{self.to_json().removesuffix("}")},"digest":"{self.digest}"}}'

    def dropped(self, grain: Grain) -> tuple[int, ...]:
        """The layers that are dropped whole, or whose attention or MLP branch is, ascending."""
        return tuple(layer for layer, scale in getattr(self, grain) if scale == 0.0)

    @property
    def sizes(self) -> dict[Grain, int]:
        """How many whole layers, attention branches and MLP branches are dropped."""
        return {grain: len(self.dropped(grain)) for grain in GRAINS}

    @property
    def size(self) -> int:
        """How many drops the plan makes, of layers and of branches."""
        return sum(self.sizes.values())

    @property
    def drops(self) -> tuple[int, ...]:
        """The layers that are not computed, ascending."""
        return self.dropped("layers")

    @property
    def kept(self) -> tuple[int, ...]:
        """The layers that are computed, ascending."""
        gone = set(self.drops)
        return tuple(layer for layer in range(self.n_layers) if layer not in gone)

    @property
    def scaled(self) -> dict[int, float]:
        """The scales of the kept layers that are not 1."""
        return {layer: scale for layer, scale in self.layers if scale != 0.0}

    @property
    def is_full(self) -> bool:
        """Whether the plan changes nothing."""
        return not (self.layers or self.attention or self.mlp or self.factors)

    @property
    def only_drops_layers(self) -> bool:
        """Whether it drops whole layers and does nothing else."""
        return self == Plan.drop(self.n_layers, self.drops)

    def compensate(self, factors: Mapping[int, float]) -> Plan:
        """The same plan with these factors of the stream, in front of layers, and no others."""
        return self.replace_tables(factors=dict(factors))

    def replace_tables(self, **tables: Mapping[int, float]) -> Plan:
        """The same plan with other scales of layers or of branches, or other factors, in place of its own."""
        return Plan(**{name: tables.get(name, getattr(self, name)) for name in Plan.model_fields})

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name the plan."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def compose(self, other_plan: Plan) -> Plan:
        """The plan that keeps what both keep: scales and factors multiply.

        Raises:
            UsageError: the plans are for different numbers of layers.
        """
        if other_plan.n_layers != self.n_layers:
            raise UsageError(f"cannot compose plans for {self.n_layers} and {other_plan.n_layers} layers")
        fields: dict[str, Any] = {"n_layers": self.n_layers}
        for table in (*GRAINS, "factors"):
            own_scales, other_scales = dict(getattr(self, table)), dict(getattr(other_plan, table))
            fields[table] = {
                layer_index: own_scales.get(layer_index, 1.0) * other_scales.get(layer_index, 1.0)
                for layer_index in own_scales.keys() | other_scales.keys()
            }
        return Plan(**fields)

    def dose(self, alpha: float) -> Plan:
        """The plan with a scale in place of every drop: itself at 0, the full model at 1 if it only drops."""
        fields = {
            grain: {layer_index: alpha if scale == 0.0 else scale for layer_index, scale in getattr(self, grain)}
            for grain in GRAINS
        }
        return Plan(n_layers=self.n_layers, **fields, factors=dict(self.factors))

    def __str__(self) -> str:
        parts = [f"drop {format_layers(self.drops)}"] if self.drops else []
        parts += [f"{layer}×{scale:g}" for layer, scale in self.scaled.items()]
        for branch in BRANCHES:
            gone = self.dropped(branch)
            parts += [f"drop {branch} {format_layers(gone)}"] if gone else []
            parts += [f"{branch} {layer}×{scale:g}" for layer, scale in getattr(self, branch) if scale != 0.0]
        parts += [f"stream×{factor:.4g} before {layer}" for layer, factor in self.factors]
        return ", ".join(parts) or "full model"


def _reason(error: ValidationError) -> str:
    """Why something is no plan, in one line."""
    first = error.errors()[0]
    where = f"{'.'.join(map(str, first['loc']))}: " if first["type"] != "value_error" and first["loc"] else ""
    reason = first["msg"].removeprefix("Value error, ").removeprefix("not a plan: ")
    example = f"; expected such as {EXAMPLE}" if "Field required" in reason else ""
    return f"not a plan: {where}{reason}{example if example not in reason else ''}"


def format_layers(layers: Iterable[int]) -> str:
    """Layers as people write them: (1, 2, 3, 7) becomes '1–3, 7'."""
    runs: list[list[int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
