"""Importing pgproto loads no I/O, no clock-driven machinery, no randomness and nobody else's package.

What the interpreter itself loads at its start differs between versions and installations, so each check
runs in a fresh, isolated interpreter without `site`, and compares what was there before with after.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pgproto
import pgproto_blocking

ROOT = Path(__file__).parents[1]
# Where the packages are loaded from: the checkout, or the compiled build.
CORE = Path(str(pgproto.__file__)).parents[1]
ADAPTERS = Path(str(pgproto_blocking.__file__)).parents[1]
FORBIDDEN = {
    "_asyncio",
    "_random",
    "_socket",
    "_ssl",
    "asyncio",
    "concurrent",
    "logging",
    "queue",
    "random",
    "secrets",
    "select",
    "selectors",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "trio",
}
# The interpreter's own, and not in its list; the compiled build asks it where it is.
UNLISTED = {"_xxsubinterpreters", "_interpreters"}
PROGRAM = """
import sys
sys.path[:0] = {paths!r}
before = set(sys.modules)
import {module}
print(*sorted(set(sys.modules) - before))
"""


def loaded_by(module: str, *paths: Path) -> set[str]:
    """The modules that `import module` adds to a fresh interpreter."""
    program = PROGRAM.format(paths=[str(path) for path in paths], module=module)
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def tops(modules: set[str]) -> set[str]:
    # The compiled code of all modules is in one library beside the package.
    return {module.partition(".")[0].removesuffix("__mypyc") for module in modules}


def core_modules() -> list[str]:
    names = ["pgproto"]
    for path in sorted((ROOT / "pgproto").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__init__":
            names.append(".".join(parts))
    return names


def test_import_pgproto_is_pure() -> None:
    modules = loaded_by("pgproto", CORE)
    assert "pgproto" in modules
    assert tops(modules) & FORBIDDEN == set()
    assert {top for top in tops(modules) if top not in sys.stdlib_module_names} - UNLISTED == {"pgproto"}
    assert "pgproto.protocol.tls" not in modules


def test_every_module_of_the_core_is_pure() -> None:
    """All of them at once, but the TLS module, which is imported only when TLS is asked for.

    The client has something to say to the application's log, and so has what is made of the client.
    """
    logging = tops(loaded_by("logging"))
    for log in (False, True):
        names = [name for name in core_modules() if name != "pgproto.protocol.tls"]
        names = [name for name in names if log or not name.startswith(("pgproto.client", "pgproto.testing"))]
        modules = loaded_by(", ".join(names), CORE)
        assert tops(modules) & FORBIDDEN - (logging if log else set()) == set()
    assert {top for top in tops(modules) if top not in sys.stdlib_module_names} - UNLISTED == {"pgproto"}


def test_the_blocking_adapter_needs_no_event_loop() -> None:
    modules = loaded_by("pgproto_blocking", CORE, ADAPTERS)
    assert tops(modules) & {"asyncio", "trio"} == set()


def test_the_asyncio_adapter_needs_no_third_party() -> None:
    modules = loaded_by("pgproto_asyncio", CORE, ADAPTERS)
    foreign = {top for top in tops(modules) if top not in sys.stdlib_module_names}
    assert foreign - UNLISTED <= {"pgproto", "pgproto_asyncio", "pgproto_sockets"}


@pytest.mark.parametrize("module", ["asyncio", "ssl", "logging", "secrets"])
def test_the_check_finds_what_it_is_for(module: str) -> None:
    assert tops(loaded_by(module)) & FORBIDDEN
