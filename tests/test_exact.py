"""Values that lie about themselves: only the built-in type's data is sent, with its true length."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from pgproto import wire
from pgproto.config.secret import Secret
from pgproto.errors import DataError, LocalProtocolError
from pgproto.protocol.events import Frames
from pgproto.protocol.saslprep import encode_password, prepare_password
from pgproto.session.copy import CopyIn
from pgproto.session.sources import as_bytes, chunks
from pgproto.session.sql import as_text
from pgproto.types import CopyRowEncoder, ParameterEncoder
from pgproto.types.escaping import escape_bytea, quote_identifier, quote_literal, unescape_bytea
from pgproto.wire.exact import exact_bytes, exact_int, exact_str
from pgproto.wire.messages import cstring, cstrings
from tests.support.codecs import binary_codec

HIDDEN = b"v\0\0E\0\0\0\x09\0\0\0\0\0Q\0\0\0\x0dselect 1\0"


class LyingBytes(bytes):
    """All that a subclass can answer for."""

    def __len__(self) -> int:
        return 1

    def __bytes__(self) -> bytes:
        return self

    def __contains__(self, item: object) -> bool:
        return False

    def __getitem__(self, key: Any) -> Any:
        return self

    def __iter__(self) -> Any:
        return iter((1,))

    def __add__(self, other: object) -> Any:
        return self

    def __radd__(self, other: object) -> bytes:
        return self

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(HIDDEN)


class LyingArray(bytearray):
    """The same, of a bytearray."""

    def __len__(self) -> int:
        return 1

    def __bytes__(self) -> bytes:
        return LyingBytes(HIDDEN)

    def __getitem__(self, key: Any) -> Any:
        return LyingBytes(HIDDEN)


class LyingStr(str):
    """The same, of a str."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        return self

    def __contains__(self, item: object) -> bool:
        return False

    def __add__(self, other: object) -> Any:
        return self

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        return LyingBytes(HIDDEN)

    def isascii(self) -> bool:
        return True

    def replace(self, *args: Any) -> Any:
        return self


class ListingStr(str):
    """One whose bytes are none."""

    __slots__ = ()

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        return ["a"]


class LyingInt(int):
    """The same, of an int."""

    def __index__(self) -> int:
        return 9

    def __int__(self) -> int:
        return 9

    def __str__(self) -> str:
        return "x"

    def __le__(self, other: object) -> bool:
        return True

    def __ge__(self, other: object) -> bool:
        return True

    def bit_length(self) -> int:
        return 1

    def to_bytes(self, *args: Any, **kwargs: Any) -> Any:
        return LyingBytes(HIDDEN)


class LyingDecimal(Decimal):
    """The same, of a Decimal."""

    def as_tuple(self) -> Any:
        return (0, (LyingStr("1"),) * 9, 0)

    def is_finite(self) -> bool:
        return True


class LyingUUID(UUID):
    """The same, of a UUID."""

    @property
    def bytes(self) -> Any:
        return LyingBytes(HIDDEN)


class LyingList(list[Any]):
    """A list that has more in it than it says."""

    def __len__(self) -> int:
        return 1


class LyingSequence(Sequence[Any]):
    """A sequence that gives more than it says."""

    def __getitem__(self, key: Any) -> Any:
        if key > 3:
            raise IndexError
        return 1

    def __len__(self) -> int:
        return 2


class LyingDict(dict[Any, Any]):
    """A dict whose keys are not those that it was made of."""

    def items(self) -> Any:
        return [(LyingStr("a"), LyingStr("b"))]


PAIRS: list[tuple[int, object, object]] = [
    (17, LyingBytes(b"ab"), b"ab"),
    (17, LyingArray(b"ab"), b"ab"),
    (17, memoryview(b"abcd").cast("H"), b"abcd"),
    (25, LyingStr("ab"), "ab"),
    (25, ListingStr("ab"), "ab"),
    (18, LyingStr("a"), "a"),
    (1043, LyingStr("ab"), "ab"),
    (23, LyingInt(5), 5),
    (20, LyingInt(5), 5),
    (1700, LyingInt(5), 5),
    (1700, LyingDecimal("1.5"), Decimal("1.5")),
    (2950, LyingUUID(int=5), UUID(int=5)),
    (2950, LyingStr(UUID(int=5)), UUID(int=5)),
    (114, LyingStr("ab"), "ab"),
    (3802, [LyingStr("ab"), LyingInt(5)], ["ab", 5]),
    (3802, LyingDict(a="b"), {"a": "b"}),
    (1001, [LyingBytes(b"ab"), None], [b"ab", None]),
    (1009, [LyingStr("ab")], ["ab"]),
    (1007, LyingList([1, 2]), [1, 2]),
    (1007, [LyingList([1, 2]), [3, 4]], [[1, 2], [3, 4]]),
    (1007, [[3, 4], LyingList([1, 2])], [[3, 4], [1, 2]]),
    (16389, LyingStr("ab"), "ab"),
]


def named(value: object) -> str:
    """An id that asks the value nothing: pytest's own would believe it."""
    return str(value) if type(value) is int else type(value).__name__


@pytest.mark.parametrize(("oid", "lying", "plain"), PAIRS, ids=named)
def test_a_value_goes_out_as_what_it_is(oid: int, lying: object, plain: object) -> None:
    """Alone, in front of another value, and in COPY."""
    for types, head, tail in (((oid,), (), ()), ((23, oid, 25), (1,), ("x",)), ((25, oid), ("x",), ())):
        encoder = ParameterEncoder(types)
        values = (*head, lying, *tail)
        expected = encoder.encode((*head, plain, *tail))
        parts: list[bytes] = []
        size = encoder.add(parts, values)
        assert {type(part) for part in parts} == {bytes}
        assert size == sum(map(len, parts))
        assert encoder.encode(values) == expected
    if binary_codec(oid) is not None:
        rows = CopyRowEncoder(["a", "b"], [oid, 25])
        assert rows.encode((lying, "x")) == rows.encode((plain, "x"))


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (23, LyingInt(1 << 40)),
        (21, LyingInt(1 << 20)),
        (1700, LyingInt(1 << 500_000)),
        (18, LyingStr("äöü")),
        (25, LyingStr("a\0b")),
        (25, LyingBytes(b"ab")),
        (17, LyingStr("ab")),
        (1007, [LyingList([1, 2]), [3]]),
        (1007, [[3], LyingList([1, 2])]),
        (1007, [[3], 5]),
    ],
    ids=named,
)
def test_and_is_refused_for_what_it_is(oid: int, value: object) -> None:
    with pytest.raises(DataError):
        ParameterEncoder([oid]).encode((value,))


class LyingDate(date):
    """A subclass that answers for itself: its type has one width, so nothing can stand after it."""

    def toordinal(self) -> Any:
        return LyingStr("x")


class LyingMoment(datetime):
    """The same."""

    def __sub__(self, other: object) -> Any:
        return 1 << 70


class LyingDelta(timedelta):
    """The same."""

    days = property(lambda self: LyingStr("x"))


class LyingClock(time):
    """The same."""

    hour = property(lambda self: 1 << 70)


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (1082, LyingDate(2020, 1, 1)),
        (1114, LyingMoment(2020, 1, 1)),
        (1184, LyingMoment(2020, 1, 1, tzinfo=UTC)),
        (1186, LyingDelta(1)),
        (1083, LyingClock(1)),
        (1266, LyingClock(1, tzinfo=UTC)),
    ],
    ids=named,
)
def test_a_date_that_is_none_is_refused(oid: int, value: object) -> None:
    with pytest.raises(DataError):
        ParameterEncoder([oid]).encode((value,))


# ---- Messages


@pytest.mark.parametrize(
    ("lying", "plain"),
    [
        (wire.CopyData(LyingBytes(b"ab")), wire.CopyData(b"ab")),
        (wire.PasswordMessage(LyingBytes(b"ab")), wire.PasswordMessage(b"ab")),
        (wire.SASLInitialResponse("S", LyingBytes(b"ab")), wire.SASLInitialResponse("S", b"ab")),
        (wire.SASLResponse(LyingBytes(b"ab")), wire.SASLResponse(b"ab")),
        (wire.CancelRequest(1, LyingBytes(b"abcd")), wire.CancelRequest(1, b"abcd")),
        (wire.Bind("", "", (), [LyingBytes(b"ab")], ()), wire.Bind("", "", (), [b"ab"], ())),
        (wire.FunctionCall(1, (), [LyingArray(b"ab")], 0), wire.FunctionCall(1, (), [b"ab"], 0)),  # type: ignore[list-item]
        (wire.DataRow([LyingBytes(b"ab"), None]), wire.DataRow([b"ab", None])),
        (wire.BackendKeyData(1, LyingBytes(b"abcd")), wire.BackendKeyData(1, b"abcd")),
        (wire.FunctionCallResponse(LyingBytes(b"ab")), wire.FunctionCallResponse(b"ab")),
        (wire.AuthenticationMD5Password(LyingBytes(b"abcd")), wire.AuthenticationMD5Password(b"abcd")),
        (wire.AuthenticationSASLFinal(LyingBytes(b"ab")), wire.AuthenticationSASLFinal(b"ab")),
        (wire.Parse(LyingStr("a"), LyingStr("b")), wire.Parse("a", "b")),
        (wire.StartupMessage({LyingStr("a"): LyingStr("b")}), wire.StartupMessage({"a": "b"})),
        (wire.ReadyForQuery(LyingStr("I")), wire.ReadyForQuery("I")),
        (wire.ErrorResponse({LyingStr("C"): LyingStr("b")}), wire.ErrorResponse({"C": "b"})),
        (Frames("F", 1, LyingBytes(b"ab")), Frames("F", 1, b"ab")),
    ],
    ids=named,
)
def test_a_message_is_made_of_what_the_data_are(lying: wire.Message, plain: wire.Message) -> None:
    data = lying.encode()
    assert type(data) is bytes
    assert data == plain.encode()


def test_a_text_of_a_message_is_a_text() -> None:
    assert wire.Query(LyingStr("ab")).encode() == wire.Query("ab").encode()
    with pytest.raises(LocalProtocolError, match="NUL"):
        wire.Query(LyingStr("a\0")).encode()
    assert cstrings(LyingStr("a\0b\0"), 2) == b"a\0b\0"
    assert cstring(LyingBytes(b"ab")) == b"ab\0"
    with pytest.raises(LocalProtocolError, match="NUL"):
        cstring(LyingBytes(b"a\0b"))


def test_a_list_has_as_many_members_as_it_gives() -> None:
    assert wire.Bind("", "", (), LyingList([b"a", b"b"]), ()).encode() == (
        wire.Bind("", "", (), [b"a", b"b"], ()).encode()
    )
    assert wire.NegotiateProtocolVersion(196608, LyingList(["a", "b"])).encode() == (
        wire.NegotiateProtocolVersion(196608, ["a", "b"]).encode()
    )
    assert wire.RowDescription(LyingList([])).encode() == wire.RowDescription([]).encode()
    with pytest.raises(LocalProtocolError):
        wire.Parse("", "", LyingSequence()).encode()
    with pytest.raises(LocalProtocolError):
        wire.CopyInResponse(0, LyingSequence()).encode()


# ---- What a session takes


def test_copy_data_are_exact() -> None:
    for lying in (LyingBytes(b"ab"), LyingArray(b"ab"), memoryview(b"ab")):
        assert type(as_bytes(lying)) is bytes
        assert as_bytes(lying) == b"ab"
        pieces = [*chunks(lying), *chunks([lying])]  # type: ignore[arg-type, list-item]
        assert pieces == [b"ab", b"ab"]
        assert {type(piece) for piece in pieces} == {bytes}
        operation = CopyIn("copy t from stdin")
        operation.feed(lying)
        assert list(operation._chunks) == [b"ab"]
        assert operation._size == 2


def test_the_reason_of_a_copy_fail_is_text() -> None:
    operation = CopyIn("copy t from stdin")
    operation.stop(LyingStr("a\0b"))
    last = operation._last
    assert isinstance(last, wire.CopyFail)
    assert last.message == "ab"
    assert type(last.message) is str


def test_names_and_passwords_are_exact() -> None:
    assert type(as_text(LyingStr("ab"), "it")) is str
    assert quote_identifier(LyingStr('a"b')) == '"a""b"'
    assert quote_literal(LyingStr("a'b")) == "'a''b'"
    assert escape_bytea(LyingBytes(b"ab")) == "\\x6162"
    assert unescape_bytea(LyingStr("ab")) == unescape_bytea(LyingBytes(b"ab")) == b"ab"
    assert encode_password(LyingStr("ab")) == b"ab"
    assert prepare_password(LyingStr("ab")) == b"ab"
    assert type(Secret(LyingStr("ab")).reveal()) is str


# ---- The functions themselves


def test_what_is_exact_is_returned_as_it_is() -> None:
    data, text = b"ab", "ab"
    assert exact_bytes(data) is data
    assert exact_str(text) is text
    assert exact_int(5) == 5
    assert type(exact_int(LyingInt(5))) is int
    assert exact_int(LyingInt(5)) == 5
    assert type(exact_int(True)) is int


def test_what_is_none_of_them_is_refused() -> None:
    for function in (exact_bytes, exact_str, exact_int):
        with pytest.raises(TypeError, match="got list"):
            function([])
