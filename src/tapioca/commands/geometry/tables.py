"""What a profile says, in tables and sentences, the same on the screen and on the page."""

from tapioca.commands.geometry.result import GeometryResult, TestedDeviation
from tapioca.plan import format_layers
from tapioca.records import PROFILE_NAMES, Estimate, ProfileKind, Updates, signed, with_interval
from tapioca.report.figures import series_name
from tapioca.report.format import p_value
from tapioca.report.tables import TableBlock

SIGNIFICANCE = 0.05
KIND_NAMES = {kind: name.replace("-", " ") for kind, name in PROFILE_NAMES.items()}
KINDS = tuple(KIND_NAMES)
DISAGREEMENT = "the two ways differ"
DISAGREEMENT_NOTE = "where the two ways differ, growth inside a layer is one thing, what dropping it takes from the layers after it another"


def format_signed_estimate(measured: Estimate | None) -> str:
    """A signed number with its 95 % interval."""
    return "–" if measured is None else with_interval(measured.value, measured.ci95, "+.3f")


def tabulate_layers(kind: ProfileKind, info: GeometryResult) -> TableBlock:
    """A profile layer by layer under the full model, with each layer's share of the OOD deviation."""
    shares = info.find_attribution(kind)
    first = ("in", "", "", "", signed(shares.before, 3), "")
    columns = zip(
        _format_numbers(getattr(info.find_view("id").profile, kind)),
        _format_numbers(getattr(info.find_view("ood").profile, kind)),
        [signed(ratio, 3) for ratio in info.find_deviation(kind).deviation.signed],
        map(format_signed_estimate, shares.along),
        map(format_signed_estimate, shares.removal),
        strict=True,
    )
    rows = tuple((str(layer), *cells) for layer, cells in enumerate(columns))
    head = ("layer", "ID", "OOD", "log ratio", "along the stream [95 %]", "by removal [95 %]")
    return TableBlock(f"mean {KIND_NAMES[kind]}", head, (first, *rows))


def tabulate_measures(info: GeometryResult, planned: bool = False) -> TableBlock:
    """The field's measures layer by layer, ID beside OOD."""
    views = [info.find_view("id", planned), info.find_view("ood", planned)]
    names = ["effective_rank", "cosine_spread", "intrinsic_dimension", "alignment"] + (["cka"] if planned else [])
    columns = [_format_numbers(getattr(view.measures, name)) for name in names for view in views]
    rows = zip(map(str, views[0].profile.layers), *columns, strict=True)
    short = {"effective_rank": "rank", "cosine_spread": "cos", "intrinsic_dimension": "dim", "alignment": "align"}
    head = [part for name in names for part in (f"{short.get(name, 'CKA')} ID", "OOD")]
    return TableBlock(f"the field's measures{_under_plan(info, planned)}", ("layer", *head), tuple(rows))


def tabulate_planned_profiles(info: GeometryResult) -> TableBlock:
    """Both profiles after the layers the plan keeps."""
    views = [info.find_view("id", True), info.find_view("ood", True)]
    columns: list[list[str]] = []
    for kind in KINDS:
        columns += [_format_numbers(getattr(view.profile, kind)) for view in views]
        ood = next(tested.deviation for tested in info.kept if _tested_key(tested) == ("ood", True, kind))
        columns.append([signed(ratio, 3) for ratio in ood.signed])
    head = ("layer", "norm ID", "OOD", "log ratio", "distance ID", "OOD", "log ratio")
    rows = zip(map(str, views[0].profile.layers), *columns, strict=True)
    return TableBlock(
        f"profiles{_under_plan(info, True)}; log ratios of OOD to ID under the full model", head, tuple(rows)
    )


def tabulate_updates(info: GeometryResult, branches: bool, planned: bool = False) -> TableBlock:
    """What each layer, or branch, adds to the residual stream, ID beside OOD."""
    views = [info.find_view("id", planned), info.find_view("ood", planned)]
    updates_of_views = [view.branches if branches else view.layers for view in views]
    both = [side for side in updates_of_views if isinstance(side, Updates)]
    rows = tuple(
        (
            f"{pair[0].layer}{f' {pair[0].branch}' if pair[0].branch else ''}",
            *_format_numbers([side.norm.value for side in pair]),
            *(f"{side.angle.value:.3f}" for side in pair),
            *(signed(side.share.value, 3) for side in pair),
        )
        for pair in zip(*(side.updates for side in both), strict=True)
    )
    first = ("in", "", "", "", "", *(signed(side.first_share.value, 3) for side in both))
    head = ("branch" if branches else "layer", "norm ID", "OOD", "angle/π ID", "OOD", "share ID", "OOD")
    what = "branch" if branches else "layer"
    return TableBlock(f"what each {what} adds to the stream{_under_plan(info, planned)}", head, (first, *rows))


def tabulate_deviations(info: GeometryResult) -> TableBlock:
    """Deviations with their nulls; with a plan over the layers it keeps, before and after."""
    head = ("profile", "data", "deviation [95 %]", "null", "excess", "p", "effect")
    rows = tuple(
        (
            deviation.kind,
            series_name(deviation.data, deviation.planned),
            with_interval(deviation.value, deviation.ci95),
            f"{deviation.null_upper:.3f}",
            signed(deviation.excess, 3),
            p_value(tested.permuted.p),
            f"{tested.mean_abs_effect:.2f}",
        )
        for tested in sorted(info.kept or info.deviations, key=lambda tested: KINDS.index(tested.deviation.kind))
        for deviation in [tested.deviation]
    )
    over = f"over layers {format_layers(info.plan.kept)}, which the plan keeps" if info.kept else "over all layers"
    return TableBlock(f"deviation from the ID reference, {over}", head, rows)


def tabulate_realignment(info: GeometryResult) -> TableBlock:
    """What the plan takes off the deviations, by each definition; the first is that of the deviations above."""
    rows: list[tuple[str, ...]] = []
    for realigned in info.realigned:
        ood, id_data = map(format_signed_estimate, (realigned.ood, realigned.id))
        rows.append((realigned.kind, "full model", ood, p_value(realigned.permuted.p), id_data))
    for other in info.realigned_otherwise:
        profile = f"{other.kind}{', unit length' if other.length == 'unit' else ''}"
        ood, id_data = map(format_signed_estimate, (other.ood, other.id))
        rows.append((profile, other.reference, ood, "–", id_data))
    head = ("profile", "ID reference under", "OOD [95 %]", "p", "ID [95 %]")
    return TableBlock(f"realignment{_under_plan(info, True)}", head, tuple(rows))


def explain_profile(info: GeometryResult) -> list[str]:
    """What the numbers say, one sentence or two for each profile, and one for what a plan does to it."""
    lines = []
    for kind in KINDS:
        lines.append(f"{_describe_deviation(info.find_deviation(kind))}{_describe_carriers(kind, info)}")
        lines += [_describe_realignment(info, kind)] if info.realigned else []
    if any(DISAGREEMENT in line for line in lines):
        lines.append(DISAGREEMENT_NOTE)
    return lines


def explain_columns(info: GeometryResult) -> str:
    """Which way is good, and what the null is."""
    line = (
        "log ratio and deviation: 0 is as on ID data; null: two ID samples deviate less in 95 % of cases; excess: above 0 "
        "is more than the mean of the null; along the stream, by removal: above 0 the layer adds to the OOD deviation"
    )
    return f"{line}; realignment: above 0 moves towards ID data" if info.realigned else line


def find_carrying_layers(shares: tuple[Estimate | None, ...]) -> tuple[int, ...]:
    """The layers that carry a deviation: the fewest that make half of all positive shares, of those whose interval
    lies above 0."""
    positive = {layer: share for layer, share in enumerate(shares) if share and share.value > 0}
    half, carried, layers = sum(share.value for share in positive.values()) / 2, 0.0, []
    for layer, share in sorted(positive.items(), key=lambda layer_and_share: -layer_and_share[1].value):
        if carried >= half:
            break
        if share.ci95[0] > 0:
            layers.append(layer)
            carried += share.value
    return tuple(sorted(layers))


def exceeds_null(tested: TestedDeviation) -> bool:
    """Whether a deviation is larger than those of 95 % of equal ID samples."""
    return tested.deviation.value > tested.deviation.null_upper


def _describe_deviation(tested: TestedDeviation) -> str:
    deviation, p = tested.deviation, tested.permuted.p
    verdict = "exceeds" if exceeds_null(tested) else "does not exceed"
    text = (
        f"the OOD {KIND_NAMES[deviation.kind]} deviation, {deviation.value:.3f}, {verdict} its null (95 % of equal ID samples "
        f"stay below {deviation.null_upper:.3f}; permutation p {p_value(p)})"
    )
    return f"{text}, and the permutation test disagrees" if exceeds_null(tested) != (p <= SIGNIFICANCE) else text


def _describe_carriers(kind: ProfileKind, info: GeometryResult) -> str:
    """Which layers carry a deviation that exceeds its null, and whether the two ways agree."""
    if not exceeds_null(info.find_deviation(kind)):
        return ""
    shares = info.find_attribution(kind)
    along, removal = find_carrying_layers(shares.along), find_carrying_layers(shares.removal)
    if shares.before > info.find_deviation(kind).deviation.value / 2:
        return f"; before the first layer it is already {shares.before:.3f}{_compare_attributions(along, removal)}"
    return _compare_attributions(along, removal)


def _compare_attributions(along: tuple[int, ...], removal: tuple[int, ...]) -> str:
    if along == removal:
        return f"; {_layers_carry(along)} " + ("most of it, along the stream as by removal" if along else "it")
    ways = [f"{_layers_carry(layers)} {'most of ' if layers else ''}it" for layers in (along, removal)]
    return f"; along the stream {ways[0]}, by removal {ways[1]}: {DISAGREEMENT}"


def _describe_realignment(info: GeometryResult, kind: ProfileKind) -> str:
    ood = [tested.deviation for tested in info.kept if tested.deviation.data == "ood" and tested.deviation.kind == kind]
    before, after = sorted(ood, key=lambda deviation: deviation.planned)
    realigned = next(entry for entry in info.realigned if entry.kind == kind)
    low, high = realigned.ood.ci95
    way = "moves back towards" if low > 0 else "moves away from" if high < 0 else "does not clearly move against"
    return (
        f"under {info.plan} it {way} ID states of the full model: {before.value:.3f} → {after.value:.3f}, realignment {format_signed_estimate(realigned.ood)} "
        f"(ID data, moved by the same plan: {format_signed_estimate(realigned.id)}; permutation p {p_value(realigned.permuted.p)})"
    )


def _layers_carry(layers: tuple[int, ...]) -> str:
    if not layers:
        return "no single layer clearly carries"
    return f"layers {format_layers(layers)} carry" if len(layers) > 1 else f"layer {layers[0]} carries"


def _tested_key(tested: TestedDeviation) -> tuple[str, bool, str]:
    return tested.deviation.data, tested.deviation.planned, tested.deviation.kind


def _under_plan(info: GeometryResult, planned: bool) -> str:
    return f" under {info.plan}" if planned else ""


def _format_numbers(values: tuple[float, ...] | list[float]) -> list[str]:
    """Three digits, and whole numbers above a hundred."""
    return [f"{number:.0f}" if 100 <= abs(number) < 1e6 else f"{number:#.3g}" for number in values]
