"""Connection strings, environment, service and password files -> one immutable Config.

Contract: no I/O.  The environment, a reader of files and the name of the operating system's user are
arguments of `parse_config`; an adapter passes the real ones.  No repr and no error shows a secret.
"""

from __future__ import annotations

from .config import Config, Host, TLSOptions
from .dsn import parse_dsn
from .files import FileText, PasswordEntry, ReadFile
from .options import OPTIONS, AskPassword, ConnectOptions, ConninfoOption
from .parse import conninfo_options, parse_config
from .secret import Secret

__all__ = [
    "OPTIONS",
    "AskPassword",
    "Config",
    "ConnectOptions",
    "ConninfoOption",
    "FileText",
    "Host",
    "PasswordEntry",
    "ReadFile",
    "Secret",
    "TLSOptions",
    "conninfo_options",
    "parse_config",
    "parse_dsn",
]
