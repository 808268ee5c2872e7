"""A hostile script and what must hold when it is played.

A script is a function on a `Peer`, so one row is played to the core in memory and to the adapters over TCP.
Whatever it does: the client ends with a declared error that a human can read, before its deadline, within a
second of CPU and 1 MiB of memory; it accepts nothing, and it has sent exactly the messages that the row
names.  The password is in nothing that it sent and in no text.
"""

from __future__ import annotations

import hashlib
import re
import time
import traceback
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgproto import Error, Outcome, QueuedQuery, RemoteProtocolError
from pgproto.session import CopyIn, CopyOut, Execution, Operation, Stream
from pgproto.session import Script as SimpleQuery
from pgproto.wire import Message
from tests.support.memory import CANARY, Stage
from tests.support.pair import byte_by_byte, whole
from tests.support.scripted import Peer, Script

__all__ = [
    "START",
    "WORKS",
    "Case",
    "after_startup",
    "at_once",
    "check",
    "finish",
    "keep_open",
    "named",
    "play",
    "reset",
    "texts",
]

START = "StartupMessage"
CPU = 1.0
MEMORY = 1 << 20


def _copy_in() -> Operation:
    copy = CopyIn("copy t from stdin")
    copy.feed(b"data that is meant for t alone\n")
    copy.end()
    return copy


WORKS: Mapping[str, Callable[[], Operation]] = {
    "query": lambda: Execution([QueuedQuery("select 1", ())]),
    "batch": lambda: Execution([QueuedQuery(f"select {n}", ()) for n in range(3)]),
    "stream": lambda: Stream(QueuedQuery("select 1", ())),
    "script": lambda: SimpleQuery("select 1"),
    "copy in": _copy_in,
    "copy out": lambda: CopyOut("copy t to stdout"),
}
"""The operations that a session's script is played to, by name."""


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        name: unique in its table.
        source: a CVE, an advisory, or "P" and the pitfall of security.md.
        script: what the server does.
        text: a regular expression for the error's text; "" if nothing may fail.
        slow_text: the same where the bytes come one by one; "" if it makes no difference.
        error: the error's class, in the core.
        heard: the messages of the client, exactly.
        work: the operation to run once the session has started; "" for the start-up alone.
        outcome: the operation's label.
        tcp: play it to the adapters as well.
        options: of the `Stage`.
    """

    name: str
    source: str
    script: Script
    text: str
    error: type[Error] = RemoteProtocolError
    heard: str = START
    work: str = ""
    outcome: Outcome | None = None
    slow_text: str = ""
    tcp: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name


def named(cases: list[Case]) -> dict[str, Case]:
    """The rows by their names.

    Raises:
        ValueError: two have the same one.
    """
    table = {case.name: case for case in cases}
    if len(table) != len(cases):
        raise ValueError("two cases of one name")
    return table


def keep_open(peer: Peer) -> None:
    """Say no more."""
    peer.keep_open()


def finish(peer: Peer) -> None:
    """Hang up."""
    peer.finish()


def reset(peer: Peer) -> None:
    """Hang up with RST."""
    peer.reset()


def after_startup(*parts: Message | bytes, end: Script = keep_open) -> Script:
    """Receive the StartupMessage, say these, and wait (or end otherwise)."""

    def script(peer: Peer) -> None:
        peer.receive_startup()
        peer.raw(*parts)
        end(peer)

    return script


def at_once(*parts: Message | bytes, end: Script = finish) -> Script:
    """Say these without having heard anything."""

    def script(peer: Peer) -> None:
        peer.raw(*parts)
        end(peer)

    return script


def texts(problem: BaseException) -> str:
    """Everything that a log could show of an error, its causes and companions."""
    seen: list[str] = []
    queue: list[BaseException] = [problem]
    known: set[int] = set()
    while queue:
        each = queue.pop()
        if id(each) in known:
            continue
        known.add(id(each))
        notes = getattr(each, "__notes__", ())
        seen += [str(each), repr(each), repr(each.args), *notes, "".join(traceback.format_exception(each))]
        related = [each.__cause__, each.__context__, *getattr(each, "also", ()), *getattr(each, "errors", ())]
        queue += [other for other in related if isinstance(other, BaseException)]
    return "\n".join(seen)


def play(case: Case, chop: Callable[[bytes], list[bytes]] = whole) -> Stage:
    """Play a row to the core once."""
    stage = Stage(WORKS[case.work] if case.work else None, chop=chop, **case.options)
    stage.play(case.script)
    return stage


def check(case: Case, *, slowly: bool = True) -> None:
    """Play a row to the core: for its time, byte by byte, and for its memory; it holds each time.

    Args:
        case: the row.
        slowly: play it byte by byte as well.
    """
    before = time.process_time()
    stage = play(case)
    spent = time.process_time() - before
    holds(case, stage, case.text)
    assert spent < CPU, f"{spent:.2f} s of CPU"
    if slowly:
        holds(case, play(case, byte_by_byte), case.slow_text or case.text)
    tracemalloc.start()
    try:
        kept = play(case)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    allowed = MEMORY + 4 * len(kept.peer.received)
    assert peak < allowed, f"{peak} bytes of memory"


def holds(case: Case, stage: Stage, text: str) -> None:
    """What must hold after a script was played."""
    assert stage.over, "it waits for ever"
    error = stage.error
    secrets_are_kept(stage.peer.received)
    assert [name for name in stage.heard if name != "TLS"] == case.heard.split()
    if not text:
        assert error is None
        return
    assert isinstance(error, case.error), repr(error)
    assert re.search(text, str(error)), str(error)
    for problem in (error, error.__cause__):
        assert problem is None or is_readable(str(problem)), repr(str(problem))
    assert CANARY not in texts(error)
    if not case.work:
        assert stage.engine.closed, "the session goes on"
    if case.outcome is not None:
        assert getattr(error, "outcome", None) is case.outcome


def is_readable(text: str) -> bool:
    """True if a terminal can show it and a human take it in."""
    return text.replace("\n", "").isprintable() and 0 < len(text) < 1000


def secrets_are_kept(sent: bytes) -> None:
    """Neither the password nor a hash of it that could be replayed is in what the client sent."""
    assert CANARY.encode() not in sent
    inner = hashlib.md5(f"{CANARY}tester".encode()).hexdigest()
    for salt in (b"salt", b"\0\0\0\0"):
        assert hashlib.md5(inner.encode() + salt).hexdigest().encode() not in sent
