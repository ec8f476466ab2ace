"""What a drawing looks like, as numbers."""

from __future__ import annotations

import re
import struct
import zlib

import numpy as np
import vl_convert


def paint(drawing: str) -> np.ndarray:
    """An SVG on white, 0 to 255, (row, column, colour)."""
    on_white = re.sub(r"<svg[^>]*>", r'\g<0><rect width="100%" height="100%" fill="white"/>', drawing, count=1)
    chunks, at, content = {b"IDAT": b""}, 8, vl_convert.svg_to_png(on_white)
    while at < len(content):
        size, name = struct.unpack(">I4s", content[at : at + 8])
        chunks[name] = chunks.get(name, b"") + content[at + 8 : at + 8 + size]
        at += 12 + size
    width, height, depth, colours = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colours) == (8, 6), "expected 8 bits of red, green, blue and opacity"
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 4 * width)
    picture = np.zeros((height + 1, 4 * width), int)  # what is above the first line is 0
    for row, (kind, *filtered) in enumerate(lines.tolist(), start=1):
        picture[row] = _undo_filter(kind, filtered, picture[row - 1].tolist())
    return picture[1:].reshape(height, width, 4)[..., :3]


def _undo_filter(kind: int, filtered: list[int], above: list[int]) -> list[int]:
    """A line of bytes from what a PNG keeps of it: differences from its left, from above, or from a mix of them."""
    line: list[int] = []
    for place, value in enumerate(filtered):
        left = line[place - 4] if place >= 4 else 0
        up, corner = above[place], above[place - 4] if place >= 4 else 0
        guess = (
            0,
            left,
            up,
            (left + up) // 2,
            min((left, up, corner), key=lambda near: abs(left + up - corner - near)),
        )[kind]
        line.append((value + guess) & 255)
    return line
