"""Driving a PGConnection by hand: walk it somewhere, feed it, and compare what it said."""

from __future__ import annotations

from collections.abc import Iterable

from pgproto.protocol import CLIENT, NEED_DATA, SERVER, Closed, DataRows, PGConnection
from pgproto.wire import AuthenticationOk, Message, ReadyForQuery, StartupMessage

# A step: who speaks (CLIENT or SERVER), and what.
Path = list[tuple[int, Message]]
LOGIN: Path = [
    (CLIENT, StartupMessage({"user": "app"})),
    (SERVER, AuthenticationOk()),
    (SERVER, ReadyForQuery("I")),
]


def walk(role: int, path: Path) -> PGConnection:
    """A connection of this role behind a conversation."""
    connection = PGConnection(role)
    for speaker, message in path:
        if speaker == role:
            connection.send(message)
        else:
            connection.receive_data(message.encode())
            event = connection.next_event()
            assert event is not NEED_DATA, message
            assert not isinstance(event, Closed), (message, event)
    return connection


def ready(*requests: Message) -> PGConnection:
    """A client that is logged in and has sent these."""
    connection = walk(CLIENT, LOGIN)
    for request in requests:
        connection.send(request)
    return connection


def drain(connection: PGConnection) -> list[Message]:
    """All events that are there; Closed at most once."""
    events: list[Message] = []
    while True:
        event = connection.next_event()
        if event is NEED_DATA:
            return events
        events.append(event)
        if isinstance(event, Closed):
            return events


def comparable(events: Iterable[Message]) -> list[tuple[object, ...]]:
    """Events without the accidents of delivery: rows one by one, errors by their text."""
    seen: list[tuple[object, ...]] = []
    for event in events:
        request = type(event.request).__name__
        if isinstance(event, DataRows):
            seen += [("row", body, request) for body in event.bodies()]
        elif isinstance(event, Closed):
            also = tuple(repr(each) for each in event.also)
            seen.append(("closed", repr(event.error), also, event.unanswered))
        else:
            seen.append((event, request))
    return seen


def receive(connection: PGConnection, pieces: Iterable[bytes]) -> list[Message]:
    """The events, asked for after each piece; a Closed is taken as it is at the end."""
    events: list[Message] = []
    for piece in pieces:
        connection.receive_data(piece)
        if not events or not isinstance(events[-1], Closed):
            events += drain(connection)
    return events
