"""Arrow data as tuples of a binary COPY: what fits where, and producers that lie."""

from __future__ import annotations

import ctypes
import struct
import uuid
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pgproto.columns import ColumnBatch, ColumnData, encode, export
from pgproto.columns.chunk import Kind
from pgproto.columns.consume import ArrowSource
from pgproto.columns.encode import ColumnsEncoder
from pgproto.columns.structs import Array, Schema, Stream
from pgproto.columns.textual import text_form
from pgproto.errors import DataError, LocalProtocolError, Outcome
from pgproto.session.columnar import ColumnsCopy
from pgproto.types import BUILT_IN, CopyRowEncoder, Interval
from tests.support.builds import pure_only
from tests.test_columns import enums
from tests.test_columns_export import SOURCE_TYPES, batch, owners


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert owners() == 0


def made(
    format: str, *memory: Any, rows: int, nulls: int = 0, valid: bytes | None = None, **parts: Any
) -> ColumnData:
    """A column of any type; the buffers are bytes, or arrays."""
    bitmap = None if valid is None else bytearray(valid)
    buffers = (
        [] if format == "n" else [bitmap, *[None if each is None else bytearray(each) for each in memory]]
    )
    return ColumnData("c", 0, format, rows, nulls, buffers, **parts)


def copied(data: Any, oids: Sequence[int]) -> bytes:
    source = ArrowSource(data)
    try:
        encoder = ColumnsEncoder([kind.name for kind in source.kinds], oids, source.kinds, enums())
        return b"".join([encoder.encode(chunks) for chunks in source.chunks()])
    finally:
        source.close()


def rows(oids: Sequence[int], *values: tuple[Any, ...]) -> bytes:
    encoder = CopyRowEncoder([f"c{index}" for index in range(len(oids))], oids, enums())
    return b"".join([encoder.encode(each) for each in values])


def one(column: ColumnData, oid: int) -> bytes:
    return copied(ColumnBatch(len(column), [column]), [oid])


def test_our_own_columns_go_back() -> None:
    found = copied(batch(10), SOURCE_TYPES)
    expected = [
        (
            n,
            None if n % 3 == 0 else f"t{n}",
            bool(n % 2),
            ["x", None],
            ("sad", "ok")[n % 2],
            Decimal(f"{n}.50"),
            uuid.UUID(int=n),
            ["sad"],
            Interval(n, n, n),
        )
        for n in range(10)
    ]
    assert found == rows(SOURCE_TYPES, *expected)
    assert copied(batch(0), SOURCE_TYPES) == b""


def test_many_rows() -> None:
    numbers = array("q", range(20_000))
    found = one(made("l", numbers, rows=20_000), 20)
    assert found == rows([20], *[(n,) for n in numbers])


INTEGERS = [("c", "b"), ("C", "B"), ("s", "h"), ("S", "H"), ("i", "i"), ("I", "I"), ("l", "q"), ("L", "Q")]


@pytest.mark.parametrize(("format", "code"), INTEGERS)
@pytest.mark.parametrize("oid", [20, 21, 23, 26, 28, 29, 5069, 1700])
def test_integers(format: str, code: str, oid: int) -> None:
    column = made(format, array(code, [1, 2, 100, 0]), rows=4, nulls=1, valid=b"\x07")
    assert one(column, oid) == rows([oid], (1,), (2,), (100,), (None,))
    assert one(made(format, array(code, [1, 2, 3]), rows=3), oid) == rows([oid], (1,), (2,), (3,))


def test_integers_out_of_range() -> None:
    numbers = array("q", [1, 2**40])
    with pytest.raises(DataError, match=r"^row 2, column 'c': the number is out of the type's range$"):
        one(made("l", numbers, rows=2), 23)
    # what stands where a NULL is does not matter
    assert one(made("l", numbers, rows=2, nulls=1, valid=b"\x01"), 23) == rows([23], (1,), (None,))


def test_floats_and_bools() -> None:
    assert one(made("g", array("d", [1.5, 2]), rows=2), 701) == rows([701], (1.5,), (2.0,))
    assert one(made("f", array("f", [1.5, 2]), rows=2), 701) == rows([701], (1.5,), (2.0,))
    assert one(made("f", array("f", [1.5, 2]), rows=2), 700) == rows([700], (1.5,), (2.0,))
    bits = made("b", b"\x05\x01", rows=9, nulls=1, valid=b"\xfd\x01")
    assert one(bits, 16) == rows([16], (True,), (None,), (True,), *[(False,)] * 5, (True,))


TEXT = "a€bc"


@pytest.mark.parametrize(("format", "code"), [("u", "i"), ("U", "q"), ("z", "i"), ("Z", "q")])
def test_text_and_bytes(format: str, code: str) -> None:
    ends = array(code, [0, 0, 1, 4, 6])
    column = made(format, ends, TEXT.encode(), rows=4, nulls=1, valid=b"\x0d")
    values = [b"", None, "€".encode(), b"bc"]
    if format in "uU":
        texts = [("",), (None,), ("€",), ("bc",)]
        for oid in (25, 1043, 1042, 19, 142, 20001):
            assert one(column, oid) == rows([oid], *texts)
        assert one(made(format, array(code, [0, 2]), b"{}", rows=1), 3802) == rows([3802], ({},))
        assert one(made(format, array(code, [0, 2]), b"{}", rows=1), 114) == rows([114], ({},))
    else:
        assert one(column, 17) == rows([17], *[(value,) for value in values])
    assert one(made(format, b"", b"", rows=0), 25 if format in "uU" else 17) == b""


def view(value: bytes, index: int = 0, start: int = 0) -> bytes:
    size = struct.pack("<i", len(value))
    return size + (
        value.ljust(12, b"\0") if len(value) <= 12 else value[:4] + struct.pack("<ii", index, start)
    )


def test_views() -> None:
    long = b"more than twelve"
    views = view(b"") + view(b"short") + view(long, 1, 3) + view(b"x" * 99, 7)
    column = made("vu", views, b"other", b"..." + long, array("q", [5, 19]), rows=4, nulls=1, valid=b"\x07")
    assert one(column, 25) == rows([25], ("",), ("short",), (long.decode(),), (None,))
    assert one(made("vz", view(b"a"), array("q", []), rows=1), 17) == rows([17], (b"a",))
    for wrong in (view(long, 2, 0), view(long, -1, 0), view(long, 1, 4), view(long, 1, -1), b"\xff" * 16):
        with pytest.raises(DataError, match="a view is out of its buffer"):
            one(made("vu", wrong, b"other", b"..." + long, array("q", [5, 19]), rows=1), 25)


def test_values_of_one_size() -> None:
    ids = [uuid.UUID(int=n) for n in range(3)]
    column = made("w:16", b"".join(each.bytes for each in ids), rows=3)
    assert one(column, 2950) == rows([2950], *[(each,) for each in ids])
    assert one(column, 17) == rows([17], *[(each.bytes,) for each in ids])
    assert one(made("w:0", b"", rows=2), 17) == rows([17], (b"",), (b"",))


def test_decimals() -> None:
    numbers = [150, -7, 0, 10**37]
    for bits in (128, 256):
        data = b"".join(number.to_bytes(bits // 8, "little", signed=True) for number in numbers)
        column = made(f"d:38,2,{bits}", data, rows=4, nulls=1, valid=b"\x0b")
        values = [(Decimal("1.50"),), (Decimal("-0.07"),), (None,), (Decimal(f"1{'0' * 35}.00"),)]
        assert one(column, 1700) == rows([1700], *values)
    whole = made("d:38,-2", (7).to_bytes(16, "little"), rows=1)
    assert one(whole, 1700) == rows([1700], (Decimal(700),))


def test_times() -> None:
    day = date(2024, 2, 29)
    days = (day - date(1970, 1, 1)).days
    assert one(made("tdD", array("i", [days, 0]), rows=2), 1082) == rows([1082], (day,), (date(1970, 1, 1),))
    milliseconds = made("tdm", array("q", [days * 86_400_000, 5]), rows=2, nulls=1, valid=b"\x01")
    assert one(milliseconds, 1082) == rows([1082], (day,), (None,))
    with pytest.raises(DataError, match="the date is out of the type's range, or has a time"):
        one(made("tdm", array("q", [5]), rows=1), 1082)
    at = datetime(2024, 2, 29, 12, 0, 1, tzinfo=UTC)
    seconds = int(at.timestamp())
    for unit, factor in (("s", 1), ("m", 10**3), ("u", 10**6), ("n", 10**9)):
        moments = array("q", [seconds * factor, 7])
        column = made(f"ts{unit}:Europe/Rome", moments, rows=2, nulls=1, valid=b"\x01")
        assert one(column, 1184) == rows([1184], (at,), (None,))
        plain = made(f"ts{unit}:", moments[:1], rows=1)
        assert one(plain, 1114) == rows([1114], (at.replace(tzinfo=None),))
        code = "i" if unit in "sm" else "q"
        assert one(made(f"tt{unit}", array(code, [7 * factor]), rows=1), 1083) == rows(
            [1083], (time(0, 0, 7),)
        )
    for number, oid, format in ((2**62, 1184, "tss:UTC"), (-(2**63), 1114, "tsu:"), (-1, 1083, "ttu")):
        with pytest.raises(DataError, match="row 1, column 'c': the time is out of the type's range"):
            one(made(format, array("q", [number]), rows=1), oid)
    with pytest.raises(DataError, match="row 2, column 'c': the time has nanoseconds"):
        one(made("tsn:", array("q", [1000, 1001]), rows=2), 1114)


def test_intervals() -> None:
    assert one(made("tiM", array("i", [14]), rows=1), 1186) == rows([1186], (Interval(14, 0, 0),))
    assert one(made("tiD", array("i", [3, 4]), rows=1), 1186) == rows([1186], (Interval(0, 3, 4000),))
    some = struct.pack("=iiq", 1, 2, 3000) + struct.pack("=iiq", 0, 0, 1)
    assert one(made("tin", some, rows=2, nulls=1, valid=b"\x01"), 1186) == rows(
        [1186], (Interval(1, 2, 3),), (None,)
    )
    with pytest.raises(DataError, match="row 2, column 'c': the interval has nanoseconds"):
        one(made("tin", some, rows=2), 1186)
    for unit, factor in (("s", 1), ("m", 10**3), ("u", 10**6), ("n", 10**9)):
        assert one(made(f"tD{unit}", array("q", [factor]), rows=1), 1186) == rows(
            [1186], (timedelta(seconds=1),)
        )
    with pytest.raises(DataError, match="the interval is out of the type's range"):
        one(made("tDs", array("q", [2**62]), rows=1), 1186)


def test_lists() -> None:
    items = made("i", array("i", [1, 2, 3, 4]), rows=4, nulls=1, valid=b"\x0d")
    for format, code in (("+l", "i"), ("+L", "q")):
        column = made(format, array(code, [0, 2, 2, 4]), rows=3, nulls=1, valid=b"\x03", children=[items])
        assert one(column, 1007) == rows([1007], ([1, None],), ([],), (None,))
    fixed = made("+w:2", rows=2, children=[items])
    assert one(fixed, 1007) == rows([1007], ([1, None],), ([3, 4],))
    assert one(made("+w:0", rows=2, children=[made("i", b"", rows=0)]), 1007) == rows([1007], ([],), ([],))
    large = made("+l", array("i", [0, 0, 2]), rows=2, children=[made("l", array("q", [1, 2**40]), rows=2)])
    with pytest.raises(
        DataError, match="row 2, column 'c': an element: the number is out of the type's range"
    ):
        one(large, 1007)


def test_dictionaries() -> None:
    labels = made("u", array("i", [0, 3, 5, 5]), b"sadok", rows=3, nulls=1, valid=b"\x03")
    column = made("c", array("b", [1, 0, 2, 9]), rows=4, nulls=1, valid=b"\x07", dictionary=labels)
    for oid in (25, 20001):
        assert one(column, oid) == rows([oid], ("ok",), ("sad",), (None,), (None,))
    numbers = made("i", array("i", [0, 1]), rows=2, dictionary=made("l", array("q", [7, 8]), rows=2))
    assert one(numbers, 20) == rows([20], (7,), (8,))
    for index in (-1, 3):
        wrong = made("i", array("i", [0, index]), rows=2, dictionary=labels)
        with pytest.raises(
            DataError, match=f"row 2, column 'c': index {index} is not in the dictionary of 3"
        ):
            one(wrong, 25)
    none = made("u", array("i", [0]), b"", rows=0)
    empty = made("i", array("i", [0, 0]), rows=2, nulls=2, valid=b"\0", dictionary=none)
    assert one(empty, 25) == rows([25], (None,), (None,))


def test_nothing_but_null_fits_everywhere() -> None:
    for oid in (16, 25, 1007, 1700):
        assert one(made("n", rows=2, nulls=2), oid) == rows([oid], (None,), (None,))


MISFITS = [
    ("l", 25),
    ("l", 701),
    ("b", 23),
    ("g", 700),
    ("g", 1700),
    ("u", 23),
    ("u", 17),
    ("u", 2950),
    ("u", 1007),
    ("z", 25),
    ("w:16", 25),
    ("w:15", 2950),
    ("d:5,2", 701),
    ("tdD", 1114),
    ("ttu", 1082),
    ("tsu:", 1184),
    ("tsu:UTC", 1114),
    ("tin", 20),
    ("l", 1016),
    ("e", 700),
]


@pytest.mark.parametrize(("format", "oid"), MISFITS)
def test_types_that_do_not_fit_are_refused(format: str, oid: int) -> None:
    memory = [array("i", [0]), b""] if format in "uz" else [b""]
    with pytest.raises(DataError, match=r"column 'c' of type .* does not take the Arrow type"):
        one(made(format, *memory, rows=0), oid)
    labels = made(format, *memory, rows=0)
    with pytest.raises(DataError, match=f"does not take the Arrow type 'dictionary of {format}'"):
        one(made("i", b"", rows=0, dictionary=labels), oid)


INT4RANGE = 3904


def line(column: ColumnData, oid: int) -> bytes:
    """The lines of a column that is beside one whose values are text alone."""
    count = len(column)
    beside = made("u", array("i", range(count + 1)), b"x" * count, rows=count)
    data = copied(ColumnBatch(count, [beside, column]), [INT4RANGE, oid])
    lines = data.splitlines()
    assert all(each.startswith(b"x\t") for each in lines)
    return b" ".join([each[2:] for each in lines])


DAY = 86_400_000_000
IN_TEXT = [
    (made("l", array("q", [-1, 5]), rows=2, nulls=1, valid=b"\x01"), 20, rb"-1 \N"),
    (made("l", array("q", [-1]), rows=1), 1700, b"-1"),
    (made("f", array("f", [0.1]), rows=1), 700, b"0.10000000149011612"),
    (made("b", b"\x02", rows=2), 16, b"f t"),
    (made("z", array("i", [0, 2]), b"\\\x00", rows=1), 17, rb"\\x5c00"),
    (made("w:16", bytes(16), rows=1), 2950, b"00000000-0000-0000-0000-000000000000"),
    (made("d:5,2", (-150).to_bytes(16, "little", signed=True), rows=1), 1700, b"-1.50"),
    (made("u", array("i", [0, 3, 3]), b"\\\t\n", rows=2), 25, rb"\\\t\n "),
    (made("u", array("i", [0, 3]), b"1e9", rows=1), 1700, b"1e9"),
    (made("u", array("i", [0, 4]), b"[01]", rows=1), 114, b"[01]"),
    (made("u", array("i", [0, 4]), b"[01]", rows=1), 3802, b"[01]"),
    (made("u", array("i", [0, 1]), b"\xff", rows=1), 25, b"\xff"),
    (
        made("tdD", array("i", [10957, -2440588, 2145042905]), rows=3),
        1082,
        b"J2451545 J0 J2147483493",
    ),
    (made("ttu", array("q", [1, DAY]), rows=2), 1083, b"00:00:00.000001 24:00:00.000000"),
    (made("tss:", array("q", [-1]), rows=1), 1114, b"J2440587 23:59:59.000000"),
    (made("tsu:UTC", array("q", [DAY + 1]), rows=1), 1184, b"J2440589 00:00:00.000001+00"),
    (made("tin", struct.pack("=iiq", -1, 2, -3000), rows=1), 1186, b"-1 mons +2 days -00:00:00.000003"),
    (made("n", rows=2, nulls=2), 20, rb"\N \N"),
]


@pytest.mark.parametrize(("column", "oid", "expected"), IN_TEXT)
def test_columns_beside_what_is_text_are_text(column: ColumnData, oid: int, expected: bytes) -> None:
    assert line(column, oid) == expected


def test_lists_and_dictionaries_beside_what_is_text() -> None:
    texts = made("u", array("i", [0, 2, 2, 5]), b'a"\xffcd', rows=3, nulls=1, valid=b"\x05")
    column = made("+l", array("i", [0, 3, 3]), rows=2, children=[texts])
    assert line(column, 1009) == rb'{"a\\"",NULL,' + b"\xffcd} {}"
    numbers = made("+l", array("i", [0, 2, 2]), rows=2, children=[made("l", array("q", [1, 2]), rows=2)])
    assert line(numbers, 1007) == b"{1,2} {}"
    assert copied(ColumnBatch(2, [numbers]), [22]) == b"1 2\n\n"  # an int2vector by itself
    one_null = made("+l", array("i", [0, 1]), rows=1, children=[made("n", rows=1, nulls=1)])
    assert copied(ColumnBatch(1, [one_null]), [30]) == b"NULL\n"
    labels = made("u", array("i", [0, 5]), b"[1,2)", rows=1)
    indexes = made("c", array("b", [0, 0]), rows=2, nulls=1, valid=b"\x01", dictionary=labels)
    assert copied(ColumnBatch(2, [indexes]), [INT4RANGE]) == b"[1,2)\n\\N\n"
    large = made("l", array("q", [1, 2**40]), rows=2)
    with pytest.raises(DataError, match=r"^row 2, column 'c': the number is out of the type's range$"):
        line(large, 23)


def test_lists_of_what_does_not_fit_are_refused() -> None:
    texts = made("u", array("i", [0]), b"", rows=0)
    for oid in (1007, 22):
        with pytest.raises(DataError, match=r"does not take the Arrow type '\+l'"):
            one(made("+l", array("i", [0]), rows=0, children=[texts]), oid)


def test_columns_and_names_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 columns of data for 1 columns of the table"):
        ColumnsEncoder(["a"], [20], [Kind("a", "l"), Kind("b", "l")])


@pytest.mark.parametrize(
    "format", ["?", "+l", "+m", "+us:0", "tsx:", "w:x", "w:9999999999", "d:5", "d:x,1", "+vl", "vx"]
)
def test_types_that_cannot_be_read(format: str) -> None:
    with pytest.raises(DataError, match=r"which cannot be copied|cannot be read"):
        copied(ColumnBatch(0, [made(format, b"", rows=0)]), [20])


# ---- Producers that lie


def child(values: Any, index: int = 0) -> Any:
    return Array.from_address((ctypes.c_void_p * values.n_children).from_address(values.children)[index] or 0)


def buffer(values: Any, index: int) -> Any:
    return (ctypes.c_void_p * values.n_buffers).from_address(values.buffers)


def set_buffer(values: Any, index: int, place: int | None) -> None:
    buffer(values, index)[index] = place


def set_offset(values: Any, index: int, offset: int) -> None:
    place = buffer(values, 1)[1] or 0
    ctypes.c_int32.from_address(place + 4 * index).value = offset


def edit(**fields: Any) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for name, value in fields.items():
            setattr(values, name, value)

    return change


def first(change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda values: change(child(values))


LIES: list[tuple[Callable[[Any], None], str]] = [
    (edit(length=-1), "length -1"),
    (edit(offset=-1), "offset -1"),
    (edit(length=2**62, offset=2**62 + 2**61), "length"),
    (edit(length=11), "rows 0 to 11 of 10"),
    (edit(null_count=11), "11 NULLs in 10 rows"),
    (edit(null_count=-2), "-2 NULLs"),
    (edit(n_buffers=0), "0 buffers"),
    (edit(n_children=2), "2 children instead of 1"),
    (edit(children=None), "NULL where its children should be"),
    (edit(buffers=None), "no buffers"),
    (first(edit(length=-1)), "column 'c' .*length -1"),
    (first(edit(length=9)), "rows 0 to 10 of 9"),
    (first(edit(offset=-5)), "offset -5"),
    (first(edit(n_buffers=2)), "2 buffers"),
    (first(edit(n_buffers=2**62)), "buffers"),
    (first(edit(n_children=1)), "1 children instead of 0"),
    (first(edit(dictionary=8)), "no dictionary where"),
    (first(lambda values: set_buffer(values, 1, None)), "a buffer is missing"),
    (first(lambda values: set_buffer(values, 2, None)), "a buffer is missing"),
    (first(lambda values: set_offset(values, 0, -1)), "its offsets do not ascend"),
    (first(lambda values: set_offset(values, 3, 1000)), "its offsets do not ascend"),
]


@pure_only("compiled code cannot be patched")
@pytest.mark.parametrize(("lie", "reason"), LIES)
def test_arrays_that_are_not_possible(
    lie: Callable[[Any], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = vars(export)["_whole_array"]
    kept: list[Any] = []

    def bent(length: int, columns: Any) -> Any:
        values = real(length, columns)
        kept.append((values, bytes(values), child(values), bytes(child(values))))
        lie(values)
        return values

    monkeypatch.setattr(export, "_whole_array", bent)
    source = ArrowSource(ColumnBatch(10, [made("u", array("i", range(11)), b"0123456789", rows=10)]))
    with pytest.raises(DataError, match=reason):
        for _ in source.chunks():
            pass
    source.close()


def test_a_null_child(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vars(export)["_whole_array"]

    def bent(length: int, columns: Any) -> Any:
        values = real(length, columns)
        (ctypes.c_void_p * 1).from_address(values.children)[0] = None
        return values

    monkeypatch.setattr(export, "_whole_array", bent)
    with pytest.raises(DataError, match="NULL where a child should be"):
        copied(ColumnBatch(1, [made("l", array("q", [1]), rows=1)]), [20])


def test_rows_that_are_null_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vars(export)["_array"]
    monkeypatch.setattr(
        export,
        "_whole_array",
        lambda length, columns: real(
            length, -1, [bytearray(b"\x02")], [vars(export)["_array_of"](columns[0])]
        ),
    )
    with pytest.raises(DataError, match="NULL as a whole"):
        copied(ColumnBatch(2, [made("l", array("q", [1, 2]), rows=2)]), [20])


def test_offsets_of_arrays_are_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vars(export)["_whole_array"]

    def sliced(length: int, columns: Any) -> Any:
        values = real(length, columns)
        values.length, values.offset = 3, 2
        for index in range(4):
            child(values, index).length, child(values, index).offset = 8, 2
        return values

    monkeypatch.setattr(export, "_whole_array", sliced)
    items = made("i", array("i", range(20)), rows=20)
    columns = [
        made("l", array("q", range(10)), rows=10, nulls=5, valid=b"\x55\x01"),
        made("u", array("i", range(11)), b"0123456789", rows=10),
        made("+l", array("i", range(0, 22, 2)), rows=10, children=[items]),
        made("b", b"\xaa\x02", rows=10),
    ]
    expected = [(n if n % 2 == 0 else None, str(n), [2 * n, 2 * n + 1], bool(n % 2)) for n in (4, 5, 6)]
    found = copied(ColumnBatch(10, columns), [20, 25, 1007, 16])
    assert found == rows([20, 25, 1007, 16], *expected)


def test_what_is_left_out() -> None:
    """Nobody has counted the NULLs, and there are no offsets of no rows."""
    assert one(made("l", array("q", [1]), rows=1, nulls=-1, valid=b"\x01"), 20) == rows([20], (1,))
    assert one(made("u", None, None, rows=0), 25) == b""
    items = made("u", None, None, rows=0)
    assert one(made("+l", array("i", [0, 0]), rows=1, children=[items]), 1009) == rows([1009], ([],))


def test_schemas_that_are_not_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vars(export)["_whole_schema"]

    def bent(**fields: Any) -> Callable[[Any], Any]:
        def make(columns: Any) -> Any:
            schema = real(columns)
            for name, value in fields.items():
                setattr(schema, name, value)
            return schema

        return make

    for fields in ({"format": None}, {"n_children": -1}, {"n_children": 1 << 40}, {"children": None}):
        monkeypatch.setattr(export, "_whole_schema", bent(**fields))
        with pytest.raises(DataError, match=r"cannot be read|NULL where its children"):
            ArrowSource(ColumnBatch(0, [made("l", b"", rows=0)]))
    monkeypatch.setattr(export, "_whole_schema", lambda columns: vars(export)["_schema_of"](columns[0]))
    with pytest.raises(TypeError, match="the stream has no columns"):
        ArrowSource(ColumnBatch(0, [made("l", b"", rows=0)]))
    deep = made("l", b"", rows=0)
    for _ in range(10):
        deep = made("+l", array("i", [0]), rows=0, children=[deep])
    monkeypatch.setattr(export, "_whole_schema", real)
    with pytest.raises(DataError, match="cannot be read"):
        ArrowSource(ColumnBatch(0, [deep]))


def test_streams_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no more")

    source = ArrowSource(batch(1))
    monkeypatch.setattr(export, "_whole_array", fails)
    with pytest.raises(DataError, match=r"^the Arrow stream failed: ValueError\('no more'\)$"):
        next(source.chunks())
    source.close()
    source.close()
    monkeypatch.setattr(export, "_whole_schema", fails)
    with pytest.raises(DataError, match="the Arrow stream failed"):
        ArrowSource(batch(1))


def test_a_stream_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArrowSource(batch(1))
    monkeypatch.setattr(export, "_whole_array", lambda *_: 1 // 0)
    source._stream.get_last_error = ctypes.c_void_p.from_buffer(_SILENT).value
    with pytest.raises(DataError, match="the Arrow stream failed: error 5"):
        next(source.chunks())


_SILENT = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: None)


def test_what_is_no_stream() -> None:
    class Raises:
        def __arrow_c_stream__(self) -> object:
            raise KeyboardInterrupt

    class Other:
        def __arrow_c_stream__(self) -> object:
            return batch(1).__arrow_c_schema__()

    with pytest.raises(TypeError, match="must have __arrow_c_stream__, which list has not"):
        ArrowSource([])
    with pytest.raises(KeyboardInterrupt):
        ArrowSource(Raises())
    with pytest.raises(ValueError, match="PyCapsule_GetPointer"):
        ArrowSource(Other())

    class Twice:
        capsule = batch(1).__arrow_c_stream__()

        def __arrow_c_stream__(self) -> object:
            return self.capsule

    ArrowSource(Twice()).close()
    with pytest.raises(DataError, match="the stream was consumed before"):
        ArrowSource(Twice())
    del Twice.capsule


def test_the_copy_of_columns() -> None:
    columns = ColumnBatch(2, [made("l", array("q", [1, 2]), rows=2)])
    with ColumnsCopy("t", columns, None, "s") as copy:
        assert copy.target.select == 'SELECT "c" FROM "s"."t"'
        operation = copy.operation([20], BUILT_IN)
        operation.types = (25,)
        with pytest.raises(DataError, match="column 'c' of type text does not take the Arrow type 'l'"):
            next(copy.chunks(operation, BUILT_IN))
        operation.types = (20,)
        header, data, trailer = copy.chunks(operation, BUILT_IN)
        assert (header[:6], data, trailer) == (b"PGCOPY", rows([20], (1,), (2,)), b"\xff\xff")
    ranges = made("u", array("i", [0, 5]), b"[1,2)", rows=1)
    with ColumnsCopy("t", ColumnBatch(1, [ranges]), None, "") as copy:
        operation = copy.operation([INT4RANGE], BUILT_IN)
        assert operation.sql == 'COPY "t" ("c") FROM STDIN (FORMAT text)'
        operation.types = (INT4RANGE,)
        assert list(copy.chunks(operation, BUILT_IN)) == [b"[1,2)\n"]
    with ColumnsCopy("t", columns, ["a"], "") as copy:
        assert copy.target.select == 'SELECT "a" FROM "t"'
    for names in (None, ["a"]):
        with pytest.raises(DataError, match="the data has no columns") as caught:
            ColumnsCopy("t", ColumnBatch(1, []), names, "")
        assert caught.value.outcome is Outcome.NOT_SENT
    with ColumnsCopy("t", columns, ["a", "b"], "") as copy:
        with pytest.raises(DataError, match="1 columns of data for 2 columns of the table") as caught:
            copy.operation([20, 20], BUILT_IN)
        assert caught.value.outcome is Outcome.NOT_SENT
    twice = ColumnBatch(2, [made("l", array("q", [1, 2]), rows=2)] * 2)
    for wrong, names in ((columns, []), (twice, None)):
        with pytest.raises(LocalProtocolError, match=r"no columns to copy into|named twice") as refused:
            ColumnsCopy("t", wrong, names, "")
        assert refused.value.outcome is Outcome.NOT_SENT


def test_the_structs_have_the_sizes_of_the_specification() -> None:
    assert [ctypes.sizeof(each) for each in (Schema, Array, Stream)] == [72, 80, 40]


@pure_only("compiled code cannot be patched")
def test_a_machine_of_the_other_order_swaps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_SWAP", False)
    swapped = array("h", [1])
    swapped.byteswap()
    column = made("s", swapped, rows=1)
    assert one(column, 21) == rows([21], (1,))
    text = made("u", array("i", [0, 0]), b"", rows=1)
    assert one(text, 25) == rows([25], ("",))


def test_a_text_that_the_server_would_cut_is_refused_in_text() -> None:
    for oid, fits, long in ((18, b"a", b"abc"), (19, b"x" * 63, b"x" * 64)):
        write = text_form(BUILT_IN.codec(oid))
        assert write(fits) == fits
        with pytest.raises(DataError):
            write(long)
