"""Numbers with intervals and with signs as people read them: a minus is no hyphen."""

from __future__ import annotations


def signed(value: float, digits: int) -> str:
    """A number with its sign: '+2.1', '−6.1'."""
    return f"{value:+.{digits}f}".replace("-", "−")


def with_interval(value: float, ends: tuple[float, float], spec: str = ".3f") -> str:
    """A number with its 95 % interval: '0.345 [0.321, 0.367]'.

    Args:
        spec: how each of the three is formatted.
    """
    return f"{value:{spec}} [{ends[0]:{spec}}, {ends[1]:{spec}}]"


def signed_interval(value: float, ends: tuple[float, float], digits: int, unit: str = "") -> str:
    """A number with its 95 % interval: '−6.1 [−9.5, −2.5]', or with a unit '−6.1 points [−9.5, −2.5]'."""
    low, high = (signed(end, digits) for end in ends)
    return f"{signed(value, digits)}{unit} [{low}, {high}]"
