"""pgproto on Twisted, whose scopes and groups are made here of Deferreds.  docs/embedding.md explains it."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, Self
from weakref import WeakKeyDictionary

from twisted.internet import reactor as _reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.error import ConnectionClosed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from pgproto import client
from pgproto_sockets.runtime import Runtime
from pgproto_sockets.waits import Address

reactor: Any = _reactor
scopes: ContextVar[tuple[Scope, ...]] = ContextVar("scopes", default=())
sockets: WeakKeyDictionary[socket.socket, Socket] = WeakKeyDictionary()


async def wait(deferred: Deferred[Any]) -> Any:
    """Wait for it, unless a scope around the caller is cancelled, or until one is."""
    around = scopes.get()
    if any(scope.cancel_called for scope in around):
        raise CancelledError
    for scope in around:
        scope.waiting.add(deferred)
    try:
        return await deferred
    finally:
        for scope in around:
            scope.waiting.discard(deferred)


def begin(work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
    return deferLater(reactor, 0, copy_context().run, Deferred.fromCoroutine, work(*args))


class Scope:
    """A block that can be cancelled: what is awaited in it now, and what will be."""

    cancel_called = cancelled_caught = False
    timer: Deferred[Any] = succeed(None)

    def __init__(self, *, deadline: float = math.inf, shield: bool = False) -> None:
        self.shield, self.waiting, self.deadline = shield, set[Deferred[Any]](), deadline

    def __setattr__(self, name: str, new: Any) -> None:
        super().__setattr__(name, new)
        if name == "deadline":
            self.timer.cancel()
            if new < math.inf:
                self.timer = deferLater(reactor, max(0, new - reactor.seconds()), self.cancel).addErrback(str)

    def cancel(self) -> None:
        self.cancel_called = True
        for deferred in self.waiting:
            reactor.callLater(0, deferred.cancel)

    def __enter__(self) -> Self:
        self.outer = scopes.get()
        scopes.set((self,) if self.shield else (*self.outer, self))
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        scopes.set(self.outer)
        self.deadline = math.inf
        ours = self.cancel_called and (self.shield or not any(scope.cancel_called for scope in self.outer))
        self.cancelled_caught = ours and isinstance(error, CancelledError)
        return self.cancelled_caught


class Event:
    def __init__(self) -> None:
        self.happened, self.waiting = False, list[Deferred[None]]()

    def is_set(self) -> bool:
        return self.happened

    def set(self) -> None:
        self.happened = True
        while self.waiting:
            reactor.callLater(0, self.waiting.pop().callback, None)

    async def wait(self) -> None:
        if not self.happened:
            self.waiting.append(Deferred[None]())
            await wait(self.waiting[-1])


class Group:
    """Tasks that end before their block does."""

    failure: Failure | None = None

    async def __aenter__(self) -> Self:
        self.cancel_scope, self.context, self.tasks = Scope().__enter__(), copy_context(), set[Any]()
        return self

    def start_soon(self, work: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> None:
        self.tasks.add(task := self.context.run(begin, work, *args))
        task.addErrback(self.crashed).addBoth(lambda _: self.tasks.discard(task))

    def crashed(self, failure: Failure) -> None:
        self.failure = self.failure if isinstance(failure.value, CancelledError) else failure
        self.cancel_scope.cancel()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is not None:
            self.cancel_scope.cancel()
        await DeferredList(list(self.tasks))
        caught = self.cancel_scope.__exit__(kind, error, trace)
        if self.failure is not None:
            self.failure.raiseException()
        return caught


class Socket(FileDescriptor):
    """A socket that somebody waits for."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(reactor)
        self.fileno, self.ready = sock.fileno, Event()  # type: ignore[method-assign]

    def doRead(self, reason: object = None) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # stops both
        self.ready.set()

    doWrite = connectionLost = doRead

    async def wait(self, start: Callable[[], None]) -> None:
        start()
        try:
            await self.ready.wait()
        finally:
            self.doRead()
            self.ready = Event()


class Waits:
    """See `pgproto_sockets.waits.Waits`."""

    closed, log, event, scope, group = ConnectionClosed, "pgproto_twisted", Event, Scope, Group
    now, spawn = staticmethod(reactor.seconds), staticmethod(begin)
    checkpoint_if_cancelled = staticmethod(lambda: wait(succeed(None)))
    checkpoint = staticmethod(lambda: wait(deferLater(reactor, 0)))
    shielded_checkpoint = staticmethod(lambda: deferLater(reactor, 0, lambda: None))
    sleep = staticmethod(lambda seconds: wait(deferLater(reactor, seconds)))
    sleep_forever = staticmethod(lambda: wait(Deferred()))
    in_thread = staticmethod(lambda work: wait(deferToThread(work)))
    home = staticmethod(lambda: reactor)
    soon = staticmethod(lambda home, call: reactor.callFromThread(call) or True)
    task = staticmethod(lambda: None)  # Twisted does not know
    is_over = staticmethod(lambda task: False)
    is_cancelled = staticmethod(lambda error: isinstance(error, CancelledError))
    readable = staticmethod(lambda sock: find(sock).wait(find(sock).startReading))
    writable = staticmethod(lambda sock: find(sock).wait(find(sock).startWriting))
    notify_closing = staticmethod(lambda sock: find(sock).doRead())

    async def look_up(self, host: str, port: int) -> list[tuple[int, Address]]:
        found = await wait(deferToThread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
        return [(family, address) for family, _, _, _, address in found]


def find(sock: socket.socket) -> Socket:
    return sockets.setdefault(sock, Socket(sock))


class Pool(client.Pool):
    runtime = Runtime(Waits())


connect = client.Connect(Pool.runtime)
