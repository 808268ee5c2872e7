"""Row and RowDecoder."""

from __future__ import annotations

import copy
import operator
import pickle
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import DataError, RemoteProtocolError
from pgproto.types import Row, RowDecoder
from pgproto.types.row import Columns
from pgproto.wire import DataRow, FieldDescription
from tests.support.codecs import binary_codec

FIXED = settings(deadline=None, derandomize=True)


def field(name: str, oid: int, format: int = 0) -> FieldDescription:
    return FieldDescription(name, 0, 0, oid, -1, -1, format)


def body(values: list[bytes | None]) -> bytes:
    """The body of a DataRow."""
    data = struct.pack(">h", len(values))
    for value in values:
        data += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return data


def run(bodies: list[bytes]) -> tuple[bytes, int, int]:
    """Consecutive DataRow messages with something before and behind them."""
    data = b"Z\0\0\0\5I"
    start = len(data)
    for item in bodies:
        data += b"D" + struct.pack(">i", len(item) + 4) + item
    return data + b"C\0\0\0\x08tag", start, len(data)


def encoded(oid: int, value: Any) -> bytes | None:
    """The value as the server would send it: binary if the type has a codec, else text."""
    codec = binary_codec(oid)
    if value is None:
        return None
    return codec.encode(value) if codec is not None else str(value).encode()


def row(**values: Any) -> Row:
    return Row(Columns(list(values)), tuple(values.values()))


def test_row_as_a_sequence() -> None:
    item = row(id=1, name="x", tags=None)
    assert (item[0], item[-1], item[1:], item[::-1]) == (1, None, ("x", None), (None, "x", 1))
    assert len(item) == 3
    assert list(item) == [1, "x", None]
    first, *rest = item
    assert (first, rest) == (1, ["x", None])
    with pytest.raises(IndexError):
        item[3]
    assert list(reversed([*item])) == [None, "x", 1]


def test_row_as_a_mapping() -> None:
    item = row(id=1, name="x")
    assert item["name"] == "x"
    with pytest.raises(KeyError, match="nope"):
        item["nope"]
    assert item.keys() == ("id", "name")
    assert item.values() == (1, "x")
    assert item.items() == [("id", 1), ("name", "x")]
    assert item.get("id") == 1
    assert item.get("nope") is None
    assert item.get("nope", 5) == 5
    assert item.as_dict() == dict(item.items()) == {"id": 1, "name": "x"}
    assert dict(**item.as_dict()) == {"id": 1, "name": "x"}


def test_in_asks_the_names() -> None:
    """As in asyncpg; `pyarrow.Table.from_pylist` takes `row[name] if name in row else None`."""
    item = row(id=1, name="x")
    assert "name" in item
    assert "x" not in item
    assert 1 not in item
    assert "x" in item.values()
    assert [name for name in ("id", "nope", "name") if name in item] == ["id", "name"]
    with pytest.raises(TypeError):
        assert [] not in item  # as with a dict


def test_rows_are_ordered_as_tuples() -> None:
    tuples = [(2, "a"), (1, "b"), (1, "a"), (1,), (1, "a", 0)]
    rows = [Row(Columns([f"c{number}" for number in range(len(each))]), each) for each in tuples]
    assert sorted(rows) == sorted(tuples)
    assert tuple(max(rows)) == max(tuples)
    for one, its_tuple in zip(rows, tuples, strict=True):
        for other, other_tuple in zip(rows, tuples, strict=True):
            for less in (one, its_tuple):
                for more in (other, other_tuple):
                    assert (less < more) is (its_tuple < other_tuple)
                    assert (less <= more) is (its_tuple <= other_tuple)
                    assert (less > more) is (its_tuple > other_tuple)
                    assert (less >= more) is (its_tuple >= other_tuple)


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_what_a_row_is_not_ordered_with(compare: Callable[[object, object], bool]) -> None:
    with pytest.raises(TypeError):
        compare(row(a=1), [2])
    with pytest.raises(TypeError):
        compare(row(a=1), row(a="x"))  # as with tuples


def test_row_equality_and_hash() -> None:
    item = row(id=1, name="x")
    assert item == (1, "x") == item
    assert item == row(other=1, names="x")
    assert item != row(id=2, name="x")
    assert item != (1,)
    assert (item == [1, "x"]) is False
    assert hash(item) == hash((1, "x")) == hash(row(a=1, b="x"))
    assert {item: 5}[row(id=1, name="x")] == 5
    with pytest.raises(TypeError):
        hash(row(a=[]))


def test_row_is_immutable() -> None:
    item: Any = row(id=1)
    with pytest.raises(TypeError):
        item[0] = 2
    with pytest.raises(TypeError):
        del item[0]
    with pytest.raises(AttributeError):
        item.id = 2
    with pytest.raises(AttributeError):
        item.other = 2


def test_duplicate_names_mean_the_first() -> None:
    item = Row(Columns(["a", "b", "a"]), (1, 2, 3))
    assert item["a"] == 1
    assert item.get("a") == 1
    assert item[2] == 3
    assert item.as_dict() == {"a": 1, "b": 2}
    assert item.items() == [("a", 1), ("b", 2), ("a", 3)]
    assert repr(item) == "Row(a=1, b=2, a=3)"


def test_hostile_names_are_dict_keys() -> None:
    names = ["__class__", "", "x\ny", "_values", "keys", "?column?", "def"]
    item = Row(Columns(names), tuple(range(7)))
    for position, name in enumerate(names):
        assert item[name] == position
    assert item.__class__ is Row
    assert item.keys() == tuple(names)
    assert repr(item) == "Row(__class__=0, ''=1, 'x\\ny'=2, _values=3, keys=4, '?column?'=5, def=6)"


def test_a_hundred_thousand_columns() -> None:
    item = Row(Columns([f"c{number}" for number in range(100_000)]), tuple(range(100_000)))
    assert item["c99999"] == 99_999
    assert len(item.as_dict()) == 100_000


def test_pickle_and_copy() -> None:
    rows = RowDecoder([field("id", 23), field("n", 25)]).decode(*run([body([b"\0\0\0\1", b"x"])] * 3))
    again = pickle.loads(pickle.dumps(rows))
    assert again == rows
    assert again[0]["n"] == "x"
    assert repr(again[2]) == "Row(id=1, n='x')"
    assert again[0].keys() is again[1].keys()
    assert copy.deepcopy(rows) == rows
    assert copy.copy(rows[0]) == rows[0]


MIXED = [23, 20, 701, 25, 16, 1184, 1700, 3614, 3802, 2278, 18]
MOMENT = datetime(2024, 2, 29, 13, 14, 15, 678901, UTC)
VALUES: list[Any] = [1, -(2**62), 2.5, "é", True, MOMENT, None, "10.0.0.1", {"a": 1}, None, "r"]


def test_decoder_describes_what_to_ask_for() -> None:
    decoder = RowDecoder([field("a", 23), field("b", 3614), field("a", 25)])
    assert decoder.columns == ("a", "b", "a")
    assert decoder.result_formats == (1, 0, 1)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_of_rows(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgproto.types.rows.COMPILED", compiled)  # which way each build goes
    fields = [field(f"c{index}", oid) for index, oid in enumerate(MIXED)]
    with_nulls = [None if index % 2 else value for index, value in enumerate(VALUES)]
    bodies = [
        body([encoded(oid, value) for oid, value in zip(MIXED, values, strict=True)])
        for values in (VALUES, with_nulls, [None] * len(MIXED), VALUES)
    ]
    rows = RowDecoder(fields).decode(*run(bodies))
    assert rows == [tuple(VALUES), tuple(with_nulls), (None,) * len(MIXED), tuple(VALUES)]
    assert rows[0]["c5"] == MOMENT
    assert RowDecoder(fields).decode(b"", 0, 0) == []


def test_no_columns() -> None:
    assert RowDecoder([]).decode(*run([b"\0\0", b"\0\0"])) == [(), ()]


def test_more_fixed_columns_than_one_run_has() -> None:
    fields = [field(f"c{index}", 23) for index in range(200)]
    values = [struct.pack(">i", index) for index in range(200)]
    assert RowDecoder(fields).decode(*run([body([*values])])) == [tuple(range(200))]


def test_text_format_is_str_whatever_the_type() -> None:
    fields = [field("a", 23, 0), field("b", 1184, 0), field("c", 16, 0)]
    decoder = RowDecoder(fields, [item.format for item in fields])
    assert decoder.decode(*run([body([b"1", b"2024-01-01 00:00:00+00", None])])) == [
        ("1", "2024-01-01 00:00:00+00", None)
    ]
    assert decoder.result_formats == (1, 1, 1)


def test_binary_of_an_unknown_type_is_bytes() -> None:
    fields = [field("a", 3614, 1), field("b", 23, 1)]
    rows = RowDecoder(fields, [1, 1]).decode(*run([body([b"\xff\0", b"\0\0\0\7"])]))
    assert rows == [(b"\xff\0", 7)]


def test_formats_that_do_not_fit() -> None:
    with pytest.raises(RemoteProtocolError, match="format code 2"):
        RowDecoder([field("a", 23)], [2])
    with pytest.raises(ValueError, match="shorter"):
        RowDecoder([field("a", 23)], [])
    with pytest.raises(RemoteProtocolError, match="RowDescription with 65536 columns"):
        RowDecoder([field("a", 23)] * 65536)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "without a number of columns"),
        (b"\0", "without a number of columns"),
        (b"\0\1\0\0\0\4abcd", "DataRow with 1 columns, where 2 were described"),
        (b"\xff\xff", "DataRow with 65535 columns, where 2 were described"),
        (b"\0\2", "ends before its last column"),
        (b"\0\2\0\0\0", "ends before its last column"),
        (b"\0\2\xff\xff\xff\xff", "ends before its last column"),
        (b"\0\2\0\0\0\4abcd\0\0\0", "ends before its last column"),
        (b"\0\2\0\0\0\5abcd", "a column of 5 bytes where 4 are left"),
        (b"\0\2\0\0\0\4abcd\0\0\0\3xy", "a column of 3 bytes where 2 are left"),
        (b"\0\2\0\0\0\4abcd\x7f\xff\xff\xff", "a column of 2147483647 bytes where 0 are left"),
        (b"\0\2\0\0\0\4abcd\xff\xff\xff\xfe", "a column of -2 bytes"),
        (b"\0\2\x80\0\0\0abcd\0\0\0\0", "a column of -2147483648 bytes"),
        (b"\0\2\0\0\0\4abcd\0\0\0\1xy", "1 bytes after its last column"),
        (b"\0\2\0\0\0\4abcd\xff\xff\xff\xff!", "1 bytes after its last column"),
    ],
)
def test_malformed_rows(data: bytes, text: str) -> None:
    decoder = RowDecoder([field("a", 23), field("b", 25)])
    good = body([b"\0\0\0\1", b"x"])
    for bodies in ([data], [good, data], [data, good]):
        with pytest.raises(RemoteProtocolError, match=text):
            decoder.decode(*run(bodies))


NOT_WHOLE = [b"D", b"D\0\0\0", b"D\0\0\0\3\0\0", b"D\0\0\0\7\0\0", b"D\xff\xff\xff\xff\0\0"]


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("data", NOT_WHOLE)
def test_what_is_no_whole_message(data: bytes, count: int) -> None:
    decoder = RowDecoder([field("a", 23)] * count)
    good = DataRow([b"\0\0\0\1"] * count).encode()
    for buffer in (data, good + data):
        with pytest.raises(RemoteProtocolError, match="not a whole DataRow message"):
            decoder.decode(buffer + good, 0, len(buffer))


@pytest.mark.parametrize(
    ("oid", "data", "text"),
    [
        (23, b"abc", "malformed binary value of type int4: 3 bytes instead of 4"),
        (25, b"a\xff", "malformed binary value of type text: not UTF-8 at byte 1"),
        (1184, struct.pack(">q", 2**63 - 1), "timestamptz infinity: Python has no such value"),
        (1700, b"12345678", "type numeric"),
    ],
)
def test_values_that_cannot_be_decoded_name_row_and_column(oid: int, data: bytes, text: str) -> None:
    decoder = RowDecoder([field("id", 23), field("it's", oid), field("z", 16)])
    rows = [body([b"\0\0\0\1", None, b"\1"]), body([b"\0\0\0\1", data, b"\1"])]
    with pytest.raises(DataError, match=text) as caught:
        decoder.decode(*run(rows))
    assert str(caught.value).startswith('row 2, column 2 ("it\'s"): ')
    with pytest.raises(DataError, match="row 5002, column 2"):
        decoder.decode(*run(rows), 5000)


@FIXED
@given(st.data())
def test_any_columns_in_any_order(data: st.DataObject) -> None:
    choices: dict[int, st.SearchStrategy[Any]] = {
        16: st.booleans(),
        21: st.integers(-(2**15), 2**15 - 1),
        23: st.integers(-(2**31), 2**31 - 1),
        25: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        17: st.binary(),
        701: st.floats(allow_nan=False),
        1114: st.datetimes(),
        1007: st.lists(st.integers(-5, 5), max_size=3),
    }
    oids = data.draw(st.lists(st.sampled_from(sorted(choices)), max_size=8))
    rows = data.draw(st.lists(st.tuples(*[st.none() | choices[oid] for oid in oids]), max_size=4))
    bodies = [body([encoded(oid, value) for oid, value in zip(oids, values, strict=True)]) for values in rows]
    decoder = RowDecoder([field(str(index), oid) for index, oid in enumerate(oids)])
    assert decoder.decode(*run(bodies)) == rows


def test_text_columns_as_values_of_their_types() -> None:
    fields = [
        field("a", 23),
        field("b", 1009),
        field("c", 790),
        field("d", 791),
        field("e", 3802),
        field("f", 17),
    ]
    texts = [b"-7", b'{"a b",NULL}', b"$1", b"{$1,$2}", b'{"a":1}', None]
    rows = RowDecoder(fields, [0] * 6, typed_text=True).decode(*run([body(texts)]))
    assert rows == [(-7, ["a b", None], "$1", ["$1", "$2"], {"a": 1}, None)]
    rows = RowDecoder(fields, [0] * 6).decode(*run([body(texts)]))
    assert rows == [("-7", '{"a b",NULL}', "$1", "{$1,$2}", '{"a":1}', None)]
    decoder = RowDecoder(fields[:1], [1], typed_text=True)
    assert decoder.decode(*run([body([b"\0\0\0\7"])])) == [(7,)]


def test_text_columns_of_a_binary_result() -> None:
    """What has no binary form is a value in text, too."""
    decoder = RowDecoder([field("a", 23), field("d", 791)])
    assert decoder.result_formats == (1, 0)
    assert decoder.decode(*run([body([b"\0\0\0\7", b"{$1,NULL}"])])) == [(7, ["$1", None])]


def test_a_text_column_that_leaves_a_doubt() -> None:
    decoder = RowDecoder([field("d", 1082)], [0], typed_text=True)
    with pytest.raises(DataError, match=r"row 1, column 1 \('d'\): date as text in a DateStyle that"):
        decoder.decode(*run([body([b"01/02/2024"])]))
