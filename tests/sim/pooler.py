"""The model of pgbouncer, 1.18 or one that follows prepared statements, as its clients and servers see it.

    pooler = Pooler(world, "postgres", mode="transaction")
    world.servers["pooler"] = pooler            # clients come in by `connected`

It logs clients in by itself, gives a client that sends something a server connection (for a session, or
for a transaction), and forwards messages, byte for byte, in both directions.  Its own words are one
ErrorResponse with the fields S, C and M (no V), 08P01, and then it closes; before 1.16 the severity was
ERROR.

This file: the process, its server connections, and what can happen to it.  `pooler_client`: its clients.
`pooler_accounts`: what it knows of the messages under way, and prepared statements.
Not modelled: settings that follow the client (varcache), databases and users, authentication, TLS.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection
from pgproto.wire import (
    PROTOCOL_3_0,
    BackendKeyData,
    CancelRequest,
    ErrorResponse,
    ReadyForQuery,
    StartupMessage,
    Terminate,
)
from tests.sim.pooler_accounts import Accounts, Counted, Followed, Names
from tests.sim.pooler_client import Frames, PoolerClient
from tests.sim.world import Receiver, ServerEnd, Timer

if TYPE_CHECKING:
    from typing import Protocol

    from tests.sim.postgres import Machine

    class Dialler(Machine, Protocol):
        """A world that has servers to dial."""

        def dial(self, name: str, receiver: Receiver, /) -> ServerEnd:
            """Connect to a server."""


__all__ = ["Pooler", "ServerLink"]

_RESET: Final = "DISCARD ALL"
# How long a FATAL of the server is kept back, so that it goes out with what follows it, in seconds.
_TOGETHER: Final = 0.002


class Pooler:
    """A pgbouncer.

    Args:
        world: time, randomness, trace, and `dial`.
        server: the name of the PostgreSQL behind it.
        mode: "session" or "transaction".
        size: how many server connections it opens.
        max_prepared: max_prepared_statements, in transaction mode: how many names a server may have; 0 for a
            version that follows none.

    Attributes:
        listening: False while connections are refused.
        old: a version before 1.16: severity ERROR.
        wait_timeout, lifetime, idle_transaction: query_wait_timeout, server_lifetime and
            idle_transaction_timeout in seconds; 0 for none.
        cancel_delay: seconds that a cancel request needs to get through.
        retry: seconds in which it does not try again after a login failed (server_login_retry).
        clients, servers: those that it has, oldest first: no order here may come from addresses in memory.
        waiting: the clients that wait for a server connection, oldest first.
        peak: the largest number of clients that there ever was at one time.
    """

    def __init__(
        self,
        world: Dialler,
        server: str,
        *,
        mode: str = "session",
        size: int = 20,
        max_prepared: int = 0,
    ) -> None:
        self.world = world
        self.server = server
        self.mode = mode
        self.size = size
        self.names = Names(max_prepared, self._uses)
        self.listening = True
        self.old = False
        self.wait_timeout = 120.0
        self.lifetime = 3600.0
        self.idle_transaction = 0.0
        self.cancel_delay = 0.0
        self.retry = 0.1
        self.clients: list[PoolerClient] = []
        self.servers: list[ServerLink] = []
        self.idle: list[ServerLink] = []
        self.waiting: deque[PoolerClient] = deque()
        self.peak = 0
        self.paused = False
        self.suspended = False
        self._failing = False
        self._suspended: list[tuple[PoolerClient | ServerLink, bytes | None]] = []
        self._failed_at = -1e9
        self._retry: Timer | None = None
        self._last_pid = 50000

    @property
    def count(self) -> int:
        """How many clients it has."""
        return len(self.clients)

    @property
    def sessions(self) -> dict[int, PoolerClient]:
        """Its clients by the pid that they were told, as a `Postmaster` has its sessions."""
        return {client.pid: client for client in self.clients}

    def connected(self, end: ServerEnd) -> PoolerClient:
        """Somebody has connected."""
        self._last_pid += 1
        client = PoolerClient(self, end, self._last_pid, self.world.rng.randbytes(4))
        if self.listening:
            self.clients.append(client)
            self.peak = max(self.peak, len(self.clients))
        else:
            client.dead = True
            end.reset()
        return client

    def _uses(self, parsed: bytes, name: bytes) -> bool:
        return any(parsed in client.statements.values() for client in self.clients) or any(
            isinstance(server.accounts, Followed) and name in server.accounts.prepared
            for server in self.servers
        )

    # ---- Pairing clients with servers

    def want(self, client: PoolerClient) -> None:
        """A client has something to send."""
        if self.fails_fast(client):
            return
        if client not in self.waiting:
            self.waiting.append(client)
            if self.wait_timeout:
                client.timer = self.world.call_later(self.wait_timeout, lambda: self._waited_too_long(client))
        self.pair()

    def fails_fast(self, client: PoolerClient) -> bool:
        """Turn a client away if the last login at the server failed and no server is there."""
        if not self._failing or any(server.ready for server in self.servers):
            return False
        client.waits_for_welcome = True
        self.open_server()  # somebody has to find out that it is back
        client.disconnect("server login has been failing, try again later (server_login_retry)")
        return True

    def _waited_too_long(self, client: PoolerClient) -> None:
        if client in self.waiting:
            client.disconnect("query_wait_timeout")

    def pair(self) -> None:
        """Give idle servers to waiting clients, and open a server for those who are left."""
        if self.paused or self.suspended:
            return
        while self.waiting and self.idle:
            self.waiting.popleft().attach(self.idle.pop())
        self.open_server()

    def open_server(self) -> None:
        """Open a server connection if somebody waits: one at a time, as pgbouncer does."""
        wanted = self.waiting or any(client.waits_for_welcome for client in self.clients)
        if not wanted or any(not server.ready for server in self.servers) or len(self.servers) >= self.size:
            return
        left = self._failed_at + self.retry - self.world.now
        if left > 0:
            if self._retry is None:
                self._retry = self.world.call_later(left, self._try_again)
            return
        ServerLink(self).dial()

    def _try_again(self) -> None:
        self._retry = None
        if self.listening:
            self.pair()

    def login_failed(self, fields: dict[str, str] | None) -> None:
        """The server refused: tell those who wait, in its words; without words they wait on."""
        self._failed_at = self.world.now
        self._failing = True
        for client in list(self.clients):
            if fields is not None and (client in self.waiting or client.waits_for_welcome):
                client.disconnect(fields.get("M", ""), fields.get("C", "08P01"))
        self.open_server()

    def welcome(self) -> None:
        """A server is there, so clients can be logged in."""
        self._failing = False
        for client in list(self.clients):
            client.log_in()
        self.pair()

    @property
    def knows_server(self) -> bool:
        """True if a client can be logged in now."""
        return any(server.ready for server in self.servers)

    def released(self, server: ServerLink) -> None:
        """A server has nobody to work for any more."""
        if server.close_needed or self.world.now - server.since > self.lifetime:
            server.close()
        else:
            self.idle.append(server)
        self.pair()

    def cancel_request(self, pid: int, key: bytes, finished: PoolerClient) -> None:
        """Pass a cancel request on: to whatever server works for that client by the time it gets there."""
        for client in self.clients:
            server = client.server
            if client.pid == pid and client.key == key and server is not None and server.key is not None:
                self._pass_on(CancelRequest(server.key.process_id, server.key.secret_key), finished)
                return
        finished.disconnect("")

    def _pass_on(self, message: CancelRequest, finished: PoolerClient) -> None:
        self.world.call_later(self.cancel_delay, lambda: _Canceller(self, message, finished))

    # ---- What happens to it

    def kill(self, restart_after: float | None = None) -> None:
        """kill -9: its links end without a word."""
        self.world.note("pooler: killed")
        self._stop("", restart_after)

    def shut_down(self, restart_after: float | None = None, *, words: str = "server shutting down") -> None:
        """SHUTDOWN: everybody hears the words."""
        self.world.note("pooler: shut down")
        self._stop(words, restart_after)

    def kill_database(self) -> None:
        """KILL: every connection of the database is closed."""
        self.world.note("pooler: KILL")
        self._end_all("admin forced disconnect")

    def kill_client(self) -> None:
        """KILL_CLIENT: one client, chosen by chance."""
        if self.clients:
            self.world.rng.choice(self.clients).disconnect("admin forced disconnect")

    def reconnect(self) -> None:
        """RECONNECT: server connections are closed when they are released."""
        self.world.note("pooler: RECONNECT")
        for server in list(self.servers):
            server.close_needed = True
            if server in self.idle:
                server.close()
        self.pair()

    def pause(self) -> None:
        """PAUSE: nobody is given a server."""
        self.paused = True

    def suspend(self) -> None:
        """SUSPEND: nothing is read."""
        self.suspended = True

    def resume(self) -> None:
        """RESUME, after either."""
        self.paused = self.suspended = False
        kept, self._suspended = self._suspended, []
        for receiver, data in kept:
            if data is None:
                receiver.eof()
            else:
                receiver.received(data)
        self.pair()

    def hold(self, receiver: PoolerClient | ServerLink, data: bytes | None) -> bool:
        """True if it is suspended: what has arrived (None: the end) is kept for later."""
        if self.suspended:
            self._suspended.append((receiver, data))
        return self.suspended

    def start(self) -> None:
        """Come back."""
        self.listening = True
        self._failed_at = -1e9

    def _end_all(self, text: str) -> None:
        for client in list(self.clients):
            client.disconnect(text)
        for server in list(self.servers):
            server.close()

    def _stop(self, text: str, restart_after: float | None) -> None:
        self.listening = self.paused = self.suspended = False
        self._suspended.clear()
        self._end_all(text)
        if restart_after is not None:
            self.world.call_later(restart_after, self.start)


class ServerLink:
    """The pooler's connection to a server.

    Attributes:
        client: whom it works for.
        accounts: what is under way, for that client.
        status: the transaction status of its last ReadyForQuery.
        key: of its cancel requests.
        ready: it is logged in.
        clean: nothing was sent since its last ReadyForQuery, which said "I".
        since: when.
        close_needed: it is closed when it is released.
    """

    def __init__(self, pooler: Pooler) -> None:
        self.pooler = pooler
        self.client: PoolerClient | None = None
        self.accounts: Accounts = Followed(pooler.names, self.write) if pooler.names.limit else Counted()
        self.status = ""
        self.key: BackendKeyData | None = None
        self.ready = False
        self.clean = True
        self.since = 0.0
        self.close_needed = False
        self.parameters: dict[str, str] = {}
        self._login = PGConnection(CLIENT)
        self._frames = Frames()
        self._resetting = False
        self._held: list[bytes] = []
        self._end: ServerEnd | None = None

    def dial(self) -> None:
        """Connect and log in."""
        self.pooler.servers.append(self)
        self._end = self.pooler.world.dial(self.pooler.server, self)
        self.write(self._login.send(StartupMessage({"user": "pooler", "database": "app"}, PROTOCOL_3_0)))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._end is not None:
            self._end.write(data)

    def received(self, data: bytes) -> None:
        """Bytes of the server."""
        if self not in self.pooler.servers or self.pooler.hold(self, data):
            return
        if not self.ready:
            self._log_in(data)
            return
        for frame in self._frames.add(data):
            self._frame(frame)
        self._forward_held()

    def _log_in(self, data: bytes) -> None:
        login = self._login
        login.receive_data(data)
        while (event := login.next_event()) is not NEED_DATA:
            if isinstance(event, BackendKeyData):
                self.key = event
            elif isinstance(event, ErrorResponse):
                self._gone(dict(event.fields))
                return
            elif isinstance(event, ReadyForQuery):
                self.ready = True
                self.status = event.status
                self.since = self.pooler.world.now
                self.parameters = dict(login.parameters)
                self.pooler.idle.append(self)
                self.pooler.welcome()
                return
            elif isinstance(event, Closed):
                self._gone(None)
                return

    def _frame(self, frame: bytes) -> None:
        """One whole message of the server."""
        tag = frame[:1]
        client = self.client
        passed = self.accounts.heard(frame) if client is not None else []
        if tag == b"Z":
            self.status = chr(frame[5])
            self.clean = self.status == "I" and self.accounts.settled
        if client is None:
            if self._resetting and tag == b"Z":
                self._resetting = False
                self.pooler.released(self)
            elif not self._resetting and tag not in b"NS":
                self.close()  # "got packet from server when not linked"
            return
        self._held += passed
        if tag == b"Z":
            if self.pooler.mode == "transaction" and self.clean:
                self._forward()
                self.client = client.server = None
                self.accounts.clear()
                self.pooler.released(self)
                client.go_on()
            else:
                client.watch_transaction()

    def _forward_held(self) -> None:
        """Write out what was read; a FATAL a moment later, with what follows it."""
        if self._held and self._held[-1][:1] == b"E" and b"FATAL\0" in self._held[-1][:40]:
            self.pooler.world.call_later(_TOGETHER, self._forward)
        else:
            self._forward()

    def _forward(self) -> None:
        if self._held and self.client is not None:
            self.client.write(b"".join(self._held))
        self._held.clear()

    def release(self) -> None:
        """Its client has gone: it is used again if it is clean, after a reset in session mode."""
        self.client = None
        self.accounts.clear()
        if not self.clean or self._held or self._frames.pending:
            self.close()
            self.pooler.pair()
        elif self.pooler.mode == "session":
            self._resetting = True
            body = _RESET.encode() + b"\0"
            self.write(b"Q" + (len(body) + 4).to_bytes(4, "big") + body)
        else:
            self.pooler.released(self)

    def eof(self) -> None:
        """The server has hung up."""
        if self in self.pooler.servers and not self.pooler.hold(self, None):
            self._gone(None)

    def lost(self) -> None:
        """The server cannot be reached, or has reset the link; after a failed send nothing is said."""
        client = self.client
        if client is not None and self.pooler.world.rng.random() < 0.5:
            self.client = client.server = None
            client.disconnect(words=False)
        self.eof()

    def _gone(self, fields: dict[str, str] | None) -> None:
        was_ready = self.ready
        client = self.client
        if client is not None:
            self.client = client.server = None
            held, self._held = b"".join(self._held), []
            client.disconnect("server conn crashed?", first=held)
        self.close(politely=False)
        if not was_ready:
            self.pooler.login_failed(fields)

    def close(self, *, politely: bool = True) -> None:
        """Hang up."""
        pooler = self.pooler
        if self not in pooler.servers:
            return
        pooler.servers.remove(self)
        if self in pooler.idle:
            pooler.idle.remove(self)
        if self.client is not None:
            self.client.server = None
            self.client = None
        if politely and self.ready:
            self.write(Terminate.encoded)
        if self._end is not None:
            self._end.close()
        self.ready = False


class _Canceller:
    """A cancel request on its way to the server; the client is let go when it has got there."""

    def __init__(self, pooler: Pooler, message: CancelRequest, finished: PoolerClient) -> None:
        self.finished = finished
        end = pooler.world.dial(pooler.server, self)
        self.end = end
        end.write(message.encode())

    def received(self, data: bytes) -> None:
        """A server says nothing to a cancel request."""

    def eof(self) -> None:
        """The server has taken it."""
        self.end.close()
        self.finished.disconnect(words=False)

    def lost(self) -> None:
        """The server is not there."""
        self.eof()
