"""The pieces of pgproto_psycopg that need no server: conninfo, reports, characters, results, traces."""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import Any

import pytest

pytest.importorskip("psycopg")

# Whichever implementation psycopg has in this process: these modules do not depend on it.
from psycopg import errors as e
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.misc import PGresAttDesc

from pgproto.protocol import CLIENT, PGConnection
from pgproto_psycopg import dsn, multibyte, options
from pgproto_psycopg.connection import PGconn
from pgproto_psycopg.conninfo import Conninfo, configure, understand
from pgproto_psycopg.reports import report
from pgproto_psycopg.results import PGresult
from pgproto_psycopg.tracing import tracer
from pgproto_psycopg.transport import Transport


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)


def test_defaults_are_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def value(keyword: bytes) -> bytes | None:
        return next(option.val for option in Conninfo.get_defaults() if option.keyword == keyword)

    assert value(b"host") is None
    monkeypatch.setenv("PGHOST", "there")
    assert value(b"host") == b"there"
    assert len(Conninfo.get_defaults()) > 20
    assert options.compiled("port") == "5432"
    assert options.compiled("host") == ""


def test_what_libpq_does_where_nothing_is_said() -> None:
    config = configure(understand(b"user=u"))
    assert config.connect_timeout is None
    assert config.tcp_user_timeout is None
    assert config.max_protocol_version == 196608
    assert config.client_encoding == ""
    assert config.hosts[0].is_unix
    assert config.database == "u"
    newer = configure(understand(b"user=u min_protocol_version=3.2 client_encoding=auto host=h"))
    assert newer.max_protocol_version == 196610
    assert newer.client_encoding == "UTF8"


def test_settings_of_the_environment_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "UTC")
    monkeypatch.setenv("PGDATESTYLE", "default")
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    config = configure(understand(b"user=u host=h"))
    assert config.server_settings == (("timezone", "UTC"),)
    assert config.client_encoding == "latin1"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("sslmode=x", 'invalid sslmode value: "x"\n'),
        ("target_session_attrs=x", 'invalid target_session_attrs value: "x"\n'),
        ("port=1,2", "could not match 2 port numbers to 1 hosts\n"),
        ("host=a,b hostaddr=1.1.1.1", "could not match 2 host names to 1 hostaddr values\n"),
        ("scram_client_key=x", 'connection option "scram_client_key" is not supported by pgproto\n'),
        ("port=1x", 'invalid integer value "1x" for connection option "port"\n'),
    ],
)
def test_values_that_cannot_be_used(text: str, error: str) -> None:
    with pytest.raises(dsn.ConninfoError) as raised:
        configure(understand(b"user=u " + text.encode()))
    assert str(raised.value) == error


def test_long_lines_are_cut_around_the_caret() -> None:
    sql = b"select '" + b"x" * 100 + b"', nothing, '" + b"y" * 100 + b"'"
    told = report({"S": b"ERROR", "M": b"no", "P": b"112"}, sql).decode().split("\n")
    assert told[0] == "ERROR:  no"
    assert told[1].startswith("LINE 1: ...xxx")
    assert told[1].endswith("yyy...") or len(told[1]) <= 74
    assert told[1][told[2].index("^") :].startswith("nothing")
    wide = report({"M": b"no", "P": b"4"}, "日本 x".encode()).decode().split("\n")
    assert wide[2].index("^") == len("LINE 1: ") + 5
    assert report({"M": b"no", "P": b"4"}) == b"no at character 4\n"
    assert report({"M": b"no", "P": b"99"}, b"x") == b"no\n"
    assert report({"M": b"no", "p": b"1", "q": b"x"}) == b"no\nLINE 1: x\n        ^\nQUERY:  x\n"


@pytest.mark.parametrize(
    ("encoding", "text", "problem"),
    [
        (b"UTF8", "é€".encode(), ""),
        (b"UTF8", b"a\xff", "invalid"),
        (b"UTF8", b"a\xe2\x82", "incomplete"),
        (b"SJIS", b"\x83\x5c\xb1", ""),
        (b"SJIS", b"\x83", "incomplete"),
        (b"GB18030", b"\x81\x30\x81\x30\xa1\xa1", ""),
        (b"GB18030", b"\x81\x30\x81", "incomplete"),
        (b"EUC_JP", b"\x8e\xb1\x8f\xa1\xa1\xa1\xa1", ""),
        (b"EUC_TW", b"\x8e\xa1\xa1\xa1", ""),
        (b"BIG5", b"\xa1\x00", "invalid"),
        (b"LATIN1", b"\xff", ""),
    ],
)
def test_characters_of_several_bytes(encoding: bytes, text: bytes, problem: str) -> None:
    assert multibyte.problem(encoding, text, at_once=False) == problem
    assert multibyte.has_ascii_inside(encoding) == (encoding in (b"SJIS", b"GB18030", b"BIG5"))


def test_a_result_takes_columns_once() -> None:
    result = PGresult(ExecStatus.TUPLES_OK)
    result.set_attributes([PGresAttDesc(b"a", 1, 2, 1, 23, 4, -1)])
    with pytest.raises(e.OperationalError):
        result.set_attributes([PGresAttDesc(b"a", 1, 2, 1, 23, 4, -1)])
    result.complete(b"INSERT 7 3")
    assert (result.oid_value, result.command_tuples, result.binary_tuples) == (7, 3, 1)
    result.complete(b"BEGIN")
    assert (result.oid_value, result.command_tuples) == (0, None)
    result.clear()
    assert (result.command_status, result.nfields, result.status) == (None, 0, ExecStatus.FATAL_ERROR)


def test_a_trace_writes_at_once() -> None:
    read, write = os.pipe()
    trace = tracer(write, lambda: 3)
    trace("F", b"Q\0\0\0\x0dselect 1\0", False)
    assert os.read(read, 99) == b'F\t13\tQuery\t "select 1"\n'
    tracer(write, lambda: 0)("F", b"S\0\0\0\x04", False)
    assert b"\tF\t4\tSync\n" in os.read(read, 99)
    tracer(write, lambda: 1)("B", b"d\0\0\0\x07a\x01b", False)
    assert os.read(read, 99) == b"B\t7\tCopyData\t 'a\\x01b'\n"
    os.close(read)
    os.close(write)


class Counting(bytes):
    """Counts the bytes that are copied out of it by slices."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            Counting.copied += len(found)
        return found


def test_much_is_sent_without_copying_the_rest_again_and_again() -> None:
    size = 1 << 20
    here, there = socket.socketpair()
    here.setblocking(False)
    core = PGConnection(CLIENT)
    transport = Transport(here, core, None)
    transport._written.append(Counting(64 * size))
    transport._written.append(b"end")
    received = bytearray()
    while not transport.flush():
        received += there.recv(4 * size)
    here.close()
    while more := there.recv(size):
        received += more
    there.close()
    assert len(received) == 64 * size + 3
    assert received.endswith(b"end")
    assert Counting.copied == 0


def test_a_malformed_row_ends_the_session() -> None:
    """It is psycopg's error, and nothing more of this server is trusted."""

    def message(tag: bytes, body: bytes) -> bytes:
        return tag + struct.pack("!i", len(body) + 4) + body

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(9999)
            sock.sendall(message(b"R", b"\0" * 4) + message(b"K", b"\0" * 8) + message(b"Z", b"I"))
            sock.recv(9999)
            field = struct.pack("!h", 1) + b"a\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
            row = struct.pack("!hi", 1, -7) + b"x"
            sock.sendall(message(b"T", field) + message(b"D", row) + message(b"C", b"SELECT 1\0"))
            sock.sendall(message(b"Z", b"I"))
            sock.recv(9999)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        conn = PGconn.connect(f"host=127.0.0.1 port={port} user=x sslmode=disable".encode())
        result = conn.exec_(b"select 1")
        assert result.status == ExecStatus.FATAL_ERROR
        assert b"length -7" in result.error_message
        assert conn.status == ConnStatus.BAD
        assert conn.transaction_status == TransactionStatus.UNKNOWN
        conn.finish()
        thread.join()
