"""Where rows come from: files, folders, hub data sets and memory, each row with the place it came from."""

from tapioca.tasks.rows.read import read_rows
from tapioca.tasks.rows.source import Source

__all__ = ["Source", "read_rows"]
