"""The client in virtual time: `VirtualRuntime` runs `pgproto.client` against servers in memory."""

from __future__ import annotations

import math
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, BinaryIO, Final, TypeVar

from ..client import END, Connect, FileMode, Forgetting, NoBlock, OneLoop, Path, Pool, Reader, Reading, Tasks
from ..client import Link as AnyLink
from ..config import Config, ConnectOptions, parse_config
from ..errors import ConnectError
from ..session import GRACE, Connector, CopyIn, Dial, ExecuteMany, TraceLine
from ..types import TypeMap
from .link import Link, Wakes
from .network import NONE, Faults, Server, Wire
from .virtual import Cancelled, Event, Run, Scope, Task, Timer

__all__ = ["VirtualRuntime"]

T = TypeVar("T")

_START: Final = 1000.0  # not 0, so that no time is taken for "none"
# A pseudo-random generator with the same numbers in every run (Knuth's MMIX).
_FACTOR: Final = 6364136223846793005
_STEP: Final = 1442695040888963407
_MODULUS: Final = 1 << 64


class VirtualRuntime(OneLoop):
    """A `pgproto.client.Runtime` in virtual time, and the network that its clients connect over.

        runtime = VirtualRuntime(ModelServer({"select 1": rows_of(1)}))

        async def main() -> None:
            async with runtime.connect() as conn:
                assert await conn.fetchval("select 1") == 1

        runtime.run(main)

    Args:
        server: the server for every host; or a server for each host by its name.
        faults: the faults of the connections, in the order in which clients make them (not of cancel
            requests); connections after the last have none.
        seed: for the order of tasks that could run at the same time, and for other random choices; 0: tasks
            run in the order in which they became ready.

    Attributes:
        connect: opens a connection; see `pgproto.client.Connect`.
        Pool: a class of pools; see `pgproto.client.Pool`.
        faults: the faults of future connections.
        reports: exceptions without a caller to raise them in: (source, exception).
        requests: the number of cancel requests sent.
        files: the files that COPY opens, by path: objects open for reading or writing bytes.
    """

    def __init__(
        self, server: Server | Mapping[str, Server], faults: Sequence[Faults] = (), *, seed: int = 0
    ) -> None:
        class VirtualPool(Pool):
            __doc__ = Pool.__doc__

        VirtualPool.runtime = self
        self.Pool = VirtualPool
        self.connect = Connect(self)
        self.faults = list(faults)
        self.reports: list[tuple[str, BaseException]] = []
        self.requests = 0
        self.files: dict[object, BinaryIO] = {}
        self._server = server
        self._run: Run | None = None
        self._now = _START
        self._chance = seed
        self._choose = self._any_of if seed else None
        self._holders: weakref.WeakSet[Forgetting] = weakref.WeakSet()

    # ---- For tests

    def run(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function to its end.  Each run is a home of its own, like an event loop.

        Raises:
            Deadlock: it waits for something that never happens.
            RuntimeError: there is already a run.
            BaseException: its exception.
        """
        if self._run is not None:
            raise RuntimeError("it runs already")
        self._run = run = Run(self._now, self._choose)
        try:
            return run.run(work, *args)
        finally:
            self._now = run.now
            self._run = None

    def spawn(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Task:
        """Begin a task in the run."""
        return self._here().spawn(work, *args)

    def fork(self) -> None:
        """Make all clients behave as in a forked child, where everything belongs to the parent."""
        for holder in list(self._holders):
            holder.forget()

    def _here(self) -> Run:
        if self._run is None:
            raise RuntimeError("nothing runs: see VirtualRuntime.run")
        return self._run

    # ---- pgproto.client.Runtime

    def now(self) -> float:
        """The virtual time."""
        return self._now if self._run is None else self._run.now

    def open_file(self, path: str | Path, mode: FileMode) -> BinaryIO:
        """One of `files`."""
        if path not in self.files:
            raise FileNotFoundError(f"no such file: {path!r}")
        return self.files[path]

    def random(self) -> float:
        """The next of a fixed sequence of floats in [0, 1)."""
        self._chance = (self._chance * _FACTOR + _STEP) % _MODULUS
        return self._chance / _MODULUS

    def _any_of(self, count: int) -> int:
        return int(self.random() * count)

    def _random_bytes(self, count: int) -> bytes:
        return bytes([int(self.random() * 256) for _ in range(count)])

    def connector(
        self,
        dsn: str | Config | None,
        options: ConnectOptions,
        server_settings: Mapping[str, str] | None,
        types: TypeMap | None,
    ) -> Connector:
        """A Connector without environment and files; the default user is "tester"."""
        config = parse_config(dsn, os_user=lambda: "tester", server_settings=server_settings, **options)
        return Connector(config, clock=self.now, random_bytes=self._random_bytes, types=types)

    def tracer(self, trace: object) -> TraceLine | None:
        """A trace for a function; without environment and files there are no others."""
        if trace is not None and not callable(trace):
            raise TypeError("trace: only a function that takes a line can be written to here")
        return None if trace is None else lambda _session, line: trace(line)

    def forget_in_child(self, holder: Forgetting) -> None:
        """See `fork`."""
        self._holders.add(holder)

    def home(self) -> Run | None:
        """The run."""
        return self._run

    def is_gone(self, home: object) -> bool:
        """True if a run is over."""
        return isinstance(home, Run) and home.over

    def task(self) -> Task | None:
        """The running task."""
        return None if self._run is None else self._run.current

    def is_over(self, task: object) -> bool:
        """True if a task has ended."""
        return isinstance(task, Task) and task.ended.is_set

    def event(self) -> Event:
        """A new event."""
        return Event(self._here())

    async def checkpoint(self) -> None:
        """Let others run, and be cancelled."""
        await self._here().running().checkpoint()

    async def checkpoint_if_cancelled(self) -> None:
        """Be cancelled."""
        task = self._here().running()
        if task.is_cancelled():
            await task.checkpoint()

    async def shielded_checkpoint(self) -> None:
        """Let others run."""
        await self._here().running().pause()

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await self._here().sleep(seconds)

    def bound(self, deadline: float) -> Scope:
        """A block that ends at the deadline."""
        return Scope(self._here(), deadline)

    def shield(self, seconds: float) -> Scope:
        """A block that is protected from cancellation for so many seconds."""
        return Scope(self._here(), self.now() + seconds, shield=True)

    async def do_last(
        self, home: object, work: Callable[[], Coroutine[Any, Any, object]], error: BaseException | None
    ) -> None:
        """Do the last work of a block; after a GeneratorExit a task does it."""
        if not isinstance(error, GeneratorExit) or home is None:
            await work()
        elif isinstance(home, Run) and not home.over:
            await home.spawn(work).ended.wait()

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Have something called in a run; False after its end."""
        if not isinstance(home, Run) or home.over:
            return False
        home.call_soon(call)
        return True

    def goes_up(self, error: BaseException) -> bool:
        """True for an interrupt, a GeneratorExit, and a cancellation of the running task."""
        if isinstance(error, Cancelled):
            task = self.task()
            return task is not None and task.is_cancelled()
        return isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)

    def report(self, home: object, name: str, error: BaseException) -> None:
        """Add it to `reports`."""
        self.reports.append((name, error))

    def tasks(self) -> Tasks:
        """The tasks of a new pool."""
        return _Tasks(self)

    def reader(self, iterator: AsyncIterator[Any]) -> Reader:
        """A reader for a source."""
        return _Reader(self, iterator)

    async def dial(self, step: Dial, config: Config, deadline: float | None, address: object) -> Link:
        """Connect to a server in memory; see `Faults`."""
        run = self._here()
        host = step.host
        if isinstance(self._server, Mapping):
            server = self._server.get(host.address)
            if server is None:
                raise OSError(f"no host is called {host.address!r}")
        else:
            server = self._server
        if address is None:
            faults = self.faults.pop(0) if self.faults else NONE
        else:
            faults = NONE
            self.requests += 1
        async with Scope(run, math.inf if deadline is None else deadline):
            await run.sleep(math.inf if faults.deaf else 2 * faults.latency)
            if faults.refused:
                raise ConnectionRefusedError("Connection refused")
            session = server.connect(to_cancel=address is not None)
            link = Link(run, step.engine, Wire(run, session, faults), host)
            self.forget_in_child(link)
            return link
        raise ConnectError(f"no answer from {host} in time") from TimeoutError()


class _Alarm:
    """A timer that can be moved."""

    def __init__(self, run: Run, call: Callable[[], None]) -> None:
        self._run = run
        self._call = call
        self._timer: Timer | None = None

    def set(self, deadline: float | None) -> None:
        """Call at this time and at no other."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if deadline is None else self._run.call_at(deadline, self._call)


class _Tasks(NoBlock):
    """The tasks of a pool."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self._runtime = runtime
        self._tasks: list[Task] = []

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> Task:
        """Begin a task."""
        task = self._runtime.spawn(self._watched, work, args)
        self._tasks.append(task)
        return task

    async def _watched(
        self, work: Callable[..., Coroutine[Any, Any, None]], args: tuple[object, ...]
    ) -> None:
        try:
            await work(*args)
        except BaseException as error:
            if self._runtime.goes_up(error):
                raise
            self._runtime.report(None, "a task of the pool", error)

    def alarm(self, call: Callable[[], None]) -> _Alarm:
        """A timer."""
        return _Alarm(self._runtime._here(), call)

    async def wait(self) -> None:
        """Wait until all tasks have ended."""
        while self._tasks:
            await self._tasks[-1].ended.wait()
            self._tasks = [task for task in self._tasks if not task.ended.is_set]


class _Reader(Reading):
    """Reads a source, while the session goes on."""

    def __init__(self, runtime: VirtualRuntime, iterator: AsyncIterator[Any]) -> None:
        super().__init__(iterator)
        self._runtime = runtime

    async def next_unless_over(self, link: AnyLink, operation: CopyIn | ExecuteMany) -> Any:
        """The next piece; END at the end of the source, or once the operation is over."""
        scope = self._runtime.bound(math.inf)

        def look() -> None:
            operation.take_progress()
            if operation.over:
                scope.cancel()

        operation.waiter = Wakes(look)
        link.resume()
        look()
        try:
            async with scope:
                return await anext(self, END)
        finally:
            operation.waiter = None
        return END

    async def close(self) -> None:
        """Close a source that was not read to its end, within GRACE."""
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None and not self._ended:
            async with self._runtime.shield(GRACE):
                try:
                    await aclose()
                except Exception as error:  # noqa: BLE001 - it must not hide why the source is closed
                    self._runtime.report(None, "closing a source", error)
