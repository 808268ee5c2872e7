"""What an adapter does with a flow, and with a COPY of no data."""

from __future__ import annotations

from collections.abc import Generator

from pgproto.session import CopyIn, Operation
from tests.support.pair import Pair

__all__ = ["copying_in", "run_flow"]


def run_flow(pair: Pair, flow: Generator[Operation, None, None]) -> None:
    """As an adapter does: run each operation, throw its error into the flow."""
    try:
        operation = next(flow)
        while True:
            try:
                pair.run(operation)
                if operation.error is not None:
                    raise operation.error
            except Exception as error:
                operation = flow.throw(error)
            else:
                operation = flow.send(None)
    except StopIteration:
        return


def copying_in(pair: Pair, sql: str) -> CopyIn:
    copy = pair.run(CopyIn(sql))
    copy.end()
    pair.engine.resume()
    pair.pump()
    return copy
