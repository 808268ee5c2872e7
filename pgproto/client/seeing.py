"""Who sees what the connections of a `connect` or a pool do: observers, and a trace of their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TextIO, TypeAlias

from pgproto.session import Connector, Observer

from .records import Path
from .runtime import Runtime

__all__ = ["Observers", "Trace", "watched"]


Observers: TypeAlias = "Observer | Sequence[Observer]"
"""One observer, or several."""

Trace: TypeAlias = "str | Path | TextIO | Callable[[str], object]"
"""Where a trace goes: a path, to append to; a text file; or a function that takes a line."""


def watched(runtime: Runtime, connector: Connector, observers: Observers, trace: Trace | None) -> Connector:
    """Have a connector's sessions watched.

    Args:
        runtime: where they run.
        connector: the connector.
        observers: whom to tell.
        trace: where to write the trace; None for what the environment says.

    Raises:
        TypeError: one of them is not an Observer, or `trace` is nothing that can be written to.
        ConfigError: the trace cannot be written there.
    """
    several = [observers] if isinstance(observers, Observer) else list(observers)
    for each in several:
        if not isinstance(each, Observer):
            raise TypeError(f"observers: expected an Observer, not {type(each).__name__}")
    connector.observers = several
    connector.report = partial(_report, runtime)
    connector.trace = runtime.tracer(trace)
    return connector


def _report(runtime: Runtime, name: str, error: BaseException) -> None:
    """An observer or a trace has raised: report it as the exception of a callback."""
    if runtime.goes_up(error):
        raise error
    runtime.report(runtime.home(), name, error)
