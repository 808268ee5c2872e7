"""The client on anyio."""

from __future__ import annotations

from typing import Final

from pgproto import client

from .runtime import RUNTIME

__all__ = ["Pool", "connect"]

connect: Final = client.Connect(RUNTIME)


class Pool(client.Pool):  # noqa: D101 - the other one's
    __doc__ = client.Pool.__doc__
    runtime = RUNTIME
