"""A source of COPY or executemany that has to be waited for, and whether it has come to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

__all__ = ["Reading"]


class Reading:
    """The part of a `pgproto.client.Reader` that no event loop has a say in.

    Args:
        iterator: the source.
    """

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            self._ended = True
            raise
