"""Who is measured: a table of drivers.  Each runs in a process of its own; see `session.py` for what it does.

To add a driver: write a session class in a file here, and add it to the table.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["BUILDS", "CORE", "DRIVERS", "FLOOR", "Driver"]

FLOOR: Final = "raw socket"
CORE: Final = "pgproto core"
BUILDS: Final = ("compiled", "pure")


Main = Callable[[], Coroutine[Any, Any, None]]


def _plainly(main: Main) -> None:
    """For blocking drivers: the coroutine never has to wait for anything."""
    try:
        main().send(None)
    except StopIteration:
        return
    raise RuntimeError("a blocking driver waits for an event loop")


def _on_asyncio(main: Main) -> None:
    asyncio.run(main())


def _on_uvloop(main: Main) -> None:
    uvloop = importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _on_trio(main: Main) -> None:
    importlib.import_module("trio").run(main)


class Driver:
    """One entry of the table.

    Args:
        name: as in the report; pgproto's own have their build in it.
        session: "module:class" below this package; imported in the driver's process only.
        run: runs the process's main coroutine, in the driver's event loop if it has one.
        packages: what has to be installed besides pgproto, and whose versions are reported.
        build: which build of pgproto it needs, "compiled" or "pure"; "" if it is none.
        main: False for a variant (another event loop), which sits out what is said to be for main drivers.
    """

    def __init__(
        self,
        name: str,
        session: str,
        run: Callable[[Main], None] = _plainly,
        packages: tuple[str, ...] = (),
        build: str = "",
        main: bool = True,
    ) -> None:
        self.name = name
        self._session = session
        self.run = run
        self.packages = packages
        self.build = build
        self.main = main

    @property
    def session(self) -> Any:
        """The session class, imported."""
        module, _, name = self._session.partition(":")
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)

    @property
    def blocking(self) -> bool:
        """True if its operations are plain calls."""
        return self.run is _plainly

    @property
    def missing(self) -> str:
        """The packages that are not installed here; "" if none."""
        return ", ".join(name for name in self.packages if importlib.util.find_spec(name) is None)

    def can(self, kind: str) -> bool:
        """True if it does this kind of work."""
        return hasattr(self.session, kind)

    def way(self, kind: str) -> str:
        """How it does this kind of work, where that is not obvious."""
        ways: dict[str, str] = self.session.ways
        return ways.get(kind, "")


def _ours(build: str) -> tuple[Driver, ...]:
    asynchronous, trio = "pgproto_async:PgprotoAsyncio", "pgproto_async:PgprotoTrio"
    side = build == "compiled"
    return (
        Driver(f"pgproto blocking, {build}", "pgproto_sync:PgprotoBlocking", build=build),
        Driver(f"pgproto asyncio, {build}", asynchronous, _on_asyncio, build=build),
        Driver(f"pgproto uvloop, {build}", asynchronous, _on_uvloop, ("uvloop",), build, main=side),
        Driver(f"pgproto trio, {build}", trio, _on_trio, ("trio",), build, main=False),
        Driver(f"{CORE}, {build}", "core:Core", build=build),
    )


_ASYNCPG, _PSQLPY = "asyncpg_session:Asyncpg", "psqlpy_session:Psqlpy"
_ALL = (
    Driver(FLOOR, "floor:Floor"),
    *_ours("compiled"),
    *_ours("pure"),
    Driver("asyncpg", _ASYNCPG, _on_asyncio, ("asyncpg",)),
    Driver("asyncpg uvloop", _ASYNCPG, _on_uvloop, ("asyncpg", "uvloop")),
    Driver("psycopg", "psycopg_session:Psycopg", packages=("psycopg", "psycopg_pool")),
    Driver("psycopg asyncio", "psycopg_async:PsycopgAsync", _on_asyncio, ("psycopg", "psycopg_pool")),
    Driver(
        "psycopg uvloop",
        "psycopg_async:PsycopgAsync",
        _on_uvloop,
        ("psycopg", "psycopg_pool", "uvloop"),
        main=False,
    ),
    Driver("psqlpy", _PSQLPY, _on_asyncio, ("psqlpy",)),
    Driver("psqlpy uvloop", _PSQLPY, _on_uvloop, ("psqlpy", "uvloop"), main=False),
    Driver("pg8000", "pg8000_session:Pg8000", packages=("pg8000",)),
)

DRIVERS: Final[dict[str, Driver]] = {driver.name: driver for driver in _ALL}
"""Every driver by name."""
