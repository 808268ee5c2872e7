"""What a caller decides about columns: numbers without a scale, and values that a column cannot hold."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["MAX_DIGITS", "Numeric", "Unfit", "check_policies"]

Numeric: TypeAlias = Literal["str", "float64"] | int
"""What a numeric without precision and scale becomes (with both it is a decimal128, up to 38 digits): its
text, the nearest float, or a decimal128 of 38 digits with so many of them after the point."""

Unfit: TypeAlias = Literal["error", "null"]
"""What a value does that the column's Arrow type does not have, such as an infinite timestamp: it raises
DataError, or it becomes NULL."""

MAX_DIGITS: Final = 38
"""The precision of a decimal128."""


def check_policies(numeric: Numeric, unfit: Unfit) -> None:
    """Raise ValueError or TypeError unless both are what they may be."""
    if unfit not in ("error", "null"):
        raise ValueError(f"unfit must be 'error' or 'null', not {unfit!r}")
    if isinstance(numeric, str):
        if numeric not in ("str", "float64"):
            raise ValueError(f"numeric must be 'str', 'float64' or a scale, not {numeric!r}")
    elif isinstance(numeric, bool) or not isinstance(numeric, int):
        raise TypeError(f"numeric must be 'str', 'float64' or a scale, not {type(numeric).__name__}")
    elif not 0 <= numeric <= MAX_DIGITS:
        raise ValueError(f"a scale must be from 0 to {MAX_DIGITS}, not {numeric}")
