"""Charts of a profile: where data deviate, which layers carry it, and the field's measures in small multiples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

from tapioca.records import Attribution, Deviation, Estimate, ProfileInfo, Updates
from tapioca.records.profile import Kind
from tapioca.report.figures import DARK, HEIGHT, WIDTH, series, styled

FILLS = {"along the stream": "#00664b", "by removal": "#f3d3e4"}
"""The two ways of attribution: one dark and one light, told apart in print."""
SMALL_WIDTH, SMALL_HEIGHT = 190, 140  # of one of three panels side by side
TITLES: dict[Kind, str] = {"norm": "norm profile", "distance": "pairwise-distance profile"}


def ratios(info: ProfileInfo) -> alt.TopLevelMixin:
    """Log ratio to the ID reference layer by layer, and below it each layer's share of the OOD deviation."""
    columns = [alt.vconcat(_ratio(info, kind), *[_shares(info, kind, way) for way in FILLS]) for kind in TITLES]
    return alt.hconcat(*columns)


def measures(info: ProfileInfo) -> alt.TopLevelMixin:
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
    found = [_lines(_measured(info, name), title, zero=name not in ratios) for title, name in panels.items()]
    return alt.concat(*found, columns=3)


def updates(info: ProfileInfo, branches: bool) -> alt.TopLevelMixin:
    """Length, angle and share of what is added to the stream: a row of panels for layers, or one for each branch."""
    rows = []
    for branch in ("attention", "mlp") if branches else (None,):
        what = {None: "", "attention": "attention ", "mlp": "MLP "}[branch]
        titles = {"norm": "norm of the update", "angle": "angle to the stream / π", "share": "share of the final state"}
        found = {name: _added(info, branch, name) for name in titles}
        if found["norm"]:
            rows.append(alt.hconcat(*[_lines(found[name], what + title) for name, title in titles.items()]))
    return alt.vconcat(*rows)


def _ratio(info: ProfileInfo, kind: Kind) -> Any:
    shown = [one.deviation for one in (*info.deviations, *info.kept) if one.deviation.kind == kind]
    rows = [row for found in shown if _is_new(found, info) for row in _signed(found)]
    title = f"{TITLES[kind]}: log ratio to ID"
    return _layered(rows, title, info.plan.n_layers).properties(width=WIDTH, height=HEIGHT - 60)


def _is_new(found: Deviation, info: ProfileInfo) -> bool:
    """Under the full model the kept layers are among all layers, which are shown."""
    return found.planned or len(found.layers) == info.plan.n_layers


def _signed(found: Deviation) -> list[dict[str, Any]]:
    name = series(found.data, found.planned)
    return [
        {"layer": layer, "value": value, "series": name}
        for layer, value in zip(found.layers, found.signed, strict=True)
    ]


def _layered(rows: list[dict[str, Any]], title: str, n_layers: int) -> Any:
    base = alt.Chart(alt.Data(values=rows), title=title).encode(
        x=alt.X("layer:O", title=None, axis=_ordinal(n_layers)), **styled(row["series"] for row in rows)
    )
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=DARK).encode(y="zero:Q")
    line = base.mark_line(point=alt.OverlayMarkDef(size=28)).encode(y=alt.Y("value:Q", title=None))
    return alt.layer(zero, line)


def _shares(info: ProfileInfo, kind: Kind, way: str) -> Any:
    """Bars on a scale of their own: shares by removal are often many times those along the stream."""
    last = way == list(FILLS)[-1]
    base = alt.Chart(alt.Data(values=_shared(info.attribution(kind), way)), title=f"share of the OOD deviation {way}")
    base = base.encode(x=alt.X("layer:O", title="layer" if last else None, axis=_ordinal(info.plan.n_layers)))
    bar = base.mark_bar(fill=FILLS[way], stroke=DARK, strokeWidth=0.6).encode(y=alt.Y("value:Q", title=None))
    interval = base.mark_rule(color=DARK, strokeWidth=1.2).encode(y=alt.Y("low:Q"), y2="high:Q")
    return alt.layer(bar, interval).properties(width=WIDTH, height=SMALL_HEIGHT - 40)


def _shared(found: Attribution, way: str) -> list[dict[str, Any]]:
    shares = dict(zip(FILLS, (found.along, found.removal), strict=True))[way]
    return [
        {"layer": layer, "value": share.value, "low": share.ci95[0], "high": share.ci95[1]}
        for layer, share in enumerate(shares)
        if share
    ]


def _measured(info: ProfileInfo, name: str) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "value": value, "series": series(view.profile.data, view.profile.planned)}
        for view in info.views
        for layer, value in zip(view.profile.layers, getattr(view.spread, name) or (), strict=False)
    ]


def _added(info: ProfileInfo, branch: str | None, name: str) -> list[dict[str, Any]]:
    rows = []
    for view in info.views:
        found: Updates | None = view.branches if branch else view.layers
        for update in found.updates if found else ():
            value: Estimate = getattr(update, name)
            if update.branch == branch:
                rows.append(
                    {
                        "layer": update.layer,
                        "value": value.value,
                        "low": value.ci95[0],
                        "high": value.ci95[1],
                        "series": series(view.profile.data, view.profile.planned),
                    }
                )
    return rows


def _lines(rows: list[dict[str, Any]], title: str, zero: bool = True) -> Any:
    """A small panel: one line a series, with its band where the rows have one."""
    x = alt.X("layer:Q", title="layer", axis=_whole(row["layer"] for row in rows))
    base = alt.Chart(alt.Data(values=rows), title=title).encode(x=x, **styled(row["series"] for row in rows))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=zero))
    line = base.mark_line(point=alt.OverlayMarkDef(size=18)).encode(y=y)
    layers = [line]
    if "low" in rows[0]:
        layers = [base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", title=None), y2="high:Q"), line]
    return alt.layer(*layers).properties(width=SMALL_WIDTH, height=SMALL_HEIGHT)


def _ordinal(count: int) -> alt.Axis:
    """Labels at some of many layers, so that none overlaps."""
    return alt.Axis(values=list(range(count))[:: 1 + count // 17], labelAngle=0, format="d")


def _whole(layers: Iterable[int]) -> alt.Axis:
    ticks = sorted(set(layers))
    return alt.Axis(values=ticks[:: 1 + len(ticks) // 12], format="d")
