"""What a model writes under a plan, as it writes it."""

from collections.abc import Callable

from rich.console import Console


def show(write: Callable[[Callable[[str], None]], None], console: Console) -> None:
    """Print the text piece by piece, as it is; `console`, which would break its lines, has no part in it."""

    def tell(text: str) -> None:
        print(text, end="", flush=True)

    try:
        write(tell)
    finally:
        tell("\n")  # what is said of an error stands on a line of its own
