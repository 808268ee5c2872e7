"""A server that hangs up at once: before the first request, and before its output is read."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from pgproto import ConnectError, ConnectionLost
from pgproto.protocol import Authenticator
from pgproto.session import Engine, Startup
from pgproto_pytest import Driver
from pgproto_pytest.process import listening_socket


def never(encrypted: bool, binding: bytes | None) -> Authenticator:
    raise AssertionError("nobody asked for it")


def test_a_session_that_ended_before_it_was_started() -> None:
    engine = Engine(clock=time.monotonic)
    engine.receive_eof()
    startup = Startup({"user": "somebody"}, never)
    engine.start(startup)
    assert startup.finished
    assert isinstance(startup.error, ConnectionLost)
    assert engine.take_ready() == [startup]
    assert engine.data_to_send() == b""


@pytest.fixture(params=["end", "reset"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server that closes every connection as soon as it has it."""
    listener = listening_socket()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if request.param == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_connecting_to_it_fails_at_once(driver: Driver, port: int) -> None:
    async def scenario(pg: Driver) -> None:
        for _ in range(50):
            with pytest.raises(ConnectError) as caught:
                async with pg.connect(f"postgresql://u@127.0.0.1:{port}/db", sslmode="disable"):
                    pass
            assert caught.value.errors

    started = time.monotonic()
    driver.run(scenario)
    assert time.monotonic() - started < 5
