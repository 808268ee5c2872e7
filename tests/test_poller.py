"""Connecting and cancelling by polling, with a scripted server at the other end."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pgproto import ConfigError, ConnectError, ConnectionClosed, LocalProtocolError
from pgproto.config import TLSOptions
from pgproto.session import DIAL, DONE, HANG_UP, READ, WRITE, Dial, Engine, Poller, Step
from pgproto.wire import BackendKeyData, CancelRequest
from tests.test_connect_flow import A, B, Server, World, fatal


class Polled(World):
    """Does what a poller says, against the servers of a `World`; what it said is in `log`."""

    def poller(self, timeout: float | None = 3.0) -> Poller:
        return Poller(self.connector.connect(), clock=lambda: self.now, timeout=timeout)

    def step(self, poller: Poller) -> int:
        wish = poller.poll()
        assert poller.poll() == wish
        engine = poller.engine
        if wish == DIAL:
            assert poller.host is not None
            self.log.append(f"dial {poller.host.host}")
            server = self.servers[poller.host.host].pop(0)
            if isinstance(server, Server):
                self.attached[id(engine)] = server
                poller.dialled()
            else:
                poller.dialled(server)
        elif wish == HANG_UP:
            self.log.append("hang up")
            poller.hung_up()
        elif wish == WRITE:
            assert engine is not None
            data = engine.data_to_send()
            engine.data_sent(len(data))
            answer, gone = self.attached[id(engine)].receive(data)
            if answer:
                engine.receive_data(answer)
            if gone:
                engine.receive_eof()
        return wish

    def run(self, poller: Poller) -> Engine | None:  # type: ignore[override]
        while self.step(poller) != DONE:
            pass
        return poller.result()


def asked(poller: Poller) -> bool:
    return poller.password_asked


def test_a_session_of_the_second_host() -> None:
    world = Polled(
        {"a": [ConnectionRefusedError("refused")], "b": [Server(password="secret")]}, password="secret"
    )
    poller = world.poller()
    with pytest.raises(LocalProtocolError, match="has not ended"):
        poller.result()
    assert not asked(poller)
    engine = world.run(poller)
    assert asked(poller)
    assert engine is poller.engine
    assert engine is not None
    assert engine.reusable
    assert (engine.host, poller.host) == (B, B)
    assert world.log == ["dial a", "hang up", "dial b"]
    assert poller.next_deadline() is None
    poller.close()
    assert poller.result() is engine


def test_no_host_will_do() -> None:
    world = Polled({"a": [ConnectionRefusedError("refused")], "b": [OSError("down")]})
    with pytest.raises(ConnectError, match="could not connect: a:1: refused; b:2: down"):
        world.run(world.poller())
    with pytest.raises(ConfigError, match="no password supplied"):
        other = Polled({"a": [Server(password="secret")], "b": []})
        poller = other.poller()
        other.run(poller)
    assert asked(poller)


def test_a_server_that_trusts_asks_for_no_password() -> None:
    world = Polled({"a": [Server()]}, password="secret")
    poller = world.poller()
    world.run(poller)
    assert not asked(poller)


def test_a_proof_that_takes_long_is_computed_by_poll() -> None:
    world = Polled({"a": [Server(password="secret")]}, password="secret")
    authenticator = world.servers["a"][0].backend.authenticator  # type: ignore[union-attr]
    assert authenticator is not None
    poller = world.poller()
    world.step(poller)
    world.step(poller)
    done: list[str] = []
    step = poller._step
    assert step is not None
    step.work = lambda: done.append("computed")  # type: ignore[union-attr]
    assert poller.poll() == WRITE
    assert done == ["computed"]
    assert world.run(poller) is not None


def test_a_host_that_does_not_answer_has_its_time_and_no_more() -> None:
    world = Polled({"a": [], "b": [Server()]})
    poller = world.poller(timeout=3.0)
    assert poller.poll() == DIAL
    assert poller.next_deadline() == 3.0
    world.now = 3.0
    assert poller.poll() == HANG_UP
    assert poller.next_deadline() is None
    poller.hung_up()
    assert poller.next_deadline() == 6.0
    poller.dialled()
    assert poller.poll() == WRITE
    engine = poller.engine
    assert engine is not None
    engine.data_sent(len(engine.data_to_send()))
    assert poller.poll() == READ
    assert poller.next_deadline() == 6.0
    world.now = 6.0
    assert poller.poll() == HANG_UP
    poller.hung_up()
    with pytest.raises(ConnectError, match="no answer from a:1 in time") as caught:
        poller.result()
    assert isinstance(caught.value.errors[0].__cause__, TimeoutError)


def test_another_way_to_the_same_host_has_what_is_left_of_its_time() -> None:
    world = Polled({"a": [Server(tls=b""), Server()], "b": []}, tls=TLSOptions(sslmode="prefer"))
    poller = world.poller()
    world.step(poller)
    world.now = 1.0
    assert world.step(poller) == WRITE
    assert world.step(poller) == HANG_UP
    assert poller.next_deadline() == 3.0
    assert world.run(poller) is not None
    assert world.log == ["dial a", "hang up", "dial a"]


def test_without_a_limit_there_is_no_deadline() -> None:
    poller = Polled({"a": []}).poller(timeout=None)
    assert poller.next_deadline() is None
    assert poller.poll() == DIAL


def test_a_transport_that_ends_before_it_is_used() -> None:
    world = Polled({"a": [], "b": [Server()]})
    poller = world.poller()
    assert poller.engine is not None
    poller.engine.receive_eof()
    poller.dialled()
    assert poller.poll() == HANG_UP
    poller.hung_up()
    assert world.run(poller) is not None


def test_a_step_that_is_refused_is_the_flow_s_business() -> None:
    """The session ends in the moment in which the flow wants to ask it something."""
    world = Polled({"a": [Server()], "b": []}, hosts=(A,), target_session_attrs="primary")
    poller = world.poller()
    world.step(poller)
    engine = poller.engine
    assert engine is not None
    data = engine.data_to_send()
    engine.data_sent(len(data))
    answer, _ = world.attached[id(engine)].receive(data)
    engine.receive_data(answer + fatal("57P01"))
    with pytest.raises(ConnectError, match="a:1: the server ended the session before this call"):
        world.run(poller)
    assert world.log == ["dial a", "hang up"]


def test_a_cancel_request() -> None:
    server = Server()
    world = Polled({"a": [Server(), server], "b": []})
    engine = world.run(world.poller())
    assert engine is not None
    flow = world.connector.cancel(engine, BackendKeyData(7, b"0123"))
    assert world.run(Poller(flow, clock=lambda: 0.0)) is None
    assert server.backend.cancelled == [CancelRequest(7, b"0123")]
    assert world.log == ["dial a", "dial a", "hang up"]
    engine.host = None
    nothing = Poller(world.connector.cancel(engine, BackendKeyData(7, b"0123")), clock=lambda: 0.0)
    assert nothing.poll() == DONE
    assert nothing.result() is None


def test_a_cancel_request_that_cannot_be_sent() -> None:
    world = Polled({"a": [Server(), OSError("down")], "b": []})
    engine = world.run(world.poller())
    assert engine is not None
    poller = Poller(world.connector.cancel(engine, BackendKeyData(7, b"0123")), clock=lambda: 0.0)
    with pytest.raises(OSError, match="down"):
        world.run(poller)


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("kind", ["connect", "cancel"])
def test_what_is_given_up_closes_its_engine(kind: str, steps: int) -> None:
    world = Polled({"a": [Server(), Server()], "b": []})
    poller = world.poller()
    if kind == "cancel":
        engine = world.run(poller)
        assert engine is not None
        flow = world.connector.cancel(engine, BackendKeyData(7, b"0123"))
        poller = Poller(flow, clock=lambda: 0.0)
    for _ in range(steps):
        world.step(poller)
    ended = poller.poll() == DONE
    assert ended == (steps > (1 if kind == "connect" else 2))
    poller.close()
    poller.close()
    assert poller.poll() == DONE
    assert poller.engine is not None
    assert poller.engine.closed == (not ended or kind == "cancel")
    if not ended:
        with pytest.raises(ConnectionClosed, match="given up"):
            poller.result()


@pytest.mark.parametrize("kind", ["connect", "cancel"])
def test_a_bare_flow_that_is_given_up_closes_its_engine(kind: str) -> None:
    for steps in (1, 2):
        world = Polled({"a": [Server()], "b": []})
        flow: Generator[Step, None, Engine | None] = world.connector.connect()
        if kind == "cancel":
            engine = world.run(world.poller())
            assert engine is not None
            flow = world.connector.cancel(engine, BackendKeyData(7, b"0123"))
        dial = next(flow)
        assert isinstance(dial, Dial)
        for _ in range(steps - 1):
            flow.send(None)
        flow.close()
        assert dial.engine.closed


def test_what_was_not_asked_for_is_refused() -> None:
    world = Polled({"a": [Server()]})
    poller = world.poller()
    with pytest.raises(LocalProtocolError, match="hung up"):
        poller.hung_up()
    world.run(poller)
    with pytest.raises(LocalProtocolError, match="dialled"):
        poller.dialled()
