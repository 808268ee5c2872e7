"""The compiled build belongs to the main interpreter: a subinterpreter is refused before it loads anything.

What mypyc makes keeps its classes and constants in variables of the C library, which all interpreters of the
process share.  A second interpreter that loads it breaks both: classes of the other one, "invalid PyCapsule"
in the main one's import, or an abort.  CPython itself refuses such a library only where a subinterpreter
has a lock of its own (3.12 and newer).  The pure build runs in any.

This module is not compiled, and runs before everything that is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

__all__ = ["check_interpreter", "in_subinterpreter", "is_compiled"]


def is_compiled(path: Sequence[str]) -> bool:
    """True if the package at `path` (its `__path__`) is the compiled build; nothing is loaded for that."""
    spec = PathFinder.find_spec("pgproto.wire.native", [f"{place}/wire" for place in path])
    return spec is not None and str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES))


def in_subinterpreter() -> bool:
    """True if this is not the main interpreter; False where the interpreter cannot tell."""
    # Private modules: there is no public way before 3.14, whose `concurrent.interpreters` is a heavy one.
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
