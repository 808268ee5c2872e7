"""The model server where the real one cannot be watched: the truth, crashes, commits that take their time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto.wire import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    Bind,
    CancelRequest,
    CopyData,
    Execute,
    Parse,
    Query,
    StartupMessage,
    Sync,
    Terminate,
)
from tests.sim.conversations import INSERT, bound
from tests.sim.database import COMMITTED, OPEN, ROLLED_BACK, Database
from tests.sim.desk import Client, Desk
from tests.sim.postgres import Postmaster

START = StartupMessage({"user": "app"}, PROTOCOL_3_0)


class Scene:
    """A desk with a server and a client that is logged in."""

    def __init__(self, max_connections: int = 100, protocol: int = PROTOCOL_3_2) -> None:
        self.desk = Desk()
        self.database = Database()
        self.server = Postmaster(self.desk, self.database, max_connections=max_connections, protocol=protocol)
        self.desk.servers["postgres"] = self.server
        self.client = self.another()

    def another(self) -> Client:
        client = Client(self.desk)
        client.take()
        return client

    def ends(self, id: int) -> list[str]:
        return [attempt.end for attempt in self.database.ledger.attempts.get(id, [])]


def test_a_commit_is_an_instant_before_its_answer() -> None:
    scene = Scene()
    scene.database.commit_delay = 1.0
    scene.client.send(*bound(INSERT, b"1"), Sync())
    assert scene.ends(1) == [OPEN]
    scene.desk.run(0.5)
    assert scene.database.committed == {}
    scene.desk.run(0.5)
    assert scene.database.committed == {1: 101.0}
    assert scene.client.take()[-1] == "ReadyForQuery I"


def test_a_commit_is_not_interrupted() -> None:
    scene = Scene()
    scene.database.commit_delay = 1.0
    scene.client.send(*bound(INSERT, b"1"), Sync())
    (session,) = scene.server.sessions.values()
    session.cancel()
    session.terminate()
    scene.desk.run(1.0)
    assert scene.database.committed == {1: 101.0}
    assert scene.client.take()[-3:] == ["ReadyForQuery I", "FATAL 57P01", "Closed"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_around_the_instant_loses_the_answer_and_not_the_truth(when: str) -> None:
    scene = Scene()
    scene.database.commit_delay = 1.0
    scene.database.replication_delay = 1.0
    scene.client.send(Query("begin; insert into ledger values (1); commit"))
    scene.desk.run(0.5 if when == "before" else 1.5)
    scene.server.kill(restart_after=1.0)
    scene.desk.run()
    assert scene.client.take() == ["Closed"]
    assert scene.ends(1) == [ROLLED_BACK if when == "before" else COMMITTED]
    assert list(scene.database.committed) == ([] if when == "before" else [1])
    assert not scene.server.listening
    scene.desk.run(1.0)
    again = scene.another()
    again.send(Query("select count(*) from ledger"))
    count = b"0" if when == "before" else b"1"
    assert f"DataRow {bytes((0, 1, 0, 0, 0, 1)) + count!r}" in again.take()


def test_waiting_for_a_standby_a_commit_is_done_whatever_comes() -> None:
    for strike, words in (
        ("cancel", ["WARNING 01000", "BindComplete", "CommandComplete INSERT 0 1", "ReadyForQuery I"]),
        ("terminate", ["WARNING 57P01", "Closed"]),
    ):
        scene = Scene()
        scene.database.replication_delay = 1.0
        scene.client.send(*bound(INSERT, b"1"), Sync())
        (session,) = scene.server.sessions.values()
        getattr(session, strike)()
        scene.desk.run()
        heard = scene.client.take()
        assert set(words) <= set(heard), heard
        assert heard[-1] == words[-1]
        assert list(scene.database.committed) == [1]


def test_a_crash_undoes_what_is_open_and_is_over_after_a_while() -> None:
    scene = Scene()
    other = scene.another()
    scene.client.send(Query("begin; insert into ledger values (1)"))
    other.send(Query("insert into ledger values (2)"))
    scene.client.take()
    other.take()
    victim = min(scene.server.sessions)
    scene.server.crash(victim, restart_after=1.0)
    scene.desk.run()
    assert scene.client.take() == ["Closed"]
    assert other.take() == ["WARNING 57P02", "Closed"]
    assert scene.ends(1) == [ROLLED_BACK]
    assert list(scene.database.committed) == [2]
    refused = Client(scene.desk)
    assert refused.take() == ["FATAL 57P03", "Closed"]
    scene.desk.run(1.0)
    assert "ReadyForQuery I" in Client(scene.desk).take()


def shut_down(server: Postmaster) -> None:
    server.shut_down(restart_after=1.0)


def shut_down_at_once(server: Postmaster) -> None:
    server.shut_down_at_once(restart_after=1.0)


@pytest.mark.parametrize(
    ("how", "words"),
    [(shut_down, ["FATAL 57P01", "Closed"]), (shut_down_at_once, ["WARNING 57P01", "Closed"])],
)
def test_a_shutdown_tells_everybody(how: Callable[[Postmaster], None], words: list[str]) -> None:
    scene = Scene()
    how(scene.server)
    scene.desk.run()
    assert scene.client.take() == words
    assert (scene.server.count, scene.server.listening) == (0, False)
    scene.desk.run(1.0)
    assert scene.server.listening


def test_a_statement_runs_to_its_end_when_its_client_has_gone() -> None:
    """As in the real server, which looks at the link only when it reads or writes."""
    scene = Scene()
    scene.client.send(Query("select pg_sleep(1); insert into ledger values (1)"))
    scene.client.end.close()
    scene.desk.run()
    assert scene.server.count == 1
    scene.desk.run(1.0)
    assert list(scene.database.committed) == [1]
    assert scene.server.count == 0


def test_a_segment_without_its_sync_is_undone() -> None:
    scene = Scene()
    scene.client.send(*bound(INSERT, b"1"))
    scene.client.end.close()
    scene.desk.run()
    assert scene.ends(1) == [ROLLED_BACK]
    scene = Scene()
    scene.client.send(Query("copy ledger from stdin"))
    scene.client.send(CopyData(b"1\n"))
    scene.client.end.reset()
    scene.desk.run()
    assert scene.ends(1) == [ROLLED_BACK]


def test_an_id_waits_for_the_transaction_that_holds_it() -> None:
    for end, answer in (("commit", "ERROR 23505"), ("rollback", "CommandComplete INSERT 0 1")):
        scene = Scene()
        other = scene.another()
        scene.client.send(Query("begin; insert into ledger values (1)"))
        other.send(Query("insert into ledger values (1)"))
        assert other.take() == []
        scene.client.send(Query(end))
        assert other.take()[0] == answer


def test_a_notification_is_heard_at_the_commit_and_when_idle() -> None:
    scene = Scene()
    idle, inside = scene.another(), scene.another()
    idle.send(Query("listen news"))
    inside.send(Query("listen news"))
    inside.send(Query("begin"))
    idle.take()
    inside.take()
    scene.client.send(Query("begin; notify news, 'x'"))
    assert idle.take() == []
    scene.client.send(Query("commit"))
    assert idle.take() == ["NotificationResponse news x"]
    assert inside.take() == []
    inside.send(Query("commit"))
    assert inside.take() == ["CommandComplete COMMIT", "NotificationResponse news x", "ReadyForQuery I"]


def test_too_many_wrong_key_and_an_old_protocol() -> None:
    scene = Scene(max_connections=1, protocol=PROTOCOL_3_0)
    assert Client(scene.desk).take() == ["FATAL 53300", "Closed"]
    scene.client.send(Query("select pg_sleep(1)"))
    (session,) = scene.server.sessions.values()
    Client(scene.desk, start=CancelRequest(session.pid, b"wrong"))
    assert scene.server.cancels == []
    Client(scene.desk, start=CancelRequest(session.pid, session.key))
    assert scene.server.cancels == [session.pid]
    assert scene.client.take()[-2:] == ["ERROR 57014", "ReadyForQuery I"]
    scene.client.send(Terminate())
    newer = StartupMessage({"user": "app", "_pq_.odd": "1"}, PROTOCOL_3_2)
    assert Client(scene.desk, start=newer).take()[0] == "NegotiateProtocolVersion"
    assert scene.server.peak == 1


def test_a_late_cancel_hits_whatever_runs_then() -> None:
    scene = Scene()
    scene.server.cancel_delay = 1.0
    scene.client.send(Query("select pg_sleep(0.5)"))
    (session,) = scene.server.sessions.values()
    Client(scene.desk, start=CancelRequest(session.pid, session.key))
    scene.desk.run(0.6)
    assert scene.client.take()[-1] == "ReadyForQuery I"
    scene.client.send(Query("select pg_sleep(9)"))
    scene.desk.run(1.0)
    assert "ERROR 57014" in scene.client.take()


def test_traces_are_what_a_borrower_leaves() -> None:
    scene = Scene()
    (session,) = scene.server.sessions.values()
    assert session.traces() == []
    scene.client.send(Query("set work_mem = '1MB'; listen news; create temp table t (id int4)"))
    scene.client.send(Query("select pg_advisory_lock_shared(7)"))
    scene.client.send(Query("begin"))
    assert session.traces() == [
        "transaction T",
        "set work_mem = 1MB",
        "listen news",
        "temporary table t",
        "advisory lock 7",
    ]
    scene.client.send(Query("rollback"))
    scene.client.send(Query("discard all"))
    assert session.traces() == []
    scene.client.send(Parse("", "select 1"), Bind("", "", (), (), ()), Execute())
    assert len(session.traces()) == 1
    scene.client.send(Sync())
    assert session.traces() == []
    scene.client.send(Query("select pg_sleep(1)"))
    assert len(session.traces()) == 1


def test_a_standby_refuses_to_write_until_it_is_promoted() -> None:
    scene = Scene()
    scene.server.demote(restart_after=1.0)
    scene.desk.run(1.0)
    client = Client(scene.desk)
    assert "ParameterStatus in_hot_standby=on" in client.take()
    client.send(Query("insert into ledger values (1)"))
    assert client.take() == ["ERROR 25006", "ReadyForQuery I"]
    for sql, answer in (("listen news", "ERROR 25006"), ("unlisten news", "CommandComplete UNLISTEN")):
        client.send(Query(sql))
        assert client.take() == [answer, "ReadyForQuery I"]
    scene.server.promote()
    client.send(Query("insert into ledger values (1)"))
    assert client.take() == [
        "CommandComplete INSERT 0 1",
        "ParameterStatus in_hot_standby=off",
        "ReadyForQuery I",
    ]
