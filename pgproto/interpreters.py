"""The compiled build works in the main interpreter only: in a subinterpreter its import fails at once.

Code compiled by mypyc keeps its classes and constants in C globals, which all interpreters of a process
share.  A second interpreter that loads it breaks both: it sees the other's classes, the main interpreter's
import fails with "invalid PyCapsule", or the process aborts.  CPython itself refuses such a library only in
a subinterpreter with its own GIL (3.12 and newer).  The pure build runs in any interpreter.

This module is not compiled, and runs before everything that is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

__all__ = ["check_interpreter", "in_subinterpreter", "is_compiled"]


def is_compiled(path: Sequence[str]) -> bool:
    """True if the package at `path` (its `__path__`) is the compiled build; loads nothing to find out."""
    spec = PathFinder.find_spec("pgproto.wire.native", [f"{place}/wire" for place in path])
    return spec is not None and str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES))


def in_subinterpreter() -> bool:
    """True if this is not the main interpreter; False where the interpreter cannot tell."""
    # Private modules: there is no public way before 3.14, whose `concurrent.interpreters` is slow to import.
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    try:
        module = import_module(name)
    except ImportError:  # a Python that was built without it
        return False
    return bool(module.get_current() != module.get_main())


def check_interpreter(path: Sequence[str]) -> None:
    """Raise if the package at `path` cannot be used in this interpreter.

    Raises:
        ImportError: it is the compiled build, and this is a subinterpreter.
    """
    if is_compiled(path) and in_subinterpreter():
        raise ImportError(
            "the compiled build of pgproto cannot be imported in a subinterpreter, only in the main "
            "interpreter of a process; the pure build can",
            name="pgproto",
        )
