"""Planted bugs of the session: waiting, cancelling, statements, COPY, transactions."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from pgproto import Error, LocalProtocolError, TransactionAborted
from pgproto.protocol import CommandCompletes, DataRows, PGConnection
from pgproto.session import stopping
from pgproto.session.batch import QueuedQuery
from pgproto.session.cancelling import NO_WISH, Cancelling
from pgproto.session.channel import Channel
from pgproto.session.connect import Connector, Step
from pgproto.session.copy import CopyIn
from pgproto.session.ending import GRACE, Ending
from pgproto.session.engine import Engine
from pgproto.session.executemany import ExecuteMany
from pgproto.session.execution import Execution
from pgproto.session.loss import Loss
from pgproto.session.operation import Operation
from pgproto.session.preparing import Preparing
from pgproto.session.segment import Segment
from pgproto.session.statements import PREPARING, Statement, StatementCache
from pgproto.session.stopping import Stopping
from pgproto.session.transaction import Transaction
from pgproto.session.turns import Turns
from pgproto.wire import BackendKeyData, FieldDescription, Message, NotificationResponse, Terminate

from .planted_edit import Bug, Value, Wrap, returns

__all__ = ["BUGS"]


_Flow: TypeAlias = Generator[Step, None, Engine]


def _and_pipeline(
    connect: Callable[..., _Flow], self: Connector, password: str | None = None, *, accepting: bool = False
) -> _Flow:
    engine = yield from connect(self)
    if self.config.pipelining is None:
        engine.pipelining = True
    return engine


def _pipelining(produce: Callable[..., int], self: Execution, channel: Channel) -> int:
    pipelining, channel.pipelining = channel.pipelining, True
    try:
        return produce(self, channel)
    finally:
        channel.pipelining = pipelining


_POOLERS: Final = (
    Bug(
        "pooler-pipelining",
        "0.1.0: segments are pipelined behind a pooler that gives the server away at each ReadyForQuery",
        [Wrap(Connector, "connect", _and_pipeline)],
        kinds="surprise label rows truth stale hang late twice",
        profile="tangled",
    ),
    Bug(
        "pooler-batch-pipelining",
        "the same in a batch alone: its statements do not wait for each other",
        [Wrap(Execution, "produce", _pipelining)],
        kinds="surprise label rows truth stale hang late twice",
        profile="tangled",
    ),
)


def _as_ever_if_unnamed(
    are_known: Callable[..., bool], self: Statement, fields: tuple[FieldDescription, ...]
) -> bool:
    return not self.name or are_known(self, fields)


_UNNAMED: Final = (
    Bug(
        "unnamed-described-once",
        "0.1.0: without names a text is parsed for each run, and decoded as it was described for the first",
        [Wrap(Statement, "returns", _as_ever_if_unnamed)],
        kinds="types",
        profile="migrating",
    ),
)


def _wait_if_executed(
    lost: Callable[..., None], self: Execution, channel: Channel, segment: Segment | None, loss: Loss
) -> None:
    if not all(item.executed for item in self.items):
        lost(self, channel, segment, loss)


def _without_a_bound(begin: Callable[[Ending, float], None], self: Ending, now: float) -> None:
    begin(self, now)
    if self.write_failed is None:
        self.until = float("inf")


def _first_write(has_room: Callable[[Turns], bool], self: Turns) -> bool:
    return has_room(self) and not self.channel.pending


def _those_at_their_turn(due: Callable[..., list[Operation]], self: Stopping, now: float) -> list[Operation]:
    turns = self._turns
    return [each for each in due(self, now) if each not in turns.queue or not turns.channel.segments]


def _but_for_the_abandoned(idle: Callable[[Engine], bool], self: Engine) -> bool:
    segments = self.channel.segments
    wanted = [each for each in segments if not each.operation.abandoned]
    hidden = [] if wanted else list(segments)
    if hidden:
        segments.clear()
    answer = idle(self)
    segments.extend(hidden)
    return answer


def _skip_the_rest(
    abandon: Callable[..., None], self: Engine, operation: Operation, why: Loss | None = None
) -> None:
    if operation is self.turns.starting:
        abandon(self, operation, why)
    elif not operation.finished and not operation.abandoned:
        operation.abandoned = True
        operation.skip_rest(self.channel)


def _forget(receive: Callable[[Engine, bytes], None], self: Engine, data: bytes) -> None:
    segments = self.channel.segments
    while len(segments) > 1 and segments[0].operation.abandoned:
        segments.popleft()
    receive(self, data)


def _and_forget_it(take: Callable[..., BackendKeyData | None], self: Cancelling) -> BackendKeyData | None:
    key = take(self)
    self.state = NO_WISH
    return key


def _to_the_last(
    handle: Callable[..., None], self: Execution, channel: Channel, segment: Segment, event: Message
) -> None:
    last = channel.segments[-1]
    if isinstance(event, DataRows) and isinstance(last.operation, Execution):
        handle(last.operation, channel, last, event)
    else:
        handle(self, channel, segment, event)


def _none_while_busy(following: Callable[[PGConnection], Message], self: PGConnection) -> Message:
    while True:
        event = following(self)
        if not (isinstance(event, NotificationResponse) and self.in_flight):
            return event


def _say_good_bye(close: Callable[[Engine], None], self: Engine) -> None:
    if self.closed:
        self.channel.write(Terminate())
    close(self)


def _quote_the_password(
    connect: Callable[..., _Flow], self: Connector, password: str | None = None, *, accepting: bool = False
) -> _Flow:
    try:
        return (yield from connect(self))
    except Error as error:
        secret = self.config.password_for(self.config.hosts[0])
        if secret is not None:
            error.args = (f"{error} (with {secret.reveal()})",)
        raise


_WAITING: Final = (
    Bug(
        "pgx-800",
        "pgx #800: FATAL between CommandComplete and ReadyForQuery: who has his CommandComplete waits on",
        [Wrap(Execution, "lost", _wait_if_executed)],
        kinds="hang late",
    ),
    Bug(
        "fatal-waits-for-eof",
        "FATAL without a FIN behind it: the end of the stream is waited for without a bound",
        [Wrap(Ending, "begin", _without_a_bound)],
        kinds="hang late",
    ),
    Bug(
        "pgx-374",
        "pgx #374, psycopg #685, pgjdbc #194: a big batch is written without reading, and both sides block",
        [Wrap(Turns, "has_room", _first_write)],
        kinds="hang late",
        profile="corners",
    ),
    Bug(
        "queued-deadlines-ignored",
        "the deadline of a call that waits for its turn is looked at when its turn has come",
        [Wrap(Stopping, "due", _those_at_their_turn)],
        kinds="late hang",
        profile="shared",
    ),
    Bug(
        "abandon-forgets-to-drain",
        "a connection whose caller went away counts as idle, while the answers are still under way",
        [Wrap(Engine, "idle", _but_for_the_abandoned)],
        kinds="stale dirty",
        profile="cancel",
    ),
    Bug(
        "abandoned-runs-on",
        "pgx #659: the query of a caller that went away is neither cancelled nor given a time limit",
        [Wrap(Engine, "abandon", _skip_the_rest)],
        kinds="late hang leak dirty liveness",
        profile="cancel",
    ),
    Bug(
        "redis-py",
        "redis-py 2023: a cancelled query is forgotten, and its answer goes to the next one",
        [Wrap(Engine, "receive_data", _forget)],
        kinds="rows label cancel",
        profile="shared",
    ),
    Bug(
        "pgx-2478",
        "pgx #2478, lib/pq #1000, spicedb #2434: a late cancel request hits the next query",
        [Wrap(Cancelling, "take", _and_forget_it)],
        kinds="cancel",
        profile="cancel",
    ),
    Bug(
        "cancel-hits-neighbours",
        "a cancel request is sent while others share the pipeline",
        [Wrap(Turns, "flight_unwanted", returns(True))],
        kinds="cancel",
        profile="shared",
    ),
    Bug(
        "rows-to-the-last-caller",
        "asyncmy #103 and kin: of two callers in one pipeline, the one that came last gets the rows",
        [Wrap(Execution, "handle", _to_the_last)],
        kinds="rows",
    ),
    Bug(
        "notification-lost",
        "a notification that comes while a query runs is dropped",
        [Wrap(PGConnection, "next_event", _none_while_busy)],
        kinds="rows",
    ),
    Bug(
        "grace-is-used-up-by-the-network",
        "pgproto 0.1: who leaves a stream loses the session if what is under way takes longer than the grace",
        [Value(stopping, "LONGEST_GRACE", GRACE)],
        kinds="unusable",
        says="a stream was left",
        profile="endings",
    ),
    Bug(
        "stream-without-brake",
        "pgx #713: a consumer that stops reading is buffered for, without a bound",
        [Wrap(Turns, "has_room", returns(True))],
        kinds="memory",
        profile="corners",
    ),
    Bug(
        "close-raises",
        "pgx #637: closing a connection that is closed tries to say good-bye, and raises",
        [Wrap(Engine, "close", _say_good_bye)],
        kinds="liveness error",
    ),
    Bug(
        "password-in-the-text",
        "the text of a failed connect quotes how it was tried, with the password",
        [Wrap(Connector, "connect", _quote_the_password)],
        kinds="secret",
    ),
)


def _whatever_the_status(reusable: Callable[[Engine], bool], self: Engine) -> bool:
    connection = self.connection
    status, connection.transaction_status = connection.transaction_status, "I"
    answer = reusable(self)
    connection.transaction_status = status
    return answer and bool(status)


def _leave_if_idle(
    rollback: Callable[[Transaction], Generator[Operation, None, None]], self: Transaction
) -> Generator[Operation, None, None]:
    block = self._block
    if block is not None and self.entered and self._engine.transaction_status == "I":
        self._release(block)
    else:
        yield from rollback(self)


def _though_retiring(reusable: Callable[[Engine], bool], self: Engine) -> bool:
    retiring, self.retiring = self.retiring, False
    answer = reusable(self)
    self.retiring = retiring
    return answer


def _begin_failed(turns: Turns, segment: Segment) -> bool:
    idle = turns.channel.connection.transaction_status == "I"
    return idle and segment.prologue > 0 and not segment.operation.last_word


def _and_close(see: Callable[[Turns, Segment], None], self: Turns, segment: Segment) -> None:
    failed = _begin_failed(self, segment)
    see(self, segment)
    if failed:
        self.channel.connection.close(LocalProtocolError("no"))


def _unless_begin_failed(see: Callable[[Turns, Segment], None], self: Turns, segment: Segment) -> None:
    if not _begin_failed(self, segment):
        see(self, segment)


def _after_begin(may_open: Callable[[Channel], bool], self: Channel) -> bool:
    if not self.segments:
        return may_open(self)
    last = self.segments[-1]
    prologue, last.prologue = last.prologue, 0
    answer = may_open(self)
    last.prologue = prologue
    return answer


def _whatever_the_answer(
    commit: Callable[[Transaction], Generator[Operation, None, None]], self: Transaction
) -> Generator[Operation, None, None]:
    try:
        yield from commit(self)
    except TransactionAborted:
        if not self.committing:
            raise


def _named_by_its_text(get: Callable[..., Statement], self: StatementCache, sql: str) -> Statement:
    statement = get(self, sql)
    if statement.name:
        statement.name = f"named_{sql}"
    return statement


def _close_none(take: Callable[[StatementCache], list[str]], self: StatementCache) -> list[str]:
    take(self)
    return []


def _unless_half_made(drop: Callable[..., None], self: StatementCache, statement: Statement) -> None:
    if statement.state != PREPARING:
        drop(self, statement)


def _never_stale(done: Callable[..., None], self: Execution, channel: Channel, segment: Segment) -> None:
    segment.stale = False
    done(self, channel, segment)


def _take_as(
    take: Callable[..., None],
    self: Execution,
    channel: Channel,
    item: QueuedQuery,
    event: DataRows,
    other: int,
) -> None:
    statement, item.statement = item.statement, self.items[other].statement
    try:
        take(self, channel, item, event)
    finally:
        item.statement = statement


def _as_the_one_that_failed(
    take: Callable[..., None], self: Execution, channel: Channel, item: QueuedQuery, event: DataRows
) -> None:
    _take_as(take, self, channel, item, event, sum(each.executed for each in self.items))


def _as_the_one_without_rows(
    take: Callable[..., None], self: Execution, channel: Channel, item: QueuedQuery, event: DataRows
) -> None:
    returned = sum(bool(each.rows and each.executed) for each in self.items)
    _take_as(take, self, channel, item, event, returned)


def _without_the_empty(
    handle: Callable[..., None], self: Execution, channel: Channel, segment: Segment, event: Message
) -> None:
    if isinstance(event, CommandCompletes):
        item = self.items[segment.position]
        if item.columns and not item.rows:
            return
    handle(self, channel, segment, event)


def _end_it(stop: Callable[..., None], self: ExecuteMany | CopyIn, reason: BaseException | str) -> None:
    self.end()


_STATE: Final = (
    Bug(
        "asyncpg-dirty-return",
        "SQLAlchemy #13381, asyncpg: a connection with an open transaction goes back to the pool",
        [Wrap(Engine, "reusable", _whatever_the_status)],
        kinds="dirty",
        profile="cancel",
    ),
    Bug(
        "sqlx-4393",
        "sqlx #4393: a cancelled BEGIN counts as not sent, and nobody looks at the status byte",
        [Wrap(Transaction, "rollback", _leave_if_idle), Wrap(Engine, "reusable", _whatever_the_status)],
        kinds="dirty label",
        profile="cancel",
    ),
    Bug(
        "pgx-2589",
        "pgx PR2589: a BEGIN that the server refuses (no FATAL) costs the connection",
        [Wrap(Turns, "see_to_block", _and_close)],
        kinds="surprise",
        profile="corners",
    ),
    Bug(
        "begin-failure-ignored",
        "statements of a transaction whose BEGIN failed are run without it",
        [Wrap(Channel, "may_open", _after_begin), Wrap(Turns, "see_to_block", _unless_begin_failed)],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "commit-that-rolled-back",
        "many drivers: COMMIT of a failed transaction is answered with ROLLBACK, and that counts as success",
        [Wrap(Transaction, "commit", _whatever_the_answer)],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "standby-is-kept",
        "after a failover (25006) the connection to the old primary goes on being lent",
        [Wrap(Engine, "reusable", _though_retiring)],
        kinds="stale",
        profile="pool",
    ),
    Bug(
        "pgx-1847",
        "pgx #1847: a statement is forgotten here and not there, and its name used again: 42P05",
        [Wrap(StatementCache, "get", _named_by_its_text), Wrap(StatementCache, "take_closes", _close_none)],
        kinds="surprise",
        profile="corners",
    ),
    Bug(
        "pgx-841",
        "pgx #841, #2360: an error does not drop the cached statement, so it comes back for ever",
        [Wrap(Execution, "segment_done", _never_stale), Wrap(Preparing, "refused", returns(None))],
        kinds="surprise",
        profile="corners",
    ),
    Bug(
        "pgx-2442",
        "pgx #2442: a value is held against the types that a cached statement had once",
        [Wrap(Preparing, "fresh", returns(True))],
        kinds="surprise",
        profile="corners",
    ),
    Bug(
        "pgx-2223",
        "pgx #2223: Parse went well and Describe did not; the half-made statement stays in the cache",
        [Wrap(StatementCache, "drop", _unless_half_made)],
        kinds="hang late",
    ),
    Bug(
        "discard-all-forgotten",
        "asyncpg, psycopg: after DISCARD ALL the cache still names statements that the server dropped",
        [Wrap(StatementCache, "clear", returns(None))],
        kinds="surprise",
        profile="pool",
    ),
    Bug(
        "pgx-d22b0bc6",
        "pgx d22b0bc6: an item that failed leaves its description behind for the next item's rows",
        [Wrap(Execution, "take_rows", _as_the_one_that_failed)],
        kinds="rows error label surprise",
    ),
    Bug(
        "pgx-f105936c",
        "pgx f105936c: an item without rows leaves its description behind for the next item's rows",
        [Wrap(Execution, "take_rows", _as_the_one_without_rows)],
        kinds="rows error label surprise",
    ),
    Bug(
        "empty-result-shifts",
        "Postgres.jl #2: a statement without rows does not count, and the next one's answer is taken for its",
        [Wrap(Execution, "handle", _without_the_empty)],
        kinds="rows label error",
    ),
    Bug(
        "executemany-half-stored",
        "a source of records failed, and the Sync stores what was sent of them",
        [Wrap(ExecuteMany, "stop", _end_it)],
        kinds="truth",
        profile="copy",
    ),
    Bug(
        "copy-half-stored",
        "pgx v5.7.6 and kin: a COPY whose source failed is ended with CopyDone, which stores the half",
        [Wrap(CopyIn, "stop", _end_it)],
        kinds="label truth",
        profile="copy",
    ),
)

BUGS: Final = (*_POOLERS, *_UNNAMED, *_WAITING, *_STATE)
