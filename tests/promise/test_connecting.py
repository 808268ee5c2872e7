"""What a connection attempt says that took too long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pgproto import ConnectError
from pgproto_pytest import Driver


@pytest.fixture(params=["silent", "full"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Of a server that accepts and says nothing, or whose queue of new connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        number = server.getsockname()[1]
        waiting: list[socket.socket] = []
        if request.param == "full":
            for _ in range(8):  # Linux lets a few more in than it says
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", number))
                waiting.append(sock)
        yield number
        for sock in waiting:
            sock.close()


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


@pytest.mark.holds("T9")
def test_a_connect_time_out_is_a_timeout(driver: Driver, port: int) -> None:
    async def scenario(pg: Driver) -> None:
        dsn = f"postgresql://u@127.0.0.1:{port}/?sslmode=disable&connect_timeout=0.2"
        with pytest.raises(ConnectError) as caught:
            async with pg.connect(dsn):
                pass
        (error,) = caught.value.errors
        assert any(isinstance(each, TimeoutError) for each in chain(error))
        assert any(isinstance(each, TimeoutError) for each in chain(caught.value))

    driver.run(scenario)
