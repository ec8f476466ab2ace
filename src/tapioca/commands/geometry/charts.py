"""Charts of a profile: where data deviate, which layers carry it, and the field's measures in small multiples."""

from typing import Any

import altair as alt

from tapioca.commands.geometry.result import GeometryResult
from tapioca.records import PROFILE_NAMES, Attribution, Deviation, ProfileKind, Updates
from tapioca.report import figures

FILLS = {"along the stream": "#00664b", "by removal": "#f3d3e4"}
"""The two ways of attribution: one dark and one light, told apart in print."""
SMALL_WIDTH, SMALL_HEIGHT = 190, 140  # of one of three panels side by side
TITLES = {kind: f"{name} profile" for kind, name in PROFILE_NAMES.items()}


def draw_ratios(info: GeometryResult) -> alt.TopLevelMixin:
    """Log ratio to the ID reference layer by layer, and below it each layer's share of the OOD deviation."""
    columns = [
        alt.vconcat(_draw_ratio(info, kind), *(_draw_shares(info, kind, way) for way in FILLS)) for kind in TITLES
    ]
    return alt.hconcat(*columns)


def draw_measures(info: GeometryResult) -> alt.TopLevelMixin:
    """The field's measures layer by layer, one panel each."""
    panels = {
        "effective rank": "effective_rank",
        "cosine spread": "cosine_spread",
        "intrinsic dimension (TwoNN)": "intrinsic_dimension",
        "covariance alignment with ID": "alignment",
    }
    if info.realigned:
        panels["linear CKA to the full model"] = "cka"
    ratios = ("alignment", "cka")  # near 1, where a scale from 0 shows nothing
    charts = [_draw_lines(_measure_rows(info, name), title, zero=name not in ratios) for title, name in panels.items()]
    return alt.concat(*charts, columns=3)


def draw_updates(info: GeometryResult, branches: bool) -> alt.TopLevelMixin:
    """Length, angle and share of what is added to the stream: a row of panels for layers, or one for each branch."""
    rows = []
    for branch in ("attention", "mlp") if branches else (None,):
        what = {None: "", "attention": "attention ", "mlp": "MLP "}[branch]
        titles = {"norm": "norm of the update", "angle": "angle to the stream / π", "share": "share of the final state"}
        rows_by_measure = {name: _update_rows(info, branch, name) for name in titles}
        if rows_by_measure["norm"]:
            panels = [_draw_lines(rows_by_measure[name], what + title) for name, title in titles.items()]
            rows.append(alt.hconcat(*panels))
    return alt.vconcat(*rows)


def _draw_ratio(info: GeometryResult, kind: ProfileKind) -> Any:
    kind_deviations = [tested.deviation for tested in (*info.deviations, *info.kept) if tested.deviation.kind == kind]
    rows = [row for deviation in kind_deviations if _is_shown(deviation, info) for row in _log_ratio_rows(deviation)]
    x = alt.X("layer:O", title=None, axis=figures.integer_axis(range(info.plan.n_layers), labelAngle=0))
    title = f"{TITLES[kind]}: log ratio to ID"
    return alt.layer(figures.rule_at("y", 0), *figures.draw_lines(rows, x)).properties(
        width=figures.WIDTH, height=figures.HEIGHT - 60, title=title
    )


def _is_shown(deviation: Deviation, info: GeometryResult) -> bool:
    """Under the full model the kept layers are among all layers, which are shown."""
    return deviation.planned or len(deviation.layers) == info.plan.n_layers


def _log_ratio_rows(deviation: Deviation) -> list[dict[str, Any]]:
    name = figures.series_name(deviation.data, deviation.planned)
    return [
        {"layer": layer, "value": log_ratio, "series": name}
        for layer, log_ratio in zip(deviation.layers, deviation.signed, strict=True)
    ]


def _draw_shares(info: GeometryResult, kind: ProfileKind, way: str) -> Any:
    """Bars on a scale of their own: shares by removal are often many times those along the stream."""
    last = way == list(FILLS)[-1]
    rows = _share_rows(info.find_attribution(kind), way)
    axis = figures.integer_axis(range(info.plan.n_layers), labelAngle=0)
    base = figures.plot(rows, x=alt.X("layer:O", title="layer" if last else None, axis=axis))
    bar = base.mark_bar(fill=FILLS[way], stroke=figures.DARK, strokeWidth=0.6).encode(y=alt.Y("value:Q", title=None))
    interval = base.mark_rule(color=figures.DARK, strokeWidth=1.2).encode(y=alt.Y("low:Q"), y2="high:Q")
    title = f"share of the OOD deviation {way}"
    return alt.layer(bar, interval).properties(width=figures.WIDTH, height=SMALL_HEIGHT - 40, title=title)


def _share_rows(attribution: Attribution, way: str) -> list[dict[str, Any]]:
    shares = dict(zip(FILLS, (attribution.along, attribution.removal), strict=True))[way]
    return [figures.estimate_row(share, layer=layer) for layer, share in enumerate(shares) if share]


def _measure_rows(info: GeometryResult, name: str) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "value": layer_value, "series": figures.series_name(view.profile.data, view.profile.planned)}
        for view in info.views
        for layer, layer_value in zip(view.profile.layers, getattr(view.measures, name) or (), strict=False)
    ]


def _update_rows(info: GeometryResult, branch: str | None, name: str) -> list[dict[str, Any]]:
    rows = []
    for view in info.views:
        view_updates: Updates | None = view.branches if branch else view.layers
        series = figures.series_name(view.profile.data, view.profile.planned)
        for update in view_updates.updates if view_updates else ():
            if update.branch == branch:
                rows.append(figures.estimate_row(getattr(update, name), layer=update.layer, series=series))
    return rows


def _draw_lines(rows: list[dict[str, Any]], title: str, zero: bool = True) -> Any:
    """A small panel: one line a series, with its band where the rows have one."""
    x = alt.X("layer:Q", title="layer", axis=figures.integer_axis((row["layer"] for row in rows), most=12))
    layers = figures.draw_lines(rows, x, alt.Scale(zero=zero), point_size=18)
    return alt.layer(*layers).properties(width=SMALL_WIDTH, height=SMALL_HEIGHT, title=title)
