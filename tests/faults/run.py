"""Plays cells in columns, several at a time, and has the records judged."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from tests.faults.catalogue import Cell
from tests.faults.columns import OURS, PATIENCE, QUERY
from tests.faults.connecting import CANARY
from tests.faults.judge import GOOD, LIMIT_AGAIN, Record, Verdict, judge
from tests.faults.server import FaultServer

__all__ = ["play_all"]

ROOT = Path(__file__).parents[2]
DEADLINE, AGAIN = 4.0, 12.0
"""Seconds for all steps of a cell in its first play, and in its second."""


class Worker:
    """The process of a column; a context manager."""

    def __init__(self, column: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.worker", column],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._line().get("ready"), f"the worker of {column} did not start"

    def play(self, cell: Cell, deadline: float) -> Record:
        """Play one cell."""
        record = Record()
        server = FaultServer(cell.fault, cell.place, cell.item, cell.script, cell.on_cancel)
        server.signal("stop")
        server.start()
        try:
            self._send(
                dsn=server.dsn(password=CANARY if cell.unsafe else "", options=cell.options),
                healthy=server.dsn(),
                port=server.port,
                workload=cell.workload,
                place=cell.place,
                # Where nothing ends by time, a machine under load shall have some.
                query=PATIENCE
                if cell.expect == "result" and cell.place != "P11"
                else QUERY * (1 if deadline == DEADLINE else 2),
                deadline=deadline,
            )
            while not (line := self._line()).get("end"):
                if "ask" in line:
                    server.strike_idle() if line["ask"] == "idle" else setattr(server, "healed", True)
                    self._send()
                else:
                    record.steps[line["step"]] = line
            record.killed, record.signal = line["killed"], line["signal"]
        finally:
            with contextlib.suppress(Exception):
                server.stop()
        record.struck = bool(server.strikes)
        record.leaked_password = any(CANARY.encode() in peer.received for peer in server.peers)
        return record

    def _send(self, **what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        self.process.stdin.flush()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the worker has gone"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
        if self.process.stdout is not None:
            self.process.stdout.close()


def play_all(
    columns: Iterable[str],
    cells: dict[str, Cell],
    *,
    lanes: int,
    done: Callable[[str, str, Verdict, bool], None],
) -> None:
    """Play all cells in all columns, and judge them; what is not right gets a second chance, which counts.

    Args:
        columns: their keys.
        cells: by their names.
        lanes: how many cells of one column are played at a time.
        done: called with column, cell's name, verdict, and whether it had a second chance, under a lock.
    """
    lock = threading.Lock()
    problems: list[BaseException] = []

    def lane(column: str, jobs: queue.SimpleQueue[Cell]) -> None:
        try:
            with Worker(column) as worker:
                while not problems:
                    try:
                        cell = jobs.get_nowait()
                    except queue.Empty:
                        return
                    ours = column in OURS
                    verdict = judge(cell, worker.play(cell, DEADLINE), ours=ours)
                    again = verdict.word not in GOOD
                    if again:  # once more, with more time, to be sure
                        verdict = judge(cell, worker.play(cell, AGAIN), ours=ours, limit=LIMIT_AGAIN)
                    with lock:
                        done(column, cell.name, verdict, again)
        except BaseException as error:
            problems.append(error)

    threads = []
    for column in columns:
        jobs: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in cells.values():
            jobs.put(cell)
        threads += [threading.Thread(target=lane, args=(column, jobs), daemon=True) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
