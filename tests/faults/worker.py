"""The process of one column: it imports the driver once, and forks for each cell.

The child plays the cell and writes what happened to stdout, one JSON object a line; the parent kills it at
its deadline and says how it ended.  Between a child and whoever runs the matrix: a line with `ask` is
answered by a line on stdin when what was asked for has been done.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from tests.faults.columns import COLUMNS

__all__ = ["main"]


def main(column: str) -> None:
    """Play cells as they come on stdin, until it ends."""
    COLUMNS[column].make()
    gc.collect()
    gc.freeze()  # a child that collects shall look at its own garbage only
    _say(ready=True)
    while line := _read_line():
        try:
            job = json.loads(line)
        except ValueError:
            continue
        if "deadline" not in job:
            continue  # an answer for a child that did not live to read it
        child = os.fork()
        if not child:
            _child(column, job)
        _wait(child, job["deadline"])


def _child(column: str, job: dict[str, Any]) -> None:
    code = 1
    try:
        _play(COLUMNS[column].make(), job)
        code = 0
    except BaseException as error:
        _say(step="broken", error=_described(error, None))
    finally:
        os._exit(code)


def _wait(child: int, deadline: float) -> None:
    """Wait for the child's end; kill it at the deadline."""
    handle = os.pidfd_open(child)
    ended, _, _ = select.select([handle], [], [], deadline)
    if not ended:
        os.kill(child, signal.SIGKILL)
    os.close(handle)
    _, status = os.waitpid(child, 0)
    _say(end=True, killed=not ended, signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) and ended else 0)


def _play(play: Any, job: dict[str, Any]) -> None:
    """Play one cell: the workload, the next query, the end; then look at what was left behind."""
    threads = set(threading.enumerate())
    try:
        play.run(lambda: _cell(play, job))
    except AssertionError as error:
        _say(step="left", text=str(error))
    gc.collect()
    left = set(threading.enumerate()) - threads
    for thread in left:
        thread.join(1)  # one that is at its end is not left behind
    _say(
        step="end",
        sockets=_sockets(job["port"]),
        threads=sorted(thread.name for thread in left if thread.is_alive()),
        tasks=play.tasks,
        notices=play.notices,
        unhandled=[_described(error, play) for error in play.unhandled],
    )


async def _cell(play: Any, job: dict[str, Any]) -> None:
    play.query = job["query"]
    workload, place, dsn = job["workload"], job["place"], job["dsn"]
    connecting = workload in ("connect", "acquire")
    if not hasattr(play, workload):
        _say(step="lacks", text=play.LACKS.get(workload, ""))
        return
    if not connecting:
        await play.open(dsn)
        if place == "P11":
            await _step(play, "spoil", play.spoil)
        if place == "P10":
            await _step(play, "warm", play.single)
            _ask("idle")
            await play.turns()
    await _step(play, "workload", getattr(play, workload), *([dsn] if connecting else []))
    _ask("healed")
    if workload == "connect":
        await play.open(job["healthy"])
    if await _step(play, "next", play.value, 4711) is None:
        await _step(play, "again", play.value, 4712)
    await _step(play, "close", play.close)


async def _step(play: Any, name: str, call: Any, *args: Any) -> Any:
    """Do one step and report it; its result, None if there was an error."""
    begin = time.monotonic()
    result, error = None, None
    try:
        result = call(*args)
        if hasattr(result, "__await__"):
            result = await result
    except Exception as problem:
        result, error = None, _described(problem, play)
    _say(step=name, result=result, error=error, seconds=time.monotonic() - begin, outcomes=play.outcomes)
    return result


# ---- What happened


def _described(error: BaseException, play: Any) -> dict[str, Any]:
    chain = list(_chain(error, set()))
    declared = play is not None and isinstance(error, play.DECLARED) and not isinstance(error, play.INTERNAL)
    kind = type(error)
    trace = traceback.extract_tb(error.__traceback__)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "declared": declared,
        "internal": play is not None and isinstance(error, play.INTERNAL),
        "states": [state for each in chain if (state := _sqlstate(each))],
        "text": " | ".join(str(each) for each in chain)[:2000],
        "outcome": getattr(getattr(error, "outcome", None), "value", ""),
        "at": [f"{frame.name}:{frame.lineno}" for frame in trace[-4:]],
    }


def _chain(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """An error and all that it leads to."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    others = [error.__cause__, *getattr(error, "also", ()), *getattr(error, "errors", ())]
    for each in (*others, *getattr(error, "exceptions", ()), error.__context__):
        if isinstance(each, BaseException):
            yield from _chain(each, seen)


def _sqlstate(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    if not state and error.args and isinstance(error.args[0], dict):
        state = error.args[0].get("C")
    return state if isinstance(state, str) else ""


def _sockets(port: int) -> int:
    """How many TCP sockets to the server's port this process has open."""
    ours = set()
    with open("/proc/self/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[2].endswith(f":{port:04X}"):
                ours.add(f"socket:[{fields[9]}]")
    count = 0
    for entry in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{entry}") in ours
        except OSError:
            pass
    return count


# ---- The pipes: unbuffered, because they are shared with the children


def _say(**what: Any) -> None:
    os.write(1, json.dumps(what, default=repr).encode() + b"\n")


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            break
        line += piece
    return line


def _ask(what: str) -> None:
    _say(ask=what)
    _read_line()


if __name__ == "__main__":
    main(sys.argv[1])
