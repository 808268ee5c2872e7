"""What went over a link, cut into messages by a splitter of our own.

It knows the frame (a type byte, a length), nothing else, and shares no code with pgproto: the oracle that
reads it must not make pgproto's mistakes.
"""

from __future__ import annotations

__all__ = ["Frame", "Splitter", "Tap"]

SSL_REQUEST = b"\x04\xd2\x16\x2f"
GSS_REQUEST = b"\x04\xd2\x16\x30"
CANCEL_REQUEST = b"\x04\xd2\x16\x2e"

Frame = tuple[int, int, bytes]
"""A message: its type byte (0 if it has none), the stream position of its first byte, its body."""

# What no server says once a session has begun: R, K, V, v, W, and two types that there are not.
_IMPOSSIBLE = frozenset(b"RKVvW\x01z")

# No server of the simulation sends more; a length beyond it means that the stream is garbage.
_MAX_LENGTH = 1 << 24


class Splitter:
    """Cuts one direction of a stream into frames.

    Attributes:
        untyped: how many packets without a type byte come first.
        single: how many bytes that are no messages come first (the answer to SSLRequest).
        position: of the byte behind all that were fed.
        broken: the stream is no stream of messages (any more).
    """

    __slots__ = ("_rest", "broken", "position", "single", "untyped")

    def __init__(self, untyped: int = 0) -> None:
        self.untyped = untyped
        self.single = 0
        self.position = 0
        self.broken = False
        self._rest = b""

    @property
    def partial(self) -> bytes:
        """The first bytes of a message that is not complete."""
        return self._rest

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that are complete now."""
        base = self.position - len(self._rest)
        self.position += len(data)
        if self.broken:
            return []
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at = 0
        size = len(data)
        while True:
            if self.single:
                if at >= size:
                    break
                self.single -= 1
                frames.append((data[at], base + at, b""))
                at += 1
                continue
            head = 0 if self.untyped else 1
            if size - at < head + 4:
                break
            length = int.from_bytes(data[at + head : at + head + 4], "big")
            if not 4 <= length <= _MAX_LENGTH:
                self.broken = True
                break
            end = at + head + length
            if end > size:
                break
            body = data[at + head + 4 : end]
            frames.append((data[at] if head else 0, base + at, body))
            if not head and body[:4] not in (SSL_REQUEST, GSS_REQUEST):
                self.untyped = 0
            at = end
        self._rest = data[at:]
        return frames


class Tap:
    """Both directions of a link between a client and a server, from the client's side.

    Attributes:
        sent: the messages handed to the transport, complete ones.
        heard: the messages delivered to the client.
        up, down: the splitters.
        poison: what was delivered that no server would send then; "" so far.  After the server's own word
            that the session ends, nothing is.
        standby: the server has said that it is another one now, in a session that had begun.
    """

    __slots__ = (
        "_copied",
        "_due",
        "_failed",
        "_over",
        "_started",
        "down",
        "heard",
        "poison",
        "sent",
        "standby",
        "up",
    )

    def __init__(self) -> None:
        self.up = Splitter(untyped=1)
        self.down = Splitter()
        self.sent: list[Frame] = []
        self.heard: list[Frame] = []
        self.poison = ""
        self._due = 1  # ReadyForQuery that may come: one for the start, for each Query and each Sync
        self._started = False
        self._failed = False
        self._over = False
        self._copied = False
        self.standby = False

    @property
    def outstanding(self) -> bool:
        """True if ReadyForQuery has not come for all that was asked."""
        return self._started and self._due > 0 and not self._copied and not self._over

    def handed_over(self, data: bytes) -> list[Frame]:
        """The client wrote."""
        frames = self.up.feed(data)
        self.sent += frames
        for frame in frames:
            if frame[0] == 0 and frame[2][:4] in (SSL_REQUEST, GSS_REQUEST):
                self.down.single += 1
            elif frame[0] in (0x51, 0x53):
                self._due += 1
        return frames

    def delivered(self, data: bytes) -> None:
        """The client got."""
        frames = self.down.feed(data)
        self.heard += frames
        if self.poison or self._over:
            return
        for tag, _, body in frames:
            if tag == 0x45:
                self.standby = self.standby or b"C25006\0" in body
                # FATAL, any error at first, and one that nothing can have caused: the last word.
                calm = self._started and not self._failed and self._due > 0
                self._over = not calm or b"FATAL" in body or b"PANIC" in body
                self._failed = True
                if self._over:
                    return
            elif tag == 0x5A:
                self._due -= 1
                self._started = True
                self._failed = False
                if self._due < 0:
                    self.poison = "a ReadyForQuery too many"
                elif body not in (b"I", b"T", b"E"):
                    self.poison = "a ReadyForQuery that is none"
            elif tag == 0x47:
                self._copied = True  # Syncs behind CopyInResponse are ignored: the count is off from here on
            elif tag == 0x53 and body.count(b"\0") != 2:
                self.poison = "a ParameterStatus that is none"
            elif tag == 0x53 and self._started and body.startswith(b"in_hot_standby"):
                self.standby = True
            elif self._started and tag in _IMPOSSIBLE:
                self.poison = f"a message of type {tag:#04x}"
        if self.down.broken:
            self.poison = self.poison or "what is no message"
