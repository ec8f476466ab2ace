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
        _write_place(child)
    if element.tag == GROUP:
        _share_attributes(element)
        _join_lines(element)
    element[:] = [kept for child in element for kept in _unwrap(child)]


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


def _unwrap(child: Xml.Element) -> list[Xml.Element]:
    """What is in a group that says nothing, or the one element of a group with all that the group says; else the child."""
    if child.tag != GROUP or (child.attrib and len(child) > 1):
        return [child]
    only = child[0]
    if child.attrib and (child.attrib.keys() & only.attrib.keys() or "clip-path" in {*child.attrib, *only.attrib}):
        return [child]
    only.attrib.update(child.attrib)
    return list(child)


def _write_place(mark: Xml.Element) -> None:
    """Say where a text or a disk is in fewer words than a path and a transform."""
    place = PLACE.fullmatch(mark.get("transform", ""))
    if not place:
        return
    if mark.tag == TEXT and not len(mark):
        mark.attrib.update(x=place[1], y=place[2])
    elif mark.tag == PATH and (disk := DISK.fullmatch(mark.get("d", ""))):
        mark.tag = CIRCLE
        mark.attrib.update(cx=place[1], cy=place[2], r=disk[1])
        del mark.attrib["d"]
    else:
        return
    del mark.attrib["transform"]


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
        x, y = line.get("x2", "0"), line.get("y2", "0")
        steps.append(f"M{place[1]},{place[2]}" + (f"v{y}" if x == "0" else f"h{x}" if y == "0" else f"l{x},{y}"))
    group[:] = [Xml.Element(PATH, d="".join(steps))]
