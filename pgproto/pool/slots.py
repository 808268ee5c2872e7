"""The objects of the pool: slots, tickets, and the actions for the driver.

A **slot** is a place for one connection, from the decision to open it until it is gone; `SLOT_MOVES` has its
states.

Rule: a slot never has a second connection, and every change of state gives it a new `generation`.  An action
has the generation at which it was made, and its answer returns it, so a stale answer is recognised and
changes nothing.

A **ticket** is one caller's claim to a connection, and later its lease; `TICKET_MOVES` has its states.

Only the machine changes them, except `ticket.waiter`, which is the driver's.  The driver's own objects (its
connection, its waiter) have the type Any: these classes are not generic, because compiled generic classes
accept weak references that are not cleared when the object is freed (seen with mypyc 2.4.1).
"""

from __future__ import annotations

from typing import Any, Final

from ..errors import LocalProtocolError

__all__ = [
    "BROKEN",
    "CANCELLED",
    "CHECKING",
    "CLOSED",
    "CLOSING",
    "FAILED",
    "GRANTED",
    "IDLE",
    "IN_TRANSACTION",
    "LOST",
    "OPENING",
    "RELEASED",
    "RESETTING",
    "USED",
    "WAITING",
    "Action",
    "Check",
    "Close",
    "Fail",
    "Grant",
    "Open",
    "Reset",
    "Slot",
    "SlotAction",
    "Ticket",
    "TicketAction",
    "ending",
]

# States of a slot
OPENING: Final = 0
CHECKING: Final = 1
IDLE: Final = 2
USED: Final = 3
RESETTING: Final = 4
CLOSING: Final = 5
CLOSED: Final = 6
SLOT_STATES: Final = ("OPENING", "CHECKING", "IDLE", "USED", "RESETTING", "CLOSING", "CLOSED")

# What follows a state, and why
SLOT_MOVES: Final[dict[int, dict[int, str]]] = {
    OPENING: {IDLE: "opened", CLOSING: "not wanted any more", CLOSED: "failed"},
    CHECKING: {IDLE: "answered", CLOSING: "no answer"},
    IDLE: {USED: "granted", CHECKING: "idle for long", CLOSING: "retired"},
    USED: {IDLE: "returned clean", RESETTING: "returned", CLOSING: "broken or lost"},
    RESETTING: {IDLE: "reset", CLOSING: "reset failed"},
    CLOSING: {CLOSED: "closed"},
    CLOSED: {},
}

# States of a ticket
WAITING: Final = 0
GRANTED: Final = 1
FAILED: Final = 2
CANCELLED: Final = 3
RELEASED: Final = 4
TICKET_STATES: Final = ("WAITING", "GRANTED", "FAILED", "CANCELLED", "RELEASED")
TICKET_MOVES: Final[dict[int, dict[int, str]]] = {
    WAITING: {GRANTED: "granted", FAILED: "timed out", CANCELLED: "cancelled"},
    GRANTED: {RELEASED: "returned", CANCELLED: "cancelled", WAITING: "refused", FAILED: "refused"},
    FAILED: {},
    CANCELLED: {},
    RELEASED: {},
}

# Why a connection was retired
LIFETIME: Final = "lifetime"  # older than max_lifetime
UNUSED: Final = "idle"  # longer idle than max_idle
LOST: Final = "lost"  # the server or the network ended it
DIRTY: Final = "dirty"  # its reset failed or took too long
CHECK_FAILED: Final = "check_failed"  # its ping failed or took too long
EXPIRED: Final = "expired"  # opened before expire() was called
REFUSED: Final = "refused"  # the on_acquire hook said no
BROKEN: Final = "broken"  # returned in a state that cannot be reset
IN_TRANSACTION: Final = "in_transaction"  # returned with an open transaction
POOL_CLOSED: Final = "closed"  # the pool was closed
REASONS: Final = (
    LIFETIME,
    UNUSED,
    LOST,
    DIRTY,
    CHECK_FAILED,
    EXPIRED,
    REFUSED,
    BROKEN,
    IN_TRANSACTION,
    POOL_CLOSED,
)


def ending(cause: BaseException | None) -> str:
    """The reason to count for a connection that has ended: LOST, or BROKEN if this side closed it.

    Args:
        cause: the session's first cause (`Engine.cause`).
    """
    return BROKEN if cause is None else LOST


class Slot:
    """A place for one connection.

    Attributes:
        number: 1 for the pool's first slot, and so on; never given twice.
        state: OPENING, CHECKING, IDLE, USED, RESETTING, CLOSING or CLOSED.
        generation: grows with every change of state.
        connection: the object that the driver passed to `opened`; None before that.
        ticket: the lease while USED, else None.
        expires_at: when its lifetime ends.
        idle_since: when it was last returned (or opened).
        verified_at: when the server last answered on it.
        deadline: when its check or reset has taken too long.
        forced: True once a Close with `force` was asked for.
        proven: True once somebody used it, or a check passed.
    """

    __slots__ = (
        "connection",
        "deadline",
        "epoch",
        "expires_at",
        "forced",
        "generation",
        "idle_since",
        "number",
        "proven",
        "state",
        "ticket",
        "verified_at",
    )

    def __init__(self, number: int, epoch: int) -> None:
        self.number: Final[int] = number
        self.epoch: Final[int] = epoch
        self.state: int = OPENING
        self.generation: int = 1
        self.connection: Any = None
        self.ticket: Ticket | None = None
        self.expires_at: float = 0.0
        self.idle_since: float = 0.0
        self.verified_at: float = 0.0
        self.deadline: float = 0.0
        self.forced: bool = False
        self.proven: bool = False

    def __repr__(self) -> str:
        return f"<Slot {self.number} {SLOT_STATES[self.state]} generation {self.generation}>"


class Ticket:
    """One caller's claim to a connection, and the lease of it.

    Attributes:
        number: the order of arrival.
        state: WAITING, GRANTED, FAILED, CANCELLED or RELEASED.
        slot: the slot of the lent connection; None if there is none.
        error: why no connection was lent (FAILED).  It was made for this ticket alone, so it can be raised.
        deadline: when waiting ends in PoolTimeout, on the clock of the machine's `now`.
        since: when the caller began to wait.
        attempts: the number of connections that `on_acquire` has refused.
        waited: True if a Grant or Fail action reports its end.
        waiter: the driver's object for waking the caller.
    """

    __slots__ = (
        "attempts",
        "deadline",
        "error",
        "number",
        "since",
        "slot",
        "state",
        "waited",
        "waiter",
    )

    def __init__(self, number: int, deadline: float, now: float) -> None:
        self.number: Final[int] = number
        self.deadline: Final[float] = deadline
        self.since: float = now
        self.state: int = WAITING
        self.slot: Slot | None = None
        self.error: Exception | None = None
        self.attempts: int = 0
        self.waited: bool = False
        self.waiter: Any = None

    @property
    def connection(self) -> Any:
        """The connection that was lent.

        Raises:
            LocalProtocolError: the ticket is not GRANTED.
        """
        slot = self.slot
        connection = None if slot is None else slot.connection
        if self.state != GRANTED or connection is None:
            raise LocalProtocolError(f"ticket is {TICKET_STATES[self.state]}, it has no connection")
        return connection

    def __repr__(self) -> str:
        return f"<Ticket {self.number} {TICKET_STATES[self.state]}>"


class Action:
    """Something that the driver must do.  The subclasses here, and `observing.Tell`, are all there are."""

    __slots__ = ()


class SlotAction(Action):
    """An action on a connection; its answer has the same `slot` and `generation`."""

    __slots__ = ("generation", "slot")

    def __init__(self, slot: Slot, generation: int) -> None:
        self.slot: Final[Slot] = slot
        self.generation: Final[int] = generation

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.slot!r}, {self.generation})"


class Open(SlotAction):
    """Open a connection (and run `on_connect`), then call `opened` or `open_failed`."""

    __slots__ = ()


class Check(SlotAction):
    """Ping the server on this idle connection, then call `check_done`."""

    __slots__ = ()


class Reset(SlotAction):
    """Bring the session back to its initial state, then call `reset_done`.  Nobody waits for it."""

    __slots__ = ()


class Close(SlotAction):
    """Close the connection in limited time (and run `on_close`), then call `closed`.

    If `slot.connection` is None it is still opening: abort the attempt.  With `force`, send no Terminate and
    do not wait; a Close with `force` may follow one without.
    """

    __slots__ = ("force", "reason")

    def __init__(self, slot: Slot, generation: int, force: bool, reason: str) -> None:
        super().__init__(slot, generation)
        self.force: Final[bool] = force
        self.reason: Final[str] = reason


class TicketAction(Action):
    """Reports the end of a caller's wait."""

    __slots__ = ("ticket",)

    def __init__(self, ticket: Ticket) -> None:
        self.ticket: Final[Ticket] = ticket

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.ticket!r})"


class Grant(TicketAction):
    """Wake the caller: `ticket.connection` is lent to it."""

    __slots__ = ()


class Fail(TicketAction):
    """Wake the caller: `ticket.error` says why nothing will be lent."""

    __slots__ = ()
