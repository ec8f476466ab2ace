"""The plan: what a model keeps of each layer, and what it does in the place of what is dropped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from tapioca.disk import write_text
from tapioca.errors import UsageError
from tapioca.plan.arrays import read_arrays, write_arrays
from tapioca.plan.checks import check_layers, check_numbers
from tapioca.plan.tables import (
    BRANCHES,
    GRAINS,
    Blocks,
    BranchName,
    Grain,
    Maps,
    Numbers,
    Scales,
    Tokens,
    canonical_numbers,
    shrink_blocks,
)
from tapioca.plan.words import describe_plan, explain_no_plan
from tapioca.reading import explain_damage, read_text

OPTIONAL = ("factors", "maps", "repeats", "norms")
"""Tables that the JSON of a plan lacks where it has none of them."""

ARRAYS_SUFFIX = ".safetensors"

DIGEST = re.compile(r',\s*"digest"\s*:\s*"(\w*)"\s*}\s*$')
"""How a plan's text ends where it has its digest."""


class Plan(BaseModel, frozen=True, extra="forbid"):
    """How much of each residual update a model keeps. Frozen, hashable, and stable as JSON.

    A transformer is a chain of updates h <- h + f_l(h). A plan gives every layer a scale alpha >= 0:
    1 leaves the layer as it is, 0 drops it (it is not computed at all), anything else makes the layer
    h + alpha * (layer(h) - h). `attention` and `mlp` scale one branch inside a layer instead. Only
    scales other than 1 are kept, and a dropped layer has no branch scales, so plans that mean the same
    are equal. Layers are numbered from 0.

    What else it may do makes up for what is dropped, or stands in its place. Where it does none of it, its JSON is without.

    Attributes:
        n_layers: number of layers of the model the plan is for.
        layers, attention, mlp: scales by layer, of whole layers and of one branch, as (layer, scale) pairs; 1 where
            none stands, 0 drops.
        factors: numbers above 0 by which the residual stream is multiplied in front of layers (Prune&Comp, arXiv
            2507.18212). In front of a dropped layer it is one of the next that is kept, if there is one.
        maps: linear maps T, arrays of shape (width, width): the MLP branch of that layer adds T u where it would add u
            (ReplaceMe, arXiv 2505.02819). JSON names an array by its SHA-256; it lies in the file beside the plan.
        repeats: blocks of layers, by the first and the last, that read their own output once more.
        norms: Euclidean norms, above 0, that the residual stream is given in front of layers.
        norm_tokens: at which tokens.
    """

    n_layers: int = Field(ge=1)
    layers: Scales = ()
    attention: Scales = ()
    mlp: Scales = ()
    factors: Scales = ()
    maps: Maps = ()
    repeats: Blocks = ()
    norms: Numbers = ()
    norm_tokens: Tokens = "all"

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise UsageError(explain_no_plan(error)) from error

    @model_validator(mode="after")
    def _check(self) -> Plan:
        check_layers(self)
        check_numbers(self)
        dropped = set(self.drops)
        for table in (*BRANCHES, "maps", "norms"):
            self._set(table, tuple(pair for pair in getattr(self, table) if pair[0] not in dropped))
        self._set("maps", tuple(pair for pair in self.maps if pair[0] not in self.dropped("mlp")))
        self._set("repeats", shrink_blocks(self.repeats, self.kept))
        self._set("factors", canonical_numbers(self._list_read_factors(), neutral=1.0))
        self._set("norm_tokens", self.norm_tokens if self.norms else "all")
        return self

    def _set(self, name: str, canonical: Any) -> None:
        object.__setattr__(self, name, canonical)

    def _list_read_factors(self) -> dict[int, float]:
        """Factors by the layers that read the stream behind them: the next that is kept; behind the last, none does."""
        factors: dict[int, float] = {}
        for layer, factor in self.factors:
            reader = next((kept for kept in self.kept if kept >= layer), None)
            if reader is not None:
                factors[reader] = factors.get(reader, 1.0) * factor
        return factors

    @model_serializer(mode="wrap")
    def _leave_out_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = {name for name in OPTIONAL if not getattr(self, name)} | (set() if self.norms else {"norm_tokens"})
        return {name: field for name, field in serialize(self).items() if name not in unused}

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
            raise UsageError(explain_no_plan(error)) from error
        if digest and digest[1] != plan.digest:
            raise UsageError(
                'damaged: its "digest" is that of another plan; take it from where it came, or take the digest out if you '
                "changed the plan yourself"
            )
        return plan

    @classmethod
    def read(cls, source: str | Path) -> Plan:
        """Read a plan: a file, with the arrays beside it where it has any, or its JSON.

        Raises:
            UsageError: there is no such file, what is there is no plan, or arrays of its are missing or damaged.
        """
        if str(source).lstrip().startswith("{"):
            return cls.from_json(str(source))
        path = Path(source)
        with explain_damage(path, UsageError):
            plan = cls.from_json(read_text(path))
        return plan.load_arrays(path)

    def write(self, path: Path) -> None:
        """Write `path` with the plan's JSON and digest, and its arrays into a .safetensors file of that name beside it; where
        it has none, those of an earlier plan go."""
        arrays_path = path.with_suffix(ARRAYS_SUFFIX)
        if self.maps:
            write_arrays(arrays_path, (held for _, held in self.maps))
        else:
            arrays_path.unlink(missing_ok=True)
        write_text(path, self.to_checked_json() + "\n")

    def load_arrays(self, path: Path) -> Plan:
        """The same plan with its arrays in memory, from the file beside its JSON file `path`.

        Raises:
            UsageError: arrays are missing or damaged.
        """
        if not self.maps:
            return self
        arrays = read_arrays(path.with_suffix(ARRAYS_SUFFIX))
        if missing := [held.digest for _, held in self.maps if held.digest not in arrays]:
            raise UsageError(f"array {missing[0]:.12} of the plan is not among its arrays; copy both its files again")
        return self.replace_tables(maps={layer: arrays[held.digest] for layer, held in self.maps})

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

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The layers in the order they are computed: those kept, and the blocks that are repeated twice."""
        block_by_end = {last: first for first, last in self.repeats}
        order: list[int] = []
        for layer in self.kept:
            order.append(layer)
            if (first := block_by_end.get(layer)) is not None:
                order += [kept for kept in self.kept if first <= kept <= layer]
        return tuple(order)

    @property
    def runs_alone(self) -> bool:
        """Whether it does what no single layer does by itself, so that no other plan shares a pass with it: it repeats blocks,
        or sets norms, at tokens that only the whole batch tells apart."""
        return bool(self.repeats or self.norms)

    @property
    def scaled(self) -> dict[int, float]:
        """The scales of the kept layers that are not 1."""
        return {layer: scale for layer, scale in self.layers if scale != 0.0}

    @property
    def is_full(self) -> bool:
        """Whether the plan changes nothing."""
        return not any(getattr(self, table) for table in (*GRAINS, *OPTIONAL))

    @property
    def only_scales_layers(self) -> bool:
        """Whether it drops and scales whole layers and does nothing else."""
        return not any(getattr(self, table) for table in (*BRANCHES, *OPTIONAL))

    @property
    def only_drops_layers(self) -> bool:
        """Whether it drops whole layers and does nothing else."""
        return self == Plan.drop(self.n_layers, self.drops)

    def compensate(self, factors: Mapping[int, float]) -> Plan:
        """The same plan with these factors of the stream, in front of layers, and no others."""
        return self.replace_tables(factors=dict(factors))

    def replace_tables(self, **tables: Any) -> Plan:
        """The same plan with other tables, of these names, in place of its own."""
        return Plan(**{name: tables.get(name, getattr(self, name)) for name in Plan.model_fields})

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name the plan."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def compose(self, other_plan: Plan) -> Plan:
        """The plan that keeps what both keep: scales and factors multiply, and what else one of them does is done.

        Raises:
            UsageError: the plans are for different numbers of layers, or map, repeat or set the norm of the same layer.
        """
        if other_plan.n_layers != self.n_layers:
            raise UsageError(f"cannot compose plans for {self.n_layers} and {other_plan.n_layers} layers")
        fields: dict[str, Any] = {"repeats": (*self.repeats, *other_plan.repeats)}
        for table in (*GRAINS, "factors"):
            own_scales, other_scales = dict(getattr(self, table)), dict(getattr(other_plan, table))
            fields[table] = {
                layer_index: own_scales.get(layer_index, 1.0) * other_scales.get(layer_index, 1.0)
                for layer_index in own_scales.keys() | other_scales.keys()
            }
        for table in ("maps", "norms"):
            own, other = dict(getattr(self, table)), dict(getattr(other_plan, table))
            if shared := own.keys() & other.keys():
                raise UsageError(f"cannot compose plans that both have {table} of layer {min(shared)}")
            fields[table] = own | other
        if self.norms and other_plan.norms and self.norm_tokens != other_plan.norm_tokens:
            raise UsageError("cannot compose plans that set norms at all tokens and at the last one")
        return Plan(n_layers=self.n_layers, norm_tokens=(self if self.norms else other_plan).norm_tokens, **fields)

    def dose(self, alpha: float) -> Plan:
        """The plan with a scale in place of every drop: itself at 0, the full model at 1 if it only drops."""
        return self.replace_tables(
            **{
                grain: {layer_index: alpha if scale == 0.0 else scale for layer_index, scale in getattr(self, grain)}
                for grain in GRAINS
            }
        )

    def __str__(self) -> str:
        return describe_plan(self)
