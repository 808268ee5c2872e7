"""Planted bugs of the door: what the caller's own code raises, gives, or asks, taken for something else.

The first version of this library had all of these.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Set
from typing import Any, Final, TypeAlias

from pgproto import DataError
from pgproto.client import END, Connection, Link
from pgproto.client.jobs import Jobs
from pgproto.session import deadlines, sources
from pgproto.session.batch import Refusing
from pgproto.session.channel import Channel
from pgproto.session.copy import CopyIn
from pgproto.session.engine import Engine
from pgproto.session.executemany import ExecuteMany
from pgproto.session.execution import Execution
from pgproto.session.operation import GONE, SENT, Operation
from pgproto.types import fields
from pgproto.wire import CopyFail
from pgproto_asyncio.runtime import Runtime, _Reader

from .planted_edit import Bug, Edit, Wrap, returns

__all__ = ["BUGS"]

_Produce: TypeAlias = Callable[[Execution, Channel], int]


def _gone_is_sent(produce: _Produce, self: Execution, channel: Channel) -> int:
    status = produce(self, channel)
    return SENT if status == GONE else status


def _with_any_statement(produce: _Produce, self: Execution, channel: Channel) -> int:
    for item in self.items:
        if item.statement is not None and item.statement.home is not None:
            item.statement.home = channel.statements.mark
    return produce(self, channel)


def _whatever_has_begun(awaits: Callable[..., bool], self: Channel, operation: Operation) -> bool:
    goes_on = isinstance(operation, Execution) and operation.begun and not operation.unwanted
    return goes_on or awaits(self, operation)


_VALUES: Final = (
    Bug(
        "error-stays-in-the-queue",
        "an exception of a value leaves the operation at the head of the queue: each next caller gets it",
        [
            Edit(
                Engine,
                "_produce",
                ("except Exception as error:", "except LocalProtocolError as error:"),
                ("self._break(error)", "pass"),
            ),
            Edit(Engine, "submit", ("self._break(error)", "pass")),
            Edit(
                Execution,
                "_encode",
                ("except BaseException as raised:", "except (DataError, LocalProtocolError) as raised:"),
            ),
        ],
        kinds="error surprise neighbour unusable hang truth label",
        profile="callers",
    ),
    Bug(
        "half-of-an-unfit-batch",
        "one value of an atomic batch does not fit, and the others are sent and stored",
        [Edit(Execution, "_stop_atomic", ("if self.atomic:", "if len(self.items) == 1:"))],
        kinds="truth label swallowed",
        profile="callers",
    ),
    Bug(
        "value-that-closes",
        "a value that is being encoded ends the session, and what has ended is taken out of the queue again",
        [Wrap(Execution, "produce", _gone_is_sent)],
        kinds="error caller",
        says="deque",
        profile="callers",
    ),
    Bug(
        "unfit-at-the-end",
        "the last items of a batch fail unwritten, all others are answered: nobody says that it has ended",
        [Wrap(Channel, "awaits", _whatever_has_begun)],
        kinds="hang late",
        profile="callers",
    ),
    Bug(
        "items-of-nobody",
        "no connection was free, so the batch was not sent, and its items say nothing at all",
        [Wrap(Refusing, "__exit__", returns(None))],
        kinds="label",
        says="without a label",
        profile="batch",
    ),
)


async def _end_if_cancelled(
    following: Callable[..., Awaitable[Any]], self: _Reader, link: Link, operation: CopyIn | ExecuteMany
) -> object:
    try:
        return await following(self, link, operation)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return END


def _end_at_stop_iteration(
    chunks: Callable[..., Iterator[bytes]], source: bytes | Iterable[bytes]
) -> Iterator[bytes]:
    try:
        yield from chunks(source)
    except RuntimeError as error:
        if not isinstance(error.__cause__, StopIteration):
            raise


def _of_any_collection(values_of: Callable[..., tuple[Any, ...]], record: object) -> tuple[Any, ...]:
    try:
        return values_of(record)
    except DataError:
        if isinstance(record, (Mapping, Set)):
            return tuple(record)
        raise


def _quote_as_it_is(stop: Callable[..., None], self: CopyIn, reason: BaseException | str) -> None:
    stop(self, reason)
    with contextlib.suppress(Exception):  # of its __str__: that is another bug
        self._last = CopyFail(str(reason)[:1000])


def _read_the_reason(stop: Callable[..., None], self: CopyIn, reason: BaseException | str) -> None:
    stop(self, str(reason))


_SOURCES: Final = (
    Bug(
        "cancelled-source-is-its-end",
        "CancelledError comes out of a source (a task that it awaited was cancelled): taken for the end",
        [Wrap(_Reader, "next_unless_over", _end_if_cancelled)],
        kinds="swallowed rows truth",
        profile="callers",
    ),
    Bug(
        "stop-iteration-in-disguise",
        "a file's read raises StopIteration: the generator that reads it ends, and the half is committed",
        [Wrap(sources, "chunks", _end_at_stop_iteration)],
        kinds="swallowed rows truth",
        profile="callers",
    ),
    Bug(
        "record-is-a-dict",
        "a dict or a set is iterated over like any record, and its keys are stored",
        [Wrap(fields, "values_of", _of_any_collection)],
        kinds="nonsense truth",
        profile="callers",
    ),
    Bug(
        "reason-that-is-no-utf-8",
        "CopyFail quotes the source's exception, a lone surrogate in it: the message cannot be encoded",
        [Wrap(CopyIn, "stop", _quote_as_it_is)],
        kinds="caller unusable error surprise",
        profile="callers",
    ),
    Bug(
        "reason-without-a-text",
        "CopyFail quotes the source's exception, whose __str__ raises, and that is what the caller gets",
        [Wrap(CopyIn, "stop", _read_the_reason)],
        kinds="caller",
        says="no text",
        profile="callers",
    ),
)


def _default_if_past(
    seconds: Callable[..., float | None], timeout: object, default: float | None
) -> float | None:
    time = deadlines.limit(timeout, None)
    return default if time is not None and time < 0.0 else seconds(timeout, default)


def _with_bools(limit: Callable[..., float | None], timeout: object, default: float | None) -> float | None:
    return limit(float(timeout) if isinstance(timeout, bool) else timeout, default)


_DOOR: Final = (
    Bug(
        "past-is-the-default",
        'a deadline minus now that has passed is negative, as -1 was, which meant "not given"',
        [Wrap(deadlines, "seconds", _default_if_past)],
        kinds="nonsense",
        says="past",
        profile="callers",
    ),
    Bug(
        "bool-is-a-number",
        "timeout=True is a second",
        [Wrap(deadlines, "limit", _with_bools)],
        kinds="nonsense",
        says="bool",
        profile="callers",
    ),
    Bug(
        "foreign-statement",
        "a statement that was prepared on another connection is bound here, under a name of that one",
        [Wrap(Execution, "produce", _with_any_statement)],
        kinds="surprise nonsense",
        profile="callers",
    ),
)

_CALLBACKS: Final = (
    Bug(
        "callback-raises-in-abort",
        "what on_lost or on_notice raises, and is no Exception, leaves abort() or the reading of the answers",
        [Edit(Connection, "_call_back", ("except BaseException as error:", "except Exception as error:"))],
        kinds="error caller neighbour swallowed unusable",
        profile="callers",
    ),
    Bug(
        "hook-kills-its-task",
        "GeneratorExit out of on_release or on_close ends a task of the pool that nobody waits for",
        [
            Edit(Jobs, "released", ("except BaseException as error:", "except Exception as error:")),
            Edit(Jobs, "close", ("except BaseException as error:", "except Exception as error:")),
        ],
        kinds="error swallowed",
        profile="callers",
    ),
    Bug(
        "nobody-is-told",
        "what a callback raises is kept from everybody",
        [Wrap(Runtime, "report", returns(None))],
        kinds="swallowed",
        says="nobody was told",
        profile="callers",
    ),
)

BUGS: Final = (*_VALUES, *_SOURCES, *_DOOR, *_CALLBACKS)
