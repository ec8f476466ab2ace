"""Numbers with intervals and with signs as people read them: a minus is no hyphen."""

from collections.abc import Iterable


def signed(value: float, digits: int) -> str:
    """A number with its sign: '+2.1', '−6.1'."""
    return format_number(value, f"+.{digits}f")


def format_number(value: float, spec: str) -> str:
    """A number with a minus sign where it is below 0, and without a point behind its last digit."""
    text = f"{value:{spec}}".rstrip(".")
    return f"−{text[1:]}" if text.startswith("-") else text


def with_interval(value: float, ends: Iterable[float] | None, spec: str = ".3f", unit: str = "") -> str:
    """A number with its 95 % interval: '0.345 [0.321, 0.367]', or with a unit '−6.1 points [−9.5, −2.5]'.

    Args:
        ends: of the interval; without them the number stands alone.
        spec: how each of the three is formatted.
    """
    number = f"{format_number(value, spec)}{unit}"
    return f"{number} {format_interval(ends, spec)}" if ends else number


def format_interval(ends: Iterable[float], spec: str) -> str:
    """The ends of an interval: '[0.321, 0.367]'."""
    return f"[{', '.join(format_number(end, spec) for end in ends)}]"
