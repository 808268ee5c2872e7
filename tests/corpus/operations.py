"""Operations by name, so that a recording can say which ones it is of, and a replay can run them again.

A turn is a list of operations that are submitted together; the next turn begins when all of them have
ended.  Each is a list: its kind and its arguments, all of them JSON.
"""

from __future__ import annotations

from typing import Any

from pgproto import Batch
from pgproto.errors import ConnectionClosed, Error, Outcome
from pgproto.session import CopyIn, CopyOut, Engine, Execution, Operation, QueuedQuery, Script, Stream


def make(spec: list[Any]) -> Operation:
    """The operation that a recording names."""
    kind, *arguments = spec
    if kind in ("atomic", "isolated"):
        batch = Batch(atomic=kind == "atomic")
        for query in arguments:
            sql, *values = [query] if isinstance(query, str) else query
            batch.queue(sql, *values)
        return Execution(batch.take(), atomic=batch.atomic)
    if kind == "script":
        return Script(arguments[0])
    if kind == "stream":
        return Stream(QueuedQuery(arguments[0], arguments[1:]))
    if kind == "copy out":
        return CopyOut(arguments[0])
    operation = CopyIn(arguments[0])
    for chunk in arguments[1:]:
        operation.feed(chunk.encode())
    if kind == "copy in":
        operation.end()
    else:
        assert kind == "copy stopped"
        operation.stop("changed my mind")
    return operation


def begin(engine: Engine, turn: object) -> list[Operation]:
    """Submit the operations of a turn."""
    assert isinstance(turn, list)
    operations = [make(spec) for spec in turn]
    for operation in operations:
        try:
            engine.submit(operation)
        except ConnectionClosed as error:
            operation.error = error
            operation.finished = True
    return operations


def serve(engine: Engine, operations: list[Operation]) -> None:
    """Be the consumer: take what has arrived, and let the engine go on."""
    for operation in operations:
        if isinstance(operation, CopyOut | Stream):
            operation.take()
    engine.take_ready()
    engine.take_notices()
    engine.take_notifications()
    engine.resume()


def labels(operation: Operation) -> list[Outcome | None]:
    """The outcome of each query of an operation that has ended."""
    if isinstance(operation, Execution):
        return [item.outcome for item in operation.items]
    error = operation.error
    if error is None:
        return [Outcome.COMMITTED]
    assert isinstance(error, Error), error
    return [error.outcome]
