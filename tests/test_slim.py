"""A drawing slimmed for a page looks as it did, is one image to those who hear it, and is small."""

from __future__ import annotations

import re

import altair as alt
import numpy as np
import pytest
from support.fake_study import study
from support.pixels import paint

from tapioca.report.drawing import draw
from tapioca.report.slim import slim_drawing
from tapioca.studies.page.page import draw_charts


def check_slimmed(chart: alt.TopLevelMixin) -> None:
    drawing = draw(chart, "svg").decode()
    slimmed = slim_drawing(drawing)
    difference = np.abs(paint(slimmed) - paint(drawing))
    assert (difference > 100).mean() < 1e-4  # but for edges that moved by less than a tenth of a pixel
    assert difference.mean() < 0.5
    assert len(slimmed) < 0.5 * len(drawing)


def test_a_slimmed_drawing_looks_as_it_did() -> None:
    """A band, a line, points, a gradient and tiles."""
    base = alt.Chart(alt.Data(values=[{"x": x, "y": x / 3, "z": 1 - x} for x in range(3)])).encode(x="x:Q", y="y:Q")
    marks = [base.mark_area(opacity=0.2), base.mark_line(strokeDash=[3, 2]), base.mark_point(), base.mark_rect(width=4)]
    check_slimmed(alt.layer(*marks[:3], marks[3].encode(color="z:Q")).properties(width=40, height=30))


@pytest.mark.slow
def test_the_charts_of_a_study_look_as_they_did() -> None:
    for chart in draw_charts(study()).values():
        check_slimmed(chart)


def test_it_is_one_image_by_its_title() -> None:
    rows = alt.Data(values=[{"x": 1, "y": 2}])
    chart = alt.Chart(rows, title="Gain > loss").mark_point().encode(x="x:Q", y="y:Q")
    slimmed = slim_drawing(draw(chart, "svg").decode())
    assert re.findall(r'aria-[^ >]*="[^"]*"', slimmed) == ['aria-label="Gain &gt; loss"']
    assert 'role="img"' in slimmed
    assert "class=" not in slimmed
    assert 'fill="white"' not in slimmed  # it stands on the page, dark or light
