"""The state tables, exhaustively: every state times every message, both roles, sending and receiving.

What is expected is derived from the tables, and every state is reached by a legal conversation that is
found by searching them: so a table that cannot be walked is found too.
"""

from __future__ import annotations

import pytest

from pgproto import LocalProtocolError, RemoteProtocolError
from pgproto.errors import PostgresError
from pgproto.protocol import CLIENT, NEED_DATA, SERVER, Closed, DataRows, PGConnection, Secure, states
from pgproto.wire import (
    AuthenticationOk,
    BackendKeyData,
    CancelRequest,
    CopyData,
    CopyDone,
    DataRow,
    Describe,
    EncryptionResponse,
    ErrorResponse,
    GSSENCRequest,
    GSSResponse,
    Message,
    NegotiateProtocolVersion,
    PasswordMessage,
    ReadyForQuery,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    Terminate,
    tags,
)
from tests.support.drive import LOGIN, Path, walk
from tests.support.vectors import VECTORS

FRONTEND: dict[type[Message], Message] = {type(v.message): v.message for v in VECTORS if v.direction == "F"}
BACKEND: dict[type[Message], Message] = {
    type(v.message): v.message
    for v in VECTORS
    if v.direction == "B" and not isinstance(v.message, EncryptionResponse)
}
FRONTEND[StartupMessage] = StartupMessage({"user": "app"})
BACKEND[BackendKeyData] = BackendKeyData(1, b"0123")
BACKEND[NegotiateProtocolVersion] = NegotiateProtocolVersion(196608, ())
BACKEND[ErrorResponse] = ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "22012", "M": "no"})
BACKEND[ReadyForQuery] = ReadyForQuery("I")
BY_TAG = {message.tag: message for message in BACKEND.values() if message.tag != tags.AUTHENTICATION}
REQUESTS = {
    FRONTEND[kind].tag: FRONTEND[kind] for kind in FRONTEND if FRONTEND[kind].tag in states.FIRST_STATE
}
COPY_MESSAGES = {
    FRONTEND[kind].tag: FRONTEND[kind] for kind in FRONTEND if FRONTEND[kind].tag in states.COPY_TAGS
}


def phase_paths() -> dict[int, Path]:
    """The shortest conversation to every phase but SECURING and CLOSED."""
    found: dict[int, Path] = {states.START: []}
    todo = [states.START]
    while todo:
        phase = todo.pop(0)
        for speaker, table, samples in (
            (CLIENT, states.FRONTEND_PHASES, FRONTEND),
            (SERVER, states.BACKEND_PHASES, BACKEND),
        ):
            for kind, after in table.get(phase, {}).items():
                if after not in found:
                    found[after] = [*found[phase], (speaker, samples[kind])]
                    todo.append(after)
    return found


def head_paths() -> dict[int, Path]:
    """The shortest conversation to every state of the head."""
    found: dict[int, Path] = {states.IDLE: LOGIN}
    todo: list[int] = []
    starts = [(states.FIRST_STATE[tag], request) for tag, request in REQUESTS.items()]
    starts.append((states.DESCRIBE_STATEMENT, Describe("S", "")))
    starts.append((states.DESCRIBE_ROWS, Describe("P", "")))
    for state, request in starts:
        found[state] = [*LOGIN, (CLIENT, request)]
        todo.append(state)
    while todo:
        state = todo.pop(0)
        steps = [(SERVER, BY_TAG[tag], after) for tag, after in states.ANSWERS[state].items()]
        steps += [
            (CLIENT, COPY_MESSAGES[tag], after) for tag, after in states.COPY_SENDS.get(state, {}).items()
        ]
        for speaker, message, after in steps:
            if after not in found and after != states.DONE:
                found[after] = [*found[state], (speaker, message)]
                todo.append(after)
    return found


PHASES = phase_paths()
HEADS = head_paths()
each_head = pytest.mark.parametrize("state", sorted(HEADS), ids=lambda state: states.HEAD_NAMES[state])
each_phase = pytest.mark.parametrize(
    "phase", sorted(set(PHASES) - {states.READY}), ids=lambda phase: states.PHASE_NAMES[phase]
)


def snapshot(connection: PGConnection) -> tuple[object, ...]:
    return (
        connection.phase,
        connection.head_state,
        connection.in_flight,
        connection.closed,
        repr(connection),
    )


def refused(connection: PGConnection, message: Message, where: str) -> None:
    """Sending is an error of ours that changes nothing."""
    before = snapshot(connection)
    with pytest.raises(LocalProtocolError) as caught:
        connection.send(message)
    assert str(caught.value) == f"cannot send {type(message).__name__} in state {where}"
    assert snapshot(connection) == before


def poisoned(connection: PGConnection, data: bytes, text: str | None) -> None:
    """Receiving is an error of theirs that ends the session, once and for all."""
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, Closed)
    assert isinstance(event.error, RemoteProtocolError)
    if text is not None:
        assert str(event.error) == text
    assert connection.phase == states.CLOSED
    connection.receive_data(ReadyForQuery("I").encode() * 2)
    assert connection.next_event() is event
    assert event.also == []


def test_tables_are_complete() -> None:
    assert len(states.PHASE_NAMES) == states.CLOSED + 1
    assert len(states.HEAD_NAMES) == states.DONE + 1
    assert [getattr(states, name) for name in states.PHASE_NAMES] == list(range(states.CLOSED + 1))
    assert [getattr(states, name) for name in states.HEAD_NAMES] == list(range(states.DONE + 1))
    assert set(states.ANSWERS) == set(range(states.DONE))
    assert set(PHASES) == set(range(states.CLOSED)) - {states.SECURING}
    assert set(HEADS) == set(range(states.DONE))
    assert len(states.ANSWER) == len(states.HEAD_NAMES) * 256


@each_head
def test_client_receives_every_type_in_every_head_state(state: int) -> None:
    for tag in range(256):
        connection = walk(CLIENT, HEADS[state])
        assert connection.head_state == state
        head = connection.head
        message = BY_TAG.get(tag)
        where = states.HEAD_NAMES[state]
        if tag == tags.AUTHENTICATION:
            poisoned(connection, AuthenticationOk().encode(), f"unexpected Authentication in state {where}")
        elif message is None:
            name = f"message type {tag:#04x}"
            poisoned(connection, bytes((tag, 0, 0, 0, 4)), f"unexpected {name} in state {where}")
        elif tag in states.ASYNCHRONOUS:
            connection.receive_data(message.encode())
            assert connection.next_event() == message
            assert connection.head_state == state
            assert connection.head is head
        elif isinstance(message, ErrorResponse):
            client_receives_error(connection, state, message, head)
        elif tag in states.ANSWERS[state]:
            after = states.ANSWERS[state][tag]
            connection.receive_data(message.encode())
            event = connection.next_event()
            if isinstance(message, DataRow):
                assert isinstance(event, DataRows)
                assert event.bodies() == [message.encode()[5:]]
            else:
                assert event == message
            assert event.request is head
            assert connection.head_state == (states.IDLE if after == states.DONE else after)
            assert connection.in_flight == (after != states.DONE)
        else:
            name = type(message).__name__
            poisoned(connection, message.encode(), f"unexpected {name} in state {where}")


def client_receives_error(
    connection: PGConnection, state: int, message: Message, head: Message | None
) -> None:
    connection.receive_data(message.encode())
    event = connection.next_event()
    assert event == message
    assert event.request is head
    if state in states.NO_ERROR:
        closed = connection.next_event()
        assert isinstance(closed, Closed)
        assert isinstance(closed.error, PostgresError)
        return
    assert connection.next_event() is NEED_DATA
    if state in states.AFTER_ERROR:
        assert connection.head_state == states.END_OF_QUERY
        assert connection.head is head
    else:
        assert connection.head_state == states.IDLE
        assert connection.in_flight == 0


@each_head
def test_client_sends_every_message_in_every_head_state(state: int) -> None:
    where = states.HEAD_NAMES[state]
    for message in FRONTEND.values():
        connection = walk(CLIENT, HEADS[state])
        before = connection.in_flight
        copy = states.COPY_SENDS.get(state, {})
        tag = message.tag
        if isinstance(message, Terminate):
            assert connection.send(message) == message.encode()
            closed = connection.next_event()
            assert isinstance(closed, Closed)
            assert closed.error is None
            assert len(closed.unanswered) == before
        elif tag in copy:
            assert connection.send(message) == message.encode()
            assert connection.head_state == copy[tag]
        elif copy or tag in states.COPY_TAGS or tag not in {*states.FIRST_STATE, tags.FLUSH}:
            refused(connection, message, where)
        else:
            assert connection.send(message) == message.encode()
            assert connection.in_flight == before + (tag in states.FIRST_STATE)
            if before or tag == tags.FLUSH:
                assert connection.head_state == state
            else:
                assert connection.head is message
                assert connection.head_state in (states.FIRST_STATE[tag], states.DESCRIBE_ROWS)


@each_head
def test_server_sends_every_message_in_every_head_state(state: int) -> None:
    where = states.HEAD_NAMES[state]
    for message in BACKEND.values():
        connection = walk(SERVER, HEADS[state])
        assert connection.head_state == state
        tag = message.tag
        if isinstance(message, ErrorResponse):
            if state in states.NO_ERROR:
                refused(connection, message, where)
            else:
                assert connection.send(message) == message.encode()
                assert connection.head_state == states.AFTER_ERROR.get(state, states.IDLE)
        elif tag in states.ASYNCHRONOUS:
            assert connection.send(message) == message.encode()
            assert connection.head_state == state
        elif tag in states.ANSWERS[state]:
            after = states.ANSWERS[state][tag]
            assert connection.send(message) == message.encode()
            assert connection.head_state == (states.IDLE if after == states.DONE else after)
        else:
            refused(connection, message, where)
    refused(walk(SERVER, HEADS[state]), Terminate(), where)
    refused(walk(SERVER, HEADS[state]), EncryptionResponse(b"N"), where)


@each_head
def test_server_receives_every_type_in_every_head_state(state: int) -> None:
    where = states.HEAD_NAMES[state]
    by_tag = {message.tag: message for message in FRONTEND.values() if message.tag}
    for tag in range(256):
        connection = walk(SERVER, HEADS[state])
        before = snapshot(connection)
        in_flight = connection.in_flight
        message = by_tag.get(tag)
        copy = states.COPY_SENDS.get(state, {})
        if message is None or tag == tags.PASSWORD_MESSAGE:
            poisoned(connection, bytes((tag, 0, 0, 0, 4)), None)
            continue
        if copy and tag not in {*states.COPY_TAGS, tags.FLUSH, tags.SYNC, tags.TERMINATE}:
            poisoned(connection, message.encode(), f"unexpected {type(message).__name__} in state {where}")
            continue
        connection.receive_data(message.encode())
        event = connection.next_event()
        if isinstance(message, Terminate):
            assert event == message
            closed = connection.next_event()
            assert isinstance(closed, Closed)
            assert closed.error is None
        elif tag in copy:
            assert event == message
            assert connection.head_state == copy[tag]
        elif tag in states.COPY_TAGS or copy:
            # The client does not know yet that its COPY is over; or the server ignores Flush and Sync.
            assert event is NEED_DATA
            assert snapshot(connection) == before
        else:
            assert event == message
            assert connection.in_flight == in_flight + (tag in states.FIRST_STATE)


@each_phase
def test_client_in_every_phase(phase: int) -> None:
    where = states.PHASE_NAMES[phase]
    for kind, message in FRONTEND.items():
        connection = walk(CLIENT, PHASES[phase])
        assert connection.phase == phase
        after = states.FRONTEND_PHASES.get(phase, {}).get(kind)
        if after is not None:
            assert connection.send(message) == message.encode()
            assert connection.phase == after
        elif kind is Terminate and phase in states.MAY_TERMINATE:
            connection.send(message)
            assert connection.phase == states.CLOSED
        else:
            refused(connection, message, where)
    if phase in (states.ENCRYPTION, states.SECURING):
        return
    for kind, message in BACKEND.items():
        connection = walk(CLIENT, PHASES[phase])
        after = states.BACKEND_PHASES.get(phase, {}).get(kind)
        if phase < states.STARTUP:
            name = "Authentication" if message.tag == tags.AUTHENTICATION else kind.__name__
            poisoned(connection, message.encode(), f"unexpected {name} in state {where}")
        elif after is not None or message.tag in states.ASYNCHRONOUS:
            connection.receive_data(message.encode())
            assert connection.next_event() == message
            assert connection.phase == (phase if after is None else after)
        elif kind is ErrorResponse:
            connection.receive_data(message.encode())
            assert connection.next_event() == message
            closed = connection.next_event()
            assert isinstance(closed, Closed)
            assert isinstance(closed.error, PostgresError)
        else:
            name = "Authentication" if message.tag == tags.AUTHENTICATION else kind.__name__
            poisoned(connection, message.encode(), f"unexpected {name} in state {where}")


@each_phase
def test_server_in_every_phase(phase: int) -> None:
    where = states.PHASE_NAMES[phase]
    for kind, message in BACKEND.items():
        connection = walk(SERVER, PHASES[phase])
        assert connection.phase == phase
        after = states.BACKEND_PHASES.get(phase, {}).get(kind)
        if kind is ErrorResponse:
            connection.send(message)
            assert connection.phase == states.CLOSED
        elif message.tag in states.ASYNCHRONOUS:
            if phase < states.STARTUP:
                refused(connection, message, where)
            else:
                connection.send(message)
                assert connection.phase == phase
        elif after is not None:
            connection.send(message)
            assert connection.phase == after
        else:
            refused(connection, message, where)
    refused(walk(SERVER, PHASES[phase]), Terminate(), where)
    for kind, message in FRONTEND.items():
        connection = walk(SERVER, PHASES[phase])
        after = states.FRONTEND_PHASES.get(phase, {}).get(kind)
        if after is not None:
            connection.receive_data(message.encode())
            assert connection.next_event() == message
            assert connection.phase == after
        elif kind is Terminate and phase not in (states.START, states.ENCRYPTION):
            connection.receive_data(message.encode())
            assert connection.next_event() == message
            assert isinstance(connection.next_event(), Closed)
        elif message.tag == tags.PASSWORD_MESSAGE and phase in states.FRONTEND_PHASES:
            continue  # one type byte for four messages: the phase says which one it is, see below
        elif message.tag == tags.NO_TAG and phase not in (states.START, states.ENCRYPTION):
            continue  # without a type byte these are no messages here, but the beginning of some frame
        else:
            poisoned(connection, message.encode(), None)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (states.PASSWORD, PasswordMessage(b"secret")),
        (states.SASL, SASLInitialResponse("SCRAM-SHA-256", b"n,,n=,r=x")),
        (states.SASL_CONTINUE, SASLResponse(b"c=biws")),
        (states.GSS, GSSResponse(b"token")),
    ],
)
def test_the_phase_says_what_a_password_message_is(phase: int, message: Message) -> None:
    connection = walk(SERVER, PHASES[phase])
    connection.receive_data(message.encode())
    assert connection.next_event() == message
    assert connection.phase == states.FRONTEND_PHASES[phase][type(message)]


@pytest.mark.parametrize("kind", [SSLRequest, GSSENCRequest])
def test_encryption_is_asked_for_once(kind: type[Message]) -> None:
    request = FRONTEND[kind]
    answers: Path = [(CLIENT, request), (SERVER, EncryptionResponse(b"N"))]
    client = walk(CLIENT, answers)
    assert client.phase == states.START
    with pytest.raises(LocalProtocolError):
        client.send(request)
    server = walk(SERVER, answers)
    poisoned(server, request.encode(), f"a second {kind.__name__}")


def test_securing_leads_back_to_start() -> None:
    client = PGConnection(CLIENT)
    client.send(SSLRequest())
    client.receive_data(b"S")
    assert isinstance(client.next_event(), Secure)
    for message in FRONTEND.values():
        refused(client, message, "SECURING")
    client.secured()
    assert client.phase == states.START
    refused(client, SSLRequest(), "START")
    client.send(StartupMessage({"user": "a"}))
    assert client.encrypted


def test_a_request_to_cancel_is_all_there_is() -> None:
    client = PGConnection(CLIENT)
    client.send(CancelRequest(1, b"0123"))
    client.receive_data(b"")
    closed = client.next_event()
    assert isinstance(closed, Closed)
    assert closed.error is None


def test_copy_messages_are_the_same_on_both_sides() -> None:
    assert {CopyData.tag, CopyDone.tag} < states.COPY_TAGS
