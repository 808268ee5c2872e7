"""Connecting, with scripted steps: hosts in turn, ways of encryption, versions, target sessions, budgets."""

from __future__ import annotations

import contextlib
import contextvars
import ssl
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pgproto import (
    Config,
    ConfigError,
    ConnectError,
    ConnectionLost,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
)
from pgproto.config import Host, TLSOptions
from pgproto.protocol import Authenticator
from pgproto.protocol.server_authentication import ServerAuthenticator
from pgproto.protocol.tls import TLS
from pgproto.protocol.verifier import ScramVerifier
from pgproto.session import Cancel, Connector, Dial, Engine, HangUp, Operation, Script, Startup, Transaction
from pgproto.session.connect import Accept
from pgproto.session.news import OUTPUT
from pgproto.wire import (
    AuthenticationOk,
    AuthenticationSASL,
    BackendKeyData,
    CancelRequest,
    ErrorResponse,
    NegotiateProtocolVersion,
    ReadyForQuery,
    StartupMessage,
)
from tests.support.backend import Answer, Backend, error_fields
from tests.support.certificates import HOST, make_certificate, server_with

Reply = Callable[[bytes], bytes | None]
A, B = Host("a", port=1), Host("b", port=2)
HOT = {"in_hot_standby": "on", "default_transaction_read_only": "off"}
COLD = {"in_hot_standby": "off", "default_transaction_read_only": "off"}


def fatal(code: str) -> bytes:
    return ErrorResponse(error_fields(code, severity="FATAL")).encode()


class Server:
    """What is at the other end of one dialled transport; `context` makes it answer SSLRequest with yes."""

    def __init__(
        self,
        *,
        parameters: dict[str, str] | None = None,
        refuses: bytes | None = None,
        tls: bytes = b"N",
        context: ssl.SSLContext | None = None,
        only_version: int = 0,
        password: str = "",
        script: dict[str, Answer] | None = None,
    ) -> None:
        self.backend = Backend(script or {})
        self.backend.parameters |= parameters or {}
        self.refuses = refuses
        self.answer = b"S" if context is not None else tls
        self.context = context
        self.only_version = only_version
        self.tls: TLS | None = None
        self.started: list[StartupMessage] = []
        if password:
            secret = ScramVerifier.from_password(password, b"0123456789abcdef").format()
            self.backend.authenticator = ServerAuthenticator(
                "scram-sha-256", user="app", secret=secret, random=bytes(18), mock_secret=b"m"
            )

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        """The answer, and whether the server hangs up behind it."""
        if self.tls is not None:
            data = self.tls.receive_data(data)
            answer, gone = self.clear(data) if data else (b"", False)
            self.tls.send(answer)
            return self.tls.data_to_send(), gone
        return self.clear(data)

    def clear(self, data: bytes) -> tuple[bytes, bool]:
        if data == b"\0\0\0\x08\x04\xd2\x16\x2f":
            if self.context is not None:
                self.tls = TLS(self.context, None, server_side=True)
            return self.answer, self.answer == b""
        if self.refuses is not None:
            return self.refuses, True
        if self.only_version and data[4:8] != self.only_version.to_bytes(4, "big"):
            return b"", True
        self.backend.receive(data)
        answer = bytes(self.backend.out)
        self.backend.out.clear()
        return answer, bool(self.backend.cancelled) or self.backend.connection.closed is not None


class World:
    """Runs a connect flow against servers by host; an error in place of one does not open."""

    def __init__(self, servers: dict[str, list[Server | OSError | UnicodeError]], **options: object) -> None:
        self.servers = servers
        self.now = 0.0
        self.log: list[str] = []
        config = Config("app", connect_timeout=3, hosts=(A, B), tls=TLSOptions(sslmode="disable"))
        self.connector = Connector(
            config.replace(**options), clock=lambda: self.now, random_bytes=lambda size: b"\1" * size
        )
        self.attached: dict[int, Server] = {}

    def connect(self) -> Engine:
        flow = self.connector.connect()
        engine: Engine | None = None
        result: Exception | None = None
        try:
            while True:
                step = flow.send(None) if result is None else flow.throw(result)
                result = None
                if isinstance(step, Dial):
                    self.log.append(f"dial {step.host.host}{' fresh' if step.fresh else ''}")
                    engine = step.engine
                    server = self.servers[step.host.host].pop(0)
                    if isinstance(server, OSError | UnicodeError):
                        result = server
                    else:
                        self.attached[id(engine)] = server
                elif isinstance(step, HangUp):
                    step.engine.close()
                    self.log.append("hang up")
                else:
                    assert engine is not None
                    assert not isinstance(step, Accept)
                    result = self.run(engine, step)
        except StopIteration as stop:
            value = stop.value
            assert isinstance(value, Engine)
            return value

    def run(self, engine: Engine, operation: Operation) -> Exception | None:
        engine.submit(operation)
        server = self.attached[id(engine)]
        while engine.take_news() & OUTPUT:
            data = engine.data_to_send()
            engine.data_sent(len(data))
            answer, gone = server.receive(data)
            if answer:
                engine.receive_data(answer)
            if gone:
                engine.receive_eof()
        assert operation.finished
        return operation.error if isinstance(operation.error, Exception) else None


def failure(world: World) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        world.connect()
    return caught.value


def test_the_first_host_that_answers() -> None:
    world = World({"a": [ConnectionRefusedError("refused")], "b": [Server()]})
    engine = world.connect()
    assert engine.host == B
    assert world.log == ["dial a fresh", "hang up", "dial b fresh"]
    assert engine.reusable
    assert engine.connection.protocol == 196610


def test_scram_and_the_password() -> None:
    world = World(
        {"a": [Server(password="secret")], "b": []}, password="secret", require_auth="scram-sha-256"
    )
    assert world.connect().reusable
    world = World({"a": [Server(password="secret")], "b": [Server()]}, password="wrong")
    assert failure(world).sqlstate == "28P01"
    assert world.log == ["dial a fresh", "hang up"]
    with pytest.raises(ConfigError, match="no password supplied"):
        World({"a": [Server(password="secret")], "b": []}).connect()


IGNORED = "password file '/p' has group or world access; it was ignored"


@pytest.mark.holds("S6")
def test_an_ignored_password_file_is_a_note_where_a_password_was_wanted() -> None:
    world = World({"a": [Server(password="secret")]}, warnings=(IGNORED,))
    with pytest.raises(ConfigError, match="no password supplied") as caught:
        world.connect()
    assert caught.value.__notes__ == [IGNORED, "while connecting to a:1"]
    error = failure(World({"a": [Server(refuses=fatal("28P01"))]}, warnings=(IGNORED,)))
    assert str(error).startswith("could not connect: a:1: ")
    assert error.errors[0].__notes__ == [IGNORED, "while connecting to a:1"]
    assert error.__notes__ == [IGNORED]


def test_a_server_that_does_not_know_direct_tls() -> None:
    direct = TLSOptions(sslmode="require", sslnegotiation="direct")
    error = failure(World({"a": [Server(refuses=b"")], "b": [Server(refuses=b"")]}, tls=direct))
    (note,) = error.__notes__  # it is the same for both
    assert "older than PostgreSQL 17" in note
    assert error.errors[1].__notes__ == [note, "while connecting to b:2"]
    for server in (ConnectionRefusedError("refused"), Server(tls=b"")):
        way = direct if isinstance(server, OSError) else TLSOptions(sslmode="require")
        assert not hasattr(
            failure(World({"a": [server], "b": [ConnectionRefusedError("refused")]}, tls=way)), "__notes__"
        )


@pytest.mark.holds("S6")
def test_an_ignored_password_file_is_no_note_elsewhere() -> None:
    error = failure(World({"a": [Server(refuses=fatal("3D000"))]}, warnings=(IGNORED,)))
    assert error.errors[0].__notes__ == ["while connecting to a:1"]
    tls = TLSOptions(sslmode="verify-full", sslrootcert="/nowhere/ca.pem")
    world = World({"a": [Server(tls=b"S")]}, warnings=(IGNORED,), tls=tls)
    with pytest.raises(ConfigError) as caught:
        world.connect()
    assert caught.value.__notes__ == ["while connecting to a:1"]


@pytest.mark.parametrize("code", ["28P01", "28000", "3D000", "42501"])
def test_a_host_that_knows_us_and_refuses_ends_the_search(code: str) -> None:
    answer = AuthenticationOk().encode() if code == "42501" else b""
    world = World({"a": [Server(refuses=answer + fatal(code))], "b": [Server()]})
    error = failure(world)
    assert error.sqlstate == code
    assert world.log == ["dial a fresh", "hang up"]


@pytest.mark.parametrize("code", ["57P03", "53300"])
def test_a_host_that_cannot_now_is_passed_over(code: str) -> None:
    world = World({"a": [Server(refuses=fatal(code))], "b": [OSError("no route")]})
    error = failure(world)
    assert [type(each) for each in error.errors] == [type(PostgresError.of({"C": code})), OSError]
    assert error.sqlstate == code
    assert "a:1: FATAL" in str(error)
    assert "b:2: no route" in str(error)
    assert world.log == ["dial a fresh", "hang up", "dial b fresh", "hang up"]


WITHOUT_CODE = ErrorResponse({"S": "FATAL", "M": "unsupported version"}).encode()
AN_ERROR = ErrorResponse({"S": "ERROR", "C": "08P01", "M": "unsupported version"}).encode()
REFUSALS = [None, WITHOUT_CODE, AN_ERROR, *map(fatal, ("08P01", "0A000", "XX000", "26000", "42501", "99ABC"))]


@pytest.mark.holds("D5", "L1")
@pytest.mark.parametrize("refuses", REFUSALS)
def test_who_refuses_3_2_is_asked_for_3_0_and_that_is_remembered(refuses: bytes | None) -> None:
    old = [Server(refuses=refuses) if refuses else Server(only_version=196608) for _ in range(2)]
    new = [Server(only_version=196608) for _ in range(3)]
    down = OSError("down")
    world = World({"a": [old[0], new[0], new[1], down, old[1], new[2]], "b": []}, hosts=(A,))
    engine = world.connect()
    assert engine.connection.protocol == 196608
    assert not engine.pipelining
    assert world.log == ["dial a fresh", "hang up", "dial a"]
    world.log.clear()
    engine = world.connect()
    assert engine.connection.protocol == 196608
    assert not engine.pipelining
    assert world.log == ["dial a fresh"]
    world.log.clear()
    failure(world)  # it is gone: what comes back is asked anew
    assert not world.connect().pipelining
    assert world.log == ["dial a fresh", "hang up", "dial a fresh", "hang up", "dial a"]


@pytest.mark.holds("D5")
def test_a_refusal_is_remembered_for_its_host_alone() -> None:
    old = [Server(only_version=196608, parameters=HOT) for _ in range(3)]
    new = [Server(parameters=COLD) for _ in range(2)]
    world = World({"a": [*old], "b": [*new]}, target_session_attrs="primary")
    for log in (["dial a fresh", "hang up", "dial a"], ["dial a fresh"]):
        engine = world.connect()
        assert world.log == [*log, "hang up", "dial b fresh"]
        assert (engine.host, engine.connection.protocol, engine.pipelining) == (B, 196610, True)
        world.log.clear()


class Meanwhile(Server):
    """Somebody else connects before it answers."""

    def __init__(self, connect: Callable[[], Engine], **options: Any) -> None:
        super().__init__(**options)
        self.connect = connect

    def clear(self, data: bytes) -> tuple[bytes, bool]:
        assert self.connect().connection.protocol == 196608
        return super().clear(data)


@pytest.mark.holds("D5")
def test_attempts_at_the_same_time_do_not_forget_what_one_of_them_has_learned() -> None:
    world = World({"a": []}, hosts=(A,))
    first, third = (Meanwhile(world.connect, only_version=196608) for _ in range(2))
    old, new, last = (Server(only_version=196608) for _ in range(3))
    world.servers["a"] = [first, old, new, third, last]
    assert world.connect().connection.protocol == 196608
    inner = ["dial a fresh", "hang up", "dial a"]
    assert world.log == ["dial a fresh", *inner, "hang up", "dial a", "dial a fresh"]


@pytest.mark.holds("D5")
@pytest.mark.parametrize("code", ["28000", "28P01", "3D000", "53300", "57P03", "57P01"])
def test_who_has_understood_is_not_asked_for_3_0(code: str) -> None:
    world = World({"a": [Server(refuses=fatal(code))], "b": []}, hosts=(A,))
    assert failure(world).sqlstate == code
    assert world.log == ["dial a fresh", "hang up"]


@pytest.mark.holds("D5")
def test_who_refuses_both_versions_is_asked_twice_and_nothing_is_remembered() -> None:
    world = World({"a": [Server(refuses=fatal("XX000")) for _ in range(4)]}, hosts=(A,))
    for _ in range(2):
        assert failure(world).sqlstate == "XX000"
    assert world.log == ["dial a fresh", "hang up", "dial a", "hang up"] * 2


NEGOTIATES = b"".join(
    message.encode()
    for message in (NegotiateProtocolVersion(196608, ()), AuthenticationOk(), ReadyForQuery("I"))
)


@pytest.mark.holds("L1")
@pytest.mark.parametrize(
    ("options", "refuses", "pipelining"),
    [
        ({}, None, True),
        ({}, NEGOTIATES, True),
        ({"max_protocol_version": 196608}, None, False),
        ({"statement_mode": "cache_describe"}, None, False),
        ({"statement_mode": "cache_describe"}, NEGOTIATES, False),
        ({"statement_mode": "cache_describe", "pipelining": True}, None, True),
        ({"max_protocol_version": 196608, "pipelining": True}, None, True),
        ({"pipelining": True}, fatal("08P01"), True),
        ({"pipelining": False}, None, False),
    ],
)
def test_who_is_pipelined(options: dict[str, object], refuses: bytes | None, pipelining: bool) -> None:
    world = World({"a": [Server(refuses=refuses) if refuses else Server(), Server()]}, hosts=(A,), **options)
    assert world.connect().pipelining == pipelining


@pytest.mark.holds("D4")
@pytest.mark.parametrize("name", ["UTF8", "UTF-8", "utf-8", "utf_8", "Unicode", "UNICODE"])
def test_names_of_utf_8(name: str) -> None:
    server = Server(parameters={"client_encoding": name})
    assert World({"a": [server]}, hosts=(A,)).connect().reusable


@pytest.mark.holds("T9")
def test_a_start_that_takes_too_long_is_a_timeout() -> None:
    now = 0.0
    engine = Engine(clock=lambda: now)
    startup = Startup({"user": "app"}, no_way)
    startup.deadline = 3.0
    engine.start(startup)
    now = 3.0
    engine.tick()
    assert isinstance(startup.error, ConnectError)
    assert isinstance(startup.error.__cause__, QueryTimeout)
    assert isinstance(startup.error.__cause__, TimeoutError)


def test_the_oldest_version_that_is_accepted() -> None:
    world = World({"a": [Server(only_version=196608)], "b": [Server()]}, min_protocol_version=196610)
    assert world.connect().host == B
    assert world.log == ["dial a fresh", "hang up", "dial b fresh"]


@pytest.mark.parametrize(
    ("mode", "answers", "log"),
    [
        ("prefer", [Server()], ["dial a fresh"]),
        ("prefer", [Server(tls=b""), Server()], ["dial a fresh", "hang up", "dial a"]),
        ("prefer", [Server(tls=fatal("08P01")), Server()], ["dial a fresh", "hang up", "dial a"]),
        ("prefer", [Server(refuses=fatal("28000")), Server()], ["dial a fresh", "hang up", "dial a"]),
        ("allow", [Server()], ["dial a fresh"]),
    ],
)
def test_ways_in_clear(mode: str, answers: list[Server | OSError | UnicodeError], log: list[str]) -> None:
    world = World({"a": answers, "b": []}, tls=TLSOptions(sslmode=mode))
    engine = world.connect()
    assert world.log == log
    assert engine.encryption == 0
    assert engine.channel.tls is None


def test_a_server_that_negotiates_less_than_is_wanted_is_passed_over() -> None:
    answer = b"".join(
        message.encode()
        for message in (NegotiateProtocolVersion(196608, ()), AuthenticationOk(), ReadyForQuery("I"))
    )
    world = World({"a": [Server(refuses=answer)], "b": [Server()]}, min_protocol_version=196610)
    assert world.connect().host == B
    assert world.log == ["dial a fresh", "hang up", "dial b fresh"]


@pytest.mark.parametrize("mode", ["prefer", "allow"])
def test_what_has_nothing_to_do_with_encryption_is_not_tried_the_other_way(mode: str) -> None:
    world = World({"a": [Server(refuses=fatal("57P03"))], "b": [Server()]}, tls=TLSOptions(sslmode=mode))
    assert world.connect().host == B
    assert world.log == ["dial a fresh", "hang up", "dial b fresh"]


def test_require_is_not_content_with_less() -> None:
    world = World({"a": [Server()], "b": [Server(tls=b"S\0")]}, tls=TLSOptions(sslmode="require"))
    error = failure(world)
    assert "TLS was required" in str(error.errors[0])
    assert isinstance(error.errors[1], RemoteProtocolError)
    world = World(
        {"a": [Server(refuses=fatal("28000")), Server()], "b": []},
        tls=TLSOptions(sslmode="allow"),
        hosts=(A,),
    )
    assert "TLS was required" in str(failure(world))
    assert world.log == ["dial a fresh", "hang up", "dial a", "hang up"]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    directory: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    return server_with(directory, key, make_certificate(key, hashes.SHA256()))


@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_tls_from_start_to_end(context: ssl.SSLContext, mode: str) -> None:
    server = Server(context=context, password="secret")
    world = World({HOST: [server]}, hosts=(Host(HOST),), tls=TLSOptions(sslmode=mode), password="secret")
    engine = world.connect()
    assert engine.encryption == 2
    assert engine.idle
    server.backend.script["select"] = Answer("SELECT 0")
    assert world.run(engine, Script("select")) is None
    engine.close()
    assert server.tls is not None
    data = engine.data_to_send()
    assert server.tls.receive_data(data) == b"X\0\0\0\4"
    assert server.tls.eof
    assert not server.tls.truncated
    engine.data_sent(len(data))
    assert engine.data_to_send() == b""


def test_tls_that_breaks(context: ssl.SSLContext) -> None:
    server = Server(context=context)
    options = TLSOptions(sslmode="require")
    engine = World({HOST: [server]}, hosts=(Host(HOST),), tls=options).connect()
    script = Script("select")
    engine.submit(script)
    engine.data_sent(len(engine.data_to_send()))
    engine.receive_data(b"\x17\3\3\0\x05hello")
    assert engine.finished
    assert isinstance(script.error, RemoteProtocolError)
    engine.data_to_send()
    engine.receive_data(b"more")
    server = Server(context=context)
    engine = World({HOST: [server]}, hosts=(Host(HOST),), tls=options).connect()
    script = Script("select")
    engine.submit(script)
    engine.data_sent(len(engine.data_to_send()))
    assert server.tls is not None
    server.tls.close()
    engine.receive_data(server.tls.data_to_send())
    assert isinstance(script.error, ConnectionLost)


def test_one_context_serves_all_hosts(context: ssl.SSLContext) -> None:
    servers: list[Server | OSError | UnicodeError] = [
        Server(context=context, refuses=fatal("57P03")),
        Server(context=context),
    ]
    world = World({HOST: servers}, hosts=(Host(HOST), Host(HOST)), tls=TLSOptions(sslmode="require"))
    engine = world.connect()
    assert engine.channel.tls is not None
    assert engine.channel.tls.handshake_complete
    assert world.log == [f"dial {HOST} fresh", "hang up", f"dial {HOST} fresh"]


def test_tls_that_cannot_be_set_up() -> None:
    options = TLSOptions(sslmode="verify-full", sslrootcert="missing.pem", sslnegotiation="direct")
    world = World({"a": [Server()], "b": []}, tls=options)
    with pytest.raises(ConfigError, match="missing"):
        world.connect()


@pytest.mark.parametrize(
    ("target", "log"),
    [
        ("any", ["dial a fresh"]),
        ("read-write", ["dial a fresh", "hang up", "dial b fresh"]),
        ("primary", ["dial a fresh", "hang up", "dial b fresh"]),
        ("read-only", ["dial a fresh"]),
        ("standby", ["dial a fresh"]),
        ("prefer-standby", ["dial a fresh"]),
    ],
)
def test_target_session_attributes(target: str, log: list[str]) -> None:
    servers: dict[str, list[Server | OSError | UnicodeError]] = {
        "a": [Server(parameters=HOT)],
        "b": [Server(parameters=COLD)],
    }
    world = World(servers, target_session_attrs=target)
    world.connect()
    assert world.log == log


def test_prefer_standby_takes_what_there_is_with_a_fresh_budget() -> None:
    world = World(
        {"a": [Server(parameters=COLD), Server(parameters=COLD)], "b": [OSError("down")]},
        target_session_attrs="prefer-standby",
    )
    assert world.connect().host == A
    assert world.log == ["dial a fresh", "hang up", "dial b fresh", "hang up", "dial a fresh"]


def test_old_servers_are_asked() -> None:
    question = "SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END"
    answer = Answer("SELECT 1", columns=[("x", 25)], rows=[[b"off"]])
    script = {question: answer, "SHOW default_transaction_read_only": answer}
    world = World({"a": [Server(script=script)], "b": []}, target_session_attrs="read-write")
    assert world.connect().host == A
    script = {question: Answer("SELECT 0"), "SHOW default_transaction_read_only": answer}
    world = World(
        {"a": [Server(script=script)], "b": [Server(parameters=COLD)]}, target_session_attrs="primary"
    )
    assert world.connect().host == B


def test_hosts_in_random_order_and_unix_sockets() -> None:
    world = World({"a": [Server()], "b": [Server()]}, load_balance_hosts="random")
    world.connect()
    assert len(world.log) == 1
    path = Host("/run", port=1)
    world = World({"/run": [Server()]}, hosts=(path,), tls=TLSOptions(sslmode="prefer"))
    assert world.connect().host == path


def test_cancel_goes_the_way_that_the_session_came() -> None:
    world = World({"a": [Server()], "b": []})
    engine = world.connect()
    flow = world.connector.cancel(engine, BackendKeyData(7, b"0123"))
    dial = next(flow)
    assert isinstance(dial, Dial)
    server = Server()
    world.attached[id(dial.engine)] = server
    cancel = flow.send(None)
    assert isinstance(cancel, Cancel)
    assert world.run(dial.engine, cancel) is None
    assert server.backend.cancelled == [CancelRequest(7, b"0123")]
    assert isinstance(flow.send(None), HangUp)
    with pytest.raises(StopIteration):
        flow.send(None)
    engine.host = None
    assert list(world.connector.cancel(engine, BackendKeyData(7, b"0123"))) == []


def test_a_cancel_request_that_fails_hangs_up_all_the_same() -> None:
    world = World({"a": [Server()], "b": []})
    flow = world.connector.cancel(world.connect(), BackendKeyData(7, b"0123"))
    next(flow)
    assert isinstance(flow.send(None), Cancel)
    assert isinstance(flow.throw(OSError("down")), HangUp)
    with pytest.raises(OSError, match="down"):
        flow.send(None)


@pytest.mark.holds("D14")
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_flow_that_is_given_up_closes_in_silence(steps: int) -> None:
    world = World({"a": [Server(), Server()], "b": []})

    def block(end: str) -> Generator[object, None, object]:
        engine = World({"a": [Server()]}).connect()
        transaction = Transaction(engine)
        transaction.enter()
        engine.submit(Script("insert"))
        return transaction.commit() if end == "commit" else transaction.rollback()

    def give_up() -> None:
        flows: list[Generator[object, None, object]] = [
            world.connector.cancel(world.connect(), BackendKeyData(7, b"0123")),
            world.connector.connect(),
            block("commit"),
            block("rollback"),
        ]
        for flow in flows:
            with contextlib.suppress(StopIteration):
                for _ in range(steps):
                    flow.send(None)
            flow.close()

    contextvars.copy_context().run(give_up)


# ---- Starting, by itself


def no_way(encrypted: bool, binding: bytes | None) -> Authenticator:
    raise ConfigError("no way")


def opening(**parameters: str) -> tuple[Engine, Startup]:
    engine = Engine(clock=lambda: 0.0)
    startup = Startup({"user": "app", **parameters}, no_way)
    engine.start(startup)
    return engine, startup


def test_a_start_that_does_not_fit_the_wire_ends_at_once() -> None:
    engine, startup = opening(application_name="a\0b")
    assert startup.finished
    assert startup.error is not None
    assert engine.finished
    assert engine.data_to_send() == b""


def test_an_authenticator_that_cannot_be_made_ends_the_start() -> None:
    engine, startup = opening()
    engine.receive_data(AuthenticationSASL(("SCRAM-SHA-256",)).encode())
    assert str(startup.error) == "no way"
    assert engine.finished


def test_a_server_that_insists_on_another_encoding() -> None:
    server = Server(parameters={"client_encoding": "LATIN1"})
    error = failure(World({"a": [server]}, hosts=(A,)))
    assert "client_encoding LATIN1" in str(error)


def test_a_close_during_the_start() -> None:
    engine, startup = opening()
    engine.close()
    assert isinstance(startup.error, ConnectError)


@pytest.mark.holds("D3")
def test_a_name_that_is_none_is_a_host_that_does_not_answer() -> None:
    world = World({"a": [UnicodeError("label empty or too long")], "b": [Server()]})
    assert world.connect().host is B
    world = World({"a": [UnicodeError("label empty or too long")], "b": [OSError("no route")]})
    error = failure(world)
    assert [type(each) for each in error.errors] == [ConnectError, OSError]
