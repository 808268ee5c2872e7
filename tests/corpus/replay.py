"""Playing a recording to a `PGConnection`: it says what its side said, and hears the other side in pieces.

A run of the other side's bytes is cut where the test says; it is never joined with the next one, because
between the two this side has spoken: nobody answers before he was asked.
"""

from __future__ import annotations

import os
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

from pgproto.protocol import CLIENT, NEED_DATA, SERVER, Closed, PGConnection, Secure
from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    EncryptionResponse,
    Message,
    StartupMessage,
    decode_backend,
    decode_frontend,
    decode_password,
    decode_startup,
    tags,
)
from tests.corpus.recording import EOF, Recording, is_startup, load

WHOLE: Final = os.environ.get("PGPROTO_WHOLE_CORPUS") == "1"
"""Try everything, and not a sample: minutes instead of seconds."""

SIDES: Final = {CLIENT: "F", SERVER: "B"}
_KINDS: Final[dict[type[Message], int]] = {
    AuthenticationCleartextPassword: tags.PASSWORD_KIND,
    AuthenticationMD5Password: tags.PASSWORD_KIND,
    AuthenticationSASL: tags.SASL_INITIAL_KIND,
    AuthenticationSASLContinue: tags.SASL_RESPONSE_KIND,
}


@dataclass(frozen=True)
class Run:
    """What one side said in one go.  `start` is how many bytes the other side had said before."""

    own: bool
    start: int
    data: bytes
    messages: tuple[Message, ...]


class Play:
    """A recording as one role sees it."""

    def __init__(self, recording: Recording, role: int) -> None:
        self.name = recording.name
        self.role = role
        self.runs: list[Run] = []
        kind = tags.PASSWORD_KIND
        heard = 0
        for side, data, parts in recording.runs():
            own = side == SIDES[role]
            messages: list[Message] = []
            for part in parts:
                message = _decoded(side, part, kind)
                if message is not None:
                    kind = _KINDS.get(type(message), kind)
                    messages.append(message)
            self.runs.append(Run(own, heard, data, tuple(messages)))
            if not own:
                heard += len(data)
        self.size = heard
        """How many bytes the other side says."""
        self.boundaries = self._boundaries(recording)

    def _boundaries(self, recording: Recording) -> list[int]:
        ends = [0]
        for side, data in recording.lines:
            if side != SIDES[self.role]:
                ends.append(ends[-1] + len(data))
        return ends


@cache
def recordings() -> list[Recording]:
    """The corpus."""
    return load()


@cache
def plays(role: int) -> list[Play]:
    """The corpus as one role sees it."""
    return [Play(recording, role) for recording in recordings()]


def _decoded(side: str, data: bytes, kind: int) -> Message | None:
    if side == "B":
        if len(data) == 1:
            return EncryptionResponse(data)
        if int.from_bytes(data[1:5], "big") != len(data) - 1:
            return None  # what a server says to protocol 2.0
        return decode_backend(data[0], data, 5, len(data))
    if is_startup(data):
        version = int.from_bytes(data[4:8], "big")
        if version >> 16 in (3, 1234):
            return decode_startup(data, 4, len(data))
        message = decode_startup(b"\0\3\0\0" + data[8:], 0, len(data) - 4)
        assert isinstance(message, StartupMessage)
        return StartupMessage(message.parameters, version)
    if data[0] == tags.PASSWORD_MESSAGE:
        return decode_password(kind, data, 5, len(data))
    return decode_frontend(data[0], data, 5, len(data))


class Replay:
    """One performance: a connection, what it was told to send, and the events that came of it."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.connection = PGConnection(play.role)
        self.sent: list[Message] = []
        self.events: list[Message] = []

    def run(self, cuts: Sequence[int] = (), limit: int = -1, *, every: bool = False) -> Replay:
        """Play it with the other side's stream cut at these places, up to `limit` of its bytes.

        What this side says right behind the last of those bytes is said.  `every` cuts everywhere.
        """
        for run in self.play.runs:
            if 0 <= limit <= run.start and not (run.own and run.data and run.start == limit):
                break
            if run.own:
                self._say(run)
            elif run.data == EOF:
                self.hear(EOF)
            else:
                data = run.data if limit < 0 else run.data[: limit - run.start]
                if every:
                    for index in range(len(data)):
                        self.hear(data[index : index + 1])
                    continue
                low, high = bisect_right(cuts, run.start), bisect_left(cuts, run.start + len(data))
                ends = [0, *[cut - run.start for cut in cuts[low:high]], len(data)]
                for start, end in pairwise(ends):
                    if start < end:
                        self.hear(data[start:end])
        return self

    def _say(self, run: Run) -> None:
        connection = self.connection
        if run.data == EOF:
            connection.close()
            self.collect()
        for message in run.messages:
            if connection.closed is not None:
                return  # it has said its last word; a real peer may say more
            message.request = None
            connection.send(message)
            self.sent.append(message)
            if message == EncryptionResponse(b"S"):
                connection.secured()
        self.collect()

    def hear(self, data: bytes) -> None:
        """The other side says this."""
        self.connection.receive_data(data)
        self.collect()

    def collect(self) -> None:
        """Take the events that are there; Closed once."""
        if self.events and isinstance(self.events[-1], Closed):
            assert self.connection.next_event() is self.events[-1], "there is something behind Closed"
            return
        while (event := self.connection.next_event()) is not NEED_DATA:
            self.events.append(event)
            if isinstance(event, Closed):
                break
            if isinstance(event, Secure) and self.play.role == CLIENT:
                self.connection.secured()


def sample(what: str, size: int, count: int) -> list[int]:
    """`count` of the numbers 1 to size - 1, the same in every run; all of them for the whole corpus."""
    if WHOLE or size - 1 <= count:
        return list(range(1, size))
    return sorted(random.Random(what).sample(range(1, size), count))


def partitions(what: str, size: int, count: int) -> Iterator[list[int]]:
    """Random sets of places to cut at, the same in every run: from a few cuts to one every few bytes."""
    rng = random.Random(what)
    for _ in range(count):
        cuts = rng.randint(1, max(1, min(size - 1, 2 + size // rng.choice((3, 10, 40, 200)))))
        yield sorted(rng.sample(range(1, size), min(cuts, max(size - 1, 0)))) if size > 1 else []
