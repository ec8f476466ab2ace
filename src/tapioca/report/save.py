"""The charts of a page as files, for papers and slides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapioca.disk import make_folder, replace_atomically
from tapioca.report.figures import apply_common_style

FORMATS = ("svg", "png", "pdf")

SCALE = 3.0
"""Pixels of a PNG for each unit of length of the chart, so that it prints sharp."""


def save_charts(charts: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every chart as SVG, PNG and PDF, and return the paths.

    Args:
        charts: altair charts by name.
        folder: made if it is not there; files of the same names are replaced.

    Raises:
        StoreError: the folder cannot be made or written.
    """
    import vl_convert

    make_folder(folder)
    paths = []
    for name, chart in charts.items():
        spec = apply_common_style(chart).to_json()
        bytes_by_format: dict[str, bytes] = {
            "svg": vl_convert.vegalite_to_svg(spec).encode(),
            "png": vl_convert.vegalite_to_png(spec, scale=SCALE),
            "pdf": vl_convert.vegalite_to_pdf(spec),
        }
        for kind in FORMATS:
            path = folder / f"{name}.{kind}"
            with replace_atomically(path) as temporary:
                temporary.write_bytes(bytes_by_format[kind])
            paths.append(path)
    return paths
