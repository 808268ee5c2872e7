"""The requests in flight: which request an answer belongs to, and which ones an error discards.

Both roles keep this queue.  A client adds a request when it sends it and removes it when the answer
arrives; a server adds it when it arrives and removes it when it sends the answer.  The queue's first
request is the *head*; `state` says how far its answer has come (`states.ANSWERS`).  A run of executions
(`Executes`) is one request: as the head it goes through the states of Bind and Execute once for each of
its executions.

After an error in an extended request the server discards everything it reads until a Sync (manual:
"Extended Query"), even a simple Query or a FunctionCall.  So `fail` removes the requests up to the next Sync
from the queue; if there is no Sync yet, `skipping` is true until one is added.
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

# The list is cut when more than this many requests, and more than half of it, are answered.
_LEFT_BEHIND: Final = 1000
_ANSWERED: Final = PlainMessage()


class InFlight:
    """A queue of requests, with the state of the answer to its head."""

    __slots__ = ("_head", "_requests", "copy_refused", "executions", "skipping", "state")

    def __init__(self) -> None:
        # A list and an index: compiled code indexes a list without a call; a deque would take four.  As long
        # as it has any requests, one of them is the head.
        self._requests: list[Message] = []
        self._head: i64 = 0
        self.state = states.IDLE
        self.skipping = False
        self.copy_refused = False
        """True if the server has failed a COPY IN before its CopyDone: further data would be discarded."""
        self.executions: i64 = 0
        """Executions of the head that are not answered, including the current one; 0 if it is no run."""

    def __len__(self) -> int:
        return len(self._requests) - self._head

    @property
    def requests(self) -> list[Message]:
        """The requests in flight, oldest first."""
        return self._requests[self._head :]

    @property
    def head(self) -> Message | None:
        """The request that is being answered."""
        requests = self._requests
        return requests[self._head] if requests else None

    def add(self, request: Message) -> bool:
        """Queue a request; False if the server will discard it because of an earlier error."""
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
        """Go to the state `after` an answer; if that is DONE, to the next execution or request."""
        if after != states.DONE:
            self.state = after
            return
        if self.executions:
            # DONE comes twice for each execution of a run: after its Bind and after its Execute.  The run
            # stays the head until the last one, so that errors and rows always find their request here.
            if self.state == states.BIND:
                self.state = states.EXECUTE
                return
            self.executions -= 1
            if self.executions:
                self.state = states.BIND
                return
        requests = self._requests
        head: i64 = self._head + 1
        if head == len(requests):
            requests.clear()
            self._head = 0
            self.state = states.IDLE
            return
        requests[head - 1] = _ANSWERED  # drop the reference: the list is cut only now and then
        if head > _LEFT_BEHIND and 2 * head > len(requests):
            self._requests = requests = requests[head:]
            head = 0
        self._head = head
        self._begin(requests[head])

    def copy_message(self, tag: int) -> bool:
        """Note a CopyData, CopyDone or CopyFail of the requesting side; False if it is not legal now."""
        after = states.COPY_SENDS.get(self.state, {}).get(tag, -1)
        if after < 0:
            return False
        self.state = after
        return True

    def fail(self) -> list[Message] | None:
        """The head failed (ErrorResponse).

        Returns:
            The requests that the server discards because of it; None if no request can have failed now,
            which makes the ErrorResponse a protocol error.
        """
        if self.state in states.NO_ERROR:
            return None
        self.copy_refused = self.state in states.COPY_IN_STATES
        after = states.AFTER_ERROR.get(self.state, -1)
        if after >= 0:  # the head still has its ReadyForQuery to come, so nothing after it is discarded
            self.state = after
            return []
        skipped: list[Message] = []
        requests = self.requests
        for request in requests[1:]:
            if request.type_byte == tags.SYNC:
                break
            skipped.append(request)
        # If anything is left, it begins with a Sync, and that answers next.  If nothing is left, the Sync is
        # still to be sent, and `add` refuses every other request before it.
        self._requests = requests[1 + len(skipped) :]
        self._head = 0
        self.executions = 0
        self.skipping = not self._requests
        self.state = states.IDLE if self.skipping else states.SYNC
        return skipped

    def begin_copy_in(self) -> bool:
        """COPY IN has begun: remove the Syncs after the head, which the server ignores.

        Manual: "COPY Operations" (the backend ignores Flush and Sync during copy-in mode).

        Returns:
            False if other requests follow the head; the server takes them for a protocol violation.
        """
        requests = self.requests
        self._requests = requests[:1]
        self._head = 0
        return self.executions < 2 and all(request.type_byte == tags.SYNC for request in requests[1:])

    def settle(self) -> tuple[Message, ...]:
        """The session is over: empty the queue and return the requests that were in it."""
        unanswered = tuple(self.requests)
        self._requests = []
        self._head = 0
        self.state = states.IDLE
        self.executions = 0
        self.skipping = False
        return unanswered

    def _begin(self, request: Message) -> None:
        """Make the request the head."""
        self.state = states.FIRST[request.type_byte]
        if isinstance(request, Executes):
            self.executions = request.count
        elif self.state == states.DESCRIBE_STATEMENT and _is_of_portal(request):
            self.state = states.DESCRIBE_ROWS


def _is_of_portal(request: Message) -> bool:
    """Whether a Describe (decoded, or as Frames) is for a portal."""
    if isinstance(request, Frames):
        return request.data[5:6] == b"P"
    return isinstance(request, Describe) and request.kind == "P"
