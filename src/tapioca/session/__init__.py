"""The recipes: a config record in, a run record out. What a command or a notebook calls."""
