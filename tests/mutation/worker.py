"""How a mutant is put in place, and how its tests run: in a process forked for it, that never comes back.

The mutated file is executed in a namespace of its own, and of that only what changed is taken over: the code
and the defaults of the one function, or the tables and constants of the module wherever they were imported
to.  So the classes stay those that the tests have imported, nothing is collected twice, and what is not
mutated runs at full speed.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol

from .operators import Mutant, mutate

__all__ = ["module_of", "put", "run", "tame"]

MEMORY: Final = 2 << 30  # bytes of address space: a loop that only appends ends here
PATIENCE: Final = 2.0  # seconds of CPU that a test may take ...
FACTOR: Final = 10.0  # ... beyond so many times what it takes usually


def module_of(path: Path) -> ModuleType:
    """The imported module of a file below pgproto/."""
    return sys.modules[".".join(path.with_suffix("").parts)]


def put(path: Path, source: str, mutant: Mutant) -> None:
    """Make the mutant true in this process.

    Raises:
        Exception: the mutant can't even be imported.
    """
    module = module_of(path)
    tree = mutate(source, mutant.number)
    namespace: dict[str, Any] = {"__name__": module.__name__, "__package__": module.__package__}
    exec(compile(tree, str(path), "exec"), namespace)
    if mutant.function:
        old = _function(vars(module), mutant.function)
        new = _function(namespace, mutant.function)
        old.__code__ = new.__code__
        old.__defaults__ = new.__defaults__
        old.__kwdefaults__ = new.__kwdefaults__
        return
    changed = {
        name: value
        for name, value in namespace.items()
        if isinstance(value, dict | frozenset | tuple | int | float | str | bytes | type(None))
        and not name.startswith("__")
        and value != vars(module)[name]
    }
    for name, value in changed.items():
        before = vars(module)[name]
        for other in list(sys.modules.values()):
            ours = getattr(other, "__name__", "").startswith(("pgproto", "tests"))
            if ours and vars(other).get(name) is before:
                setattr(other, name, value)
    for owner, new_owner in _owners(module, namespace):  # a default may have been made from a constant
        for name, function in list(owner.items()):
            other_function = new_owner.get(name)
            if isinstance(function, FunctionType) and isinstance(other_function, FunctionType):
                function.__defaults__ = other_function.__defaults__
                function.__kwdefaults__ = other_function.__kwdefaults__


def _owners(
    module: ModuleType, namespace: dict[str, Any]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Where functions are: the module and its classes, as they are and as they would be."""
    yield vars(module), namespace
    for name, value in list(vars(module).items()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield vars(value), vars(namespace[name])


def _function(namespace: dict[str, Any], name: str) -> FunctionType:
    first, _, rest = name.partition(".")
    value = namespace[first]
    if rest:
        value = vars(value)[rest]
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if not isinstance(value, FunctionType):
        raise TypeError(f"{name} is {value!r}")
    return value


def tame() -> None:
    """No output, no core, and no more memory than a test needs."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the default is to end the process


def run(items: Sequence[pytest.Item], seconds: dict[str, float]) -> str:
    """Run tests until one fails; its name, or "".  One that takes far too long ends the process."""
    for place, item in enumerate(items):
        following = items[place + 1] if place + 1 < len(items) else None
        signal.setitimer(signal.ITIMER_PROF, PATIENCE + FACTOR * seconds[item.nodeid])
        reports = runtestprotocol(item, log=False, nextitem=following)
        if any(report.failed for report in reports):
            return item.nodeid
    return ""
