"""What a pooler keeps account of on a server link: the answers that are due, and who gets which.

    Counted     PgBouncer up to 1.20: how many ReadyForQuery are owed, and nothing about statements
    Followed    PgBouncer from 1.21 on with max_prepared_statements: every request, and the named statements

Followed: a client's Parse is kept under the client's name; each distinct text with its types has one name on
all servers (PGBOUNCER_1, ...).  Parse, Bind and Describe go on under that name, and if this server does not
have it, a Parse of the pooler's own goes before them, whose answer the client never sees.  A Parse of what
the server has, and a Close, are answered by the pooler, at the place where the client expects it.  The least
recently used ones are closed on the server where there are too many.  So a server that has the statement
keeps it as it was parsed once, however often the client prepares it anew.  (prepare.c, objects.c, server.c)
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from pgproto.wire import CloseComplete, ParseComplete

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLOSED", "Accounts", "Counted", "Followed", "Names", "Refused", "closed", "message"]

# Whose answer ends in ReadyForQuery.
_ANSWERED: Final = b"QSF"

FORWARDED: Final = 0  # the client gets the answer
SKIPPED: Final = 1  # the request was the pooler's own
FAKED: Final = 2  # the pooler answers

CLOSED: Final = CloseComplete().encode()
_FAKES: Final = {b"P": ParseComplete().encode(), b"C": CLOSED}
# Which request an answer is the last one of.
_ENDS: Final = {
    b"1": b"P",
    b"2": b"B",
    b"3": b"C",
    b"n": b"D",
    b"T": b"D",
    b"I": b"E",
    b"s": b"E",
    b"C": b"E",
}
_FORGOTTEN: Final = (b"DEALLOCATE ALL\0", b"DISCARD ALL\0")


def message(tag: bytes, body: bytes) -> bytes:
    """A message as bytes."""
    return tag + (len(body) + 4).to_bytes(4, "big") + body


def closed(frame: bytes) -> bytes | None:
    """The name, if a message closes a named statement."""
    return frame[6:-1] if frame[:1] == b"C" and frame[5:6] == b"S" and frame[6:7] != b"\0" else None


class Refused(Exception):
    """The pooler hangs up with these words."""


class Names:
    """The names of all distinct statements.

    Args:
        limit: how many of them a server may have.
        used: whether any client or server still has a statement, told the text with its types, and the name.
    """

    def __init__(self, limit: int, used: Callable[[bytes, bytes], bool]) -> None:
        self.limit = limit
        self._used = used
        self._names: dict[bytes, bytes] = {}
        self._last = 0

    def of(self, parsed: bytes) -> bytes:
        """The name on the servers of a text with its types, which a client has."""
        return self._names[parsed]

    def enter(self, parsed: bytes) -> None:
        """A client prepares it: a name that nobody has had since is given up."""
        name = self._names.get(parsed)
        if name is None or not self._used(parsed, name):
            self._last += 1
            self._names[parsed] = b"PGBOUNCER_%d" % self._last


class Accounts:
    """Of one server link, for the client that it works for.

    Attributes:
        statements: the client's: by its own name the text with its types.
    """

    statements: dict[bytes, bytes]

    @property
    def settled(self) -> bool:
        """True if no answer is due."""
        raise NotImplementedError

    def heard(self, frame: bytes) -> list[bytes]:
        """A message of the server: what the client gets of it."""
        raise NotImplementedError

    def clear(self) -> None:
        """The client has let the server go."""


class Counted(Accounts):
    """How many ReadyForQuery are owed."""

    def __init__(self) -> None:
        self.owed = 0
        self._copying = False

    @property
    def settled(self) -> bool:
        """True if none is."""
        return self.owed <= 0

    def sent(self, tag: int) -> None:
        """A message of the client."""
        self.owed += tag in _ANSWERED

    def heard(self, frame: bytes) -> list[bytes]:
        """Count down."""
        tag = frame[:1]
        if tag in b"GH":
            self._copying = True
        elif tag in b"EC" and self._copying:
            # The server drops a Sync that comes while it copies, so nobody can tell how many it will answer.
            self._copying = False
            self.owed = 0
        elif tag == b"Z":
            self.owed = max(0, self.owed - 1)
        return [frame]

    def clear(self) -> None:
        """None is owed any more."""
        self.owed = 0


class _Request(NamedTuple):
    kind: bytes
    action: int
    name: bytes = b""  # of the statement that it makes (Parse) or evicts (Close)


class Followed(Accounts):
    """Every request that is under way, and the statements that the server has.

    Args:
        names: the pooler's.
        write: sends to the server.

    Attributes:
        prepared: what the server has, least recently used first.
    """

    def __init__(self, names: Names, write: Callable[[bytes], None]) -> None:
        self.statements = {}
        self.prepared: dict[bytes, None] = {}
        self._names = names
        self._write = write
        self._requests: deque[_Request] = deque()
        self._copying = False
        self._failed = False

    @property
    def settled(self) -> bool:
        """True if nothing is under way."""
        return not self._requests

    # ---- Of the client

    def forward(self, frame: bytes) -> bytes:
        """Pass a message on; what the pooler answers by itself at once.

        Raises:
            Refused: the client uses a name twice, or one that there is not.
        """
        tag, body = frame[:1], frame[5:]
        if tag == b"P" and body[:1] != b"\0":
            return self._parse(body)
        name = closed(frame)
        if name is not None:
            self.statements.pop(name, None)
            return self._answer(b"C")
        if tag == b"B":
            portal, name, rest = body.split(b"\0", 2)
            if name:
                frame = message(tag, b"\0".join((portal, self._ensure(name), rest)))
        elif tag == b"D" and body[:1] == b"S" and body[1:2] != b"\0":
            frame = message(tag, b"S" + self._ensure(body[1:-1]) + b"\0")
        self._write(frame)
        if tag not in b"dH":
            self._requests.append(_Request(tag, FORWARDED))
        return b""

    def _parse(self, body: bytes) -> bytes:
        name, _, parsed = body.partition(b"\0")
        if name in self.statements:
            raise Refused("prepared statement name is already in use")
        self._names.enter(parsed)
        self.statements[name] = parsed
        if self._names.of(parsed) in self.prepared:
            return self._answer(b"P")
        self._prepare(parsed, FORWARDED)
        return b""

    def _answer(self, kind: bytes) -> bytes:
        if not self._requests:
            return _FAKES[kind]
        self._requests.append(_Request(kind, FAKED))
        return b""

    def _ensure(self, name: bytes) -> bytes:
        """The statement's name on the server, which has it now."""
        parsed = self.statements.get(name)
        if parsed is None:
            raise Refused("prepared statement did not exist")
        own = self._names.of(parsed)
        if own in self.prepared:
            self.prepared[own] = self.prepared.pop(own)
        else:
            self._prepare(parsed, SKIPPED)
        return own

    def _prepare(self, parsed: bytes, action: int) -> None:
        own = self._names.of(parsed)
        self._write(message(b"P", own + b"\0" + parsed))
        self._requests.append(_Request(b"P", action, own))
        self.prepared[own] = None
        while len(self.prepared) > self._names.limit:
            evicted = next(iter(self.prepared))
            del self.prepared[evicted]
            self._write(message(b"C", b"S" + evicted + b"\0"))
            self._requests.append(_Request(b"C", SKIPPED, evicted))

    # ---- Of the server

    def heard(self, frame: bytes) -> list[bytes]:
        """Find the request that it answers."""
        tag = frame[:1]
        ended: _Request | None = None
        if tag == b"Z":
            if self._pop(_ANSWERED) is None and self._failed:
                self._drop(b"S")
            self._failed = False
        elif tag == b"E":
            if self._copying:
                self._drop(b"cf")
            self._copying, self._failed = False, True
        elif tag in b"GW":
            self._copying = True
        elif tag in _ENDS:
            if tag == b"C" and self._copying:
                self._copying = False
                self._drop(b"c")
            if tag == b"C" and frame[5:] in _FORGOTTEN:
                self.prepared.clear()
                self.statements.clear()
            ended = self._pop(_ENDS[tag])
        passed = [] if ended is not None and ended.action == SKIPPED else [frame]
        while self._requests and self._requests[0].action == FAKED:
            passed.append(_FAKES[self._requests.popleft().kind])
        return passed

    def _pop(self, kinds: bytes) -> _Request | None:
        if self._requests and self._requests[0].kind in kinds:
            return self._requests.popleft()
        return None

    def _drop(self, until: bytes) -> None:
        """Nobody answers these any more: what they were to make is not there, what they were to close is."""
        while self._requests:
            request = self._requests.popleft()
            if request.name and request.kind == b"P":
                self.prepared.pop(request.name, None)
            elif request.name:
                self.prepared[request.name] = None
            if request.kind in until:
                return
