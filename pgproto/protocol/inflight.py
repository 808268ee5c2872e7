"""The requests in flight: which one an answer belongs to, and what an error does to the others.

The one queue that both roles keep.  A client adds a request when it sends it and settles it when the
answer arrives; a server adds it when it arrives and settles it when it sends the answer.  The queue's
first request is the *head*; `state` says how far its answer has come (`states.ANSWERS`).  A run of
executions (`Executes`) is one request: as the head it goes through the states of Bind and of Execute,
again and again, until none of its executions is left.

After an error in an extended request the server discards what it reads until a Sync (manual: "Extended
Query"), a simple Query and a FunctionCall included.  So `fail` takes the requests up to the next Sync out
of the queue; if no Sync is there yet, `skipping` stays on until one is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..wire import Describe, Message, tags
from ..wire.binding import Executes
from ..wire.messages import PlainMessage
from . import states
from .events import Frames

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["InFlight"]

# The list is cut when so many in front are answered, and half of it is.
_LEFT_BEHIND: Final = 1000
_ANSWERED: Final = PlainMessage()


class InFlight:
    """A queue of requests, with the state of the answer to its head."""

    __slots__ = ("_head", "_requests", "copy_refused", "executions", "skipping", "state")

    def __init__(self) -> None:
        # A list and an index: compiled code reaches into a list without a call, and a deque takes four.
        self._requests: list[Message] = []
        self._head: i64 = 0
        self.state = states.IDLE
        self.skipping = False
        self.copy_refused = False
        """The server has failed a COPY IN whose data was still being sent: what comes of it goes nowhere."""
        self.executions: i64 = 0
        """How many executions of the head are unanswered, the current one included; 0 if it is no run."""

    def __len__(self) -> int:
        return len(self._requests) - self._head

    @property
    def requests(self) -> list[Message]:
        """The requests in flight, oldest first."""
        return self._requests[self._head :]

    @property
    def head(self) -> Message | None:
        """The request that is being answered."""
        return self._requests[self._head] if self._head < len(self._requests) else None

    def add(self, request: Message) -> bool:
        """Queue a request; False if the server will discard it, because an error precedes it."""
        self.copy_refused = False
        if self.skipping:
            if request.type_byte != tags.SYNC:
                return False
            self.skipping = False
        self._requests.append(request)
        if self.state == states.IDLE:
            self._begin(request)
        return True

    def after(self, tag: int) -> int:
        """The state after an answer of this type; NEVER if it is not legal now."""
        return states.ANSWER[self.state << 8 | tag]

    def advance(self, after: int) -> None:
        """The answer has come: go to the state after it."""
        if after != states.DONE:
            self.state = after
            return
        if self.executions:
            if self.state == states.BIND:
                self.state = states.EXECUTE
                return
            self.executions -= 1
            if self.executions:
                self.state = states.BIND
                return
        requests = self._requests
        requests[self._head] = _ANSWERED  # let go of it
        self._head += 1
        if self._head == len(requests):
            requests.clear()
            self._head = 0
            self.state = states.IDLE
            return
        if self._head > _LEFT_BEHIND and 2 * self._head > len(requests):
            self._requests = requests = self.requests
            self._head = 0
        self._begin(requests[self._head])

    def copy_message(self, tag: int) -> bool:
        """CopyData, CopyDone or CopyFail of the requesting side; False if it is not legal now."""
        after = states.COPY_SENDS.get(self.state, {}).get(tag, -1)
        if after < 0:
            return False
        self.state = after
        return True

    def fail(self) -> list[Message] | None:
        """The head failed (ErrorResponse): the requests that are discarded with it, or None.

        None means that no request can have failed now, which makes the message a protocol error.
        """
        if self.state in states.NO_ERROR:
            return None
        self.copy_refused = self.state in states.COPY_IN_STATES
        after = states.AFTER_ERROR.get(self.state, -1)
        if after >= 0:
            self.state = after
            return []
        skipped: list[Message] = []
        requests = self.requests
        for request in requests[1:]:
            if request.type_byte == tags.SYNC:
                break
            skipped.append(request)
        self._requests = requests[1 + len(skipped) :]
        self._head = 0
        self.executions = 0
        self.skipping = not self._requests
        self.state = states.IDLE if self.skipping else states.SYNC
        return skipped

    def begin_copy_in(self) -> bool:
        """COPY IN has begun: void the Syncs after the head (the server ignores them); is that all?

        Manual: "COPY Operations" (the backend ignores Flush and Sync during copy-in mode).  Anything
        else after the head would be read as a violation of the COPY sub-protocol.
        """
        requests = self.requests
        self._requests = requests[:1]
        self._head = 0
        return self.executions < 2 and all(request.type_byte == tags.SYNC for request in requests[1:])

    def settle(self) -> tuple[Message, ...]:
        """The session is over: every request that was in flight, and none is any more."""
        unanswered = tuple(self.requests)
        self._requests = []
        self._head = 0
        self.state = states.IDLE
        self.executions = 0
        self.skipping = False
        return unanswered

    def _begin(self, request: Message) -> None:
        """The request is the head now."""
        self.state = states.FIRST[request.type_byte]
        if isinstance(request, Executes):
            self.executions = request.count
        elif self.state == states.DESCRIBE_STATEMENT and _is_of_portal(request):
            self.state = states.DESCRIBE_ROWS


def _is_of_portal(request: Message) -> bool:
    """Whether a Describe, decoded or not, is of a portal."""
    if isinstance(request, Frames):
        return request.data[5:6] == b"P"
    return isinstance(request, Describe) and request.kind == "P"
