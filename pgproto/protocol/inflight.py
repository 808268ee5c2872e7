"""The requests in flight: which one an answer belongs to, and what an error does to the others.

The one queue that both roles keep.  A client adds a request when it sends it and settles it when the
answer arrives; a server adds it when it arrives and settles it when it sends the answer.  The queue's
first request is the *head*; `state` says how far its answer has come (`states.ANSWERS`).

After an error in an extended request the server discards what it reads until a Sync (manual: "Extended
Query"), a simple Query and a FunctionCall included.  So `fail` takes the requests up to the next Sync out
of the queue; if no Sync is there yet, `skipping` stays on until one is added.
"""

from __future__ import annotations

from collections import deque

from ..wire import Describe, Message, tags
from . import states

__all__ = ["InFlight"]


class InFlight:
    """A queue of requests, with the state of the answer to its head."""

    __slots__ = ("requests", "skipping", "state")

    def __init__(self) -> None:
        self.requests: deque[Message] = deque()
        self.state = states.IDLE
        self.skipping = False

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def head(self) -> Message | None:
        """The request that is being answered."""
        return self.requests[0] if self.requests else None

    def add(self, request: Message) -> bool:
        """Queue a request; False if the server will discard it, because an error precedes it."""
        if self.skipping:
            if request.tag != tags.SYNC:
                return False
            self.skipping = False
        self.requests.append(request)
        if self.state == states.IDLE:
            self.state = _first_state(request)
        return True

    def after(self, tag: int) -> int:
        """The state behind an answer of this type; NEVER if it is not legal now."""
        return states.ANSWER[self.state << 8 | tag]

    def advance(self, after: int) -> None:
        """The answer has come: go to the state behind it."""
        if after != states.DONE:
            self.state = after
        else:
            self._pop()

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
        after = states.AFTER_ERROR.get(self.state, -1)
        if after >= 0:
            self.state = after
            return []
        self.requests.popleft()
        skipped: list[Message] = []
        while self.requests and self.requests[0].tag != tags.SYNC:
            skipped.append(self.requests.popleft())
        self.skipping = not self.requests
        self.state = states.SYNC if self.requests else states.IDLE
        return skipped

    def begin_copy_in(self) -> list[Message]:
        """COPY IN has begun: void the Syncs behind the head (the server ignores them); what is left.

        Manual: "COPY Operations" (the backend ignores Flush and Sync during copy-in mode).  Anything
        else behind the head would be read as a violation of the COPY sub-protocol.
        """
        rest = [request for request in list(self.requests)[1:] if request.tag != tags.SYNC]
        head = self.requests[0]
        self.requests.clear()
        self.requests.append(head)
        return rest

    def settle(self) -> tuple[Message, ...]:
        """The session is over: every request that was in flight, and none is any more."""
        unanswered = tuple(self.requests)
        self.requests.clear()
        self.state = states.IDLE
        self.skipping = False
        return unanswered

    def _pop(self) -> None:
        self.requests.popleft()
        self.state = _first_state(self.requests[0]) if self.requests else states.IDLE


def _first_state(request: Message) -> int:
    if isinstance(request, Describe) and request.kind == "P":
        return states.DESCRIBE_ROWS
    return states.FIRST[request.tag]
