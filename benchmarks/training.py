"""What the compiled build is trained on: the work whose profile the C compiler is given (see hatch_build.py).

The hot paths of `counted.py`, and the core alone: each type decoded and encoded, columns, messages, a large
message in small segments.  Bytes in memory: no server, no clock, nothing that a build lacks; always the same
counts.  What is not run here (starts, pools, ends, errors) is compiled as without a profile.
"""

from __future__ import annotations

import struct
from typing import Final

import pgproto
from pgproto.columns import ColumnDecoder
from pgproto.columns.consume import ArrowSource
from pgproto.columns.encode import ColumnsEncoder
from pgproto.wire import FieldDescription

from . import counted
from .drivers import CORE, DRIVERS
from .worker import prepared
from .workloads import workloads

__all__ = ["main"]

_TURNS: Final = 50
_ROWS: Final = 1000  # of columns
_LARGEST: Final = 100  # rows, values, messages and kilobytes of one operation


def _columns() -> None:
    """Rows of (int8, float8, timestamptz, text) to columns, and back."""
    types = (20, 701, 1184, 25)
    fields = [FieldDescription("", 0, 0, oid, -1, -1, 0) for oid in types]
    rows = bytearray()
    for number in range(_ROWS):
        label = b"label %d" % number
        body = struct.pack(">hiqidiqi", 4, 8, number, 8, number / 8, 8, number, len(label)) + label
        rows += struct.pack(">ci", b"D", 4 + len(body)) + body
    for _ in range(_TURNS):
        decoder = ColumnDecoder(fields)
        decoder.decode(bytes(rows), 0, len(rows))
        source = ArrowSource(decoder.finish())
        encoder = ColumnsEncoder(("",) * len(types), types, source.kinds)
        for chunk in source.chunks():
            encoder.encode(chunk)
        source.close()


def main() -> None:
    """Do all of it.

    Raises:
        SystemExit: this is the pure build, and has no profile.
    """
    if pgproto.build != "compiled":
        raise SystemExit("the pure build cannot be trained")
    for name, operation in counted.prepared().items():
        for _ in range(_TURNS * counted.CASES[name].repeat):
            operation()
    driver = DRIVERS[f"{CORE}, {pgproto.build}"]
    core = driver.session()
    for workload in workloads(_LARGEST).values():
        if driver.can(workload.kind):
            operation = prepared(core, workload)
            for _ in range(_TURNS):
                operation()
    _columns()


if __name__ == "__main__":
    main()
