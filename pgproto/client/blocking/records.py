# Written by scripts/blocking.py out of pgproto/client/records.py: change that one.
"""The types of arguments with many records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["NamedRecords", "Records"]

Records: TypeAlias = Iterable[Sequence[Any]]
"""Each record has a value for each parameter."""
NamedRecords: TypeAlias = Iterable[Sequence[Any] | Mapping[str, Any]]
"""Each record has a value for each column, or is a mapping from the columns' names."""
