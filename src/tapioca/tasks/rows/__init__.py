"""Where rows come from: files, folders, hub data sets and memory, each row with the place it came from."""

from tapioca.tasks.rows.read import read_rows
from tapioca.tasks.rows.source import Source
from tapioca.tasks.rows.tables import Rows, rows_in_memory

__all__ = ["Rows", "Source", "read_rows", "rows_in_memory"]
