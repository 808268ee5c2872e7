"""What the compiled build is trained on: the work whose profile the C compiler is given (see hatch_build.py).

The hot paths of `counted.py`, and the core alone: each type of `types.py` decoded and encoded, columns,
messages, a large message in small segments.  Bytes in memory: no server, no clock, nothing that a build
lacks; always the same counts.  What is not run here (starts, pools, ends, errors) is compiled as without a
profile.
"""

from __future__ import annotations

import struct
from typing import Final

import pgproto
from pgproto.columns import ColumnDecoder
from pgproto.columns.consume import ArrowSource
from pgproto.columns.encode import ColumnsEncoder
from pgproto.types import BUILT_IN, ParameterEncoder, RowDecoder, TypeMap
from pgproto.wire import DataRow, FieldDescription

from . import counted
from .drivers import CORE, DRIVERS
from .types import COLUMNS, TYPES
from .worker import prepared
from .workloads import workloads

__all__ = ["main"]

_TURNS: Final = 50
_ROWS: Final = 1000  # of columns
_FEW: Final = 5  # rows of many columns
_LARGEST: Final = 100  # rows, values, messages and kilobytes of one operation

# What a catalog says of the types that not every server has: rows of `LOOK_UP`.
_LEARNED: Final[tuple[tuple[object, ...], ...]] = (
    (90001, "hstore", "hstore", "b", 0, 0, [], [], ",", "public", "hstore"),
    (90002, "bench_mood", "bench_mood", "e", 0, 0, [], [], ",", "public", ""),
    (90003, "bench_mood[]", "_bench_mood", "b", 90002, 0, [], [], ",", "public", ""),
    (90004, "bench_positive", "bench_positive", "d", 23, 0, [], [], ",", "public", ""),
    (90005, "bench_pair", "bench_pair", "c", 0, 0, ["number", "label"], [23, 25], ",", "public", ""),
    (90006, "bench_pair[]", "_bench_pair", "b", 90005, 0, [], [], ",", "public", ""),
)


def _types() -> None:
    """Parameters of each type, and rows of them; no record, which cannot be a parameter."""
    types = TypeMap(BUILT_IN)
    types.learn(_LEARNED)
    for each in TYPES:
        codec = types.named(each.sql.partition("(")[0])
        if codec is None:
            raise LookupError(f"no codec for {each.sql}")
        if each.sql == "record":
            continue
        encoder = ParameterEncoder([codec.oid] * COLUMNS, types)
        fields = [FieldDescription("", 0, 0, codec.oid, -1, -1, 0)] * COLUMNS
        decoder = RowDecoder(fields, encoder.formats, types)
        for _ in range(_TURNS):
            rows = DataRow(encoder.encode([each.value] * COLUMNS)).encode() * _FEW
            decoded = decoder.decode(rows, 0, len(rows))
            if decoded[-1][-1] != each.value:
                raise ValueError(f"another value of {each.sql}")


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
    _types()
    _columns()


if __name__ == "__main__":
    main()
