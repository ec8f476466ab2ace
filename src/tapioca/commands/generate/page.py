"""What a model writes under a plan, as it writes it."""

import sys
from collections.abc import Callable

from rich.console import Console


def show(write: Callable[[Callable[[str], None]], None], console: Console) -> None:
    """Print the text piece by piece, as it is; `console`, which would break its lines, has no part in it."""

    def tell(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    write(tell)
    tell("\n")
