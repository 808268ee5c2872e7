"""COPY in: data from a source of the caller's, fed to the operation as fast as the server takes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pgproto.session import CopyIn
from pgproto.session.sources import chunks

from .transport import Transport

__all__ = ["Records", "Source", "copy_in"]

Source = bytes | Iterable[bytes]
Records = Iterable[Sequence[Any]]

# Bytes that are collected before the socket is looked after: nobody can see a part of a COPY anyway.
_FED_AT_ONCE: Final = 16384


def copy_in(transport: Transport, operation: CopyIn, source: Source, seconds: float | None) -> int:
    """Run the operation with the data of a source; the number of rows.

    Args:
        transport: the session's.
        operation: the COPY.
        source: see `Connection.copy_in`.
        seconds: the longest time without progress; None for no limit.
    """
    transport.submit(operation, seconds)
    try:
        while not operation.copying and not operation.over:
            transport.progress(operation, seconds)
        try:
            _feed(transport, operation, source, seconds)
        except Exception as error:
            operation.stop(f"{type(error).__name__}: {error}")
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


def _feed(transport: Transport, operation: CopyIn, source: Source, seconds: float | None) -> None:
    """Hand over data until there is no more, or the server wants no more."""
    fed = 0
    for chunk in chunks(source):
        operation.feed(chunk)
        fed += len(chunk)
        if fed >= _FED_AT_ONCE:
            fed = 0
            transport.progress(operation, seconds, wait=False)
            while operation.full:
                transport.progress(operation, seconds)
        if operation.over:
            return
