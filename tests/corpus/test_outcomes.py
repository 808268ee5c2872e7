"""The recorded operations run again in an engine, to every prefix of what the server said, then the end.

What each query may be told is worked out here from the recorded bytes alone, by the rules for outcomes:
where its Execute (or Query) and its Sync were handed over, and where its error and its ReadyForQuery came.
By default a sample of the prefixes is tried; PGPROTO_WHOLE_CORPUS=1 tries all.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate

import pytest

from pgproto import Outcome
from pgproto.errors import Error
from pgproto.session import CopyIn, Execution, Operation
from tests.corpus.operations import begin, labels, serve
from tests.corpus.recording import EOF, Recording
from tests.corpus.replay import WHOLE, partitions, recordings, sample
from tests.corpus.wire import make_engine, make_startup
from tests.support.backend import FATAL, POOLER_FATAL

PREFIXES = 25
PARTITIONS = 50 if WHOLE else 3
SHARDS = 8
DEPENDS = {
    "engine-pipelined-prepares": "what it closes before its first Bind depends on what it has heard by then",
    "engine-idle-in-transaction": "whether the caller's last query comes before or after the end does, too",
}
"""Where the caller, or what is sent, depends on when the server was heard."""
FROM_STDIN = re.compile("copy .* from stdin")
DONE = {Outcome.COMMITTED, Outcome.OK_IN_TX}

each_shard = pytest.mark.parametrize("shard", range(SHARDS))
pytestmark = pytest.mark.timeout(7200 if WHOLE else 120)


class Performance:
    """An engine that does what a recording says that it did."""

    def __init__(self, recording: Recording) -> None:
        self.name = recording.name
        self._runs = list(recording.runs())
        self.engine = make_engine(lambda: 1000.0)
        protocol = recording.about["protocol"]
        turns = recording.about["turns"]
        assert isinstance(protocol, int)
        assert isinstance(turns, list)
        self.startup = make_startup(protocol)
        self.engine.start(self.startup)
        self.operations: list[Operation] = []
        self._turns = list(turns)
        self._current: list[Operation] = [self.startup]
        self._output = b""

    def run(self, cuts: list[int] | None = None, limit: int = -1) -> Performance:
        """Replay, up to so many of the server's bytes and what is said right behind them."""
        heard = 0
        for side, data, _ in self._runs:
            if side == "F":
                if data.startswith(b"X\0\0\0\x04"):
                    self.engine.close()
                self._say(data)
                continue
            if limit >= 0 and heard + len(data) > limit:
                if limit > heard:
                    self._hear(data[: limit - heard])
                break
            ends = [cut - heard for cut in cuts or () if heard < cut < heard + len(data)]
            for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
                self._hear(data[start:end])
            heard += len(data)
        return self

    def _say(self, data: bytes) -> None:
        while len(self._output) < len(data) and (piece := self.engine.data_to_send()):
            size = min(len(piece), len(data) - len(self._output))
            self._output += piece[:size]
            self.engine.data_sent(size)
        assert self._output == data, f"{self.name}: not what was recorded; record it anew if that is meant"
        self._output = b""

    def _hear(self, data: bytes) -> None:
        if data == EOF:
            self.engine.receive_eof()
        else:
            self.engine.receive_data(data)
        serve(self.engine, self._current)
        while (
            self._turns
            and all(operation.finished for operation in self._current)
            and not self.engine.finished
        ):
            self._current = begin(self.engine, self._turns.pop(0))
            self.operations += self._current

    def outcomes(self) -> list[Outcome | None]:
        """Of every query, in order."""
        return [label for operation in self.operations for label in labels(operation)]


@dataclass
class Query:
    """When what happened to a query, in bytes that the server had said; infinity for never."""

    sql: str
    copies_in: bool
    isolated: bool
    sent: float = float("inf")
    sync: float = float("inf")
    completed: float = float("inf")
    ready: float = float("inf")
    settled: float = float("inf")
    failed: float = float("inf")
    decided: bool = False
    in_block: bool = False
    final: Outcome | None = None
    group: list[Query] = field(default_factory=list)


def texts(operation: Operation) -> list[str]:
    """The SQL of each query of an operation."""
    if isinstance(operation, Execution):
        return [item.sql for item in operation.items]
    return [getattr(operation, "sql", "")]


def timeline(recording: Recording, performance: Performance) -> list[Query]:
    """The recorded queries in order, with what happened to them when."""
    queries = [
        Query(sql, isinstance(operation, CopyIn), isinstance(operation, Execution) and not operation.atomic)
        for operation in performance.operations
        for sql in texts(operation)
    ]
    for query, label in zip(queries, performance.outcomes(), strict=True):
        query.final = label
    statements: dict[bytes, str] = {}
    waiting = list(queries)
    bound = ""
    segment: list[Query] = []
    segments: list[list[Query]] = []
    heard = 0
    block = False
    open_: list[Query] = []
    started = False
    for side, data in recording.lines:
        if side == "B":
            heard += len(data)
            if data[:1] == b"Z":
                block = data[5:] != b"I"
                if started:
                    done = segments.pop(0)
                    open_ += done
                    for query in done:
                        query.ready = heard
                    while open_ and not block:
                        open_.pop().settled = heard
                started = True
            elif data[:1] == b"E" and segments:
                for query in segments[0]:
                    query.failed = min(query.failed, heard)
                    query.decided = b"VERROR" in data
            elif data[:1] in (b"C", b"I") and segments:
                for query in segments[0]:
                    if query.completed == float("inf"):
                        query.completed = heard
                        break
            continue
        tag = data[:1]
        if tag == b"P":
            name, _, rest = data[5:].partition(b"\0")
            statements[name] = rest.partition(b"\0")[0].decode()
        elif tag == b"B":
            bound = statements[data[6:].partition(b"\0")[0]]
        elif tag in (b"E", b"Q"):
            sql = bound if tag == b"E" else data[5:-1].decode()
            while waiting[0].sql != sql:
                waiting.pop(0)
            query = waiting.pop(0)
            query.sent, query.in_block = heard, block
            segment.append(query)
        if tag == b"c" and segments[0][0].copies_in:
            segments[0][0].sync = heard
        if tag in (b"S", b"Q"):
            for query in segment:
                if not query.copies_in:
                    query.sync = heard
                query.group = segment
            segments.append(segment)
            segment = []
    return queries


def allowed(query: Query, place: int, fatal: bool, pooler: bool) -> set[Outcome | None]:
    """What may be said about a query when the server has said `place` bytes and then no more."""
    if query.ready <= place:
        if query.isolated and query.settled > place and query.final is not Outcome.OK_IN_TX:
            return {Outcome.ROLLED_BACK, Outcome.UNKNOWN}  # the batch has not ended, and the block is open
        return {query.final}
    if query.sent > place:
        # Nothing of it was handed over; or another statement of its batch was refused before.
        return {Outcome.NOT_SENT, query.final} - DONE
    if query.failed <= place and query.decided:
        # A script whose first statement has completed may have committed it.
        return {query.final} | ({Outcome.UNKNOWN} if ";" in query.sql else set())
    if query.sync > place and not fatal:
        return {Outcome.NOT_COMMITTED, Outcome.ROLLED_BACK} if query.in_block else {Outcome.NOT_COMMITTED}
    may: set[Outcome | None] = {Outcome.UNKNOWN}
    if FROM_STDIN.match(query.sql):
        may.add(Outcome.FAILED)  # refused by ourselves
    if query.sync > place:
        may.add(Outcome.NOT_COMMITTED)
    if query.in_block:
        may.add(Outcome.ROLLED_BACK)
    if fatal and not pooler:
        # The server's own last words name the statement that it was at, unless that is the commit.
        at_sync = all(each.completed <= place for each in query.group)
        if not at_sync:
            may |= {Outcome.FAILED, Outcome.SKIPPED, Outcome.ROLLED_BACK}
    if query.failed <= place and not query.decided:
        may |= {Outcome.FAILED, Outcome.SKIPPED, Outcome.ROLLED_BACK}
    return may


@cache
def engine_recordings() -> list[Recording]:
    """Those whose operations are known."""
    return [recording for recording in recordings() if "turns" in recording.about]


def shard_of(shard: int) -> Iterator[tuple[Recording, Performance]]:
    for recording in engine_recordings()[shard::SHARDS]:
        yield recording, Performance(recording).run()


def described(performance: Performance) -> list[object]:
    """All that a caller can see of the operations."""
    found: list[object] = []
    for operation in performance.operations:
        found.append((operation.finished, repr(operation.error), labels(operation)))
        if isinstance(operation, Execution):
            found += [(item.tag, repr(item.rows), repr(item.error)) for item in operation.items]
        found.append(repr(getattr(operation, "results", getattr(operation, "tag", None))))
    return found


def test_there_are_enough_of_them() -> None:
    assert len(engine_recordings()) >= 55
    seen = {label for recording in engine_recordings() for label in Performance(recording).run().outcomes()}
    assert seen >= {
        Outcome.COMMITTED,
        Outcome.OK_IN_TX,
        Outcome.FAILED,
        Outcome.SKIPPED,
        Outcome.ROLLED_BACK,
        Outcome.UNKNOWN,
        Outcome.NOT_SENT,
    }


@each_shard
def test_the_segmentation_changes_nothing(shard: int) -> None:
    for recording, whole in shard_of(shard):
        if recording.name in DEPENDS:
            continue
        expected = described(whole)
        size = recording.size("B")
        for cuts in [list(range(1, size)), *partitions(recording.name, size, PARTITIONS)]:
            assert described(Performance(recording).run(cuts)) == expected, (recording.name, cuts)


def eof(performance: Performance) -> None:
    performance.engine.receive_eof()


def die(words: bytes) -> Callable[[Performance], None]:
    def ending(performance: Performance) -> None:
        performance.engine.receive_data(words)
        performance.engine.receive_eof()

    return ending


def closed(performance: Performance) -> None:
    """Silence: whoever waits goes away, and the connection is closed."""
    for operation in performance.operations:
        if not operation.finished:
            performance.engine.abandon(operation)
    performance.engine.close()
    performance.engine.receive_eof()


ENDINGS: dict[str, tuple[Callable[[Performance], None], bool, bool]] = {
    "eof": (eof, False, False),
    "fatal": (die(FATAL), True, False),
    "fatal fatal": (die(FATAL + POOLER_FATAL), True, False),
    "pooler": (die(POOLER_FATAL), True, True),
    "silence": (closed, False, False),
}


@each_shard
@pytest.mark.parametrize("how", ENDINGS)
def test_every_query_has_one_sound_outcome(how: str, shard: int) -> None:
    ending, fatal, pooler = ENDINGS[how]
    for recording, whole in shard_of(shard):
        queries = timeline(recording, whole)
        ends = list(accumulate(len(data) for side, data in recording.lines if side == "B"))
        for place in sample(f"{recording.name} {how}", recording.size("B") + 1, PREFIXES):
            if fatal and place not in ends and not WHOLE:
                place = ends[bisect_left(ends, place)]
            performance = Performance(recording).run(limit=place)
            before = performance.outcomes() if all(each.finished for each in performance.operations) else None
            ending(performance)
            what = (recording.name, how, place)
            assert performance.engine.finished, what
            assert performance.startup.finished, what
            outcomes = performance.outcomes()
            assert before in (None, outcomes), what
            for operation in performance.operations:
                assert operation.finished, what
                assert operation.error is None or isinstance(operation.error, Error), what
            assert None not in outcomes, what
            if fatal and place not in ends:
                continue  # the last words went into an unfinished message, and say something else there
            for query, outcome in zip(queries, outcomes, strict=False):
                may = allowed(query, place, fatal, pooler)
                assert outcome in may, (what, query.sql, outcome, may)
