"""pgx's scripts as data: a batch of three whose server ends in every possible way.

`CASES` has what the server does and what must become of each query; `test_pgx_scripts` runs them as they are,
and cut into pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import pgproto
from pgproto import Batch, ConnectionLost, Outcome, PostgresError
from pgproto.wire import (
    Bind,
    BindComplete,
    CommandComplete,
    DataRow,
    Describe,
    Execute,
    Message,
    ParameterDescription,
    Parse,
    ParseComplete,
    ReadyForQuery,
    RowDescription,
    Sync,
)
from tests.support.scripted import (
    Peer,
    Script,
    column,
    encoded,
    error,
    fatal,
    pooler_fatal,
)

DESCRIBED = (ParseComplete(), ParameterDescription([]), RowDescription([column()]))
ONE = (BindComplete(), DataRow([b"\0\0\0\1"]), CommandComplete("SELECT 1"))
BOTH = (fatal("57P01"), pooler_fatal())
QUERIES = ("select 1", "select 2", "select 3")
# A connection that dies in its infancy counts as a failed connect; the next one need not wait for long.
ONE_SLOT: dict[str, Any] = {"min_size": 0, "max_size": 1, "backoff": 0.001, "max_backoff": 0.001}

NOT_SENT, FAILED, SKIPPED = Outcome.NOT_SENT, Outcome.FAILED, Outcome.SKIPPED
ROLLED_BACK, UNKNOWN, NOT_COMMITTED = Outcome.ROLLED_BACK, Outcome.UNKNOWN, Outcome.NOT_COMMITTED


def states(errors: Sequence[Exception]) -> list[str]:
    """The SQLSTATEs of the server's errors among these."""
    return [each.sqlstate for each in errors if isinstance(each, PostgresError)]


def words(lost: BaseException | None) -> list[str]:
    """All SQLSTATEs that an error keeps, the first cause first."""
    assert isinstance(lost, ConnectionLost), repr(lost)
    return states([each for each in (lost.__cause__, *lost.also) if isinstance(each, Exception)])


def prepared(peer: Peer, count: int = 1) -> None:
    """Serve the round trip that prepares."""
    peer.expect(*[Parse, Describe] * count, Sync)
    peer.send(*DESCRIBED * count, ReadyForQuery("I"))


@dataclass(frozen=True)
class Case:
    """What the server does to a cold batch of three, and what must become of it.

    Args:
        executing: False while the statements are being prepared, True while they run.
        writes: the server's writes.
        end: "fin", "reset", or "open": it says no more, and does not close.
        outcomes: of the three items.
        words: the SQLSTATEs that the error must keep.
    """

    executing: bool
    writes: tuple[tuple[Message | bytes, ...], ...]
    end: str
    outcomes: tuple[Outcome, ...]
    words: tuple[str, ...]

    def script(self, split: Callable[[bytes], list[bytes]] | None = None) -> Script:
        """The script; `split` cuts all of its bytes into the pieces that are written one by one."""

        def run(peer: Peer) -> None:
            peer.start()
            if self.executing:
                prepared(peer, 3)
                peer.expect(*[Bind, Execute] * 3, Sync)
            else:
                peer.expect(*[Parse, Describe] * 3, Sync)
            if split is not None:
                data = b"".join(encoded(write) for write in self.writes)
                # The client gives last words GRACE, which ends a slow march through them, byte by byte.
                pieces = split(data)
                last_words = data.find(b"FATAL") if b"FATAL" in data else len(data)
                peer.write_pieces(pieces, 1 if len(pieces) == 2 else last_words)
            else:
                for write in self.writes:
                    peer.raw(*write)
            if self.end == "reset":
                peer.wait_taken()
                peer.reset()
            elif self.end == "fin":
                peer.finish()
            else:
                peer.keep_open()

        return run

    async def check(self, pool: Any) -> None:
        """Send the batch, and look at its end."""
        batch = Batch()
        items = [batch.queue(sql) for sql in QUERIES]
        async with pool.acquire() as conn:
            with pytest.raises(ConnectionLost) as caught:
                await conn.send_batch(batch)
            assert tuple(item.outcome for item in items) == self.outcomes
            assert words(caught.value) == list(self.words)
            for item in items:
                assert isinstance(item.error, pgproto.Error)
                assert item.error.outcome is item.outcome
            assert conn.closed
            await conn.close()
            await conn.close()


PREPARING = (NOT_SENT, NOT_SENT, NOT_SENT)
IN_THE_SECOND = (ROLLED_BACK, FAILED, SKIPPED)
NO_WORD = (UNKNOWN, UNKNOWN, UNKNOWN)
OLD_POOLER = pooler_fatal(severity="ERROR")

CASES = {
    # pgx #1920: two FATALs in one read, the first one met while preparing.
    "A": Case(False, ((*DESCRIBED, *BOTH),), "fin", PREPARING, ("57P01", "08P01")),
    "A-executing": Case(True, ((*ONE, *BOTH),), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    "A-in-a-row": Case(True, ((*ONE, *ONE[:2], *BOTH),), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    # The test of pgx's first fix: three writes, and the connection stays open.
    "B": Case(False, (DESCRIBED, (fatal(),), (fatal(),)), "open", PREPARING, ("57P01", "57P01")),
    # pgx #2470: all in one write.
    "D": Case(False, ((*DESCRIBED, fatal(), fatal()),), "open", PREPARING, ("57P01", "57P01")),
    "M1": Case(False, ((*DESCRIBED, *BOTH),), "open", PREPARING, ("57P01", "08P01")),
    "M1-executing": Case(True, ((*ONE, *BOTH),), "open", IN_THE_SECOND, ("57P01", "08P01")),
    "M2": Case(True, (ONE, (fatal(),), (pooler_fatal(),)), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    "M2-one": Case(True, (ONE, (fatal(),)), "fin", IN_THE_SECOND, ("57P01",)),
    "M2-open": Case(True, (ONE, (fatal(),), (pooler_fatal(),)), "open", IN_THE_SECOND, ("57P01", "08P01")),
    "M2-reset": Case(True, (ONE, BOTH), "reset", IN_THE_SECOND, ("57P01", "08P01")),
    # pgbouncer before 1.16: ERROR, and it hangs up.
    "M3": Case(True, ((*ONE, OLD_POOLER),), "fin", NO_WORD, ("08P01",)),
    "M3-preparing": Case(False, ((*DESCRIBED, OLD_POOLER),), "fin", PREPARING, ("08P01",)),
    "pooler-alone": Case(True, ((*ONE, pooler_fatal()),), "fin", NO_WORD, ("08P01",)),
    # Everything was executed, and then the server died: it may have committed.
    "M5": Case(True, ((*ONE * 3, *BOTH),), "fin", NO_WORD, ("57P01", "08P01")),
    "M5-reset": Case(True, ((*ONE * 3, *BOTH),), "reset", NO_WORD, ("57P01", "08P01")),
    # Behind FATAL nothing counts: no result, no ReadyForQuery, no half message.
    "more": Case(
        True,
        ((*ONE, fatal(), *ONE * 2, ReadyForQuery("I"), pooler_fatal(), b"D\0\0"),),
        "fin",
        IN_THE_SECOND,
        ("57P01", "08P01"),
    ),
    "junk": Case(True, ((*ONE, *BOTH, b"\xff\0\0\0\0junk"),), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    "panic": Case(
        True,
        ((*ONE, fatal("XX000").__class__({**fatal("XX000").fields, "S": "PANIK", "V": "PANIC"})),),
        "open",
        IN_THE_SECOND,
        ("XX000",),
    ),
    "translated": Case(
        True, ((*ONE, error("57P01").__class__({"S": "FATAAL", "V": "FATAL", "C": "57P01"})),), "open",
        IN_THE_SECOND, ("57P01",),
    ),
    "eof": Case(True, (ONE,), "fin", NO_WORD, ()),
    "eof-in-a-message": Case(True, ((*ONE, b"D\0\0\0\x20\0\1"),), "fin", NO_WORD, ()),
    "reset": Case(True, (ONE,), "reset", NO_WORD, ()),
}  # fmt: skip
