"""Every prefix of what a recorded server says, then its end in every way: one Closed, all requests settled.

By default a sample of the prefixes is tried, with all ends of messages; PGPROTO_WHOLE_CORPUS=1 tries all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from pgproto import ConnectionLost, PostgresError, RemoteProtocolError
from pgproto.protocol import CLIENT, Closed, Skipped, states
from pgproto.wire import (
    CommandComplete,
    CopyInResponse,
    EmptyQueryResponse,
    ErrorResponse,
    FunctionCall,
    Message,
    PortalSuspended,
    Query,
    ReadyForQuery,
    Sync,
    tags,
)
from tests.corpus.recording import EOF
from tests.corpus.replay import WHOLE, Play, Replay, plays, sample
from tests.support.backend import FATAL, POOLER_FATAL

PREFIXES = 8
BOUNDARIES = 8
SHARDS = 8

each_shard = pytest.mark.parametrize("shard", range(SHARDS))
pytestmark = pytest.mark.timeout(7200 if WHOLE else 120)

ENDS = {
    tags.EXECUTE: (CommandComplete, EmptyQueryResponse, PortalSuspended),
    tags.SYNC: (ReadyForQuery,),
    tags.QUERY: (ReadyForQuery,),
    tags.FUNCTION_CALL: (ReadyForQuery,),
}
"""The last answer to a request; Parse, Bind and Close have one, and Describe's last is never the first."""


def prefixes(play: Play) -> Iterator[tuple[int, bool]]:
    """Places in what the server says, and whether a message ends there."""
    ends = set(play.boundaries)
    chosen = sample(play.name + " ends", len(play.boundaries), BOUNDARIES)
    for place in sorted(
        {play.boundaries[index] for index in chosen} | set(sample(play.name, play.size, PREFIXES))
    ):
        yield place, place in ends


def is_settled(event: Message) -> bool:
    """True if the event is the last answer to its request."""
    request = event.request
    assert request is not None
    if isinstance(event, Skipped):
        return True
    if isinstance(event, ErrorResponse):
        return not isinstance(request, Query | FunctionCall | Sync)
    if request.tag in ENDS:
        return isinstance(event, ENDS[request.tag])
    return event.tag != tags.PARAMETER_DESCRIPTION


def settled(replay: Replay) -> Counter[int]:
    """How often each request that was sent has ended, by the events alone."""
    counts: Counter[int] = Counter()
    end = replay.events[-1]
    assert isinstance(end, Closed)
    last_words = [event for event in replay.events if isinstance(event, ErrorResponse)][-1:]
    for event in replay.events[:-1]:
        if event.request is None:
            continue
        if isinstance(event, ErrorResponse) and event in last_words and _is_last_word(end, event):
            continue  # it ended the session, and not its request
        counts[id(event.request)] += is_settled(event)
        if isinstance(event, CopyInResponse):
            # The server ignores the Syncs that were sent before it (manual: "COPY Operations").
            position = next(i for i, message in enumerate(replay.sent) if message is event.request)
            for message in replay.sent[position + 1 :]:
                if not isinstance(message, Sync):
                    break
                counts[id(message)] += 1
    for request in end.unanswered:
        counts[id(request)] += 1
    return counts


def _is_last_word(end: Closed, event: ErrorResponse) -> bool:
    error = end.error
    return (
        isinstance(error, PostgresError)
        and error.fields == event.fields
        and any(request is event.request for request in end.unanswered)
    )


def check(replay: Replay, what: object) -> Closed:
    """One Closed, as the last event; every request that was sent has ended exactly once."""
    assert sum(isinstance(event, Closed) for event in replay.events) == 1, what
    end = replay.events[-1]
    assert isinstance(end, Closed), what
    assert replay.connection.next_event() is end, what
    assert replay.connection.in_flight == 0, what
    counts = settled(replay)
    for message in replay.sent:
        if message.tag in states.FIRST_STATE:
            assert counts.pop(id(message), 0) == 1, (what, message, end)
    assert not counts, (what, counts)
    return end


def endings(
    ending: Callable[[Replay, bool], None], shard: int
) -> Iterator[tuple[Replay, Closed, bool, tuple[str, int]]]:
    """Every prefix of a shard's sessions with this ending."""
    for play in plays(CLIENT)[shard::SHARDS]:
        if play.name == "start-version-2":
            continue  # what its server says is no message of protocol 3
        for place, at_end in prefixes(play):
            what = (play.name, place)
            replay = Replay(play).run(limit=place)
            was_open = replay.connection.closed is None
            ending(replay, at_end)
            yield replay, check(replay, what), was_open and at_end, what


def in_clear(replay: Replay) -> bool:
    """True if bytes of the server may be messages now."""
    return replay.connection.phase not in (states.START, states.ENCRYPTION, states.SECURING)


@each_shard
def test_eof(shard: int) -> None:
    for _, end, open_at_end, what in endings(lambda replay, _: replay.hear(EOF), shard):
        assert isinstance(end.error, ConnectionLost | PostgresError | None), (what, end)
        if open_at_end and end.error is None:
            assert what[0].startswith("cancel-"), (what, end)


@each_shard
@pytest.mark.parametrize("words", [[FATAL], [FATAL, POOLER_FATAL]], ids=["fatal", "fatal-fatal"])
def test_fatal(words: list[bytes], shard: int) -> None:
    def ending(replay: Replay, at_end: bool) -> None:
        clear.append(in_clear(replay))
        replay.hear(b"".join(words))
        replay.hear(EOF)

    clear: list[bool] = []
    for _, end, open_at_end, what in endings(ending, shard):
        if open_at_end and clear[-1]:
            assert isinstance(end.error, PostgresError), (what, end)
            assert end.error.sqlstate == "57P01", (what, end)
            assert [error.sqlstate for error in end.also if isinstance(error, PostgresError)] == ["08P01"][
                : len(words) - 1
            ], (what, end)


@each_shard
def test_silence_and_close(shard: int) -> None:
    def ending(replay: Replay, at_end: bool) -> None:
        replay.connection.close()
        replay.collect()

    for replay, end, open_at_end, what in endings(ending, shard):
        if open_at_end:
            assert end.error is None, (what, end)
            assert end.also == [], (what, end)
        before = end.error
        replay.hear(FATAL)
        replay.hear(EOF)
        assert end.error is before, what


@each_shard
def test_nonsense(shard: int) -> None:
    def ending(replay: Replay, at_end: bool) -> None:
        replay.hear(b"\xff" * 5)
        replay.hear(EOF)

    for _, end, open_at_end, what in endings(ending, shard):
        if open_at_end:
            assert isinstance(end.error, RemoteProtocolError | ConnectionLost), (what, end)
