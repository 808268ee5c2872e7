"""When and where a schedule's faults strike.

A schedule arms a few cells of the catalogue (`catalogue.CELLS`): a fault and a position, and how often the
position shall have come by before.  Positions are found where the bytes go by: answers are cut into
messages and each boundary has a position; what the client writes shows P1 and P11; an idle link is P0 or P10.

Truth: words that a fault puts into the server's mouth must not lie about the database, else a label could
not be checked against it.  A FATAL of PostgreSQL's own says that the statement did not happen, so in the
middle of answers only a pooler's words (which say nothing) are used; the server's own come from its process
being terminated (`_terminate`).  Faults that do lie (16, 17, 18) mark the link as `lied`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pgproto.wire import (
    ErrorResponse,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    ReadyForQuery,
)

from .catalogue import CELLS
from .lies import LIES
from .tap import Splitter

if TYPE_CHECKING:
    from .network import Link
    from .record import Record
    from .settings import Settings
    from .tap import Frame
    from .world import World

__all__ = ["Faults"]


def _words(code: str, text: str, severity: str, *, own: bool) -> bytes:
    # The server translates S into the language of its messages, which is Italian here; a pooler has no V.
    fields = {"S": "FATALE" if own and severity == "FATAL" else severity, "V": severity, "C": code, "M": text}
    if not own:
        del fields["V"]
    kind = NoticeResponse if severity == "WARNING" else ErrorResponse
    return kind(fields).encode()


FATAL: Final = _words("57P01", "terminating connection due to administrator command", "FATAL", own=True)
POOLER: Final = _words("08P01", "server conn crashed?", "FATAL", own=False)
POOLER_ERROR: Final = _words("08P01", "server conn crashed?", "ERROR", own=False)
CRASH: Final = _words("57P02", "terminating connection because of crash", "WARNING", own=True)

# Positions at which the server's own FATAL is true whatever it has done before.
_UNDECIDED: Final = frozenset({"P0", "P7", "P9", "P10", "P12"})

# Faults that something else than the bytes of a link brings about; `events` and the clients see to them.
_ELSEWHERE: Final = frozenset(
    {6, 7, 19, 20, 21, 22, 23, 24, 27, 28, 29, 30, 33, 34, 36, 37, 38, 39, 40, 41, 42}
)

_ARMABLE: Final = [
    (number, position)
    for number, positions in CELLS.items()
    for position in positions
    if number not in _ELSEWHERE
]


class _Armed:
    """A fault that waits for its position."""

    __slots__ = ("after", "number", "position")

    def __init__(self, number: int, position: str, after: int) -> None:
        self.number = number
        self.position = position
        self.after = after


class Faults:
    """The faults of one schedule.

    Attributes:
        hit: the cells that were really hit.
        armed: the faults that wait.
    """

    def __init__(self, world: World, settings: Settings, record: Record) -> None:
        self.world = world
        self.rng = world.rng
        self.record = record
        self.hit: set[tuple[int, str]] = set()
        self.armed: dict[str, list[_Armed]] = {}
        self.dials: list[str] = []
        self.splitters: dict[int, _Watch] = {}
        self.stopped = False
        self.jumped = False
        if settings.faulty:
            for _ in range(self.rng.choice((1, 1, 2, 3))):
                number, position = self.rng.choice(_ARMABLE)
                after = self.rng.choice((0, 0, 1, 2, 4, 8))
                if position == "P12":
                    after = self.rng.choice((0, 0, 1, 3, 8))
                self.armed.setdefault(position, []).append(_Armed(number, position, after))
                world.note("armed: fault %d at %s after %d", number, position, after)

    def stop(self) -> None:
        """No more faults from here on."""
        self.stopped = True
        self.armed.clear()
        self.dials.clear()

    def cell(self, number: int, position: str) -> None:
        """A fault has struck at a position."""
        self.world.note("fault %d at %s", number, position)
        self.hit.add((number, position))

    # ---- Where they look

    def dialling(self) -> str | None:
        """What becomes of an attempt to connect."""
        if self.dials and not self.stopped:
            verdict = self.dials.pop()
            self.cell(37 if verdict.startswith("cancel") else 20 if verdict != "hang" else 11, "P12")
            return verdict
        return None

    def _due(self, position: str) -> _Armed | None:
        """The armed fault whose time has come, if there is one."""
        waiting = self.armed.get(position)
        if not waiting:
            return None
        for armed in waiting:
            if armed.after > 0:
                armed.after -= 1
            else:
                waiting.remove(armed)
                return armed
        return None

    def watch(self, link: Link) -> _Watch:
        """What is known about a link's answers."""
        watch = self.splitters.get(link.number)
        if watch is None:
            watch = self.splitters[link.number] = _Watch()
        return watch

    def answering(self, link: Link, data: bytes) -> None:
        """The server has written: send it, or as much as a fault lets through."""
        watch = self.watch(link)
        if not watch.started and len(data) == 1:
            link.far.send(data)  # the answer to SSLRequest
            return
        base = watch.splitter.position
        frames = watch.splitter.feed(data)
        for index, frame in enumerate(frames):
            position = watch.position(frame[0])
            link.phase = position
            start = frame[1] - base
            if self.armed and start >= 0:
                cut = start
                armed = self._due(position)
                if armed is None:
                    cut = start + self.rng.randint(1, 4)
                    armed = self._due("P3")
                if armed is None and frame[2]:
                    cut = start + 5 + self.rng.randrange(len(frame[2]))
                    armed = self._due("P4")
                if armed is not None:
                    link.far.send(data[:cut])
                    self.cell(armed.number, armed.position)
                    more = self._strike(armed, link, frame, data[cut:])
                    if more:
                        link.far.send(more)
                    for later in frames[index:]:
                        watch.note(later[0], later[2])
                    return
            watch.note(frame[0], frame[2])
        link.far.send(data)
        if watch.last == 0x5A:
            self._now_idle(link)

    def closing(self, link: Link) -> None:
        """The server is about to close; behind a FATAL that is P9."""
        if self.watch(link).fatal:
            link.phase = "P9"
            armed = self._due("P9")
            if armed is not None:
                self.cell(armed.number, "P9")
                self._strike(armed, link, (0, 0, b""), b"")

    def asking(self, link: Link, frames: list[Frame]) -> None:
        """The client has written."""
        if not frames:
            return
        tag, _, body = frames[-1]
        if tag in (0x51, 0x58) and (tag == 0x58 or body[:7].upper() == b"DISCARD" or body == b"\0"):
            link.phase = "P11"
        elif link.phase in ("P10", "P0", "P11"):
            link.phase = "P2"
        if not self.armed:
            return
        position = ""
        if tag not in (0, 0x53, 0x51, 0x58, 0x63, 0x66, 0x70):
            position = "P1"
        elif link.phase == "P11":
            position = "P11"
        if position:
            armed = self._due(position)
            if armed is not None:
                self.cell(armed.number, position)
                self.world.loop.call_soon(self._later, armed, link)

    def _later(self, armed: _Armed, link: Link) -> None:
        self._strike(armed, link, (0, 0, b""), b"")

    def _now_idle(self, link: Link) -> None:
        """ReadyForQuery is on its way: if nobody asks for anything soon, the link is idle."""
        link.phase = "P10"
        if "P10" in self.armed or "P0" in self.armed:
            self.world.loop.call_later(self.rng.choice((0.0, 0.003, 0.05)), self._if_idle, link)

    def _if_idle(self, link: Link) -> None:
        if not link.alive or link.phase != "P10" or self.stopped:
            return
        position = "P0" if link.lent else "P10"
        armed = self._due(position)
        if armed is not None:
            self.cell(armed.number, position)
            self._strike(armed, link, (0, 0, b""), b"")

    # ---- What they do

    def _strike(self, armed: _Armed, link: Link, frame: Frame, rest: bytes) -> bytes | None:
        """Do it; the bytes that go on (None: the session's answers end here)."""
        if not link.alive or link.near is None:
            return rest
        own = armed.position in _UNDECIDED
        inside = armed.position in ("P3", "P4")
        words = b"" if inside else FATAL if own else POOLER
        action: Any = getattr(self, f"_fault_{armed.number}")
        result: bytes | None = action(link, words, rest)
        return result

    def _end(self, link: Link, words: bytes) -> None:
        link.far.send(words)
        link.fin()

    def _fault_1(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        self._end(link, words)
        return None

    def _fault_2(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.far.send(words)
        if self.rng.random() < 0.5:
            link.far.send(POOLER)
            link.fin()
        else:
            self.world.loop.call_later(0.003, self._end, link, POOLER)
        return None

    def _fault_3(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        junk = self.rng.choice(
            (b"", rest, b"Z\0\0\0\x05I", b"\0\0\0\0\0\0", b"C\0\0\0\x0dSELECT 1", b"E\0\0")
        )
        self._end(link, words + rest + junk if words else rest[:1] + junk)
        return None

    def _fault_4(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.far.send(words)
        link.far.closed = True
        self._forget(link)
        return None

    def _fault_5(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        self._end(link, CRASH if words else b"")
        return None

    def _fault_8(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.fin()
        return None

    def _fault_9(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.rst(keep=self.rng.random() < 0.5)
        return None

    def _fault_10(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.far.send(POOLER)
        link.fail_writes()
        return None

    def _fault_11(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.hole(self.rng.choice((None, 0.1, 1.0, 4.0)))
        return rest

    def _fault_12(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.down.pieces = 1
        link.down.gap = 1.0
        return rest

    def _fault_13(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        chatter = (
            _words("00000", "by the way", "WARNING", own=True),
            ParameterStatus("TimeZone", "UTC").encode(),
            NotificationResponse(1, "elsewhere", "x").encode(),
        )
        link.far.send(b"".join(self.rng.sample(chatter, self.rng.randint(1, 3))))
        return rest

    def _fault_14(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.fin()
        return None

    def _fault_15(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.far.closed = True
        self._forget(link)
        return None

    def _fault_16(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        if rest[:1] == b"Z" and len(rest) >= 6:
            self._lie(link)
            status = self.rng.choice((b"T", b"E"))
            return rest[:5] + status + rest[6:]
        return rest

    def _fault_17(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        self._lie(link)
        link.far.send(ReadyForQuery(self.rng.choice("IITE")).encode())
        return rest

    def _fault_18(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        self._lie(link)
        kind = self.rng.random()
        if len(rest) >= 5 and kind < 0.4:
            size = 1 + int.from_bytes(rest[1:5], "big")
            if kind < 0.2:
                return rest[size:]
            return rest[:size] + rest
        link.far.send(self.rng.choice(LIES))
        return rest

    def _fault_25(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        link.far.send(rest[: self.rng.randint(0, 8)])
        link.fin()
        return None

    def _fault_35(self, link: Link, words: bytes, rest: bytes) -> bytes | None:
        kind = self.rng.random()
        if kind < 0.3:
            link.rst(keep=False)
        else:
            self._end(link, POOLER if kind < 0.6 else POOLER_ERROR if kind < 0.8 else b"")
        return None

    def _lie(self, link: Link) -> None:
        link.lied = True
        self.record.lied = True

    def _forget(self, link: Link) -> None:
        """The server's process is gone, and nobody tells the client."""
        receiver = link.far.receiver
        if receiver is not None:
            self.world.loop.call_soon(receiver.lost)


class _Watch:
    """How far a link's answers have come, from the server's side."""

    __slots__ = ("copying", "fatal", "last", "splitter", "started")

    def __init__(self) -> None:
        self.splitter = Splitter()
        self.last = 0
        self.started = False
        self.copying = False
        self.fatal = False

    def position(self, tag: int) -> str:
        """The position in front of the next message."""
        last = self.last
        if not self.started:
            return "P12"
        if self.copying:
            return "P13"
        if last == 0x45:
            return "P9" if self.fatal else "P8"
        if tag == 0x5A:
            return "P7"
        if tag == 0x44 and last == 0x44:
            return "P5"
        if last in (0x43, 0x49):
            return "P6"
        return "P2"

    def note(self, tag: int, body: bytes) -> None:
        """A message went by."""
        if tag in (0x4E, 0x53, 0x41):
            return
        self.last = tag
        if tag == 0x5A:
            self.started = True
        elif tag == 0x45:
            self.fatal = b"FATAL\0" in body
            self.copying = False
        elif tag in (0x47, 0x48):
            self.copying = True
        elif tag == 0x43:
            self.copying = False
