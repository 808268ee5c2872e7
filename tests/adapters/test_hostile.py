"""The hostile servers of `tests.hostile` over TCP, against all adapters.

The tables say what must hold; here it is the adapter that must end in a declared error before its deadline,
and go on with another connection.  The password must be neither in what the server got, nor in any text
that the error leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

import pgproto
from pgproto.session.startup import ENCRYPT_REQUIRE, ENCRYPT_TRY
from pgproto.wire import (
    AuthenticationCleartextPassword,
    Bind,
    BindComplete,
    CommandComplete,
    DataRow,
    Describe,
    Execute,
    NoticeResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    ReadyForQuery,
    RowDescription,
    Sync,
)
from pgproto_pytest import Driver
from pgproto_pytest.process import free_port
from tests.hostile.case import Case, after_startup, finish, secrets_are_kept, texts
from tests.hostile.scram import LET_IN, challenge
from tests.hostile.servers_authentication import AUTHENTICATION
from tests.hostile.servers_session import SESSION
from tests.hostile.servers_startup import STARTUP
from tests.hostile.servers_tls import TLS_SERVERS
from tests.support.healthy import healthy
from tests.support.memory import CANARY
from tests.support.scripted import PARAMETERS, Peer, Script, ScriptedServer, column

SSLMODES = {None: "disable", ENCRYPT_REQUIRE: "require", ENCRYPT_TRY: "prefer"}


def over_tcp(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """The rows that are played to the adapters."""
    return pytest.mark.parametrize("case", [case for case in cases if case.tcp], ids=repr)


def refused(driver: Driver, *scripts: Script, sslmode: str = "disable", **more: Any) -> Exception:
    """Connect to the scripts with the canary as the password; the error with which that must end."""
    caught: list[Exception] = []
    with ScriptedServer(*scripts, then=scripts[-1]) as server:

        async def scenario(pg: Driver) -> None:
            with pytest.raises(pgproto.Error) as info:
                async with pg.connect(server.dsn(password=CANARY, options=f"sslmode={sslmode}"), **more):
                    raise AssertionError("connected")
            caught.append(info.value)

        driver.run(scenario)
    for peer in server.peers:
        secrets_are_kept(peer.received)
    assert CANARY not in texts(caught[0])
    return caught[0]


def matches(case: Case, problem: BaseException) -> bool:
    """True if the error, or one that it stands for, has the row's text."""
    said = [problem, *getattr(problem, "errors", ())]
    return any(re.search(case.slow_text or case.text, str(each)) for each in said)


# ---- Starting a session


@over_tcp([*TLS_SERVERS.values(), *AUTHENTICATION.values(), *STARTUP.values()])
def test_no_session(driver: Driver, case: Case) -> None:
    sslmode = SSLMODES[case.options.get("encryption")]
    patience = 0.2 if case.name.startswith("silence") else 2
    scripts = (case.script, finish) if sslmode == "prefer" else (case.script,)
    problem = refused(driver, *scripts, sslmode=sslmode, connect_timeout=patience)
    assert isinstance(problem, pgproto.ConnectError)
    assert problem.outcome is pgproto.Outcome.NOT_SENT
    assert matches(case, problem), str(problem)


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


def test_a_rogue_first_host_does_not_weaken_the_policy_for_the_next(driver: Driver) -> None:
    """CVE-2018-10915: what was asked of the second host is what would have been asked of the first."""
    rogue = after_startup(b"HTTP/1.1 400 Bad Request\r\n\r\n", end=finish)
    thief = after_startup(AuthenticationCleartextPassword())
    with ScriptedServer(rogue, then=rogue) as first, ScriptedServer(thief, then=thief) as second:

        async def scenario(pg: Driver) -> None:
            dsn = (
                f"postgresql://tester:{CANARY}@127.0.0.1:{first.port},127.0.0.1:{second.port}/db"
                "?sslmode=disable"
            )
            with pytest.raises(pgproto.ConnectError, match="over an unencrypted connection") as caught:
                async with pg.connect(dsn):
                    raise AssertionError("connected")
            assert len(caught.value.errors) >= 2
            assert CANARY not in texts(caught.value)

        driver.run(scenario)
    assert second.peers
    for peer in (*first.peers, *second.peers):
        secrets_are_kept(peer.received)


def test_hashing_is_bounded_by_the_connect_timeout(driver: Driver) -> None:
    """The largest count that is allowed: the proof comes late or not at all, the timeout in time."""

    def script(peer: Peer) -> None:
        challenge(peer, "r={}server,s=c2FsdA==,i=1000000")
        peer.keep_open()

    problem = refused(driver, script, connect_timeout=0.3)
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


@over_tcp(SESSION.values())
def test_session(driver: Driver, case: Case) -> None:
    """Nonsense in the answer ends the session, with an honest label, and the pool goes on without it."""
    assert case.work == "query"
    with ScriptedServer(case.script, then=healthy) as server:

        async def scenario(pg: Driver) -> None:
            dsn = server.dsn(password=CANARY)
            async with pg.Pool(dsn, min_size=0, max_size=1, backoff=0.001, max_backoff=0.001) as pool:
                with pytest.raises(case.error, match=case.text) as caught:
                    await pool.fetch("select 1")
                assert caught.value.outcome is case.outcome
                assert CANARY not in texts(caught.value)
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


COLUMNS = RowDescription([column()])


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
