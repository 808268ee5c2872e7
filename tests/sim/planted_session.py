"""Planted bugs of the session: waiting, cancelling, statements, COPY, transactions."""

from __future__ import annotations

from typing import Final

from pgproto.session import connect
from pgproto.session.cancelling import Cancelling
from pgproto.session.channel import Channel
from pgproto.session.connect import Connector
from pgproto.session.copy import CopyIn
from pgproto.session.engine import Engine
from pgproto.session.executemany import ExecuteMany
from pgproto.session.execution import Execution
from pgproto.session.preparing import Preparing
from pgproto.session.statements import StatementCache
from pgproto.session.stopping import Stopping
from pgproto.session.transaction import Transaction
from pgproto.session.turns import Turns

from .planted_edit import Bug, Edit

__all__ = ["BUGS"]

_POOLERS: Final = (
    Bug(
        "pooler-pipelining",
        "0.1.0: segments are pipelined behind a pooler that gives the server away at each ReadyForQuery",
        [
            Edit(
                Connector,
                "_pipelining",
                ("return protocol > PROTOCOL_3_0 and self.config.named_statements", "return True"),
            )
        ],
        kinds="surprise label rows truth stale hang late twice",
        profile="tangled",
    ),
    Bug(
        "pooler-batch-pipelining",
        "the same in a batch alone: its statements do not wait for each other",
        [
            Edit(
                Execution,
                "produce",
                ("if self._segment is None and not channel.may_open:", "if False:"),
            )
        ],
        kinds="surprise label rows truth stale hang late twice",
        profile="tangled",
    ),
)

_UNNAMED: Final = (
    Bug(
        "unnamed-described-once",
        "0.1.0: without names a text is parsed for each run, and decoded as it was described for the first",
        [Edit(Execution, "_write_next", ('channel.write(Describe("S", statement.name))', "pass"))],
        kinds="types",
        profile="migrating",
    ),
)

_WAITING: Final = (
    Bug(
        "pgx-800",
        "pgx #800: FATAL between CommandComplete and ReadyForQuery: who has his CommandComplete waits on",
        [
            Edit(
                Execution,
                "lost",
                (
                    "for each in channel.segments:",
                    """if all(item.executed for item in self.items):
    return
for each in channel.segments:""",
                ),
            )
        ],
        kinds="hang late",
    ),
    Bug(
        "fatal-waits-for-eof",
        "FATAL without a FIN behind it: the end of the stream is waited for without a bound",
        [
            Edit(
                Engine,
                "_ended",
                ("if self._ending.stage == ALIVE:", "if not isinstance(closed.error, PostgresError):"),
            )
        ],
        kinds="hang late",
    ),
    Bug(
        "pgx-374",
        "pgx #374, psycopg #685, pgjdbc #194: a big batch is written without reading, and both sides block",
        [
            Edit(
                Turns,
                "has_room",
                (
                    "busy is None or busy.finished or busy.has_room()",
                    "(busy is None or busy.finished or busy.has_room()) and not self.channel.pending",
                ),
            )
        ],
        kinds="hang late",
        profile="corners",
    ),
    Bug(
        "queued-deadlines-ignored",
        "the deadline of a call that waits for its turn is looked at when its turn has come",
        [
            Edit(
                Stopping,
                "due",
                (
                    "if deadline is None:",
                    "turns = self._turns\n"
                    "if deadline is None or (operation in turns.queue and turns.channel.segments):",
                ),
            )
        ],
        kinds="late hang",
        profile="shared",
    ),
    Bug(
        "abandon-forgets-to-drain",
        "a connection whose caller went away counts as idle, while the answers are still under way",
        [
            Edit(
                Engine,
                "idle",
                (
                    "and not self.channel.segments",
                    "and all(s.operation.abandoned for s in self.channel.segments)",
                ),
            )
        ],
        kinds="stale dirty",
        profile="cancel",
        start=1025,
    ),
    Bug(
        "abandoned-runs-on",
        "pgx #659: the query of a caller that went away is neither cancelled nor given a time limit",
        [Edit(Engine, "abandon", ("self._stop(operation)", "operation.skip_rest(self.channel)"))],
        kinds="late hang leak dirty liveness",
        profile="cancel",
    ),
    Bug(
        "redis-py",
        "redis-py 2023: a cancelled query is forgotten, and its answer goes to the next one",
        [
            Edit(
                Engine,
                "_process",
                (
                    "tag = event.type_byte",
                    """if len(segments) > 1 and segments[0].operation.abandoned:
    segments.popleft()
tag = event.type_byte""",
                ),
                (
                    "elif tag == tags.READY_FOR_QUERY:",
                    """elif tag == tags.READY_FOR_QUERY and not segments:
    pass
elif tag == tags.READY_FOR_QUERY:""",
                ),
            )
        ],
        kinds="rows label cancel",
        profile="shared",
    ),
    Bug(
        "pgx-2478",
        "pgx #2478, lib/pq #1000, spicedb #2434: a late cancel request hits the next query",
        [
            Edit(
                Engine,
                "_produce",
                ("and cancelling.state == NO_WISH", ""),
            ),
            Edit(
                Engine,
                "idle",
                ("and self._cancelling.state == NO_WISH", ""),
            ),
        ],
        kinds="cancel",
        profile="cancel",
        start=3841,
    ),
    Bug(
        "cancel-hits-neighbours",
        "a cancel request is sent while others share the pipeline",
        [
            Edit(
                Cancelling,
                "ask",
                (
                    "if not channel.segments or not turns.flight_unwanted():",
                    "if not channel.segments:",
                ),
            )
        ],
        kinds="cancel",
        profile="shared",
    ),
    Bug(
        "rows-to-the-last-caller",
        "asyncmy #103 and kin: of two callers in one pipeline, the one that came last gets the rows",
        [
            Edit(
                Engine,
                "_process",
                (
                    "segment.operation.handle(channel, segment, event)",
                    """if hasattr(event, "buffer") and hasattr(segments[-1].operation, "take_rows"):
    segment = segments[-1]
segment.operation.handle(channel, segment, event)""",
                ),
            ),
        ],
        kinds="rows",
    ),
    Bug(
        "notification-lost",
        "a notification that comes while a query runs is dropped",
        [
            Edit(
                Engine,
                "_asynchronous",
                (
                    "self._unasked.put(event)",
                    "if event.type_byte == tags.NOTICE_RESPONSE or not self.channel.segments:\n"
                    "    self._unasked.put(event)",
                ),
            )
        ],
        kinds="rows",
    ),
    Bug(
        "grace-is-used-up-by-the-network",
        "pgproto 0.1: who leaves a stream loses the session if what is under way takes longer than the grace",
        [
            Edit(
                Stopping,
                "_out_of_grace",
                ("operation.abandoned and self.received != self._heard and now < self._patience", "False"),
            )
        ],
        kinds="unusable",
        says="a stream was left",
        profile="endings",
    ),
    Bug(
        "stream-without-brake",
        "pgx #713: a consumer that stops reading is buffered for, without a bound",
        [Edit(Turns, "has_room", ("busy is None or busy.finished or busy.has_room()", "True"))],
        kinds="memory",
        profile="corners",
    ),
    Bug(
        "close-raises",
        "pgx #637: closing a connection that is closed tries to say good-bye, and raises",
        [
            Edit(
                Engine,
                "close",
                ("if self.closed or self.finished:\n    self._settle()\n    return\n", ""),
                (
                    "clean = not self.channel.pending and self.connection.phase == states.READY",
                    "clean = True",
                ),
            )
        ],
        kinds="liveness error",
    ),
    Bug(
        "password-in-the-text",
        "the text of a failed connect quotes how it was tried, with the password",
        [
            Edit(
                connect.Connector,
                "_try_host",
                (
                    'error.add_note(f"while connecting to {host}")',
                    'error.add_note(f"while connecting to {host} {self.config.password_for(host).reveal()}")',
                ),
            )
        ],
        kinds="secret",
    ),
)

_STATE: Final = (
    Bug(
        "asyncpg-dirty-return",
        "SQLAlchemy #13381, asyncpg: a connection with an open transaction goes back to the pool",
        [Edit(Engine, "reusable", ('self.transaction_status == "I"', "self.transaction_status"))],
        kinds="dirty",
        profile="cancel",
    ),
    Bug(
        "sqlx-4393",
        "sqlx #4393: a cancelled BEGIN counts as not sent, and nobody looks at the status byte",
        [
            Edit(
                Transaction,
                "_undo",
                (
                    'engine.transaction_status == "I" and not engine.channel.segments',
                    'engine.transaction_status == "I"',
                ),
            ),
            Edit(Engine, "reusable", ('self.transaction_status == "I"', "self.transaction_status")),
        ],
        kinds="dirty label",
        profile="cancel",
    ),
    Bug(
        "pgx-2589",
        "pgx PR2589: a BEGIN that the server refuses (no FATAL) costs the connection",
        [
            Edit(
                Turns,
                "see_to_block",
                (
                    "self._begin_failed(segment)",
                    "self._begin_failed(segment)\nself.channel.connection.close(LocalProtocolError('no'))",
                ),
            )
        ],
        kinds="surprise",
        profile="corners",
    ),
    Bug(
        "begin-failure-ignored",
        "statements of a transaction whose BEGIN failed are run without it",
        [
            Edit(Channel, "may_open", (" or last.prologue > 0", "")),
            Edit(Turns, "see_to_block", ("self._begin_failed(segment)", "pass")),
        ],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "commit-that-rolled-back",
        "many drivers: COMMIT of a failed transaction is answered with ROLLBACK, and that counts as success",
        [
            Edit(
                Transaction,
                "commit",
                ('if script.results and script.results[-1].tag == "ROLLBACK":', "if False:"),
            )
        ],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "standby-is-kept",
        "after a failover (25006) the connection to the old primary goes on being lent",
        [Edit(Engine, "reusable", ("not self.retiring", "True"))],
        kinds="stale",
        profile="pool",
    ),
    Bug(
        "pgx-1847",
        "pgx #1847: a statement is forgotten here and not there, and its name used again: 42P05",
        [
            Edit(StatementCache, "get", ("self.new_name()", 'self.named and f"named_{sql}" or ""')),
            Edit(StatementCache, "close", ("self._to_close.append(statement.name)", "pass")),
        ],
        kinds="surprise",
        profile="corners",
    ),
    Bug(
        "pgx-841",
        "pgx #841, #2360: an error does not drop the cached statement, so it comes back for ever",
        [
            Edit(
                Execution, "segment_done", ("if segment.stale and self._heal(channel, segment):", "if False:")
            ),
            Edit(
                Execution,
                "_failed",
                ("self.refused(channel, statement, stale=segment.stale)", "pass"),
            ),
        ],
        kinds="surprise",
        profile="corners",
        start=894,
    ),
    Bug(
        "pgx-2442",
        "pgx #2442: a value is held against the types that a cached statement had once",
        [Edit(Execution, "_encode", ("not self.fresh(statement)", "False"))],
        kinds="surprise",
        profile="corners",
    ),
    Bug(
        "pgx-2223",
        "pgx #2223: Parse went well and Describe did not; the half-made statement stays in the cache",
        [
            Edit(
                Preparing,
                "prepare_done",
                ("channel.statements.drop(statement)", "pass"),
            )
        ],
        kinds="hang late",
        start=40,
    ),
    Bug(
        "discard-all-forgotten",
        "asyncpg, psycopg: after DISCARD ALL the cache still names statements that the server dropped",
        [Edit(Channel, "told", ("self.statements.clear()", "pass"))],
        kinds="surprise",
        profile="pool",
    ),
    Bug(
        "pgx-d22b0bc6",
        "pgx d22b0bc6: an item that failed leaves its description behind for the next item's rows",
        [
            Edit(
                Execution,
                "take_rows",
                (
                    "statement = item.statement",
                    "statement = self.items[sum(each.executed for each in self.items)].statement",
                ),
            )
        ],
        kinds="rows error label surprise",
    ),
    Bug(
        "pgx-f105936c",
        "pgx f105936c: an item without rows leaves its description behind for the next item's rows",
        [
            Edit(
                Execution,
                "take_rows",
                (
                    "statement = item.statement",
                    "statement = self.items[len([i for i in self.items if i.rows and i.executed])].statement",
                ),
            )
        ],
        kinds="rows error label surprise",
    ),
    Bug(
        "empty-result-shifts",
        "Postgres.jl #2: a statement without rows does not count, and the next one's answer is taken for its",
        [
            Edit(
                Execution,
                "_completed",
                (
                    "segment.position = stop = position + count",
                    "item = self.items[position]\n"
                    "segment.position = stop = position + (count if item.rows or not item.columns else 0)",
                ),
            )
        ],
        kinds="rows label error",
    ),
    Bug(
        "executemany-half-stored",
        "a source of records failed, and the Sync stores what was sent of them",
        [Edit(ExecuteMany, "produce", ("channel.write(_UNDO)", "pass"))],
        kinds="truth",
        profile="copy",
    ),
    Bug(
        "copy-half-stored",
        "pgx v5.7.6 and kin: a COPY whose source failed is ended with CopyDone, which stores the half",
        [
            Edit(
                CopyIn,
                "produce",
                ("if isinstance(last, CopyDone):", "last = CopyDone()\nif True:"),
            )
        ],
        kinds="label truth",
        profile="copy",
    ),
)

BUGS: Final = (*_POOLERS, *_UNNAMED, *_WAITING, *_STATE)
