"""The conformance suite on the Twisted adapter.

`test_twisted` runs it in a process of its own, because a reactor runs once: here in a thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

import pgproto
from pgproto_pytest import Driver, Hang, Scenario, conformance
from tests.embedding import on_twisted

T = TypeVar("T")
reactor = on_twisted.reactor


async def call(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


class TwistedDriver(Driver):
    """tests/embedding/on_twisted.py, on the reactor that `reactor_runs` has started."""

    name = "twisted"
    adapter = on_twisted

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        started: list[Deferred[Any]] = [Deferred.fromCoroutine(call(work)) for work in works]
        ends = await DeferredList(started, consumeErrors=True)
        return [end if succeeded else end.value for succeeded, end in ends]

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await deferToThread(work)

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        ended: Future[Any] = Future()
        started: list[Deferred[Any]] = []
        problems: list[str] = []

        def observe(event: LogEvent) -> None:
            if event["log_level"] >= LogLevel.error:
                problems.append(str(event.get("log_failure", event)))

        def start() -> None:
            started.append(Deferred.fromCoroutine(scenario(self)))
            started[0].addCallbacks(ended.set_result, lambda failure: ended.set_exception(failure.value))

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
        try:
            reactor.callFromThread(start)
            wait([ended], deadline)
            if not ended.done():
                reactor.callFromThread(lambda: started[0].cancel())
                raise Hang(f"not within {deadline} s")
            ended.result()
        finally:
            globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
        assert not problems, problems
        waiting = [*reactor.getReaders(), *reactor.getWriters()]
        assert not [each for each in waiting if isinstance(each, on_twisted.Socket)]


@pytest.fixture(autouse=True, scope="module")
def reactor_runs() -> Iterator[None]:
    assert pgproto.build == os.environ.get("PGPROTO_BUILD", "pure")
    thread = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False})
    thread.start()
    yield
    reactor.callFromThread(reactor.stop)
    thread.join()


test_behaviour = conformance(TwistedDriver())
