"""Drawings without what nobody sees; a page of many is a third of what it would be."""

import re
from collections.abc import Iterator
from html import unescape
from xml.etree import ElementTree as Xml

SVG = "http://www.w3.org/2000/svg"
GROUP, PATH, LINE, CIRCLE, TEXT, DEFINITIONS = (
    f"{{{SVG}}}{tag}" for tag in ("g", "path", "line", "circle", "text", "defs")
)
UNSEEN = re.compile(r"aria-|role$|class$|pointer-events$|version$")
FONT = "sans-serif"
DEFAULTS = {"opacity": "1", "stroke-width": "1", "transform": "translate(0,0)", "font-family": FONT}
INHERITED = ("fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight", "text-anchor")
PLACES = {"d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height"}
FRACTION = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
DISK = re.compile(r"M([\d.]+),0A\1,\1,0,1,1,-\1,0A\1,\1,0,1,1,\1,0Z?")
"""A circle, written as a path around 0, 0."""
TITLE = re.compile(r"Title text '(.*?)'(?=\"| and subtitle)")
"""Of panels, and last of the whole."""
PLACE = re.compile(r"translate\(([-\d.]+),([-\d.]+)\)")


def slim_drawing(drawing: str) -> str:
    """A drawing of Vega that looks the same to a tenth of a pixel, on no background of its own.

    To those who hear a page it is one image by its title, in place of hundreds of marks; the numbers are in the page's tables.
    """
    Xml.register_namespace("", SVG)
    root = Xml.fromstring(drawing)
    titles = TITLE.findall(drawing)
    if root[0].get("fill") == "white":
        root.remove(root[0])
    _slim(root)
    root.attrib.update({"font-family": FONT, "role": "img", "aria-label": unescape(titles[-1]) if titles else "chart"})
    return Xml.tostring(root, encoding="unicode").replace(" />", "/>")


def _slim(element: Xml.Element) -> None:
    """Slim what is in an element, from the innermost outwards, and then the element."""
    element.attrib = dict(_slim_attributes(element.attrib))
    if element.tag == DEFINITIONS:
        return
    for child in element:
        _slim(child)
    element[:] = [child for child in element if _is_seen(child)]
    for child in element:
        _write_disk(child)
    if element.tag == GROUP:
        _share_attributes(element)
        _join_lines(element)
    element[:] = [kept for child in element for kept in (child if child.tag == GROUP and not child.attrib else [child])]


def _slim_attributes(attributes: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        short = FRACTION.sub(_round, value) if name in PLACES else value
        if not UNSEEN.match(name) and DEFAULTS.get(name) != short:
            yield name, short


def _round(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")


def _is_seen(child: Xml.Element) -> bool:
    """Whether an element draws anything: groups that hold nothing do not, nor shapes without fill and stroke."""
    if child.tag == GROUP:
        return len(child) > 0 and child.get("display") != "none"
    return child.tag != PATH or (child.get("d") != "" and bool({"fill", "stroke"} & child.attrib.keys()))


def _write_disk(path: Xml.Element) -> None:
    disk, place = DISK.fullmatch(path.get("d", "")), PLACE.fullmatch(path.get("transform", ""))
    if disk and place:
        del path.attrib["d"], path.attrib["transform"]
        path.tag = CIRCLE
        path.attrib.update(cx=place[1], cy=place[2], r=disk[1])


def _share_attributes(group: Xml.Element) -> None:
    """Say once, of a group, what holds for all in it."""
    for name in INHERITED:
        values = {child.get(name) for child in group}
        if len(values) == 1 and (value := values.pop()) is not None:
            group.set(name, value)
            for child in group:
                del child.attrib[name]


def _join_lines(group: Xml.Element) -> None:
    """One path for lines that differ in nothing but where they are: ticks, and the lines of a grid."""
    if not len(group) or any(line.tag != LINE or line.attrib.keys() - {"transform", "x2", "y2"} for line in group):
        return
    steps = []
    for line in group:
        place = PLACE.fullmatch(line.get("transform", "translate(0,0)"))
        if place is None:
            return
        steps.append(f"M{place[1]},{place[2]}l{line.get('x2')},{line.get('y2')}")
    group[:] = [Xml.Element(PATH, d="".join(steps))]
