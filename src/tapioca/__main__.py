"""The program: python -m tapioca, and the console script."""

import os
import sys

from tapioca.cli.signals import end_at_once, handle_signals


def entry() -> None:
    """Run the command line of this process, and end it."""
    handle_signals(end_at_once)  # before anything is imported that takes long
    from tapioca.cli.main import main

    code = main()
    if code > 128:  # nobody waits for what was imported to be taken apart
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    entry()
