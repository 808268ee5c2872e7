"""Connecting, a query and a cancel request with sockets of one's own, none of which ever blocks.

What an event loop of one's own would do is `Waiter.wait` here: it is all that waits.
"""

from __future__ import annotations

import os
import select
import socket
import time

from pgproto.config import Config, Host, parse_config
from pgproto.session import DIAL, DONE, HANG_UP, WRITE, Connector, Engine, Operation, Poller


class Waiter:
    """One non-blocking socket, and how it is waited for."""

    def __init__(self) -> None:
        self.sock: socket.socket | None = None

    def open(self, host: Host) -> None:
        """Begin to connect."""
        self.sock = socket.socket(socket.AF_UNIX if host.is_unix else socket.AF_INET)
        self.sock.setblocking(False)
        self.sock.connect_ex(host.unix_path if host.is_unix else (host.address, host.port))

    def wait(self, write: bool, deadline: float | None) -> None:
        """Until the socket is ready, or the deadline has passed."""
        assert self.sock is not None
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        select.select([] if write else [self.sock], [self.sock] if write else [], [], left)

    def send(self, engine: Engine) -> None:
        """Write what the engine has."""
        assert self.sock is not None
        try:
            engine.data_sent(self.sock.send(engine.data_to_send()))
        except BlockingIOError:
            pass
        except OSError as error:
            engine.write_failed(error)

    def receive(self, engine: Engine) -> None:
        """Read what is there."""
        assert self.sock is not None
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            engine.transport_failed(error)
            return
        if data:
            engine.receive_data(data)
        else:
            engine.receive_eof()

    def close(self) -> None:
        """Close it."""
        if self.sock is not None:
            self.sock.close()


def poll_to_the_end(poller: Poller) -> tuple[Engine | None, Waiter]:
    """Do what a poller says until it has ended."""
    waiter = Waiter()
    while (wish := poller.poll()) != DONE:
        engine = poller.engine
        assert engine is not None
        assert poller.host is not None
        if wish == DIAL:
            waiter.open(poller.host)
            waiter.wait(True, poller.next_deadline())
            assert waiter.sock is not None
            code = waiter.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            poller.dialled(OSError(code, os.strerror(code)) if code else None)
        elif wish == HANG_UP:
            waiter.close()
            poller.hung_up()
        else:
            waiter.wait(wish == WRITE, poller.next_deadline())
            if wish == WRITE:
                waiter.send(engine)
            else:
                waiter.receive(engine)
    try:
        return poller.result(), waiter
    except BaseException:
        waiter.close()
        raise


class Session:
    """A session over one non-blocking socket; a context manager."""

    def __init__(self, dsn: str, *, client_encoding: str = "UTF8") -> None:
        self.config: Config = parse_config(dsn).replace(client_encoding=client_encoding)
        self.connector = Connector(
            self.config, clock=time.monotonic, random_bytes=os.urandom, any_encoding=True
        )
        poller = Poller(self.connector.connect(), clock=time.monotonic, timeout=self.config.connect_timeout)
        engine, self.waiter = poll_to_the_end(poller)
        assert engine is not None
        self.engine = engine

    def run(self, operation: Operation, until: str = "finished") -> None:
        """Submit an operation and drive it to its end, or until it was `begun`."""
        engine = self.engine
        if not operation.begun:
            engine.submit(operation)
        while not getattr(operation, until) or engine.data_to_send():
            if engine.data_to_send():
                self.waiter.wait(True, engine.next_deadline())
                self.waiter.send(engine)
            else:
                self.waiter.wait(False, engine.next_deadline())
                self.waiter.receive(engine)
            engine.tick()

    def cancel(self) -> None:
        """Have the server cancel what is running."""
        key = self.engine.running
        assert key is not None
        _, waiter = poll_to_the_end(Poller(self.connector.cancel(self.engine, key), clock=time.monotonic))
        waiter.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        self.waiter.send(self.engine)
        self.waiter.close()
