"""Connecting by polling, and cancel requests, against real servers."""

from __future__ import annotations

import pytest

from pgproto import ConnectError, PostgresError
from pgproto.session import Script
from pgproto_pytest.process import free_port
from tests.embedding.nonblocking import Session
from tests.support.postgres import PASSWORD, PostgresServer


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_a_query(pg: PostgresServer, way: str) -> None:
    where = {"host": str(pg.directory)} if way == "unix" else {}
    dsn = pg.dsn(user="scram_user", password=PASSWORD, **where)
    with Session(dsn) as session:
        script = Script("select 1; select 2")
        session.run(script)
        assert [list(result.rows[0]) for result in script.results] == [["1"], ["2"]]


def test_tls(pg15: PostgresServer) -> None:
    name = {"host": "localhost", "hostaddr": "127.0.0.1"}
    with Session(pg15.dsn(sslmode="verify-full", sslrootcert=str(pg15.tls.ca), **name)) as session:
        assert session.engine.channel.tls is not None
        script = Script("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        session.run(script)
        assert list(script.results[0].rows[0]) == ["t"]


def test_a_cancel_request(pg: PostgresServer) -> None:
    with Session(pg.dsn()) as session:
        script = Script("select pg_sleep(300)")
        session.run(script, until="begun")
        while not pg.query("select 1 from pg_stat_activity where query = 'select pg_sleep(300)'"):
            pass
        session.cancel()
        session.run(script)
        assert isinstance(script.error, PostgresError)
        assert script.error.sqlstate == "57014"
        session.run(again := Script("select 1"))
        assert again.error is None


def test_nobody_listens(pg18: PostgresServer) -> None:
    with pytest.raises(ConnectError, match="Connection refused"):
        Session(pg18.dsn(port=free_port()))
    two = f"host=127.0.0.1,127.0.0.1 port={free_port()},{pg18.port} user=postgres sslmode=disable"
    with Session(two) as session:
        assert session.engine.reusable
