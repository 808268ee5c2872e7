"""Recorded sessions in any segmentation: the same events, for both roles.

By default a sample of the places is tried, the same in every run; PGPROTO_WHOLE_CORPUS=1 tries all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from pgproto import LocalProtocolError
from pgproto.protocol import CLIENT, SERVER, Closed
from pgproto.wire import ErrorResponse
from tests.corpus.recording import Recording, dump, parse
from tests.corpus.replay import WHOLE, Play, Replay, partitions, plays, recordings, sample
from tests.support.drive import comparable

SPLITS = 30
PARTITIONS = 1000 if WHOLE else 5
SHARDS = 8

each_role = pytest.mark.parametrize("role", [CLIENT, SERVER], ids=["client", "server"])
each_shard = pytest.mark.parametrize("shard", range(SHARDS))


def shard_of(role: int, shard: int) -> Iterator[tuple[Play, list[tuple[object, ...]]]]:
    """Some of the corpus, with the events of the undisturbed session."""
    for play in plays(role)[shard::SHARDS]:
        yield play, comparable(Replay(play).run().events)


def test_there_are_enough_of_them_and_they_differ() -> None:
    names = [recording.name for recording in recordings()]
    assert len(set(names)) == len(names) >= 250
    shapes = {
        tuple((side, data[:1], len(data) if side == "F" else 0) for side, data in recording.lines)
        for recording in recordings()
    }
    assert len(shapes) >= 250
    servers = Counter(str(recording.about["server"]) for recording in recordings())
    assert {"18", "15", "15 tls", "bouncer"} <= set(servers)


def test_the_text_is_the_recording() -> None:
    again = parse(dump(recordings()))
    assert again == recordings()
    odd = Recording(
        "odd", {}, [("F", b"\0\0\0\x08\0\3\0\0"), ("B", bytes([7, 0, 0, 1, 4, *range(256)])), ("B", b"")]
    )
    odd.lines.insert(1, ("B", b"D\0\0\0\x08ab  "))
    assert parse(dump([odd])) == [odd]


@each_role
def test_every_session_is_legal(role: int) -> None:
    """No message of a real peer is refused: what ends a session is its end, or that peer's own error."""
    for play in plays(role):
        replay = Replay(play).run()
        end = replay.events[-1]
        assert isinstance(end, Closed), play.name
        if play.name in ("start-version-2", "start-version-4"):
            continue  # not our protocol
        assert "ProtocolError" not in repr(end.error), (play.name, end)
        heard = [message for run in play.runs if not run.own for message in run.messages]
        if role == CLIENT and end.error is not None:
            errors = [event for event in replay.events if isinstance(event, ErrorResponse)]
            said = [message for message in heard if isinstance(message, ErrorResponse)]
            assert len(errors) + len(end.also) >= len(said), play.name


@each_role
@each_shard
def test_byte_by_byte(role: int, shard: int) -> None:
    for play, expected in shard_of(role, shard):
        assert comparable(Replay(play).run(every=True).events) == expected, play.name


@each_role
@each_shard
@pytest.mark.timeout(3600 if WHOLE else 120)
def test_every_split(role: int, shard: int) -> None:
    for play, expected in shard_of(role, shard):
        for place in sample(play.name, play.size, SPLITS):
            events = Replay(play).run([place]).events
            assert comparable(events) == expected, (play.name, place)


@each_role
@each_shard
@pytest.mark.timeout(7200 if WHOLE else 120)
def test_random_partitions(role: int, shard: int) -> None:
    for play, expected in shard_of(role, shard):
        for cuts in partitions(play.name, play.size, PARTITIONS):
            assert comparable(Replay(play).run(cuts).events) == expected, (play.name, cuts)


def test_a_difference_is_found() -> None:
    """The comparison has eyes: one bit of a row, one more message, or another order is another session."""
    play = next(play for play in plays(CLIENT) if play.name == "simple-several")
    expected = comparable(Replay(play).run().events)
    for index, run in enumerate(play.runs):
        if run.own or b"D\0\0\0" not in run.data:
            continue
        other = Play(recordings()[0], CLIENT)
        changed = run.data.replace(b"two", b"owt")
        assert changed != run.data
        other.runs = [*play.runs]
        other.runs[index] = type(run)(False, run.start, changed, run.messages)
        assert comparable(Replay(other).run().events) != expected
        return
    raise LocalProtocolError("no rows in the recording")
