"""psycopg on pgproto, without libpq.

    import pgproto_psycopg

    pgproto_psycopg.install()  # before psycopg is imported

    import psycopg

psycopg has its C library in one module, `psycopg.pq`, and several implementations of that.  This is another
one, in pure Python, over pgproto's core: all of `psycopg.pq.abc`.  The rest of psycopg is unchanged.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

__all__ = ["choose", "install", "installed"]

VARIABLE: Final = "PSYCOPG_IMPL"
"""psycopg's own environment variable, by which an implementation is chosen."""

NAME: Final = "pgproto"
"""This implementation's name as a value of the variable."""

_CTYPES: Final = "psycopg.pq.pq_ctypes"


def install() -> None:
    """Import psycopg with this implementation.  Idempotent.

    Raises:
        RuntimeError: psycopg was imported before, with another implementation.
        ImportError: psycopg is not installed.
    """
    if installed():
        return
    if "psycopg.pq" in sys.modules:
        raise RuntimeError("psycopg is imported already: call pgproto_psycopg.install() before that")
    finder = _Finder()
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "python"
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module("psycopg")
    finally:
        sys.meta_path.remove(finder)
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def choose() -> bool:
    """`install`, if the environment variable PSYCOPG_IMPL is `pgproto`.

    Returns:
        True if psycopg is on pgproto now.
    """
    if os.environ.get(VARIABLE, "").lower() == NAME:
        install()
    return installed()


def installed() -> bool:
    """True if psycopg was imported with this implementation."""
    pq = sys.modules.get("psycopg.pq")
    return pq is not None and getattr(pq, "PGconn", object).__module__.startswith(__name__)


class _Finder(MetaPathFinder, Loader):
    """Finds our module where psycopg looks for the one that loads libpq."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == _CTYPES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from . import pq

        for name in pq.__all__:
            setattr(module, name, getattr(pq, name))
