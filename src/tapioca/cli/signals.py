"""Ctrl-C and its like: what was begun is tidied up, one line says what is kept, and the exit code names the signal.

While a request is worked on (`interruptible`) the first signal raises KeyboardInterrupt. Before and after there is nothing
to tidy up, and a signal ends the process where it is; so does a second one while it tidies up.

This module loads next to nothing, so that a signal is heard while the rest is imported.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from tapioca.errors import TapiocaError

SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What asks a process to end; SIGQUIT is left as the way out of code that does not listen."""

PATIENCE = 1.0
"""Seconds in which further signals count as the first: a key held down, or a shell and a scheduler that both send one."""

SHOW_CURSOR = b"\x1b[?25h"

Handler = Callable[[int, FrameType | None], Any]


def handle_signals(handler: Handler) -> dict[signal.Signals, Any]:
    """Have signals handled, and return how they were before.

    What the caller of the process wants ignored (`nohup`) stays so, and only the main thread can ask for it.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        number: signal.signal(number, handler) for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN
    }


def end_at_once(number: int, frame: FrameType | None = None) -> None:
    """End the process where it is, with one line and a cursor; buffers are passed by, since they may be in use."""
    for descriptor in (1, 2):
        with suppress(OSError):  # the terminal may be gone
            os.write(descriptor, SHOW_CURSOR if os.isatty(descriptor) else b"")
    with suppress(OSError):
        os.write(2, b"stopped\n")
    os._exit(128 + number)


def _send_to_main_thread(number: int) -> None:
    """Wake it, whatever it waits for."""
    signal.pthread_kill(threading.main_thread().ident or 0, number)


@contextmanager
def interruptible(kept: str = "") -> Iterator[None]:
    """Let the first signal raise KeyboardInterrupt in the body.

    Args:
        kept: what of the work is there then for the same command to go on from; empty where no result is written before
            the end.

    Raises:
        SystemExit: a signal came, and what is kept was said; its code is 128 plus the number of the signal.
    """
    arrivals: list[tuple[int, float]] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not arrivals:
            arrivals.append((number, time.monotonic()))
            raise KeyboardInterrupt
        if time.monotonic() > arrivals[0][1] + PATIENCE:
            end_at_once(number)

    def raise_again(unraisable: Any) -> None:
        """Python cannot let an exception through while it takes an object apart: send the signal again in a moment."""
        if arrivals and unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(0.01, _send_to_main_thread, [arrivals.pop()[0]]).start()
        else:
            sys.__unraisablehook__(unraisable)

    try:
        before, sys.unraisablehook = handle_signals(interrupt), raise_again
        try:
            yield
        finally:
            sys.unraisablehook = sys.__unraisablehook__
            for number, handler in before.items():
                signal.signal(number, handler)
    except (KeyboardInterrupt, Exception) as error:
        # other libraries make errors of their own of it; what this package says of a failure to tidy up is said
        if isinstance(error, TapiocaError) or not (arrivals or isinstance(error, KeyboardInterrupt)):
            raise
        with suppress(OSError):
            told = f"{kept}, and the same command goes on from there" if kept else "no result was written"
            print(f"stopped; {told}", file=sys.stderr)
        raise SystemExit(128 + (arrivals[0][0] if arrivals else signal.SIGINT)) from error
