"""COPY in and executemany: chunks of a source, fed to the operation as fast as the server takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pgproto.session import CopyIn, ExecuteMany

from .transport import Transport

__all__ = ["Chunks", "NamedRecords", "Records", "Source", "feed"]

Source = bytes | Iterable[bytes]
Records = Iterable[Sequence[Any]]
NamedRecords = Iterable[Sequence[Any] | Mapping[str, Any]]
# What an operation is fed with: bytes for a COPY, runs of executions for an ExecuteMany.
Chunks = Iterable[Any]

# Bytes that are collected before the socket is looked after: nobody can see a part of a COPY anyway.
_FED_AT_ONCE: Final = 16384


def feed(
    transport: Transport,
    operation: CopyIn | ExecuteMany,
    source: Callable[[], Chunks],
    seconds: float | None,
    lease: int = 0,
) -> int:
    """Run the operation with the chunks of a source; the number of rows.

    Args:
        transport: the session's.
        operation: what to feed.
        source: gives the chunks; asked when the server is ready for them.
        seconds: the longest time without progress; None for no limit.
        lease: see `Transport.alone`.
    """
    transport.submit(operation, seconds, lease)
    try:
        while operation.starting:
            transport.progress(operation, seconds)
        try:
            if not operation.over:
                _feed(transport, operation, source(), seconds)
        except Exception as error:
            operation.stop(error)
            while not operation.finished:
                transport.progress(operation, seconds)
            raise
        operation.end()
        while not operation.finished:
            transport.progress(operation, seconds)
    finally:
        transport.abandon(operation)
    if operation.error is not None:
        raise operation.error
    return operation.rowcount


def _feed(
    transport: Transport, operation: CopyIn | ExecuteMany, source: Chunks, seconds: float | None
) -> None:
    """Hand over data until there is no more, or the server wants no more."""
    fed = 0
    for chunk in source:
        operation.feed(chunk)
        fed += len(chunk)
        if fed >= _FED_AT_ONCE:
            fed = 0
            transport.progress(operation, seconds, wait=False)
            while operation.full:
                transport.progress(operation, seconds)
        if operation.over:
            return
