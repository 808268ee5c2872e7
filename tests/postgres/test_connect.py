"""Connecting to real servers: authentication, TLS, several hosts, deadlines, and what a session is then.

PostgreSQL 15 has TLS (its certificate is for localhost, not for 127.0.0.1), 18 has protocol 3.2.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from pgproto import (
    Batch,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Error,
    Outcome,
    PostgresError,
    QueryTimeout,
)
from pgproto.wire import PROTOCOL_3_0, PROTOCOL_3_2
from pgproto_pytest import Driver
from pgproto_pytest.process import free_port, wait_until
from tests.support.drivers import DRIVERS
from tests.support.postgres import PASSWORD, PostgresServer, TLSFiles
from tests.support.proxy import Proxy

pytestmark = pytest.mark.parametrize("driver", DRIVERS, ids=repr)

USED_TLS = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


def connects(driver: Driver, dsn: str, **options: Any) -> bool:
    """Connect and ask something; True if that was encrypted."""
    encrypted: list[bool] = []

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn, **options) as conn:
            assert await conn.fetchval("select 42") == 42
            encrypted.append(await conn.fetchval(USED_TLS))
            assert encrypted[0] == (conn.engine.channel.tls is not None)

    driver.run(scenario)
    return encrypted[0]


def fails(driver: Driver, dsn: str, kind: type[Error] = ConnectError, **options: Any) -> Any:
    """Fail to connect; the error."""
    errors: list[Error] = []

    async def scenario(pg: Driver) -> None:
        with pytest.raises(kind) as caught:
            async with pg.connect(dsn, **options):
                pass
        errors.append(caught.value)

    driver.run(scenario)
    assert PASSWORD not in str(errors[0])
    return errors[0]


# ---- Authentication

# User, TLS mode, options; then whether it was encrypted, or what the error says.
LOGINS: list[tuple[str, str, dict[str, Any], bool | str]] = [
    ("scram_user", "disable", {}, False),
    ("scram_user", "require", {}, True),
    ("scram_user", "require", {"channel_binding": "require"}, True),
    ("scram_user", "disable", {"channel_binding": "require"}, "channel"),
    ("scram_user", "require", {"channel_binding": "disable"}, True),
    ("scram_user", "disable", {"require_auth": "scram-sha-256"}, False),
    ("scram_user", "disable", {"require_auth": "md5"}, "requirement"),
    ("scram_user", "disable", {"require_auth": "!scram-sha-256"}, "requirement"),
    ("md5_user", "disable", {}, "md5"),
    ("md5_user", "disable", {"require_auth": "md5"}, False),
    ("md5_user", "require", {}, True),
    ("md5_user", "require", {"channel_binding": "require"}, "channel"),
    ("password_user", "disable", {}, "password"),
    ("password_user", "disable", {"require_auth": "password"}, False),
    ("password_user", "require", {}, True),
    ("postgres", "disable", {}, False),
    ("postgres", "disable", {"require_auth": "none"}, False),
    ("postgres", "disable", {"require_auth": "scram-sha-256"}, "requirement"),
    ("tls_user", "require", {}, True),
    ("tls_user", "prefer", {}, True),
    ("tls_user", "allow", {}, True),
    ("plain_user", "prefer", {}, False),
    ("plain_user", "allow", {}, False),
    ("plain_user", "disable", {}, False),
]


def test_many_rounds_of_scram_are_computed_aside(driver: Driver, pg18: PostgresServer) -> None:
    """Above 100,000 rounds the adapters compute outside of the event loop."""
    change = "set scram_iterations = {}; alter role scram_user password '{}'"
    pg18.query(change.format(150_000, PASSWORD))
    try:
        assert not connects(driver, pg18.dsn(user="scram_user", password=PASSWORD))
        assert fails(driver, pg18.dsn(user="scram_user", password="wrong")).sqlstate == "28P01"
    finally:
        pg18.query(change.format(4096, PASSWORD))


@pytest.mark.parametrize(
    ("user", "sslmode", "options", "expected"), LOGINS, ids=lambda value: str(value).replace(" ", "")
)
def test_logins(
    pg15: PostgresServer,
    driver: Driver,
    user: str,
    sslmode: str,
    options: dict[str, Any],
    expected: bool | str,
) -> None:
    dsn = pg15.dsn(user=user, password=PASSWORD, sslmode=sslmode)
    if isinstance(expected, bool):
        assert connects(driver, dsn, **options) is expected
    else:
        assert expected in str(fails(driver, dsn, **options)).lower()


@pytest.mark.parametrize(
    ("options", "sqlstate"),
    [
        ({"user": "scram_user", "password": "wrong"}, "28P01"),
        ({"user": "md5_user", "password": "wrong", "sslmode": "require"}, "28P01"),
        ({"user": "password_user", "password": "wrong", "sslmode": "require"}, "28P01"),
        ({"user": "nobody_at_all"}, "28000"),
        ({"dbname": "nowhere"}, "3D000"),
        ({"user": "tls_user", "password": PASSWORD}, "28000"),
        ({"user": "plain_user", "sslmode": "require"}, "28000"),
    ],
    ids=lambda value: str(value),
)
def test_refused_by_the_server(
    pg15: PostgresServer, driver: Driver, options: dict[str, str], sqlstate: str
) -> None:
    error = fails(driver, pg15.dsn(**options))
    assert error.sqlstate == sqlstate
    assert isinstance(error.__cause__, PostgresError)
    assert [each.sqlstate for each in error.errors] == [sqlstate], "asked more than once"


def test_a_password_is_needed(pg15: PostgresServer, driver: Driver) -> None:
    assert "password" in str(fails(driver, pg15.dsn(user="scram_user"), Error))


def test_the_unix_socket(pg15: PostgresServer, driver: Driver) -> None:
    host = str(pg15.directory)
    assert not connects(driver, pg15.dsn(host=host, sslmode=None))
    # A unix socket needs no TLS, and its own rules let everybody in.
    assert not connects(driver, pg15.dsn(host=host, user="md5_user", sslmode="prefer"))
    assert "requirepeer" in str(fails(driver, pg15.dsn(host=host, requirepeer="daemon")))


# ---- TLS

CERTIFICATES: list[tuple[str, str, str, bool | str]] = [
    # mode, host, root, outcome
    ("disable", "localhost", "", False),
    ("allow", "localhost", "", False),
    ("prefer", "localhost", "", True),
    ("require", "localhost", "", True),
    ("require", "127.0.0.1", "", True),
    # As in libpq: with a root certificate `require` checks the chain.
    ("require", "127.0.0.1", "ca", True),
    ("require", "127.0.0.1", "other_ca", "certificate"),
    ("verify-ca", "127.0.0.1", "ca", True),
    ("verify-ca", "localhost", "other_ca", "certificate"),
    ("verify-full", "localhost", "ca", True),
    ("verify-full", "127.0.0.1", "ca", "certificate"),
    ("verify-full", "localhost", "other_ca", "certificate"),
]


@pytest.mark.parametrize(("sslmode", "host", "root", "expected"), CERTIFICATES)
def test_sslmodes(
    pg15: PostgresServer, driver: Driver, sslmode: str, host: str, root: str, expected: bool | str
) -> None:
    rootcert = str(getattr(pg15.tls, root)) if root else None
    hostaddr = "127.0.0.1" if host == "localhost" else None
    dsn = pg15.dsn(host=host, hostaddr=hostaddr, sslmode=sslmode, sslrootcert=rootcert)
    if isinstance(expected, bool):
        assert connects(driver, dsn) is expected
    else:
        assert expected in str(fails(driver, dsn)).lower()


def test_a_server_without_tls(pg18: PostgresServer, driver: Driver) -> None:
    if pg18.has_tls:
        pytest.skip("this build has TLS")
    assert not connects(driver, pg18.dsn(sslmode="prefer"))
    assert not connects(driver, pg18.dsn(sslmode="allow"))
    assert "TLS" in str(fails(driver, pg18.dsn(sslmode="require")))


def test_a_client_certificate(pg15: PostgresServer, driver: Driver) -> None:
    tls = pg15.tls
    dsn = pg15.dsn(user="cert_user", sslmode="verify-ca", sslrootcert=str(tls.ca))
    assert connects(driver, dsn, sslcert=str(tls.client_cert), sslkey=str(tls.client_key))
    assert fails(driver, dsn, sslcertmode="disable").sqlstate == "28000"
    fails(driver, dsn, ConfigError, sslcert=str(tls.client_cert), sslkey="/nowhere/at.all")


def test_direct_tls_needs_a_server_that_knows_it(pg15: PostgresServer, driver: Driver) -> None:
    error = fails(driver, pg15.dsn(sslmode="require", sslnegotiation="direct"))
    assert not error.sqlstate
    (note,) = error.__notes__
    assert "older than PostgreSQL 17" in note
    assert "sslnegotiation=postgres" in note
    assert note in error.errors[0].__notes__
    other = fails(driver, pg15.dsn(sslmode="require", sslnegotiation="direct", port=1))
    assert not hasattr(other, "__notes__")


def client_context(tls: TLSFiles, root: str, *, names: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(getattr(tls, root)))
    context.check_hostname = names
    return context


@pytest.mark.parametrize(
    ("host", "root", "names", "expected"),
    [
        ("localhost", "ca", True, True),
        ("127.0.0.1", "ca", True, "certificate"),
        ("127.0.0.1", "ca", False, True),
        ("127.0.0.1", "other_ca", False, "certificate"),
    ],
)
def test_a_context_of_the_callers(
    pg15: PostgresServer, driver: Driver, host: str, root: str, names: bool, expected: bool | str
) -> None:
    hostaddr = "127.0.0.1" if host == "localhost" else None
    dsn = pg15.dsn(host=host, hostaddr=hostaddr, sslmode="require")
    context = client_context(pg15.tls, root, names=names)
    if isinstance(expected, bool):
        assert connects(driver, dsn, ssl=context) is expected
    else:
        assert expected in str(fails(driver, dsn, ssl=context)).lower()


def test_a_context_with_channel_binding_a_client_certificate_and_a_pool(
    pg15: PostgresServer, driver: Driver
) -> None:
    context = client_context(pg15.tls, "ca", names=False)
    context.load_cert_chain(str(pg15.tls.client_cert), str(pg15.tls.client_key))
    assert connects(driver, pg15.dsn(user="cert_user", sslmode="require"), ssl=context)
    assert connects(
        driver,
        pg15.dsn(user="scram_user", password=PASSWORD, sslmode="require"),
        ssl=context,
        channel_binding="require",
    )

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg15.dsn(user="cert_user", sslmode="require"), ssl=context, max_size=1) as pool:
            assert await pool.fetchval(USED_TLS)
            with pytest.raises(QueryTimeout) as caught:  # the cancel request uses the context, too
                await pool.fetch("select pg_sleep(30)", timeout=0.2)
            assert isinstance(caught.value.__cause__, PostgresError)

    driver.run(scenario)


def test_a_context_is_never_used_without_tls(
    pg15: PostgresServer, pg18: PostgresServer, driver: Driver
) -> None:
    context = client_context(pg15.tls, "ca", names=False)
    fails(driver, pg15.dsn(sslmode="disable"), ConfigError, ssl=context)
    if not pg18.has_tls:
        assert "TLS" in str(fails(driver, pg18.dsn(sslmode="require"), ssl=context))
    error = fails(driver, pg15.dsn(sslmode="require"), ssl=context, sslnegotiation="direct")
    assert "set_alpn_protocols" in error.__notes__[0]


def test_a_cancel_request_takes_the_same_way(pg15: PostgresServer, driver: Driver) -> None:
    """Over TLS, and it works: the server's answer says so long before the query would have ended."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg15.dsn(user="tls_user", password=PASSWORD, sslmode="require")) as conn:
            started = time.monotonic()
            with pytest.raises(QueryTimeout) as caught:
                await conn.fetch("select pg_sleep(30)", timeout=0.2)
            assert time.monotonic() - started < 1.2
            assert isinstance(caught.value.__cause__, PostgresError)
            assert caught.value.__cause__.sqlstate == "57014"
            assert await conn.fetchval("select 42") == 42

    driver.run(scenario)


# ---- Several hosts


def test_the_first_host_that_works(pg15: PostgresServer, driver: Driver) -> None:
    dead = [free_port(), free_port()]
    hosts = "127.0.0.1,127.0.0.1,127.0.0.1"
    ports = ",".join(map(str, [*dead, pg15.port]))
    dsn = f"host={hosts} port={ports} user=postgres dbname=postgres sslmode=disable"
    assert not connects(driver, dsn)
    assert not connects(driver, dsn, load_balance_hosts="random")
    bad = f"host=127.0.0.1,127.0.0.1 port={dead[0]},{dead[1]} user=postgres dbname=postgres sslmode=disable"
    error = fails(driver, bad)
    assert len(error.errors) == 2
    assert all(str(port) in str(error) for port in dead)


def test_a_refused_login_ends_the_search(pg15: PostgresServer, driver: Driver) -> None:
    with Proxy((pg15.host, pg15.port)) as second:
        hosts = f"host=127.0.0.1,127.0.0.1 port={pg15.port},{second.port}"
        dsn = f"{hosts} dbname=nowhere user=postgres sslmode=disable"
        assert fails(driver, dsn).sqlstate == "3D000"
        assert second.connections == 0


def test_target_session_attrs(pg15: PostgresServer, pg18: PostgresServer, driver: Driver) -> None:
    for server in (pg15, pg18):
        for target in ("any", "read-write", "primary", "prefer-standby"):
            assert not connects(driver, server.dsn(target_session_attrs=target))
        for target in ("standby", "read-only"):
            assert f"not {target}" in str(fails(driver, server.dsn(target_session_attrs=target)))
        read_only = server.dsn(options="-c default_transaction_read_only=on")
        assert not connects(driver, read_only, target_session_attrs="read-only")
        assert "not read-write" in str(fails(driver, read_only, target_session_attrs="read-write"))


# ---- The session


def test_protocol_versions(pg15: PostgresServer, pg18: PostgresServer, driver: Driver) -> None:
    async def scenario(pg: Driver) -> None:
        for server, options, protocol, length in (
            (pg18, {}, PROTOCOL_3_2, 32),
            (pg18, {"max_protocol_version": "3.0"}, PROTOCOL_3_0, 4),
            (pg15, {}, PROTOCOL_3_0, 4),
        ):
            async with pg.connect(server.dsn(), **options) as conn:
                assert conn.engine.connection.protocol == protocol
                assert len(conn.engine.connection.backend_key.secret_key) == length
                with pytest.raises(QueryTimeout):
                    await conn.fetch("select pg_sleep(30)", timeout=0.1)
                assert await conn.fetchval("select 42") == 42

    driver.run(scenario)
    assert "min_protocol_version" in str(fails(driver, pg15.dsn(min_protocol_version="3.2")))


def test_settings(pg: PostgresServer, driver: Driver) -> None:
    async def scenario(adapter: Driver) -> None:
        async with adapter.connect(
            pg.dsn(application_name="my app"), server_settings={"work_mem": "12MB", "my.tenant": "7"}
        ) as conn:
            assert conn.parameters["application_name"] == "my app"
            assert conn.parameters["server_version"].startswith(pg.version)
            assert await conn.fetchval("show work_mem") == "12MB"
            assert await conn.fetchval("show my.tenant") == "7"
            assert await conn.fetchval("select pg_backend_pid()") == conn.pid
            assert await conn.fetchval("show client_encoding") == "UTF8"

    driver.run(scenario)
    assert fails(driver, pg.dsn(), server_settings={"no_such_setting": "1"}).sqlstate == "42704"


# ---- Deadlines and the end


def test_connect_timeout(pg15: PostgresServer, driver: Driver) -> None:
    with Proxy((pg15.host, pg15.port)) as proxy:
        proxy.black_hole()
        started = time.monotonic()
        fails(driver, pg15.dsn(port=proxy.port), timeout=0.3)
        assert 0.29 <= time.monotonic() - started < 1.3


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_a_silent_network(pg15: PostgresServer, driver: Driver, sslmode: str) -> None:
    """A query ends a second after its deadline at the latest, and close() takes a second at most."""

    async def scenario(pg: Driver) -> None:
        async with contextlib.AsyncExitStack() as stack:
            proxy = stack.enter_context(Proxy((pg15.host, pg15.port)))
            dsn = pg15.dsn(port=proxy.port, sslmode=sslmode)
            conns = [await stack.enter_async_context(pg.connect(dsn)) for _ in range(2)]
            proxy.black_hole()
            started = time.monotonic()
            with pytest.raises(QueryTimeout):
                await conns[0].fetch("select 1", timeout=0.3)
            assert 0.29 <= time.monotonic() - started < 1.3
            for conn in conns:
                started = time.monotonic()
                await conn.close()
                await conn.close()
                assert time.monotonic() - started < 1.2
                assert conn.closed
                with pytest.raises(ConnectionClosed):
                    await conn.fetch("select 1")

    driver.run(scenario)


def test_killed_while_idle(pg: PostgresServer, driver: Driver) -> None:
    """The next use says why: the server's 57P01 is kept."""

    async def scenario(adapter: Driver) -> None:
        async with adapter.connect(pg.dsn()) as conn:
            pg.query(f"select pg_terminate_backend({conn.pid}, 5000)")
            with pytest.raises((ConnectionLost, ConnectionClosed)) as caught:
                await conn.fetch("select 1")
            cause = caught.value.__cause__
            assert isinstance(cause, PostgresError)
            assert cause.sqlstate == "57P01"
            assert conn.closed
            # From now on nothing is even queued, and that is what the items say.
            batch = Batch()
            item = batch.queue("select 1")
            with pytest.raises(ConnectionClosed) as refused:
                await conn.send_batch(batch)
            assert refused.value.outcome is item.outcome is Outcome.NOT_SENT
            assert item.error is refused.value

    driver.run(scenario)


def test_close_tells_the_server(pg: PostgresServer, driver: Driver) -> None:
    def gone(pid: int) -> Callable[[], bool]:
        return lambda: pg.query(f"select count(*) from pg_stat_activity where pid = {pid}") == [["0"]]

    async def scenario(adapter: Driver) -> None:
        async with adapter.connect(pg.dsn()) as conn:
            pid = conn.pid
        await adapter.in_thread(lambda: wait_until(gone(pid), 5, "the backend's end"))

    driver.run(scenario)
