"""Where the trace of a session's messages is written: a file, or what the caller has passed.

A line in a file begins with the time, as PQtrace's does, and the number of the session, because the
connections of a pool write to one file.  The file is opened for each run of messages: so it may be moved
away, nothing is lost when the process ends, and a forked child has no file that it must not use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pgproto import ConfigError
from pgproto.session import TraceLine

__all__ = ["VARIABLE", "tracer"]

VARIABLE = "PGPROTO_TRACE"
"""The environment variable that names a file for the trace of every connection of the process."""


def tracer(trace: Any) -> TraceLine | None:
    """What writes a trace.

    Args:
        trace: a path, a text file or a function that takes a line; None for the file that the environment
            names, if it does.

    Raises:
        TypeError: it is none of these.
        ConfigError: the file cannot be written to.
    """
    if trace is None:
        trace = os.environ.get(VARIABLE) or None
        if trace is None:
            return None
    if isinstance(trace, str | os.PathLike):
        return _to_path(os.fspath(trace))
    write = getattr(trace, "write", None)
    if callable(write):
        return _to_file(write)
    if callable(trace):
        return lambda _session, line: trace(line)
    raise TypeError(f"trace: expected a path, a text file or a function, not {type(trace).__name__}")


def _stamped(session: int, line: str) -> str:
    return f"{datetime.now():%Y-%m-%d %H:%M:%S.%f}\t{session}\t{line}\n"  # local time, as PQtrace's


def _to_path(path: str) -> TraceLine:
    def write(session: int, line: str) -> None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(_stamped(session, line))

    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigError(f"trace: cannot write to {path}: {error.strerror}") from error
    return write


def _to_file(write: Callable[[str], object]) -> TraceLine:
    def write_line(session: int, line: str) -> None:
        write(_stamped(session, line))

    return write_line
