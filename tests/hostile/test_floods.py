"""Floods and other quantities: flat memory, linear time."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from pgproto import LocalProtocolError, RemoteProtocolError, Row
from pgproto.protocol import CLIENT, Closed, PGConnection
from pgproto.session import Execution
from pgproto.wire import (
    AuthenticationOk,
    BindComplete,
    CommandComplete,
    DataRow,
    FunctionCall,
    FunctionCallResponse,
    NoticeResponse,
    ParameterStatus,
    ReadyForQuery,
    frames,
)
from tests.hostile.case import WORKS
from tests.hostile.floods import FLOODS, flood
from tests.hostile.servers_session import running
from tests.support.drive import LOGIN, walk
from tests.support.memory import Stage
from tests.support.scripted import Peer, column

KEPT = 24 << 20  # the most that inboxes and parameters may hold


@pytest.mark.parametrize("name", [name for name in FLOODS if not name.startswith("long")])
def test_a_flood(name: str) -> None:
    """100,000 messages inside of a query: the query ends well, and nothing has grown."""
    stage, _ = flood(name, 100_000)
    assert stage.error is None
    assert stage.engine.dropped_messages == (90_000 if name.startswith("noti") else 0)
    assert len(stage.engine.parameters) <= 1000
    assert len(stage.engine.take_notices()) <= 10_000


@pytest.mark.parametrize("name", FLOODS)
def test_the_memory_of_a_flood_is_flat(name: str) -> None:
    # More than what is kept: 16 MiB, 10,000 messages, 1,000 parameters.
    count = {"long notices": 300, "notices": 11_000, "notifications": 11_000}.get(name, 2_000)
    tracemalloc.start()
    try:
        stage, _ = flood(name, count)
        first = tracemalloc.get_traced_memory()[0]
        second_stage, _ = flood(name, 2 * count)
        second = tracemalloc.get_traced_memory()[0] - first
    finally:
        tracemalloc.stop()
    assert stage.error is second_stage.error is None
    assert second < first * 1.1 + (1 << 17)
    assert first < KEPT


def test_a_flood_before_the_session() -> None:
    """Parameters without end while nobody is authenticated yet: refused at one megabyte."""

    def script(peer: Peer) -> None:
        peer.receive_startup()
        peer.raw(AuthenticationOk())
        for number in range(100):
            peer.raw(ParameterStatus(f"p{number}", "x" * 20_000))

    stage = Stage()
    stage.play(script)
    assert isinstance(stage.error, RemoteProtocolError)
    assert "exceed 1 MiB" in str(stage.error)


def test_notices_for_ever_do_not_hold_the_start_up_back() -> None:
    """The deadline is for the whole of it, whatever arrives in between."""

    def script(peer: Peer) -> None:
        peer.receive_startup()
        for _ in range(1000):
            peer.raw(NoticeResponse({"S": "NOTICE", "C": "00000", "M": "please wait"}))
            stage.pass_time(0.1)

    stage = Stage()
    stage.play(script)
    assert stage.over
    assert "in time" in str(stage.error)


# ---- Quantities


def large_row(size: int, step: int) -> float:
    """CPU seconds for one row of `size` bytes that comes in pieces of `step`."""
    body = b"\0\1" + size.to_bytes(4, "big") + bytes(size)
    data = b"D" + (len(body) + 4).to_bytes(4, "big") + body

    spent = 0.0

    def script(peer: Peer) -> None:
        nonlocal spent
        running(BindComplete(), columns=[column("v", 17)])(peer)
        engine = stage.engine
        before = time.process_time()
        for start in range(0, len(data), step):
            engine.receive_data(data[start : start + step])
        spent = time.process_time() - before
        peer.raw(CommandComplete("SELECT 1"), ReadyForQuery("I"))

    stage = Stage(WORKS["query"])
    stage.play(script)
    assert stage.error is None
    operation = stage.operation
    assert isinstance(operation, Execution)
    assert len(operation.items[0].rows[0][0]) == size
    return spent


def test_a_row_in_small_pieces_takes_linear_time() -> None:
    """64 times the size in pieces of the same size may take no more than 64 times as long, and some noise."""
    small = min(large_row(1 << 16, 16) for _ in range(5))
    large = min(large_row(1 << 20, 16) for _ in range(2))
    assert large < 16 * small * 3


def test_single_bytes_cost_their_calls_and_no_more() -> None:
    """The ratio to a delivery as a whole: 20 at most for each of the calls that it takes."""
    calls = 1 << 18
    whole = min(large_row(1 << 18, 1 << 16) for _ in range(3))
    single = min(large_row(1 << 18, 1) for _ in range(3))

    def nothing(data: bytes) -> None:
        """What the calls alone cost."""

    before = time.process_time()
    data = bytes(calls)
    for start in range(calls):
        nothing(data[start : start + 1])
    floor = time.process_time() - before
    assert single < 20 * (whole + floor)


# ---- Names, counts, functions


def rows_with(names: list[str]) -> Row:
    """One row with these columns."""
    values = [number.to_bytes(4, "big") for number in range(len(names))]
    stage = Stage(WORKS["query"])
    stage.play(
        running(
            BindComplete(),
            DataRow(values),
            CommandComplete("SELECT 1"),
            ReadyForQuery("I"),
            columns=[column(name) for name in names],
        )
    )
    assert stage.error is None
    operation = stage.operation
    assert isinstance(operation, Execution)
    row: Row = operation.items[0].rows[0]
    return row


def test_names_of_columns_are_data() -> None:
    """CVE-2017-16082: a name is a dict key and nothing else."""
    names = ["__class__", "__dict__", "x\ny", "", "_values", "keys", "0", "'; drop table t; --", "\x1b[31m"]
    row = rows_with(names)
    assert row.keys() == tuple(names)
    assert [row[name] for name in names] == list(range(len(names)))
    assert type(row) is Row
    assert not hasattr(row, "x\ny")
    assert repr(row).isprintable()


def test_the_most_columns_that_a_message_can_have() -> None:
    names = [f"c{number}" for number in range(65_535)]
    before = time.process_time()
    row = rows_with(names)
    assert row["c65534"] == 65_534
    assert time.process_time() - before < 5


def test_the_result_of_a_function_is_bounded_by_the_caller() -> None:
    """CVE-2025-12818, CVE-2026-6477: the server sizes an answer that the client has to hold."""
    connection = PGConnection(CLIENT, max_message_size=1000)
    for speaker, message in LOGIN:
        if speaker == CLIENT:
            connection.send(message)
        else:
            connection.receive_data(message.encode())
            connection.next_event()
    connection.send(FunctionCall(1, (), (), 1))
    connection.receive_data(FunctionCallResponse(b"x" * 2000).encode())
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert "allowed are 4 to 1000" in str(closed.error)


def test_a_function_call_of_another_size_is_refused_before_it_is_sent() -> None:
    connection = walk(CLIENT, LOGIN)
    with pytest.raises(LocalProtocolError):
        connection.send(FunctionCall(1, (), [b""] * 65_536, 1))
    assert connection.in_flight == 0
    assert frames.DEFAULT_MAX_MESSAGE_SIZE < 1 << 30
