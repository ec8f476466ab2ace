"""Consoles that cannot show every character: what is printed there reads on in ASCII, and never ends in an error."""

import codecs
import sys
import unicodedata
from io import TextIOWrapper

ASCII_ERRORS = "tapioca.readable"
"""Name of the error handler of text streams."""

IN_ASCII = {
    "→": "->",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "÷": "/",
    "·": "-",
    "…": "...",
    "‖": "||",
    "␣": "_",
    "√": "sqrt ",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "✓": "yes",
    "✗": "no",
    "α": "alpha",
    "λ": "lambda",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "φ": "phi",
    "ω": "omega",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}


def make_printable() -> None:
    """Let standard output and error show in ASCII what their encoding lacks; streams that are no text files stay as
    they are."""
    codecs.register_error(ASCII_ERRORS, _encode_in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ASCII_ERRORS)


def _encode_in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What stands for the characters that cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_character_in_ascii, error.object[error.start : error.end])), error.end


def _character_in_ascii(character: str) -> str:
    """A character in ASCII: by the table, else without its accent, else a question mark."""
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return IN_ASCII.get(character) or letters or "?"
