"""What commands and flags were called before: an old name is refused with the new one."""

from collections.abc import Sequence

from tapioca.errors import UsageError

COMMANDS = {"apply": "generate", "profile": "geometry", "space": "enumerate", "lab study": "study"}
FLAGS = {
    "--alphas": "--scales",
    "--draws": "--random-sets",
    "--judge": "--classifier",
    "--memory": "--state-memory",
    "--streams": "--plan-batching",
}


def refuse_old_names(arguments: Sequence[str]) -> None:
    """Refuse a command line with a name that is no longer used.

    Raises:
        UsageError: it names what to write instead.
    """
    command = " ".join(arguments)
    for old, new in COMMANDS.items():
        if f"{command} ".startswith(f"{old} "):
            raise UsageError(f"`tapioca {old}` is called `tapioca {new}` now")
    for argument in arguments:
        if new_flag := FLAGS.get(argument.partition("=")[0]):
            raise UsageError(f"{argument.partition('=')[0]} is called {new_flag} now")
