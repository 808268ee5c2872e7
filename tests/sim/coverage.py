"""What a number of schedules has reached: (state, message) pairs of the protocol, (fault, position) cells.

The pairs are seen from outside, by wrapping four methods of the core while `watching()`; the universe that
they are compared with is made from the tables in `protocol/states.py`: every state in which a client can
find a message, and every message that a server can send.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pgproto.protocol import PGConnection, states
from pgproto.protocol.inflight import InFlight
from pgproto.wire import Message, tags

from .catalogue import CALLERS, CELLS, NAMES
from .lies import MESSAGES

__all__ = ["UNIVERSE", "Pair", "cells_report", "deeds_report", "pairs_report", "watching"]

Pair = tuple[str, str]

# Phases in which a client waits for a message of the server.  (ENCRYPTION waits for a byte, SECURING for TLS,
# CANCELLING and CLOSED for the end.)
_PHASES: Final = (
    states.STARTUP,
    states.PASSWORD,
    states.PASSWORD_SENT,
    states.SASL,
    states.SASL_SENT,
    states.SASL_CONTINUE,
    states.SASL_FINAL,
    states.GSS,
    states.GSS_SENT,
    states.AUTHENTICATED,
)


# How many pairs a report names.
_SHOWN: Final = 40


def _tag_name(tag: int) -> str:
    return tags.BACKEND_NAMES.get(tag, f"{tag:#04x}")


def _universe() -> frozenset[Pair]:
    names = sorted({_tag_name(message.tag) for message in MESSAGES})
    pairs = {(states.HEAD_NAMES[state], name) for state in states.ANSWERS for name in names}
    pairs |= {(states.PHASE_NAMES[phase], name) for phase in _PHASES for name in names}
    return frozenset(pairs)


UNIVERSE: Final = _universe()


@contextlib.contextmanager
def watching(seen: set[Pair]) -> Iterator[None]:
    """Add to `seen` what clients meet while the context is open."""
    startup_answer: Any = PGConnection._startup_answer
    next_error: Any = PGConnection._error
    next_asynchronous: Any = PGConnection._asynchronous
    after: Any = InFlight.after

    def startup(self: PGConnection, tag: int) -> Message | None:
        seen.add((states.PHASE_NAMES[self.phase], _tag_name(tag)))
        message: Message | None = startup_answer(self, tag)
        return message

    def looked_up(self: InFlight, tag: int) -> int:
        seen.add((states.HEAD_NAMES[self.state], _tag_name(tag)))
        return int(after(self, tag))

    def error(self: PGConnection, message: Message) -> Message | None:
        seen.add((states.HEAD_NAMES[self.head_state], _tag_name(tags.ERROR_RESPONSE)))
        event: Message | None = next_error(self, message)
        return event

    def asynchronous(self: PGConnection, message: Message) -> Message:
        if self.phase == states.READY:
            seen.add((states.HEAD_NAMES[self.head_state], _tag_name(message.tag)))
        event: Message = next_asynchronous(self, message)
        return event

    wrapped = {
        "_startup_answer": startup,
        "_error": error,
        "_asynchronous": asynchronous,
    }
    try:
        for name, wrapper in wrapped.items():
            setattr(PGConnection, name, wrapper)
        InFlight.after = looked_up  # type: ignore[method-assign]
        yield
    finally:
        PGConnection._startup_answer = startup_answer  # type: ignore[method-assign]
        PGConnection._error = next_error  # type: ignore[method-assign]
        PGConnection._asynchronous = next_asynchronous  # type: ignore[method-assign]
        InFlight.after = after  # type: ignore[method-assign]


def pairs_report(seen: Iterable[Pair]) -> str:
    """Which of the pairs were met, and the list of the others."""
    missing = sorted(UNIVERSE - set(seen))
    text = f"(state, message) pairs: {len(UNIVERSE) - len(missing)} of {len(UNIVERSE)}"
    if missing:
        text += "\n  missing: " + ", ".join(f"{state} {name}" for state, name in missing[:_SHOWN])
        text += ", ..." if len(missing) > _SHOWN else ""
    return text


def cells_report(hit: Iterable[tuple[int, str]]) -> str:
    """Which of the cells of the catalogue were hit, and the list of the others."""
    universe = {(number, position) for number, positions in CELLS.items() for position in positions}
    missing = sorted(universe - set(hit))
    share = 100.0 * (len(universe) - len(missing)) / len(universe)
    text = f"(fault, position) cells: {len(universe) - len(missing)} of {len(universe)}, {share:.1f} %"
    for number, position in missing:
        text += f"\n  missing: {number} {NAMES[number]} at {position}"
    return text


def deeds_report(happened: Iterable[tuple[str, str]]) -> str:
    """Which deeds of callers' code have happened where, and the list of the others."""
    universe = {(place, deed) for place, deeds in CALLERS.items() for deed in deeds}
    missing = sorted(universe - set(happened))
    text = f"(place, deed) of callers' code: {len(universe) - len(missing)} of {len(universe)}"
    return text + "".join(f"\n  missing: {deed} at {place}" for place, deed in missing)
