"""ColumnDecoder: what stands in the columns' memory, and what is refused."""

from __future__ import annotations

import math
import struct
import tracemalloc
import uuid
from enum import Enum
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgproto.columns import ColumnDecoder, vectors
from pgproto.columns.bits import Shift, mark, packed
from pgproto.columns.chunk import Kind
from pgproto.columns.encode import encoder_for
from pgproto.errors import DataError, RemoteProtocolError
from pgproto.types import BUILT_IN, TypeMap
from pgproto.types.arrays import ArrayCodec
from pgproto.types.classes import EnumCodec
from pgproto.types.composites import LabelCodec
from tests.support.builds import pure_only
from tests.support.columns import column, decoded, field, plain, row

FIXED = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
DAYS = 10957
MICROS = DAYS * 86_400_000_000


class Mood(Enum):
    OK = "ok"


def enums() -> TypeMap:
    types = TypeMap(BUILT_IN)
    types.add(LabelCodec(20001, "mood"))
    types.add(ArrayCodec(20002, LabelCodec(20001, "mood")))
    return types


def array(oid: int, *items: bytes | None, dimensions: int = 1) -> bytes:
    """The binary form of an array."""
    data = struct.pack(">iiIii", dimensions, 0, oid, len(items), 1)
    for item in items:
        data += struct.pack(">i", -1) if item is None else struct.pack(">i", len(item)) + item
    return data


NUMBERS: list[tuple[int, str, str, list[Any]]] = [
    (20, "l", ">q", [0, 1, -1, 2**63 - 1, -(2**63)]),
    (21, "s", ">h", [0, 1, -1, 2**15 - 1, -(2**15)]),
    (23, "i", ">i", [0, 1, -1, 2**31 - 1, -(2**31)]),
    (26, "I", ">I", [0, 1, 2**32 - 1]),
    (28, "I", ">I", [0, 1, 2**32 - 1]),
    (29, "I", ">I", [0, 1, 2**32 - 1]),
    (700, "f", ">f", [0.0, 1.5, -1.5, float("inf")]),
    (701, "g", ">d", [0.0, 1.5, -1.5, 1e300, float("-inf")]),
    (5069, "L", ">Q", [0, 1, 2**64 - 1]),
]


@pytest.mark.parametrize(("oid", "format", "code", "values"), NUMBERS)
def test_numbers(oid: int, format: str, code: str, values: list[Any]) -> None:
    sent: list[bytes | None] = [struct.pack(code, value) for value in values]
    found = column(oid, [*sent, None])
    assert (found.oid, found.format, found.name, len(found)) == (oid, format, "c", len(values) + 1)
    assert plain(found) == [*values, None]
    assert found.values.tolist() == [*values, 0]
    assert found.validity is not None
    without = column(oid, sent)
    assert (plain(without), without.validity, without.null_count) == (values, None, 0)
    assert numpy.asarray(without).tolist() == values
    with pytest.raises(DataError, match="has 1 NULLs, which an array cannot show"):
        numpy.asarray(found)


def test_an_empty_column_is_an_empty_array() -> None:
    found = numpy.asarray(column(20, []))
    assert (found.dtype.str, found.tolist()) == ("<i8", [])


def test_bools_are_bits() -> None:
    for count in (0, 1, 7, 8, 9, 100):
        values = [bool(number * number & 2) for number in range(count)]
        assert plain(column(16, [bytes([value]) for value in values])) == values
    assert plain(column(16, [b"\1", None, b"\0"])) == [True, None, False]
    with pytest.raises(DataError, match=r"^row 3, column 'c': malformed value of type bool: 2$"):
        column(16, [b"\1", b"\0", b"\2"])


@given(st.lists(st.booleans(), max_size=200))
@FIXED
def test_bitmaps(flags: list[bool]) -> None:
    bits = packed(bytes(flags))
    assert len(bits) == (len(flags) + 7) // 8
    assert [bool(bits[index >> 3] >> (index & 7) & 1) for index in range(len(flags))] == flags
    nulls = [index for index, flag in enumerate(flags) if not flag]
    half = len(flags) // 2
    bitmap = bytearray()
    mark(bitmap, half, [index for index in nulls if index < half])  # it grows
    mark(bitmap, len(flags), [index for index in nulls if index >= half])
    assert len(bitmap) == len(bits)
    assert [bool(bitmap[index >> 3] >> (index & 7) & 1) for index in range(len(flags))] == flags


@given(st.lists(st.integers(-(2**63), 2**63 - 1 - MICROS), max_size=50), st.integers(0, 3))
@FIXED
def test_a_shift(numbers: list[int], times: int) -> None:
    numbers = numbers * (8000 if times == 3 and numbers else times)  # beyond a chunk of lanes
    found = Shift(8, MICROS).add(struct.pack(f"<{len(numbers)}q", *numbers))
    assert list(struct.unpack(f"<{len(numbers)}q", found)) == [number + MICROS for number in numbers]


TIMES = [
    (1082, "tdD", ">i", DAYS, 2**31 - 1 - DAYS),
    (1114, "tsu:", ">q", MICROS, 2**63 - 1 - MICROS),
    (1184, "tsu:UTC", ">q", MICROS, 2**63 - 1 - MICROS),
    (1083, "ttu", ">q", 0, 86_400_000_000 - 1),
]


@pytest.mark.parametrize(("oid", "format", "code", "shift", "last"), TIMES)
def test_times_count_from_1970(oid: int, format: str, code: str, shift: int, last: int) -> None:
    least = 0 if oid == 1083 else -last
    values = [0, 1, least, last]
    found = column(oid, [*[struct.pack(code, value) for value in values], None])
    assert found.format == format
    assert plain(found) == [*[value + shift for value in values], None]
    with pytest.raises(
        DataError, match=r"^row 2, column 'c': the column's Arrow type has no .*, which is beyond"
    ):
        column(oid, [struct.pack(code, 5), struct.pack(code, last + 1)])
    assert plain(column(oid, [struct.pack(code, 5), struct.pack(code, last + 1)], unfit="null")) == [
        5 + shift,
        None,
    ]


@pytest.mark.parametrize(("oid", "bits"), [(1082, 32), (1114, 64), (1184, 64)])
def test_infinite_times(oid: int, bits: int) -> None:
    last = (1 << (bits - 1)) - 1
    size = bits // 8
    ends = [number.to_bytes(size, "big", signed=True) for number in (last, -last - 1)]
    for end, name in zip(ends, ("infinity", "-infinity"), strict=True):
        with pytest.raises(DataError, match=rf"has no {name}; unfit='null' makes such values NULL"):
            column(oid, [bytes(size), end])
    epoch = DAYS if bits == 32 else MICROS
    assert plain(column(oid, [ends[0], bytes(size), ends[1]], unfit="null")) == [None, epoch, None]


def test_timestamps_are_numpys() -> None:
    found = numpy.asarray(column(1184, [bytes(8)]))
    assert found.dtype.str == "<M8[us]"
    assert str(found[0]) == "2000-01-01T00:00:00.000000"


def test_intervals() -> None:
    fields = [(5, 2, 1), (-7, -1, -13), (2**63 // 1000 + 1, 0, 0)]
    sent = [struct.pack(">qii", *each) for each in fields]
    assert plain(column(1186, [*sent[:2], None])) == [(1, 2, 5000), (-13, -1, -7000), None]
    with pytest.raises(DataError, match="more nanoseconds than an int64 has"):
        column(1186, sent)
    with pytest.raises(DataError, match="infinite interval"):
        column(1186, [struct.pack(">qii", 2**63 - 1, 2**31 - 1, 2**31 - 1)])
    assert plain(column(1186, sent, unfit="null"))[2] is None


def test_uuids() -> None:
    one = uuid.UUID("12345678123456781234567812345678").bytes
    found = column(2950, [one, None, one])
    assert (found.format, plain(found)) == ("w:16", [one, None, one])
    with pytest.raises(DataError, match=r"^row 2, column 'c': malformed value: 15 bytes instead of 16$"):
        column(2950, [one, one[1:]])
    with pytest.raises(TypeError, match="the values of column 'c' are no numbers"):
        _ = found.values


def test_text_and_bytes() -> None:
    for oid in (19, 25, 114, 142, 705, 1042, 1043, 1790, 2275):
        found = column(oid, [b"one", None, b"", "\u00e4\n\u20ac".encode(), b"\0"])
        assert (found.format, plain(found)) == ("u", ["one", None, "", "\u00e4\n\u20ac", "\0"])
    assert plain(column(17, [b"\xff", None, b""])) == [b"\xff", None, b""]
    assert column(17, []).format == "z"


@pytest.mark.parametrize("others", [[], [b"a\nb\n"], [b"x", "\u20ac".encode()]])
def test_text_that_is_not_utf8_is_refused(others: list[bytes]) -> None:
    """Each value for itself: two halves of a character are not one."""
    for halves in ([b"\xe2\x82", b"\xac"], [b"\xff"]):
        with pytest.raises(DataError, match=rf"^row {len(others) + 1}, column 'c': the text is not UTF-8$"):
            column(25, [*others, *halves])


def test_more_bytes_than_an_int32_counts_have_offsets_of_int64() -> None:
    vector = vectors.BytesVector("c", 25, is_text=True, strict=True)
    vector.largest = 4
    for parts in ([b"ab", b"c"], [b"de", b""], [b"f"]):
        vector.parts = parts
        vector.flush()
    found = vector.finish()
    assert (found.format, plain(found)) == ("U", ["ab", "c", "de", "", "f"])
    vector.parts = [b"x"]
    vector.flush()
    assert (vector.finish().format) == "u"


def test_more_elements_than_an_int32_counts_have_offsets_of_int64() -> None:
    vector = vectors.ListVector(
        "c", 1005, vectors.NumbersVector("", 21, "s", "h", strict=True), 21, strict=True
    )
    vector.largest = 1
    array = struct.pack(">5iihih", 1, 0, 21, 2, 1, 2, 3, 2, 4)
    vector.parts = [array, b"", array]
    vector.flush()
    found = vector.finish()
    assert (found.format, plain(found)) == ("+L", [[3, 4], [], [3, 4]])
    vector.parts = [b""]
    vector.flush()
    assert vector.finish().format == "+l"


def test_classes_and_codecs_of_the_users_are_not_used() -> None:
    types = TypeMap()
    types.set_codec("text", decode=str.upper, format="value")
    types.add(EnumCodec(LabelCodec(20001, "mood"), Mood, {}))
    assert types.codec(25).decode_text("ok") == "OK"
    assert column(20001, [b"ok"], types=types).dictionary is not None
    assert plain(column(25, [b"ok", b"sad"], types=types)) == ["ok", "sad"]
    assert plain(column(1009, [array(25, b"ok", b"sad")], types=types)) == [["ok", "sad"]]
    assert encoder_for(Kind("c", "u"), types.codec(25)) is not None
    assert encoder_for(Kind("c", "+l", [Kind("", "u")]), types.codec(1009)) is not None


def test_enums_have_a_dictionary() -> None:
    found = column(20001, [b"sad", b"ok", None, b"sad"], types=enums())
    assert found.format == "i"
    assert found.dictionary is not None
    assert plain(found) == ["sad", "ok", None, "sad"]
    assert len(found.dictionary) <= 3
    with pytest.raises(DataError, match="is not UTF-8"):
        column(20001, [b"\xff"], types=enums())


def numeric(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + 4


NUMERICS = [
    (numeric(10, 2), "d:10,2", [b"1.50", b"-0.07", b"12345678.90", None], [150, -7, 1234567890, None]),
    (numeric(38, 0), "d:38,0", [b"9" * 38, b"-" + b"9" * 38], [10**38 - 1, 1 - 10**38]),
    (numeric(3, -2), "d:5,0", [b"99900"], [99900]),
    (numeric(2, 4), "d:4,4", [b"0.0099"], [99]),
]


@pytest.mark.parametrize(("modifier", "format", "sent", "values"), NUMERICS)
def test_numerics_of_known_scale(modifier: int, format: str, sent: list[Any], values: list[Any]) -> None:
    found = column(1700, sent, modifier)
    assert (found.format, plain(found)) == (format, values)


def test_numerics_without_a_scale() -> None:
    sent = [b"1.5", b"NaN", None, b"-Infinity", b"1" * 50]
    assert plain(column(1700, sent)) == ["1.5", "NaN", None, "-Infinity", "1" * 50]
    assert plain(column(1700, sent, numeric(50, 2))) == plain(column(1700, sent))
    floats = plain(column(1700, sent, numeric="float64"))
    assert floats[0] == 1.5
    assert floats[1] != floats[1]
    assert floats[2:] == [None, float("-inf"), float("1" * 50)]
    with pytest.raises(DataError, match=r"^row 2, column 'c': malformed value of type numeric$"):
        column(1700, [b"1", b"x"], numeric="float64")
    assert plain(column(1700, [b"1.5", b"2"], numeric=3)) == [1500, 2000]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"1.2345", "more than 3 digits after the point"),
        (b"NaN", "it is NaN or infinite"),
        (b"Infinity", "it is NaN or infinite"),
        (b"1" * 36, "more digits than the column has"),
    ],
)
def test_numbers_that_no_decimal_has(value: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=f"^row 2, column 'c': .*{reason}"):
        column(1700, [b"1.2340000", value], numeric=3)
    assert plain(column(1700, [value, b"1"], numeric=3, unfit="null")) == [None, 1000]


def test_lists() -> None:
    four = [struct.pack(">i", number) for number in range(4)]
    found = column(
        1007, [array(23, *four[:3]), None, struct.pack(">iiI", 0, 0, 23), array(23, None, four[3])]
    )
    assert (found.format, found.children[0].name, found.children[0].format) == ("+l", "item", "i")
    assert plain(found) == [[0, 1, 2], None, [], [None, 3]]
    assert plain(column(1009, [array(25, b"a", None), array(25, b"")])) == [["a", None], [""]]
    assert plain(column(1231, [array(1700, bytes.fromhex("00010000000000020001"))], numeric(10, 2))) == [
        [100]
    ]
    assert plain(column(1231, [array(1700, bytes.fromhex("00010000000000000001"))])) == [["1"]]
    assert plain(column(3807, [array(3802, b"\1{}", b"\1[1]")])) == [["{}", "[1]"]]
    assert plain(column(20002, [array(20001, b"ok", b"sad")], types=enums())) == [["ok", "sad"]]
    assert plain(column(1000, [array(16, b"\1", None, b"\0")])) == [[True, None, False]]


def test_a_list_cannot_say_where_its_subscripts_start() -> None:
    for lower in (0, 2, -1):
        shifted = array(23, bytes(4))[:16] + lower.to_bytes(4, "big", signed=True) + array(23, bytes(4))[20:]
        with pytest.raises(
            DataError, match=f"^row 1, column 'c': .* the first subscript is {lower}: select it as"
        ):
            column(1007, [shifted])
        assert plain(column(1007, [shifted, array(23, bytes(4))], unfit="null")) == [None, [0]]
    vector = array(21, bytes(2))[:16] + bytes(4) + array(21, bytes(2))[20:]
    assert plain(column(22, [vector])) == [[0]]  # an int2vector starts at 0


def test_what_is_finite_never_becomes_infinite() -> None:
    assert plain(column(1700, [b"1.5", None], numeric="float64")) == [1.5, None]
    infinite = [b"Infinity", b"-Infinity", b"NaN", b"1e308"]
    assert [repr(each) for each in column(1700, infinite, numeric="float64").values] == [
        "inf",
        "-inf",
        "nan",
        "1e+308",
    ]
    for value in (b"1" + b"0" * 400, b"-1" + b"0" * 400):
        with pytest.raises(DataError, match="row 2, column 'c': a number beyond the largest float; unfit"):
            column(1700, [b"Infinity", value], numeric="float64")
        found = column(1700, [b"Infinity", value, b"1"], numeric="float64", unfit="null")
        assert plain(found) == [math.inf, None, 1.0]


def test_arrays_that_are_no_list() -> None:
    two = array(23, bytes(4), dimensions=2)
    with pytest.raises(DataError, match="row 1, column 'c': an array of 2 dimensions is no list"):
        column(1007, [two])
    assert plain(column(1007, [two, array(23, bytes(4))], unfit="null")) == [None, [0]]
    with pytest.raises(DataError, match="an element of column 'c': malformed value: 3 bytes instead of 4"):
        column(1007, [array(23, bytes(3))])
    with pytest.raises(DataError, match="an element of column 'c': the column's Arrow type has no infinity"):
        column(1182, [array(1082, b"\x7f\xff\xff\xff")])


GOOD = array(23, bytes(4), None)


@pytest.mark.parametrize(
    "value",
    [GOOD[:size] for size in range(1, len(GOOD))]
    + [GOOD + b"\0", array(25, b""), array(23, bytes(4), dimensions=-1), b"\0" * 13]
    + [array(23)[:12] + b"\x7f\xff\xff\xff\0\0\0\1", GOOD[:20] + b"\xff\xff\xff\xfe" + GOOD[24:]],
)
def test_malformed_arrays(value: bytes) -> None:
    with pytest.raises(DataError, match="row 1, column 'c': malformed array"):
        column(1007, [value])
    with pytest.raises(DataError, match="malformed array"):
        column(3807, [array(3802, b"")])


def test_other_types_travel_as_text() -> None:
    for oid in (869, 3904, 600, 1266, 3802, 18, 1041, 99999):
        decoder = ColumnDecoder([field("c", oid)])
        assert decoder.result_formats == (0,)
        assert plain(column(oid, [b"text"])) == ["text"]
    formats = ColumnDecoder(
        [field("a", 20), field("b", 1700), field("c", 25), field("d", 1007)]
    ).result_formats
    assert formats == (1, 0, 1, 1)


FIELDS = [
    ("a", 20),
    ("b", 25),
    ("c", 21),
    ("d", 16),
    ("e", 23),
    ("f", 17),
    ("g", 25),
    ("h", 701),
    ("i", 2950),
]
CODES = {20: ">q", 21: ">h", 23: ">i", 701: ">d"}


def as_sent(oid: int, value: Any) -> bytes | None:
    if value is None:
        return None
    if oid in CODES:
        return struct.pack(CODES[oid], value)
    if oid == 16:
        return bytes([value])
    return value.encode() if oid == 25 else bytes(value)


def any_value(oid: int) -> st.SearchStrategy[Any]:
    small = st.integers(-100, 100)
    some = {16: st.booleans(), 25: st.text(max_size=5), 17: st.binary(max_size=5), 701: small.map(float)}
    values = some.get(oid, st.binary(min_size=16, max_size=16) if oid == 2950 else small)
    return st.none() | values


@given(st.data(), st.permutations(FIELDS), st.integers(0, 9), st.booleans(), st.sampled_from([1, 3, 8192]))
@FIXED
def test_any_columns_in_any_order(
    data: st.DataObject, fields: list[tuple[str, int]], width: int, apart: bool, most: int
) -> None:
    """However the rows arrive, and whenever they are joined."""
    fields = fields[:width]
    table = data.draw(st.lists(st.tuples(*[any_value(oid) for _, oid in fields]), max_size=20))
    rows = [
        row(*[as_sent(oid, value) for (_, oid), value in zip(fields, each, strict=True)]) for each in table
    ]
    decoder = ColumnDecoder([field(name, oid) for name, oid in fields])
    decoder.most_rows = most
    for buffer in rows if apart else [b"".join(rows)]:
        decoder.decode(b"before" + buffer + b"after", 6, 6 + len(buffer))
    for _ in range(2):
        assert decoder.rows == len(table)
        batch = decoder.finish()
        assert (len(batch), batch.names) == (len(table), tuple(name for name, _ in fields))
        for index, found in enumerate(batch):
            assert plain(found) == [each[index] for each in table]
        decoder.decode(b"".join(rows), 0, len(b"".join(rows)))


def test_a_batch() -> None:
    batch = decoded([field("a", 20), field("b", 25), field("a", 21)], [row(bytes(8), b"x", bytes(2))] * 3)
    assert (batch.names, batch.types, len(batch)) == (("a", "b", "a"), (20, 25, 21), 3)
    assert batch["a"] is batch[0]
    assert batch[-1].oid == 21
    assert [each.name for each in batch] == ["a", "b", "a"]
    with pytest.raises(KeyError):
        batch["c"]
    with pytest.raises(IndexError):
        batch[3]
    assert repr(batch) == "<ColumnBatch of 3 rows: a, b, a>"
    assert repr(batch[1]) == "<ColumnData 'b' u of 3>"
    with pytest.raises(TypeError):
        batch[0].values[0] = 1


def test_rows_are_joined_when_they_are_many_bytes() -> None:
    decoder = ColumnDecoder([field("a", 25)])
    data = row(b"x" * 600_000)
    for _ in range(3):
        decoder.decode(data, 0, len(data))
    assert plain(decoder.finish()[0]) == ["x" * 600_000] * 3


def test_an_error_names_the_row_of_the_whole_result() -> None:
    decoder = ColumnDecoder([field("a", 1082), field("b", 25)])
    good = row(bytes(4), b"") * 3
    decoder.decode(good, 0, len(good))
    decoder.finish()
    bad = row(bytes(4), b"") + row(b"\x7f\xff\xff\xff", b"")
    decoder.decode(bad, 0, len(bad))
    with pytest.raises(DataError, match=r"^row 5, column 'a'"):
        decoder.finish()
    decoder = ColumnDecoder([field("a", 1082), field("b", 25)])
    decoder.decode(good, 0, len(good))
    decoder.finish()
    wrong = row(bytes(4), b"") + row(bytes(3), b"")
    with pytest.raises(DataError, match=r"^row 5, column 'a': malformed value: 3 bytes$"):
        decoder.decode(wrong, 0, len(wrong))


SOUND = row(bytes(8), b"text", bytes(2))


def test_nulls_cost_a_bit() -> None:
    """They are counted and kept apart from batch to batch, and no object of a NULL is kept."""
    decoder = ColumnDecoder([field("a", 20), field("b", 25), field("c", 1005)])
    rows = [row(*([None] * 3 if number % 3 else [bytes(8), b"x", array(21, None)])) for number in range(1000)]
    data = b"".join(rows)
    decoder.most_rows = 1000
    decoder.decode(data, 0, len(data))  # what is kept once for all
    decoder.finish()
    for times in (30, 1):
        tracemalloc.start()
        for _ in range(times):
            decoder.decode(data, 0, len(data))
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < 100_000 + 20 * 1000 * times
        batch = decoder.finish()
        assert [each.null_count for each in batch] == [666 * times] * 3
        expected = [[None if number % 3 else value for number in range(1000)] for value in (0, "x", [None])]
        assert [plain(each) for each in batch] == [values * times for values in expected]


@pytest.mark.parametrize(
    "data",
    [SOUND[:size] for size in range(1, len(SOUND))]
    + [
        row(bytes(8), b"text"),
        row(bytes(8), b"text", bytes(2), b""),
        b"D\0\0\0\x04\0\3" + SOUND[7:],
        b"D\0\0\0\x03\0\3" + SOUND[7:],
        SOUND[:7] + b"\xff\xff\xff\xfe" + SOUND[11:],
        SOUND[:7] + b"\x7f\xff\xff\xff" + SOUND[11:],
        SOUND[:19] + b"\xff\xff\xff\xfe" + SOUND[23:],
        SOUND[:19] + b"\0\0\0\x05" + SOUND[23:],
        SOUND[:19] + b"\0\0\0\x03" + SOUND[23:],
        SOUND[:4] + bytes([SOUND[4] + 1]) + SOUND[5:] + b"\0",
        SOUND[:4] + bytes([SOUND[4] - 1]) + SOUND[5:-1],
        b"D\0\0\0\x08\0\3\0\0",
        b"D\0\0\0\x14\0\3" + SOUND[7:19] + b"\0\0",
    ],
)
def test_a_malformed_row_ends_the_session(data: bytes) -> None:
    decoder = ColumnDecoder([field("a", 20), field("b", 25), field("c", 21)])
    with pytest.raises(RemoteProtocolError):
        decoder.decode(data, 0, len(data))


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"numeric": "float"}, ValueError),
        ({"numeric": -1}, ValueError),
        ({"numeric": 39}, ValueError),
        ({"numeric": True}, TypeError),
        ({"numeric": None}, TypeError),
        ({"unfit": "drop"}, ValueError),
    ],
)
def test_policies_are_checked(options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        ColumnDecoder([], **options)


def test_what_every_vector_has_of_its_own() -> None:
    vector = vectors.Vector("c", 20, "l", strict=True)
    with pytest.raises(NotImplementedError):
        vector.flush()
    with pytest.raises(NotImplementedError):
        vector.finish()


@pure_only("compiled code cannot be patched")
def test_a_machine_of_the_other_order_swaps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_SWAP", False)
    assert plain(column(21, [b"\1\0"])) == [1]
    assert plain(column(1082, [b"\1\0\0\0"])) == [DAYS + 1]
