"""The defaults of a connection string: this process's environment, its files, the system's user.

The core takes them as arguments.
"""

from __future__ import annotations

import getpass
import os
import stat
import time
import warnings
from collections.abc import Callable, Mapping

from pgproto.config import Config, ConnectOptions, FileText, parse_config
from pgproto.session import Connector
from pgproto.types import TypeMap

__all__ = ["connector", "read_file"]

# Password and service files are small; a larger file is not one of them.
_MAX_FILE = 1 << 20


def read_file(path: str) -> FileText | None:
    """Read a configuration file; None if there is none or it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        regular = stat.S_ISREG(status.st_mode)
        data = os.read(descriptor, _MAX_FILE) if regular else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # A password may not be in UTF-8: surrogateescape keeps its bytes.
    mode = stat.S_IMODE(status.st_mode) if os.name == "posix" else 0o600
    return FileText(data.decode("utf-8", "surrogateescape"), mode, regular, status.st_uid)


def connector(
    dsn: str | Config | None,
    options: ConnectOptions,
    server_settings: Mapping[str, str] | None,
    types: TypeMap | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    stacklevel: int = 3,
) -> Connector:
    """A Connector for a connection string and options, with this process's environment and files.

    The sessions share `types`, by default a new map.  `clock` returns the monotonic time in seconds for
    deadlines.  Something ignored (a password file that others can read) gives a warning at the line
    `stacklevel` calls up: that of `connect` or `Pool`.

    Raises:
        ConfigError: the options cannot be used.
    """
    config = parse_config(
        dsn,
        environ=os.environ,
        read_file=read_file,
        os_user=getpass.getuser,
        server_settings=server_settings,
        **options,
    )
    for text in config.warnings:
        warnings.warn(text, stacklevel=stacklevel)
    return Connector(config, clock=clock, random_bytes=os.urandom, types=types)
