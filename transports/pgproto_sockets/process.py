"""The part of a `Runtime` that concerns the process: randomness, environment, forks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import BinaryIO

from pgproto.client import FileMode, Forgetting, Path
from pgproto.config import Config, ConnectOptions
from pgproto.session import Connector, TraceLine
from pgproto.types import TypeMap

from . import environment, forks, tracing

__all__ = ["Process"]


class Process:
    """The part of a `pgproto.client.Runtime` that does not depend on the event loop.

    Args:
        clock: returns the time in seconds for the sessions' deadlines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def random(self) -> float:
        """A new float in [0, 1)."""
        return random.random()  # noqa: S311 - for jitter

    def connector(
        self,
        dsn: str | Config | None,
        options: ConnectOptions,
        server_settings: Mapping[str, str] | None,
        types: TypeMap | None,
    ) -> Connector:
        """A Connector."""
        return environment.connector(dsn, options, server_settings, types, clock=self._clock, stacklevel=4)

    def open_file(self, path: str | Path, mode: FileMode) -> BinaryIO:
        """Open a file for COPY."""
        return open(path, mode)

    def tracer(self, trace: object) -> TraceLine | None:
        """What writes a trace."""
        return tracing.tracer(trace)

    def forget_in_child(self, holder: Forgetting) -> None:
        """Have `holder.forget()` called in every forked child."""
        forks.forget_in_child(holder)
