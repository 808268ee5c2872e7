"""Passwords that a function returns: asked for every new connection."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import ConfigError, ConnectError, Outcome, parse_config
from pgproto.protocol import ScramVerifier
from pgproto.protocol.server_authentication import ServerAuthenticator
from pgproto.session import Connector
from pgproto.testing import ModelServer, ModelSession, VirtualRuntime, rows_of


def asking(*passwords: str) -> VirtualRuntime:
    """A server whose sessions want these passwords, one after the other, and then the last one."""
    left = list(passwords)

    def on_session(session: ModelSession) -> None:
        password = left.pop(0) if len(left) > 1 else left[0]
        secret = ScramVerifier.from_password(password, b"0123456789abcdef").format()
        session.authenticator = ServerAuthenticator(
            "scram-sha-256", user="tester", secret=secret, random=bytes(18), mock_secret=b"m"
        )

    return VirtualRuntime(ModelServer({"select 1": rows_of(1)}, on_session))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_connection_asks_anew(asynchronous: bool) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append(f"token {len(asked)}")
        return asked[-1]

    async def fetched() -> str:
        await runtime.sleep(1)
        return token()

    runtime = asking("token 0", "token 1", "token 2")
    function: Any = fetched if asynchronous else token

    async def main() -> None:
        async with runtime.connect(password=function) as conn:
            assert await conn.fetchval("select 1") == 1
            assert conn.config.password is None
        async with runtime.Pool(password=function, min_size=2, max_size=2) as pool:
            assert await pool.fetchval("select 1") == 1
            assert len(asked) == 3

    runtime.run(main)
    assert runtime.reports == []


def test_it_comes_before_every_other_source() -> None:
    config = parse_config(
        "postgresql://me:old@here/there", password=lambda: "new", environ={"PGPASSWORD": "older"}
    )
    assert config.password is None
    assert config.password_for(config.hosts[0]) is None
    assert "new" not in repr(config)
    with pytest.raises(ConfigError, match="it is a function, whose answer"):
        next(Connector(config, clock=float, random_bytes=bytes).connect())


class Wrong(Exception):
    """What a function raises."""


async def slow() -> str:
    await RUNTIME[0].sleep(1000)
    return "late"


def raising() -> str:
    raise Wrong("secret")


RUNTIME: list[VirtualRuntime] = []


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (raising, ConnectError, "password: the function raised Wrong"),
        (slow, ConnectError, "password: the function gave no answer in time"),
        (lambda: b"bytes", ConfigError, "password: the function must return a str, not bytes"),
        (lambda: "", ConfigError, "password"),
        (lambda: "wrong", ConnectError, "password"),
    ],
)
def test_functions_that_give_none(function: Any, error: type[Exception], text: str) -> None:
    runtime = asking("right")
    RUNTIME[:] = [runtime]

    async def main() -> None:
        before = runtime.now()
        with pytest.raises(error, match=text) as caught:
            await runtime.connect(password=function, connect_timeout=10)
        assert getattr(caught.value, "outcome", Outcome.NOT_SENT) in (Outcome.NOT_SENT, None)
        assert "secret" not in str(caught.value)
        assert runtime.now() - before <= 20

    runtime.run(main)


def test_without_a_time_limit() -> None:
    runtime = asking("right")

    async def main() -> None:
        async with runtime.connect(password=lambda: "right", connect_timeout=None) as conn:
            assert await conn.fetchval("select 1") == 1

    runtime.run(main)
