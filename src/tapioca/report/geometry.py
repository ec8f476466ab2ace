"""What a profile says, in tables and sentences, the same on the screen and on the page."""

from __future__ import annotations

from dataclasses import dataclass

from tapioca.records import Estimate, ProfileInfo, Tested, Updates, ranges, signed, signed_interval
from tapioca.records.profile import Kind
from tapioca.report.figures import series
from tapioca.report.words import p_value

LEVEL = 0.05
NAMES: dict[Kind, str] = {"norm": "norm", "distance": "pairwise distance"}
KINDS = tuple(NAMES)
DIFFER = "the two ways differ"
WAYS = "where the two ways differ, growth inside a layer is one thing, what dropping it takes from the layers after it another"


@dataclass(frozen=True)
class Block:
    """A table: its title, the heads of its columns, its rows."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def estimate(found: Estimate | None) -> str:
    """A signed number with its 95 % interval."""
    return "–" if found is None else signed_interval(found.value, found.ci95, 3)


def layers_of(kind: Kind, info: ProfileInfo) -> Block:
    """A profile layer by layer under the full model, with each layer's share of the OOD deviation."""
    shares = info.attribution(kind)
    first = ("in", "", "", "", signed(shares.before, 3), "")
    columns = zip(
        _numbers(getattr(info.view("id").profile, kind)),
        _numbers(getattr(info.view("ood").profile, kind)),
        [signed(ratio, 3) for ratio in info.tested(kind).deviation.signed],
        map(estimate, shares.along),
        map(estimate, shares.removal),
        strict=True,
    )
    rows = tuple((str(layer), *cells) for layer, cells in enumerate(columns))
    head = ("layer", "ID", "OOD", "log ratio", "along the stream [95 %]", "by removal [95 %]")
    return Block(f"mean {NAMES[kind]}", head, (first, *rows))


def measures_of(info: ProfileInfo, planned: bool = False) -> Block:
    """The field's measures layer by layer, ID beside OOD."""
    views = [info.view("id", planned), info.view("ood", planned)]
    names = ["effective_rank", "cosine_spread", "intrinsic_dimension", "alignment"] + (["cka"] if planned else [])
    columns = [_numbers(getattr(view.spread, name)) for name in names for view in views]
    rows = zip(map(str, views[0].profile.layers), *columns, strict=True)
    short = {"effective_rank": "rank", "cosine_spread": "cos", "intrinsic_dimension": "dim", "alignment": "align"}
    head = [part for name in names for part in (f"{short.get(name, 'CKA')} ID", "OOD")]
    return Block(f"the field's measures{_under(info, planned)}", ("layer", *head), tuple(rows))


def profiles_under_plan(info: ProfileInfo) -> Block:
    """Both profiles after the layers the plan keeps."""
    views = [info.view("id", True), info.view("ood", True)]
    columns: list[list[str]] = []
    for kind in KINDS:
        columns += [_numbers(getattr(view.profile, kind)) for view in views]
        ood = next(one.deviation for one in info.kept if _key(one) == ("ood", True, kind))
        columns.append([signed(ratio, 3) for ratio in ood.signed])
    head = ("layer", "norm ID", "OOD", "log ratio", "distance ID", "OOD", "log ratio")
    rows = zip(map(str, views[0].profile.layers), *columns, strict=True)
    return Block(f"profiles{_under(info, True)}; log ratios of OOD to ID under the full model", head, tuple(rows))


def updates_of(info: ProfileInfo, branches: bool, planned: bool = False) -> Block:
    """What each layer, or branch, adds to the residual stream, ID beside OOD."""
    views = [info.view("id", planned), info.view("ood", planned)]
    found = [view.branches if branches else view.layers for view in views]
    both = [one for one in found if isinstance(one, Updates)]
    rows = tuple(
        (
            f"{pair[0].layer}{f' {pair[0].branch}' if pair[0].branch else ''}",
            *_numbers([one.norm.value for one in pair]),
            *(f"{one.angle.value:.3f}" for one in pair),
            *(signed(one.share.value, 3) for one in pair),
        )
        for pair in zip(*(one.updates for one in both), strict=True)
    )
    first = ("in", "", "", "", "", *(signed(one.first_share.value, 3) for one in both))
    head = ("branch" if branches else "layer", "norm ID", "OOD", "angle/π ID", "OOD", "share ID", "OOD")
    what = "branch" if branches else "layer"
    return Block(f"what each {what} adds to the stream{_under(info, planned)}", head, (first, *rows))


def deviations_of(info: ProfileInfo) -> Block:
    """Deviations with their nulls; with a plan over the layers it keeps, before and after."""
    head = ("profile", "data", "deviation [95 %]", "null", "excess", "p", "effect")
    rows = tuple(
        (
            found.kind,
            series(found.data, found.planned),
            f"{found.value:.3f} [{found.ci95[0]:.3f}, {found.ci95[1]:.3f}]",
            f"{found.null_upper:.3f}",
            signed(found.excess, 3),
            p_value(one.permuted.p),
            f"{one.effect:.2f}",
        )
        for one in sorted(info.kept or info.deviations, key=lambda one: KINDS.index(one.deviation.kind))
        for found in [one.deviation]
    )
    over = f"over layers {ranges(info.plan.kept)}, which the plan keeps" if info.kept else "over all layers"
    return Block(f"deviation from the ID reference, {over}", head, rows)


def realigned_of(info: ProfileInfo) -> Block:
    """What the plan takes off the deviations."""
    rows = tuple((one.kind, estimate(one.ood), p_value(one.permuted.p), estimate(one.id)) for one in info.realigned)
    head = ("profile", "OOD realignment [95 %]", "p", "the same of ID [95 %]")
    return Block(f"realignment{_under(info, True)}", head, rows)


def reading(info: ProfileInfo) -> list[str]:
    """What the numbers say, one sentence or two for each profile, and one for what a plan does to it."""
    lines = []
    for kind in KINDS:
        lines.append(f"{_judged(info.tested(kind))}{_carried(kind, info)}")
        lines += [_moved(info, kind)] if info.realigned else []
    if any(DIFFER in line for line in lines):
        lines.append(WAYS)
    return lines


def legend(info: ProfileInfo) -> str:
    """Which way is good, and what the null is."""
    line = (
        "log ratio and deviation: 0 is as on ID data; null: two ID samples deviate less in 95 % of cases; excess: above 0 "
        "is more than the mean of the null; along the stream, by removal: above 0 the layer adds to the OOD deviation"
    )
    return f"{line}; realignment: above 0 moves towards ID data" if info.realigned else line


def carriers(shares: tuple[Estimate | None, ...]) -> tuple[int, ...]:
    """The layers that carry a deviation: the fewest that make half of all positive shares, of those whose interval
    lies above 0."""
    positive = {layer: share for layer, share in enumerate(shares) if share and share.value > 0}
    half, held, found = sum(share.value for share in positive.values()) / 2, 0.0, []
    for layer, share in sorted(positive.items(), key=lambda item: -item[1].value):
        if held >= half:
            break
        if share.ci95[0] > 0:
            found.append(layer)
            held += share.value
    return tuple(sorted(found))


def exceeds(one: Tested) -> bool:
    """Whether a deviation is larger than those of 95 % of equal ID samples."""
    return one.deviation.value > one.deviation.null_upper


def _judged(one: Tested) -> str:
    found, p = one.deviation, one.permuted.p
    verdict = "exceeds" if exceeds(one) else "does not exceed"
    text = (
        f"the OOD {NAMES[found.kind]} deviation, {found.value:.3f}, {verdict} its null (95 % of equal ID samples "
        f"stay below {found.null_upper:.3f}; permutation p {p_value(p)})"
    )
    return f"{text}, and the permutation test disagrees" if exceeds(one) != (p <= LEVEL) else text


def _carried(kind: Kind, info: ProfileInfo) -> str:
    """Which layers carry a deviation that exceeds its null, and whether the two ways agree."""
    if not exceeds(info.tested(kind)):
        return ""
    shares = info.attribution(kind)
    along, removal = carriers(shares.along), carriers(shares.removal)
    if shares.before > info.tested(kind).deviation.value / 2:
        return f"; before the first layer it is already {shares.before:.3f}{_ways(along, removal)}"
    return _ways(along, removal)


def _ways(along: tuple[int, ...], removal: tuple[int, ...]) -> str:
    if along == removal:
        return f"; {_named(along)} most of it, along the stream as by removal" if along else f"; {_named(along)} it"
    ways = [f"{_named(found)} {'most of ' if found else ''}it" for found in (along, removal)]
    return f"; along the stream {ways[0]}, by removal {ways[1]}: {DIFFER}"


def _moved(info: ProfileInfo, kind: Kind) -> str:
    before, after = (
        next(one.deviation for one in info.kept if _key(one) == ("ood", planned, kind)) for planned in (False, True)
    )
    found = next(one for one in info.realigned if one.kind == kind)
    low, high = found.ood.ci95
    way = "moves back towards ID" if low > 0 else "moves away from ID" if high < 0 else "does not clearly move"
    return (
        f"under {info.plan} it {way}: {before.value:.3f} → {after.value:.3f}, realignment {estimate(found.ood)} "
        f"(ID data, moved by the same plan: {estimate(found.id)}; permutation p {p_value(found.permuted.p)})"
    )


def _named(layers: tuple[int, ...]) -> str:
    if not layers:
        return "no single layer clearly carries"
    return f"layers {ranges(layers)} carry" if len(layers) > 1 else f"layer {layers[0]} carries"


def _key(one: Tested) -> tuple[str, bool, str]:
    return one.deviation.data, one.deviation.planned, one.deviation.kind


def _under(info: ProfileInfo, planned: bool) -> str:
    return f" under {info.plan}" if planned else ""


def _numbers(values: tuple[float, ...] | list[float]) -> list[str]:
    """Three digits, and whole numbers above a hundred."""
    return [f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:#.3g}" for value in values]
