"""The charts of a page as files, for papers and slides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from tapioca.disk import make_folder, replace_atomically
from tapioca.report.drawing import Format, draw

FORMATS: tuple[Format, ...] = get_args(Format)


def save_charts(charts: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every chart as SVG, PNG and PDF, and return the paths.

    Args:
        charts: altair charts by name.
        folder: made if it is not there; files of the same names are replaced.

    Raises:
        StoreError: the folder cannot be made or written.
        NotDrawnError: the process that draws ended.
    """
    make_folder(folder)
    paths = []
    for name, chart in charts.items():
        for kind in FORMATS:
            path = folder / f"{name}.{kind}"
            picture = draw(chart, kind)
            with replace_atomically(path) as temporary:
                temporary.write_bytes(picture)
            paths.append(path)
    return paths
