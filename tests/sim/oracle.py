"""Which labels are permitted, told from the bytes alone, and without the library's help.

Input: the messages that the client handed to its transport, and those that were delivered to it (`tap`).
Output: for every key that a Bind carried, the set of labels that an honest and precise library can give.
An UNKNOWN where the bytes decide is not in the set (it would be lazy), nor is a COMMITTED that was only
hoped for.  The rules are those of the catalogue of faults, section 1.1; here they are written once more, in
another way, on purpose.
"""

from __future__ import annotations

import re
from typing import Final

from pgproto import Outcome

from .tap import Frame, Tap

__all__ = ["Oracle", "Segment"]

SAFE: Final = frozenset({Outcome.NOT_SENT, Outcome.NOT_COMMITTED, Outcome.SKIPPED, Outcome.ROLLED_BACK})
UNSENT: Final = frozenset({Outcome.NOT_SENT, Outcome.FAILED, Outcome.SKIPPED, Outcome.NOT_COMMITTED})

# First words of statements that can end a transaction or commit by themselves.
_CONTROL: Final = re.compile(
    r"(?:\s|/\*.*?\*/)*(?:begin|start|commit|end|rollback|abort|savepoint|release|prepare|discard|vacuum|do|call|alter)\b",
    re.IGNORECASE,
)
_KEY: Final = re.compile(r"values \((-?\d+)\)", re.IGNORECASE)

# What says of a statement's name or shape that it is not what it was.
_HEALED: Final = (b"26000", b"0A000")

_DONE: Final = frozenset(b"CIs")


class Segment:
    """What lies between two Syncs, as it was handed over, and what was heard about it.

    Attributes:
        keys: of its Executes, in order; None for one without.
        plain: no statement in it can end or begin a transaction.
        simple: it is a simple Query.
        synced: its Sync was handed over, at least the first byte of it.
        inside: it certainly runs in a transaction block that nothing in front of it can have ended.
        completed: how many of its statements have completed.
        error: severity and whether PostgreSQL itself said so, of the first error; "" for none.
        healed: its error says that a statement is not what it was, so it may be sent again.
        status: of its ReadyForQuery; "" if that was not heard.
        ready: the index of that message in what was heard.
    """

    __slots__ = (
        "begins",
        "completed",
        "error",
        "failed_at",
        "genuine",
        "healed",
        "inside",
        "keys",
        "plain",
        "ready",
        "simple",
        "status",
        "synced",
        "texts",
    )

    def __init__(self) -> None:
        self.keys: list[int | str | None] = []
        self.texts: list[str] = []
        self.plain = True
        self.begins = False
        self.simple = False
        self.synced = False
        self.inside = False
        self.completed = 0
        self.error = ""
        self.genuine = False
        self.healed = False
        self.failed_at = -1
        self.status = ""
        self.ready = -1


class Oracle:
    """Reads one link.

    Attributes:
        permitted: for each key, the labels that are right.
        counts: how often each key was bound.
        segments: in order.
    """

    def __init__(self, tap: Tap) -> None:
        self.segments: list[Segment] = []
        self.permitted: dict[int | str, frozenset[Outcome]] = {}
        self.counts: dict[int | str, int] = {}
        self.success: dict[int | str, int] = {}
        self._statements: dict[str, str] = {}
        self._asked(tap)
        self._answered(tap.heard)
        self._place()
        for index in range(len(self.segments)):
            self._judge(index)

    # ---- What was handed over

    def _asked(self, tap: Tap) -> None:
        current: Segment | None = None
        bound: int | str | None = None
        text = ""
        for tag, _, body in tap.sent:
            if tag == 0x50:  # Parse
                name, _, rest = body.partition(b"\0")
                sql = rest.partition(b"\0")[0].decode()
                self._statements[name.decode()] = sql
            elif tag == 0x42:  # Bind
                bound, text = self._bind(body)
            elif tag == 0x45:  # Execute
                current = current or self._open()
                current.keys.append(bound)
                current.texts.append(text)
                if _CONTROL.match(text):
                    # In capitals they are the library's own; a caller's may do anything (see `textual`).
                    if len(current.keys) == 1 and text.startswith("BEGIN"):
                        current.begins = True
                    elif not text.startswith(("SAVEPOINT", "BEGIN")) or bound is not None:
                        current.plain = False
                if bound is not None:
                    self.counts[bound] = self.counts.get(bound, 0) + 1
                bound = None
            elif tag == 0x53:  # Sync
                current = current or self._open()
                current.synced = True
                current = None
            elif tag in (0x64, 0x63, 0x66):  # COPY inside of an extended query voids the Sync in front of it
                if current is None and self.segments and not self.segments[-1].simple:
                    current = self.segments[-1]
            elif tag == 0x51:  # Query
                self._query(body[:-1].decode())
            if tag in b"PD" and current is None:
                current = self._open()
        rest = tap.up.partial
        if rest[:1] == b"S" and current is not None:
            current.synced = True
        elif rest[:1] == b"B" and current is None:
            self._open()
        elif rest[:1] == b"Q":
            segment = self._open()
            segment.simple = segment.synced = True

    def _open(self) -> Segment:
        segment = Segment()
        self.segments.append(segment)
        return segment

    def _bind(self, body: bytes) -> tuple[int | str | None, str]:
        portal_end = body.index(b"\0")
        name_end = body.index(b"\0", portal_end + 1)
        text = self._statements.get(body[portal_end + 1 : name_end].decode(), "")
        at = name_end + 1
        formats = int.from_bytes(body[at : at + 2], "big")
        codes = body[at + 2 : at + 2 + 2 * formats]
        at += 2 + 2 * formats
        count = int.from_bytes(body[at : at + 2], "big")
        at += 2
        if not count:
            return None, text
        size = int.from_bytes(body[at : at + 4], "big", signed=True)
        value = body[at + 4 : at + 4 + max(size, 0)]
        binary = codes[1:2] == b"\1"
        if "values" in text:
            if not text.startswith("insert into ledger"):
                return None, text
            return (int.from_bytes(value, "big", signed=True) if binary else int(value)), text
        if "as tag" in text:
            return value.decode(), text
        return None, text

    def _query(self, text: str) -> None:
        segment = self._open()
        segment.simple = segment.synced = True
        segment.texts = [text]
        if _CONTROL.match(text) or ";" in text:
            segment.plain = False

    # ---- What was heard

    def _answered(self, heard: list[Frame]) -> None:
        waiting = iter(self.segments)
        current = None
        started = False
        for index, (tag, _, body) in enumerate(heard):
            if not started:
                if tag == 0x5A:
                    started = True
                    current = next(waiting, None)
                continue
            if current is None:
                continue
            if tag in _DONE:
                if not current.error:
                    current.completed += 1
            elif tag == 0x45:  # ErrorResponse
                fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
                severity = (fields.get(b"V") or fields.get(b"S") or b"ERROR").decode()
                if fields.get(b"C") in _HEALED and current.plain and not current.error:
                    current.healed = not current.completed
                    for key in current.keys:
                        if key is not None:
                            # It was not run, or is rolled back: it may be prepared anew, and sent again.
                            self.counts[key] -= 1
                if not current.error:
                    current.error = severity
                    current.genuine = b"V" in fields
                    current.failed_at = current.completed
                if severity in ("FATAL", "PANIC"):
                    return
            elif tag == 0x5A:  # ReadyForQuery
                current.status = chr(body[0])
                current.ready = index
                current = next(waiting, None)

    def _place(self) -> None:
        """Which segments run inside of a transaction block, for certain."""
        status = "I"  # after the segments whose answers were heard
        certain = True
        for segment in self.segments:
            inside = certain and status in ("T", "E")
            segment.inside = inside or (segment.begins and not segment.simple)
            if segment.status:
                status = segment.status
                continue
            # Unanswered: what it leaves behind is certain only if it can have changed nothing.
            if segment.begins and segment.plain:
                status = "T"
            elif not segment.plain:
                certain = False

    # ---- The verdict

    def _judge(self, index: int) -> None:
        segment = self.segments[index]
        keyed = [key for key in segment.keys if key is not None]
        if not keyed:
            return
        fate = self._fate(index)
        undecided = not segment.plain
        for number, key in enumerate(segment.keys):
            if key is None:
                continue
            if undecided:
                permitted = frozenset(Outcome)
            elif segment.error and (segment.status or self._decides(segment)):
                if number < segment.failed_at:
                    permitted = frozenset({Outcome.ROLLED_BACK})
                elif number == segment.failed_at or len(segment.keys) == 1:
                    permitted = frozenset({Outcome.FAILED})
                else:
                    permitted = frozenset({Outcome.SKIPPED})
                if (number == 0 and segment.begins) or segment.healed:
                    permitted |= SAFE
            elif segment.status:
                good = Outcome.COMMITTED if segment.status == "I" else Outcome.OK_IN_TX
                permitted = frozenset({good}) if segment.status == "I" else self._in_block(index)
                self.success[key] = segment.ready
            else:
                permitted = fate
            self.permitted[key] = permitted

    def _in_block(self, index: int) -> frozenset[Outcome]:
        """Completed inside of a block; a batch that goes on hears more of it before it ends."""
        permitted = {Outcome.OK_IN_TX}
        rest = self.segments[index + 1 :]
        for later in rest:
            if any(text.startswith("prepare transaction") for text in later.texts):
                permitted.add(Outcome.PREPARED)
            if later.status == "T":
                if not later.plain:  # ROLLBACK TO, or the one block ends and the next begins: AND CHAIN
                    permitted |= {Outcome.COMMITTED, Outcome.ROLLED_BACK}
                continue
            if later.status == "I":
                permitted |= {Outcome.COMMITTED, Outcome.ROLLED_BACK}
            elif later.status == "E":
                permitted.add(Outcome.ROLLED_BACK)
                continue  # a savepoint may bring it back
            elif self._decides(later):
                permitted.add(Outcome.ROLLED_BACK)
                if any(not each.status and not each.plain for each in rest):
                    permitted.add(Outcome.UNKNOWN)  # what a savepoint keeps may have been brought back
            else:
                break
            return frozenset(permitted)
        lost = [later for later in rest if not later.status]
        permitted.add(Outcome.ROLLED_BACK if all(later.plain for later in lost) else Outcome.UNKNOWN)
        return frozenset(permitted)

    def _decides(self, segment: Segment) -> bool:
        """True if the error alone tells what became of the segment, without ReadyForQuery."""
        if not segment.genuine:
            return False
        return segment.error not in ("FATAL", "PANIC") or segment.failed_at < len(segment.keys)

    def _fate(self, index: int) -> frozenset[Outcome]:
        """Without an answer."""
        segment = self.segments[index]
        if not segment.synced:
            return frozenset({Outcome.NOT_COMMITTED, Outcome.NOT_SENT})
        if segment.inside and all(later.plain for later in self.segments[index + 1 :]):
            if any(text.startswith(("begin", "start")) for each in self.segments for text in each.texts):
                # A block of the caller's own: the library need not know that what is pipelined is in it.
                return frozenset({Outcome.ROLLED_BACK, Outcome.UNKNOWN})
            return frozenset({Outcome.ROLLED_BACK})
        return frozenset({Outcome.UNKNOWN})
