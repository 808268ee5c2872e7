"""Servers that mean harm, or are no PostgreSQL at all, against all adapters.

Every script must end in a declared error before its deadline, and the canary (the password) must be neither
in what the server got, nor in any text that the error leads to.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import pgproto
from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationGSS,
    AuthenticationKerberosV5,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    AuthenticationSSPI,
    BackendKeyData,
    Bind,
    BindComplete,
    CommandComplete,
    DataRow,
    Describe,
    Execute,
    Message,
    NegotiateProtocolVersion,
    NoticeResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    ReadyForQuery,
    RowDescription,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    Sync,
)
from tests.support.drivers import Driver
from tests.support.process import free_port
from tests.support.scripted import PARAMETERS, Peer, Script, ScriptedServer, column, error, fatal

CANARY = "c4n4ry-pa55word"
SCRAM = AuthenticationSASL(["SCRAM-SHA-256"])
LET_IN = (AuthenticationOk(), BackendKeyData(1, b"1234"), ReadyForQuery("I"))
PLAIN, PREFER, REQUIRE = "sslmode=disable", "sslmode=prefer", "sslmode=require"


def texts(problem: BaseException) -> str:
    """Everything that a log could show of an error, its causes and companions."""
    seen: list[str] = []
    queue: list[BaseException] = [problem]
    while queue:
        each = queue.pop()
        seen += [str(each), repr(each), repr(each.args), "".join(traceback.format_exception(each))]
        related = [each.__cause__, each.__context__, *getattr(each, "also", ()), *getattr(each, "errors", ())]
        queue += [other for other in related if isinstance(other, BaseException) and str(other) not in seen]
    return "\n".join(seen)


def refused(driver: Driver, *scripts: Script, options: str = PLAIN, **more: Any) -> Exception:
    """Connect to the script with the canary as the password; the error with which that must end."""
    caught: list[Exception] = []
    with ScriptedServer(*scripts, then=scripts[-1]) as server:

        async def scenario(pg: Driver) -> None:
            with pytest.raises(pgproto.Error) as info:
                async with pg.connect(server.dsn(password=CANARY, options=options), **more):
                    raise AssertionError("connected")
            caught.append(info.value)

        driver.run(scenario)
    for peer in server.peers:
        assert CANARY.encode() not in peer.received
        inner = hashlib.md5(f"{CANARY}tester".encode()).hexdigest()
        assert b"md5" + hashlib.md5(inner.encode() + b"salt").hexdigest().encode() not in peer.received
    assert CANARY not in texts(caught[0])
    return caught[0]


def after_startup(*parts: Message | bytes, end: Callable[[Peer], None] = Peer.keep_open) -> Script:
    """Receive the StartupMessage, say these, and wait (or end otherwise)."""

    def script(peer: Peer) -> None:
        peer.receive_startup()
        peer.raw(*parts)
        end(peer)

    return script


def at_once(*parts: Message | bytes, end: Callable[[Peer], None] = Peer.finish) -> Script:
    """Say these without having heard anything."""

    def script(peer: Peer) -> None:
        peer.raw(*parts)
        end(peer)

    return script


# ---- Before and during TLS

BEHIND_S = {
    "authentication": AuthenticationOk().encode(), "error": error("28000").encode(), "notice": b"N",
    "handshake": b"\x16\x03\x03\0\x02\0\0", "second S": b"S", "NUL": b"\0",
}  # fmt: skip


@pytest.mark.parametrize("name", BEHIND_S)
@pytest.mark.parametrize("options", [PREFER, REQUIRE])
def test_bytes_behind_the_answer_to_sslrequest(driver: Driver, name: str, options: str) -> None:
    """CVE-2021-23222: they would pass for bytes that came through TLS."""

    def script(peer: Peer) -> None:
        peer.expect(SSLRequest)
        peer.raw(b"S" + BEHIND_S[name])
        peer.keep_open()

    def second(peer: Peer) -> None:
        peer.finish()

    problem = refused(driver, script, second, options=options)
    assert "behind its answer" in str(problem)


def test_plain_text_instead_of_the_handshake(driver: Driver) -> None:
    def script(peer: Peer) -> None:
        peer.expect(SSLRequest)
        peer.raw(b"S")
        peer.sock.recv(1)
        peer.raw(*LET_IN)
        peer.keep_open()

    refused(driver, script, options=REQUIRE)


ANSWERS_TO_SSL = {
    "N": b"N", "G": b"G", "X": b"X", "NUL": b"\0", "H": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "error": error("08P01", "\x1b[31mtrust me").encode(), "unterminated error": b"E\0\0\0\x20SFATAL",
    "endless error": b"E\x7f\xff\xff\xffSFATAL", "NULs": b"E" + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS_TO_SSL)
def test_answers_to_sslrequest(driver: Driver, name: str) -> None:
    """With sslmode=require nothing but TLS will do; an error text of nobody knows whom is not shown."""

    def script(peer: Peer) -> None:
        peer.expect(SSLRequest)
        peer.raw(ANSWERS_TO_SSL[name])
        peer.keep_open()

    problem = refused(driver, script, options=REQUIRE)
    assert "trust me" not in texts(problem)


# ---- Authentication


def challenge(
    peer: Peer, *, iterations: str = "4096", nonce: str = "{}server", salt: str = "c2FsdA=="
) -> None:
    """The server's first SCRAM message, with what the client sent as `{}`."""
    peer.receive_startup()
    peer.send(SCRAM)
    first = peer.expect_one(SASLInitialResponse)
    theirs = (first.data or b"").decode().partition(",r=")[2]
    text = f"r={nonce.format(theirs)},s={salt},i={iterations}"
    peer.send(AuthenticationSASLContinue(text.encode()))


def challenged(**how: str) -> Script:
    """A script whose challenge must be refused: no proof may follow."""

    def script(peer: Peer) -> None:
        challenge(peer, **how)
        assert not isinstance(peer.receive(), SASLResponse), "the client went on"

    return script


def proven(*parts: Message | bytes) -> Script:
    """Take the client's proof, then say these."""

    def script(peer: Peer) -> None:
        challenge(peer)
        peer.expect(SASLResponse)
        peer.raw(*parts)
        peer.keep_open()

    return script


WRONG_SIGNATURE = AuthenticationSASLFinal(b"v=" + b"A" * 43 + b"=")
AUTHENTICATION: dict[str, Script] = {
    "cleartext": after_startup(AuthenticationCleartextPassword()),
    "md5": after_startup(AuthenticationMD5Password(b"salt")),
    "kerberos": after_startup(AuthenticationKerberosV5()),
    "gss": after_startup(AuthenticationGSS()),
    "sspi": after_startup(AuthenticationSSPI()),
    "unknown method": after_startup(b"R\0\0\0\x08\0\0\0\x63"),
    "no mechanism": after_startup(AuthenticationSASL([])),
    "unknown mechanism": after_startup(AuthenticationSASL(["PLAIN", "SCRAM-MD5"])),
    "plus without tls": after_startup(AuthenticationSASL(["SCRAM-SHA-256-PLUS"])),
    "ok without final": proven(*LET_IN),
    "ok without continue": after_startup(SCRAM, *LET_IN),
    "wrong signature": proven(WRONG_SIGNATURE, *LET_IN),
    "no signature": proven(AuthenticationSASLFinal(b""), *LET_IN),
    "error in final": proven(AuthenticationSASLFinal(b"e=other-error"), *LET_IN),
    "cleartext after scram": proven(AuthenticationCleartextPassword()),
    "scram again": proven(SCRAM),
    "continue again": proven(AuthenticationSASLContinue(b"r=x,s=eA==,i=4096")),
    "final without sasl": after_startup(AuthenticationSASLFinal(b"v=x")),
    "continue without sasl": after_startup(AuthenticationSASLContinue(b"r=x,s=eA==,i=1")),
    "ready without ok": after_startup(ReadyForQuery("I")),
    "key without ok": after_startup(BackendKeyData(1, b"1234")),
    "iterations 0": challenged(iterations="0"),
    "iterations -1": challenged(iterations="-1"),
    "iterations 2147483647": challenged(iterations="2147483647"),
    "iterations 1e9": challenged(iterations="1e9"),
    "iterations digits": challenged(iterations="9" * 1500),
    "nonce is ours": challenged(nonce="{}"),
    "nonce is another": challenged(nonce="another{}"),
    "nonce is empty": challenged(nonce=""),
    "salt is empty": challenged(salt=""),
    "salt is no base64": challenged(salt="*"),
}  # fmt: skip


@pytest.mark.parametrize("name", AUTHENTICATION)
def test_authentication(driver: Driver, name: str) -> None:
    refused(driver, AUTHENTICATION[name])


@pytest.mark.parametrize("require", ["scram-sha-256", "!none", "md5,password"])
def test_no_authentication_where_one_is_required(driver: Driver, require: str) -> None:
    refused(driver, after_startup(*LET_IN), require_auth=require)


def test_cleartext_is_sent_where_it_was_asked_for(driver: Driver) -> None:
    """The scripts above prove something only if the password would be seen."""

    def script(peer: Peer) -> None:
        peer.receive_startup()
        peer.send(AuthenticationCleartextPassword())
        peer.receive()
        peer.send(*LET_IN)
        peer.expect_end()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn(password=CANARY), require_auth="password") as conn:
                assert CANARY not in repr(conn) + repr(conn.config) + str(conn.config)

        driver.run(scenario)
        assert CANARY.encode() in server.peers[0].received


# ---- What is no PostgreSQL, and what cannot be a message

STARTUP: dict[str, Script] = {
    "http": after_startup(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", end=Peer.finish),
    "ssh": at_once(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "smtp": at_once(b"220 mail.example.com ESMTP\r\n", end=Peer.keep_open),
    "mysql": at_once(b"J\0\0\0\n8.0.36\0\x0b\0\0\0" + bytes(60)),
    "redis": after_startup(b"-ERR unknown command\r\n", end=Peer.finish),
    "zeros": after_startup(bytes(4096)),
    "ones": after_startup(b"\xff" * 4096),
    "giant length": after_startup(b"R\x7f\xff\xff\xff\0\0\0\0"),
    "negative length": after_startup(b"R\xff\xff\xff\xff\0\0\0\0"),
    "length 0": after_startup(b"R\0\0\0\0"),
    "length 3": after_startup(b"R\0\0\0\3"),
    "giant error": after_startup(b"E\x40\0\0\0SFATAL\0"),
    "giant notice": after_startup(b"N\x40\0\0\0SNOTICE\0"),
    "unknown type": after_startup(b"!\0\0\0\4"),
    "rows": after_startup(DataRow([b"1"])),
    "closes": at_once(),
    "resets": at_once(end=Peer.reset),
    "closes after startup": after_startup(end=Peer.finish),
    "half a header": after_startup(b"R\0\0", end=Peer.finish),
    "half a message": after_startup(b"R\0\0\0\x0c\0\0\0\5sa", end=Peer.finish),
    "fatal": after_startup(fatal("57P03", "the database system is starting up"), end=Peer.finish),
    "error without fields": after_startup(b"E\0\0\0\5\0", end=Peer.finish),
    "error with half a field": after_startup(b"E\0\0\0\x08SERR", end=Peer.finish),
    "version 4": after_startup(NegotiateProtocolVersion(4 << 16, [])),
    "newer than asked": after_startup(NegotiateProtocolVersion(196613, [])),
    "many options": after_startup(b"v\0\0\0\x0c\0\3\0\0\x7f\xff\xff\xff"),
    "long key": after_startup(AuthenticationOk(), b"K\0\0\1\x09" + bytes(261)),
    "short key": after_startup(AuthenticationOk(), b"K\0\0\0\x0b\0\0\0\1abc"),
    "encoding": after_startup(
        AuthenticationOk(), ParameterStatus("client_encoding", "SQL_ASCII"), ReadyForQuery("I")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STARTUP)
def test_startup(driver: Driver, name: str) -> None:
    problem = refused(driver, STARTUP[name], connect_timeout=2)
    assert isinstance(problem, pgproto.ConnectError)
    assert problem.outcome is pgproto.Outcome.NOT_SENT


def after_ssl(*parts: bytes) -> Script:
    """Receive the SSLRequest, say these, and wait."""

    def script(peer: Peer) -> None:
        peer.expect(SSLRequest)
        peer.raw(*parts)
        peer.keep_open()

    return script


SILENT: dict[str, Script] = {
    "from the start": Peer.keep_open,
    "after ssl": after_ssl(),
    "inside the handshake": after_ssl(b"S"),
    "after startup": after_startup(),
    "inside of a message": after_startup(b"R\0\0\0"),
    "after ok": after_startup(AuthenticationOk()),
    "before ready": after_startup(*LET_IN[:2], ParameterStatus("a", "b"), b"Z\0\0"),
}


@pytest.mark.parametrize("name", SILENT)
def test_silence(driver: Driver, name: str) -> None:
    """A server that accepts and says nothing (more): the connect timeout ends it."""
    options = REQUIRE if name in ("after ssl", "inside the handshake") else PLAIN
    problem = refused(driver, SILENT[name], options=options, connect_timeout=0.2)
    assert isinstance(problem, pgproto.ConnectError)


def test_drip(driver: Driver) -> None:
    """Notices for ever: the connect timeout is for the whole of it."""
    notice = NoticeResponse({"S": "NOTICE", "C": "00000", "M": "please wait"})

    def script(peer: Peer) -> None:
        peer.receive_startup()
        while True:
            peer.raw(notice)
            peer.wait_taken()

    problem = refused(driver, script, connect_timeout=0.3)
    assert isinstance(problem, pgproto.ConnectError)


def test_nobody_listens(driver: Driver) -> None:
    port = free_port()

    async def scenario(pg: Driver) -> None:
        with pytest.raises(pgproto.ConnectError) as caught:
            async with pg.connect(f"postgresql://tester:{CANARY}@127.0.0.1:{port}/db"):
                raise AssertionError("connected")
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert CANARY not in texts(caught.value)

    driver.run(scenario)


# ---- In the session

COLUMNS = RowDescription([column()])
QUERY: dict[str, tuple[Message | bytes, ...]] = {
    "giant row": (BindComplete(), b"D\x7f\xff\xff\xff\0\1"),
    "negative length": (BindComplete(), b"D\xff\xff\xff\xff"),
    "length 0": (BindComplete(), b"D\0\0\0\0"),
    "negative column": (BindComplete(), b"D\0\0\0\x0a\0\1\xff\xff\xff\xfe"),
    "column beyond the row": (BindComplete(), b"D\0\0\0\x0e\0\1\0\0\1\0abcd"),
    "columns beyond the row": (BindComplete(), b"D\0\0\0\x0a\x7f\xff\xff\xff\xff\xff"),
    "bytes behind the columns": (BindComplete(), b"D\0\0\0\x0f\0\1\0\0\0\4abcdx"),
    "empty row body": (BindComplete(), b"D\0\0\0\4"),
    "tag without end": (BindComplete(), b"C\0\0\0\x08SELE"),
    "status": (BindComplete(), CommandComplete("SELECT 0"), b"Z\0\0\0\5X"),
    "long status": (BindComplete(), CommandComplete("SELECT 0"), b"Z\0\0\0\6II"),
    "giant ready": (BindComplete(), CommandComplete("SELECT 0"), b"Z\x40\0\0\0I"),
    "http": (b"HTTP/1.1 200 OK\r\n\r\n",),
}  # fmt: skip


@pytest.mark.parametrize("name", QUERY)
def test_query(driver: Driver, name: str) -> None:
    """Nonsense in the answer ends the session, with an honest label, and the pool goes on without it."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Parse, Describe, Sync)
        peer.send(ParseComplete(), ParameterDescription([]), COLUMNS, ReadyForQuery("I"))
        peer.expect(Bind, Execute, Sync)
        peer.raw(*QUERY[name])
        peer.keep_open()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            dsn = server.dsn(password=CANARY)
            async with pg.Pool(dsn, min_size=0, max_size=1, backoff=0.001, max_backoff=0.001) as pool:
                with pytest.raises(pgproto.RemoteProtocolError) as caught:
                    await pool.fetch("select 1")
                assert caught.value.outcome is pgproto.Outcome.UNKNOWN
                assert CANARY not in texts(caught.value)
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


def test_a_flood_of_parameters_and_notices(driver: Driver) -> None:
    """What the server makes up is not kept without bound, and does not starve the query."""
    notice = NoticeResponse({"S": "NOTICE", "C": "00000", "M": "by the way"})

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Parse, Describe, Sync)
        peer.raw(b"".join(ParameterStatus(f"p{number}", "x" * 100).encode() for number in range(20_000)))
        peer.raw(notice.encode() * 20_000)
        peer.send(ParseComplete(), ParameterDescription([]), COLUMNS, ReadyForQuery("I"))
        peer.expect(Bind, Execute, Sync)
        peer.send(BindComplete(), DataRow([b"\0\0\0\1"]), CommandComplete("SELECT 1"), ReadyForQuery("I"))
        peer.expect_end()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                assert await conn.fetchval("select 1") == 1
                assert len(PARAMETERS) < len(conn.parameters) <= 1000

        driver.run(scenario)
