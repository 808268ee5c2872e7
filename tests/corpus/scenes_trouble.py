"""Sessions that somebody else ends or disturbs: cancels, kills, restarts, time limits, and pgbouncer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing

from pgproto.wire import (
    BackendKeyData,
    Bind,
    CancelRequest,
    CopyData,
    CopyDone,
    ErrorResponse,
    Execute,
    Flush,
    NotificationResponse,
    Parse,
    Query,
    Sync,
    tags,
)
from pgproto_pytest.process import wait_until
from tests.corpus.scenes_extended import ONE, run
from tests.corpus.scenes_simple import TABLE, queries
from tests.corpus.wire import Action, Client, Scene
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer

DIE = "select pg_terminate_backend(pg_backend_pid())"
SLEEP = "select pg_sleep(20)"


class Stage:
    """The servers that the actions act on; the recorder sets them."""

    server: PostgresServer
    bouncer: PgBouncer
    strict: PgBouncer
    starts: int


def key(client: Client) -> BackendKeyData:
    """The client's process id and secret key."""
    found = client.connection.backend_key
    assert found is not None
    return found


def sleeping(client: Client) -> None:
    """Wait until the server executes a statement that sleeps."""
    active = "select count(*) from pg_stat_activity where state = 'active' and wait_event = 'PgSleep'"
    wait_until(lambda: Stage.server.query(active) == [["1"]], 20, f"{client.scene.name}: nobody sleeps")


def during(act: Callable[[Client], object], *, query: str = SLEEP, sleeps: bool = True) -> Action:
    """Send a query, do something while it runs, and read how it ends."""

    def action(client: Client) -> None:
        client.send(Query(query))
        if sleeps:
            sleeping(client)
        act(client)
        client.settle()

    return action


def pipeline(act: Callable[[Client], object]) -> Action:
    """The same with a pipeline that sleeps in its middle."""

    def action(client: Client) -> None:
        client.send(*run("select 'before'"), Flush())
        client.settle()
        client.send(*run(SLEEP), *run("select 'behind'"), Sync(), *ONE, Sync())
        sleeping(client)
        act(client)
        client.settle()

    return action


def cancel(client: Client) -> None:
    """Cancel over a connection of its own, and wait until the server has taken it."""
    with client.__class__(Scene("", "", start=False), client.socket.getpeername(), None).socket as sock:
        sock.sendall(CancelRequest(key(client).process_id, key(client).secret_key).encode())
        assert sock.recv(1) == b""


def terminate(client: Client) -> None:
    """End the client's session from outside."""
    Stage.server.query(f"select pg_terminate_backend({key(client).process_id}, 5000)")


def notify(client: Client) -> None:
    """Notify from outside, and read it."""
    Stage.server.query("notify corpus, 'from outside'")
    client.until(NotificationResponse)


def until_error(client: Client) -> None:
    """Read until the server fails what it does; it looks for a cancel only when data arrive."""
    client.until(ErrorResponse)
    client.settle()


def replicate(client: Client) -> None:
    """Begin to stream the write-ahead log (COPY in both directions), and end it from this side."""
    where = Stage.server.query("select pg_current_wal_flush_lsn()")[0][0]
    client.send(Query(f"START_REPLICATION PHYSICAL {where}"))
    client.settle()
    client.send(CopyDone())
    client.settle()


def idle_end(client: Client) -> None:
    """Read what comes without having asked, to the end."""
    client.until_closed()


def stop(mode: str) -> Callable[[Client], object]:
    """Stop the server and start it again."""

    def act(client: Client) -> None:
        if mode == "kill":
            Stage.server.kill()
        else:
            Stage.server.restart("fast" if mode == "fast" else "immediate")

    return act


def new_starts() -> int:
    """How often the server has begun anew after a crash, and finished with it."""
    return Stage.server.log.read_text().partition("reinitializing")[2].count("ready to accept")


def quit_backend(client: Client) -> None:
    """SIGQUIT for the client's own backend, and for no other: that counts as a crash."""
    Stage.starts = new_starts()
    os.kill(key(client).process_id, signal.SIGQUIT)


def crash(client: Client) -> None:
    """SIGKILL for another backend: the server ends all sessions, and starts anew."""
    Stage.starts = new_starts()
    address = (Stage.server.host, Stage.server.port)
    with closing(Client(Scene("victim", "18"), address, None)) as victim:
        victim.start()
        os.kill(key(victim).process_id, signal.SIGKILL)
        victim.until_closed()


def recovered(client: Client) -> None:
    """Wait until the server has recovered from the crash."""
    wait_until(lambda: new_starts() > Stage.starts, 30, f"{client.scene.name}: no recovery")


def bring_back(client: Client) -> None:
    """After a kill."""
    Stage.server.start()


def send_cancel(secret: bytes, pid: int = 1) -> Action:
    """Nothing but a cancel request."""
    return lambda client: client.send(CancelRequest(pid, secret))


def admin(command: str) -> Callable[[Client], object]:
    """A command of pgbouncer's console."""
    return lambda client: Stage.bouncer.admin(command)


SCENES = [
    Scene("cancel-nobody", "18", [send_cancel(b"0123")], start=False),
    Scene("cancel-long-key", "18", [send_cancel(bytes(range(32)), 99999)], start=False),
    Scene("cancel-simple", "18", [during(cancel), *queries("select 1")]),
    Scene("cancel-simple-3.0", "15", [during(cancel), *queries("select 1")], protocol=tags.PROTOCOL_3_0),
    Scene("cancel-pipeline", "18", [pipeline(cancel), *queries("select 1")]),
    Scene("cancel-in-block", "18", [*queries("begin"), during(cancel), *queries("select 1", "rollback")]),
    Scene(
        "cancel-copy-in",
        "18",
        [
            *queries(TABLE),
            (Query("copy t from stdin"),),
            (CopyData(b"1\tx\n"),),
            cancel,
            (CopyData(b"2\ty\n"),),
            until_error,
            (Query("select 1"),),
        ],
    ),
    Scene(
        "copy-both",
        "18",
        [replicate, *queries("IDENTIFY_SYSTEM")],
        database="",
        parameters={"replication": "true"},
    ),
    Scene("cancel-idle", "15", [cancel, *queries("select 1")]),
    Scene("dies-itself", "18", queries(DIE, "select 1")),
    Scene("dies-itself-in-script", "18", queries(f"select 1; {DIE}; select 2")),
    Scene("dies-itself-in-pipeline", "15", [(*ONE, *run(DIE), *ONE, Sync(), *ONE, Sync())]),
    Scene("dies-itself-in-block", "18", [*queries("begin", TABLE), (*run(DIE), Sync(), Query("commit"))]),
    Scene("dies-before-sync", "18", [(*ONE, *run(DIE), Flush())]),
    Scene("terminated-idle", "18", [terminate, idle_end]),
    Scene("terminated-idle-in-block", "15", [*queries("begin; select 1"), terminate, idle_end]),
    Scene("terminated-asleep", "18", [during(terminate)]),
    Scene("terminated-in-pipeline", "18", [pipeline(terminate)]),
    Scene(
        "terminated-in-copy-in",
        "18",
        [*queries(TABLE), (Query("copy t from stdin"),), (CopyData(b"1\tx\n"),), terminate, idle_end],
    ),
    Scene(
        "terminated-suspended",
        "18",
        [
            (Parse("", "select generate_series(1, 9)"), Bind("", "", (), (), ()), Execute("", 2), Flush()),
            terminate,
            idle_end,
        ],
    ),
    Scene("session-timeout", "18", [*queries("set idle_session_timeout = 20"), idle_end]),
    Scene("transaction-timeout", "18", [*queries("set transaction_timeout = 20; begin"), idle_end]),
    Scene(
        "idle-transaction-timeout",
        "15",
        [*queries("set idle_in_transaction_session_timeout = 20", "begin"), idle_end],
    ),
    Scene("notified-idle", "18", [*queries("listen corpus"), notify, *queries("select 1")]),
    Scene(
        "notified-in-block",
        "15",
        [
            *queries("listen corpus", "begin"),
            lambda client: Stage.server.query("notify corpus, 'held back'"),
            *queries("select 1", "commit"),
        ],
    ),
    Scene(
        "reconfigured",
        "18",
        [
            *queries("select 1"),
            lambda client: Stage.server.query("alter role postgres set application_name = 'x'"),
            *queries("reset application_name"),
        ],
    ),
    Scene("restart-idle", "18", [stop("fast"), idle_end]),
    Scene("restart-asleep", "18", [during(stop("fast"))]),
    Scene("restart-pipeline", "15", [pipeline(stop("fast"))]),
    Scene("immediate-idle", "18", [stop("immediate"), idle_end]),
    Scene("immediate-asleep", "18", [during(stop("immediate"))]),
    Scene(
        "immediate-copy-in",
        "15",
        [*queries(TABLE), (Query("copy t from stdin"),), (CopyData(b"1\tx\n"),), stop("immediate"), idle_end],
    ),
    Scene("killed-asleep", "18", [during(stop("kill")), bring_back]),
    Scene("killed-idle", "15", [stop("kill"), idle_end, bring_back]),
    Scene("quit-asleep", "18", [during(quit_backend), recovered]),
    Scene("quit-idle", "15", [quit_backend, idle_end, recovered]),
    Scene("crash-asleep", "18", [during(crash), recovered]),
    Scene("crash-idle-in-block", "15", [*queries("begin"), crash, idle_end, recovered]),
    Scene("crash-pipeline", "18", [pipeline(crash), recovered]),
    Scene(
        "crash-copy-in",
        "18",
        [*queries(TABLE), (Query("copy t from stdin"),), (CopyData(b"1\tx\n"),), crash, idle_end, recovered],
    ),
    Scene("pooled-too-new", "bouncer", protocol=tags.PROTOCOL_3_2),
    Scene("pooled-hello", "bouncer", queries("select 1", "")),
    Scene("pooled-extended", "bouncer", [(*ONE, Sync(), *run("select 1/0"), *ONE, Sync())]),
    Scene("pooled-crashed", "bouncer", [(Query(DIE),), idle_end]),
    Scene("pooled-crashed-pipeline", "bouncer", [(*ONE, *run(DIE), *ONE, Sync(), *ONE, Sync()), idle_end]),
    Scene(
        "pooled-server-killed",
        "bouncer",
        [
            during(
                lambda client: Stage.server.query(
                    "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'"
                )
            ),
            idle_end,
        ],
    ),
    Scene("pooled-server-restarted", "bouncer", [during(stop("fast"))]),
    Scene("pooled-server-immediate", "bouncer", [during(stop("immediate"))]),
    Scene("pooled-no-database", "bouncer", queries("select 1"), database="nowhere"),
    Scene("pooled-no-role", "bouncer", user="nobody"),
    Scene("pooled-bad-parameter", "bouncer", parameters={"work_mem": "1MB"}),
    Scene(
        "pooled-killed-database",
        "bouncer",
        [*queries("begin"), admin("KILL postgres"), idle_end, admin("RESUME postgres")],
    ),
    Scene("pooled-killed-asleep", "bouncer", [during(admin("KILL postgres")), admin("RESUME postgres")]),
    Scene(
        "pooled-admin-console",
        "bouncer",
        queries("show version", "show lists", "nonsense"),
        database="pgbouncer",
    ),
    Scene("pooled-admin-extended", "bouncer", [(*ONE, Sync())], database="pgbouncer"),
    Scene("pooled-timeout", "strict bouncer", [during(lambda client: None)]),
    Scene("pooled-block-timeout", "strict bouncer", [*queries("begin"), idle_end]),
    Scene("pooled-statement-mode", "statement bouncer", queries("select 1", "begin")),
    Scene("pooled-scram", "scram bouncer", queries("select current_user"), user="scram_user"),
    Scene("pooled-scram-wrong", "scram bouncer", user="scram_user", password="wrong"),
    Scene("pooled-md5", "md5 bouncer", queries("select 1"), user="md5_user"),
    Scene("pooled-cleartext", "plain bouncer", queries("select 1"), user="password_user"),
    Scene("pooled-cleartext-wrong", "plain bouncer", user="password_user", password="wrong"),
    Scene("pooled-shutdown", "mortal bouncer", [lambda client: Stage.strict.stop(), idle_end]),
]
