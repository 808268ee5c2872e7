"""EXPLAIN of a statement: the text to run, and the plans out of its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pgproto.session import QueuedQuery

__all__ = ["explained", "plans"]


def explained(
    item: QueuedQuery[Any], analyze: bool, options: Mapping[str, bool]
) -> tuple[str, tuple[object, ...]]:
    """The text that explains a statement, and its values.

    Args:
        item: the statement.
        analyze: run it.
        options: the options of EXPLAIN by name.

    Raises:
        TypeError: an option cannot be switched on or off.
    """
    words = ["FORMAT JSON"] + ["ANALYZE"] * analyze
    for name, value in options.items():
        if not isinstance(value, bool) or not name.isidentifier() or name.lower() in ("format", "analyze"):
            raise TypeError(f"{name!r} is no option of EXPLAIN that is True or False")
        words.append(f"{name.upper()} {'TRUE' if value else 'FALSE'}")
    return f"EXPLAIN ({', '.join(words)}) {item.sql}", tuple(item.args)


def plans(answer: Any) -> list[dict[str, Any]]:
    """The plans: one for each statement that the rules have made of it."""
    found: list[dict[str, Any]] = json.loads(answer) if isinstance(answer, str | bytes) else answer
    return found
