"""A server that talks without end, and what that costs its client: memory that does not grow, linear time.

    python -m tests.hostile.floods 10000000        # every flood, that long; continuous integration does 10^5

Each flood comes while a query runs, in pieces that are made as they are sent, and the query must end as if
nothing had been.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping

from pgproto.wire import (
    BindComplete,
    CommandComplete,
    DataRow,
    Message,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    ReadyForQuery,
)
from tests.hostile.case import WORKS
from tests.hostile.servers_session import running
from tests.support.memory import Stage
from tests.support.scripted import Peer

__all__ = ["FLOODS", "flood"]

PIECE = 1000  # messages; fewer of the long ones
NOTICE = NoticeResponse({"S": "NOTICE", "C": "00000", "M": "by the way"})
LONG = NoticeResponse({"S": "NOTICE", "C": "00000", "M": "x" * 100_000})
RESULT = (DataRow([b"\0\0\0\1"]), CommandComplete("SELECT 1"), ReadyForQuery("I"))

FLOODS: Mapping[str, Callable[[int], Message]] = {
    "notices": lambda _: NOTICE,
    "long notices": lambda _: LONG,
    "notifications": lambda number: NotificationResponse(1, "channel", str(number % 10)),
    "one parameter": lambda number: ParameterStatus("TimeZone", str(number % 10)),
    "parameters": lambda number: ParameterStatus(f"p{number}", "x"),
    "encodings": lambda number: ParameterStatus("client_encoding", "UNICODE" if number % 2 else "UTF8"),
}


def flood(name: str, count: int) -> tuple[Stage, float]:
    """Play one; the stage, and the CPU seconds that the client took for each 10,000 messages."""
    make = FLOODS[name]
    spent = 0.0
    piece = 10 if name.startswith("long") else PIECE

    def script(peer: Peer) -> None:
        nonlocal spent
        running(BindComplete())(peer)
        for start in range(0, count, piece):
            data = b"".join([make(number).encode() for number in range(start, min(start + piece, count))])
            before = time.process_time()
            peer.write(data)
            spent += time.process_time() - before
        peer.raw(*RESULT)

    stage = Stage(WORKS["query"])
    stage.play(script)
    return stage, spent / count * 10_000


def main(count: int) -> None:
    """Play all of them and print what they took."""
    for name in FLOODS:
        _, pace = flood(name, min(count, 100_000))
        tracemalloc.start()
        stage, _ = flood(name, count)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        verdict = "ok" if stage.error is None else repr(stage.error)
        print(
            f"{name:16} {count:>9} messages, {pace:.3f} s/10,000, kept {kept:>9}, peak {peak:>9}: {verdict}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
