"""Planted bugs of the door: what the caller's own code raises, gives, or asks, taken for something else.

The first version of this library had all of these.
"""

from __future__ import annotations

from typing import Final

import pgproto.types.fields
from pgproto.client import Connection
from pgproto.client.driver import Driver
from pgproto.session import copy, deadlines, sources
from pgproto.session.batch import Refusing
from pgproto.session.engine import Engine
from pgproto.session.execution import Execution
from pgproto_asyncio.runtime import Runtime, _Reader

from .planted_edit import Bug, Edit

__all__ = ["BUGS"]

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
        [Edit(Execution, "produce", ("return GONE", "return SENT"))],
        kinds="error caller",
        says="deque",
        profile="callers",
        start=8520,
    ),
    Bug(
        "unfit-at-the-end",
        "the last items of a batch fail unwritten, all others are answered: nobody says that it has ended",
        [Edit(Execution, "produce", ("elif not channel.awaits(self):", "elif False:"))],
        kinds="hang late",
        profile="callers",
        start=755,
    ),
    Bug(
        "items-of-nobody",
        "no connection was free, so the batch was not sent, and its items say nothing at all",
        [Edit(Refusing, "__exit__", ("refuse(batch.items, error)", "pass"))],
        kinds="label",
        says="without a label",
        profile="batch",
    ),
)

_SOURCES: Final = (
    Bug(
        "cancelled-source-is-its-end",
        "CancelledError comes out of a source (a task that it awaited was cancelled): taken for the end",
        [
            Edit(
                _Reader,
                "next_unless_over",
                (
                    "piece = following.result()",
                    "piece = END if following.cancelled() else following.result()",
                ),
            )
        ],
        kinds="swallowed rows truth",
        profile="callers",
        start=28,
    ),
    Bug(
        "stop-iteration-in-disguise",
        "a file's read raises StopIteration: the generator that reads it ends, and the half is committed",
        [Edit(sources, "chunks", ("raise because(RuntimeError(_NO_END), error) from error", "return"))],
        kinds="swallowed rows truth",
        profile="callers",
        start=250,
    ),
    Bug(
        "record-is-a-dict",
        "a dict or a set is iterated over like any record, and its keys are stored",
        [
            Edit(
                pgproto.types.fields,
                "values_of",
                (
                    "if isinstance(record, Sequence) and not isinstance(record, (str,",
                    "if True or isinstance(record, (str,",
                ),
            )
        ],
        kinds="nonsense truth",
        profile="callers",
    ),
    Bug(
        "reason-that-is-no-utf-8",
        "CopyFail quotes the source's exception, a lone surrogate in it: the message cannot be encoded",
        [Edit(copy, "_sendable", ('.encode("utf-8", "replace").decode()', ""))],
        kinds="caller unusable error surprise",
        profile="callers",
        start=75,
    ),
    Bug(
        "reason-without-a-text",
        "CopyFail quotes the source's exception, whose __str__ raises, and that is what the caller gets",
        [Edit(copy, "_sendable", ("except BaseException:", "except ValueError:"))],
        kinds="caller",
        says="no text",
        profile="callers",
    ),
)

_DOOR: Final = (
    Bug(
        "past-is-the-default",
        'a deadline minus now that has passed is negative, as -1 was, which meant "not given"',
        [
            Edit(
                deadlines,
                "seconds",
                (
                    "if time is not None and time <= 0.0:",
                    "if time is not None and time < 0.0:\n    return default\nif time == 0.0:",
                ),
            )
        ],
        kinds="nonsense",
        says="past",
        profile="callers",
    ),
    Bug(
        "bool-is-a-number",
        "timeout=True is a second",
        [Edit(deadlines, "limit", ("isinstance(timeout, bool) or ", ""))],
        kinds="nonsense",
        says="bool",
        profile="callers",
    ),
    Bug(
        "foreign-statement",
        "a statement that was prepared on another connection is bound here, under a name of that one",
        [Edit(Execution, "_encode", ("or statement.home is not home.mark", ""))],
        kinds="surprise nonsense",
        profile="callers",
        start=555,
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
            Edit(Driver, "_release_later", ("except BaseException as error:", "except Exception as error:")),
            Edit(Driver, "_close", ("except BaseException as error:", "except Exception as error:")),
        ],
        kinds="error swallowed",
        profile="callers",
    ),
    Bug(
        "nobody-is-told",
        "what a callback raises is kept from everybody",
        [Edit(Runtime, "report", ("home.call_exception_handler(", "dict("))],
        kinds="swallowed",
        says="nobody was told",
        profile="callers",
    ),
)

BUGS: Final = (*_VALUES, *_SOURCES, *_DOOR, *_CALLBACKS)
