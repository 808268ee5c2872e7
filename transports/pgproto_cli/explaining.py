"""`explain-dsn`: every option, its value, and where that comes from.  Secrets are masked."""

from __future__ import annotations

import getpass
import os

from pgproto import ConfigError
from pgproto.config import Config, ConninfoOption, conninfo_options, parse_config
from pgproto.errors import MASK
from pgproto_sockets.environment import read_file

from .output import DIM, paint, show_json, table

__all__ = ["explain"]

_MASKED = ("options", "password")
"""What a source gives of these; `options` can set anything, and the trace does not show it either."""


def explain(dsn: str | None, *, as_json: bool, given: bool) -> int:
    """Print the options.

    Args:
        dsn: the connection string.
        as_json: print JSON.
        given: leave out options that have their defaults.

    Raises:
        ConfigError: the connection string cannot be used; the options are printed before.
    """
    options = conninfo_options(dsn, environ=os.environ, read_file=read_file, os_user=getpass.getuser)
    problem: ConfigError | None = None
    warnings: tuple[str, ...] = ()
    from_passfile = False
    try:
        config = parse_config(dsn, environ=os.environ, read_file=read_file, os_user=getpass.getuser)
        warnings = config.warnings
        from_passfile = config.password is None and _in_passfile(config)
    except ConfigError as error:
        problem = error
    rows = [
        (
            option.keyword,
            option.value if source == "default" or option.keyword not in _MASKED else MASK,
            source,
        )
        for option in options
        if (source := _source(option, from_passfile)) != "default" or not given
    ]
    if as_json:
        listed = [{"option": name, "value": value, "source": source} for name, value, source in rows]
        show_json({"options": listed, "warnings": warnings, "error": problem and str(problem)})
    else:
        table(("option", "value", "source"), rows)
        for warning in warnings:
            print(paint(f"warning: {warning}", DIM))
    if problem is not None:
        raise problem
    return 0


def _in_passfile(config: Config) -> bool:
    return any(config.password_for(host) is not None for host in config.hosts)


def _source(option: ConninfoOption, from_passfile: bool) -> str:
    if option.keyword == "password" and not option.origin and from_passfile:
        return "the password file"
    if option.origin == "the environment":
        return f"the environment: {option.variable}"
    return option.origin or "default"
