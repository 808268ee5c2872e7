# Written by scripts/blocking.py out of pgproto/client/records.py: change that one.
"""What callers may pass where many records go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["NamedRecords", "Records"]

Records: TypeAlias = Iterable[Sequence[Any]]
"""Each has a value for each parameter."""
NamedRecords: TypeAlias = Iterable[Sequence[Any] | Mapping[str, Any]]
"""Each has a value for each column, or is a mapping with the columns' names."""
