"""Running the asyncio adapter, as it is, inside of a world.

What the adapter takes from the system is replaced for the time of one schedule: clock, random numbers, the
look at a socket.  Nothing else of it is touched, so what is proved here is what is shipped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import pgproto_asyncio.link as adapter_link
from pgproto.config import Config, parse_config
from pgproto.session import Connector
from pgproto_sockets import environment, process, readiness

from .near import NearEnd
from .world import World

__all__ = ["CANARY", "installed"]

CANARY = "k4n4ri3nv0g31"
"""The password of every session; it must be in no text."""

# Reading the same options again gives the same immutable Config.
_configs: dict[str, Config] = {}


def _config(dsn: str | None, options: Any, settings: Mapping[str, str] | None) -> Config:
    key = repr((dsn, sorted(options.items()), settings))
    known = _configs.get(key)
    if known is None:
        known = _configs[key] = parse_config(
            dsn,
            environ={},
            read_file=lambda path: None,
            os_user=lambda: "sim",
            server_settings=settings,
            **options,
        )
    return known


_abort = adapter_link.Link.abort


def _watched(link: adapter_link.Link) -> None:
    """`Link.abort`, noted: from now on this side is why the session ends."""
    near = link._transport
    if isinstance(near, NearEnd) and not near.heard_eof:
        near.link.hung_up = True
    _abort(link)


@contextlib.contextmanager
def installed(world: World) -> Iterator[None]:
    """The adapter lives in this world until the context ends."""

    def connector(dsn: str | None, options: Any, settings: Any, types: Any, **_: Any) -> Connector:
        return Connector(
            _config(dsn, options, settings),
            clock=world.loop.time,
            random_bytes=world.rng.randbytes,
            types=types,
        )

    with (
        mock.patch.object(environment, "connector", connector),
        mock.patch.object(readiness, "is_quiet", world.network.quiet),
        mock.patch.object(readiness, "read_rest", world.network.read_rest),
        mock.patch.object(adapter_link.Link, "abort", _watched),
        mock.patch.object(process, "random", world.rng),
    ):
        asyncio._set_running_loop(None)
        yield
