"""Charts of a profile: where data deviate, which layers carry it, and the field's measures in small multiples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

from tapioca.commands.geometry.result import GeometryResult
from tapioca.records import PROFILE_NAMES, Attribution, Deviation, ProfileKind, Updates
from tapioca.report.figures import DARK, HEIGHT, WIDTH, encode_by_series, estimate_row, series_name

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
    title = f"{TITLES[kind]}: log ratio to ID"
    return _draw_by_layer(rows, title, info.plan.n_layers).properties(width=WIDTH, height=HEIGHT - 60)


def _is_shown(deviation: Deviation, info: GeometryResult) -> bool:
    """Under the full model the kept layers are among all layers, which are shown."""
    return deviation.planned or len(deviation.layers) == info.plan.n_layers


def _log_ratio_rows(deviation: Deviation) -> list[dict[str, Any]]:
    name = series_name(deviation.data, deviation.planned)
    return [
        {"layer": layer, "value": log_ratio, "series": name}
        for layer, log_ratio in zip(deviation.layers, deviation.signed, strict=True)
    ]


def _draw_by_layer(rows: list[dict[str, Any]], title: str, n_layers: int) -> Any:
    base = alt.Chart(alt.Data(values=rows), title=title).encode(
        x=alt.X("layer:O", title=None, axis=_layer_axis(n_layers)), **encode_by_series(row["series"] for row in rows)
    )
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=DARK).encode(y="zero:Q")
    line = base.mark_line(point=alt.OverlayMarkDef(size=28)).encode(y=alt.Y("value:Q", title=None))
    return alt.layer(zero, line)


def _draw_shares(info: GeometryResult, kind: ProfileKind, way: str) -> Any:
    """Bars on a scale of their own: shares by removal are often many times those along the stream."""
    last = way == list(FILLS)[-1]
    rows = _share_rows(info.find_attribution(kind), way)
    base = alt.Chart(alt.Data(values=rows), title=f"share of the OOD deviation {way}")
    base = base.encode(x=alt.X("layer:O", title="layer" if last else None, axis=_layer_axis(info.plan.n_layers)))
    bar = base.mark_bar(fill=FILLS[way], stroke=DARK, strokeWidth=0.6).encode(y=alt.Y("value:Q", title=None))
    interval = base.mark_rule(color=DARK, strokeWidth=1.2).encode(y=alt.Y("low:Q"), y2="high:Q")
    return alt.layer(bar, interval).properties(width=WIDTH, height=SMALL_HEIGHT - 40)


def _share_rows(attribution: Attribution, way: str) -> list[dict[str, Any]]:
    shares = dict(zip(FILLS, (attribution.along, attribution.removal), strict=True))[way]
    return [estimate_row(share, layer=layer) for layer, share in enumerate(shares) if share]


def _measure_rows(info: GeometryResult, name: str) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "value": layer_value, "series": series_name(view.profile.data, view.profile.planned)}
        for view in info.views
        for layer, layer_value in zip(view.profile.layers, getattr(view.measures, name) or (), strict=False)
    ]


def _update_rows(info: GeometryResult, branch: str | None, name: str) -> list[dict[str, Any]]:
    rows = []
    for view in info.views:
        view_updates: Updates | None = view.branches if branch else view.layers
        series = series_name(view.profile.data, view.profile.planned)
        for update in view_updates.updates if view_updates else ():
            if update.branch == branch:
                rows.append(estimate_row(getattr(update, name), layer=update.layer, series=series))
    return rows


def _draw_lines(rows: list[dict[str, Any]], title: str, zero: bool = True) -> Any:
    """A small panel: one line a series, with its band where the rows have one."""
    x = alt.X("layer:Q", title="layer", axis=_thinned_axis(row["layer"] for row in rows))
    base = alt.Chart(alt.Data(values=rows), title=title).encode(x=x, **encode_by_series(row["series"] for row in rows))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=zero))
    line = base.mark_line(point=alt.OverlayMarkDef(size=18)).encode(y=y)
    layers = [line]
    if "low" in rows[0]:
        layers = [base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", title=None), y2="high:Q"), line]
    return alt.layer(*layers).properties(width=SMALL_WIDTH, height=SMALL_HEIGHT)


def _layer_axis(count: int) -> alt.Axis:
    """Labels at some of many layers, so that none overlaps."""
    return alt.Axis(values=list(range(count))[:: 1 + count // 17], labelAngle=0, format="d")


def _thinned_axis(layers: Iterable[int]) -> alt.Axis:
    ticks = sorted(set(layers))
    return alt.Axis(values=ticks[:: 1 + len(ticks) // 12], format="d")
