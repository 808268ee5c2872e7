"""Every message against its hand-written bytes, both ways, and what cannot be a message."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

import pgproto.wire
from pgproto.errors import LocalProtocolError
from pgproto.wire import (
    AuthenticationMD5Password,
    AuthenticationSASL,
    BackendKeyData,
    Bind,
    BindComplete,
    CancelRequest,
    Close,
    CommandComplete,
    CopyData,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    Describe,
    EncryptionResponse,
    ErrorResponse,
    Execute,
    FieldDescription,
    FrameReader,
    FunctionCall,
    FunctionCallResponse,
    Message,
    NegotiateProtocolVersion,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    PasswordMessage,
    Query,
    ReadyForQuery,
    RowDescription,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
    Sync,
    decode_backend,
    decode_frontend,
    tags,
)
from pgproto.wire.binding import BindTemplate, BindValues
from pgproto.wire.messages import int32
from tests.support.vectors import (
    FRAMED,
    LONG_KEY,
    VECTORS,
    Vector,
    next_message,
)

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector.id for vector in VECTORS])
each_framed = pytest.mark.parametrize("vector", FRAMED, ids=[vector.id for vector in FRAMED])


# The vectors.


def test_every_message_has_a_vector() -> None:
    public = {
        value
        for name in pgproto.wire.__all__
        if inspect.isclass(value := getattr(pgproto.wire, name))
        and issubclass(value, Message)
        and value is not Message
    }
    assert public == {type(vector.message) for vector in VECTORS}
    assert len(public) == 53


@each_vector
def test_a_message_knows_the_type_byte_of_its_class(vector: Vector) -> None:
    assert vector.message.type_byte == vector.message.tag == type(vector.message).tag


def test_every_type_byte_has_a_vector() -> None:
    # The tables that decode, and the names that errors show, cover the same types as the vectors.
    for direction, names in (("F", tags.FRONTEND_NAMES), ("B", tags.BACKEND_NAMES)):
        seen = {v.message.tag for v in VECTORS if v.direction == direction and v.message.tag}
        assert seen == set(names)


@each_vector
def test_encode(vector: Vector) -> None:
    assert vector.message.encode() == vector.data


@each_vector
def test_decode_whole(vector: Vector) -> None:
    reader = FrameReader()
    reader.receive_data(vector.data)
    message = next_message(reader, vector)
    assert message == vector.message
    assert type(message) is type(vector.message)
    assert message is not None
    assert message.request is None
    assert message.encode() == vector.data
    assert reader.pending == 0


@each_vector
def test_decode_byte_by_byte(vector: Vector) -> None:
    reader = FrameReader()
    for index in range(len(vector.data)):
        assert next_message(reader, vector) is None
        assert reader.pending == index
        reader.receive_data(vector.data[index : index + 1])
    assert next_message(reader, vector) == vector.message
    assert next_message(reader, vector) is None


@each_vector
def test_decode_at_every_split(vector: Vector) -> None:
    for split in range(1, len(vector.data)):
        reader = FrameReader()
        reader.receive_data(vector.data[:split])
        assert next_message(reader, vector) is None
        reader.receive_data(vector.data[split:])
        assert next_message(reader, vector) == vector.message


@each_vector
def test_decode_with_trailing_data(vector: Vector) -> None:
    reader = FrameReader()
    reader.receive_data(vector.data + vector.data + b"\x00")
    assert next_message(reader, vector) == vector.message
    assert next_message(reader, vector) == vector.message
    assert reader.pending == 1
    assert reader.take_rest() == b"\x00"


# What an encoder refuses.

BIG = 2**31 - 4  # with the length itself, one more than an int32 can count

_field = FieldDescription("n", 0, 0, 23, 4, -1)


@pytest.mark.parametrize(
    "message",
    [
        StartupMessage({"user": "a\x00b"}),
        StartupMessage({"us\x00er": "a"}),
        StartupMessage({"": "a"}),
        StartupMessage({}, 2**31),
        CancelRequest(2**31, b"abcd"),
        CancelRequest(1, b"abc"),
        CancelRequest(1, LONG_KEY + b"x"),
        PasswordMessage(b"a\x00b"),
        SASLInitialResponse("a\x00b", None),
        Query("a\x00b"),
        Query("\ud800"),
        Parse("a\x00b", "c"),
        Parse("a", "b\x00c"),
        Parse("a", "b\udfff"),
        Parse("", "", (-1,)),
        Parse("", "", (2**32,)),
        Parse("", "", [0] * 65536),
        Bind("a\x00b", "", (), (), ()),
        Bind("", "a\x00b", (), (), ()),
        Bind("", "", (32768,), (), ()),
        Bind("", "", (), (), (-32769,)),
        Bind("", "", [0] * 65536, (), ()),
        Bind("", "", (), [None] * 65536, ()),
        Bind("", "", (), (), [0] * 65536),
        Describe("X", ""),
        Describe("", "S"),
        Describe("S", "a\x00b"),
        Close("SS", ""),
        Close("P", "a\x00b"),
        Execute("a\x00b"),
        Execute("", 2**31),
        FunctionCall(-1, (), (), 0),
        FunctionCall(2**32, (), (), 0),
        FunctionCall(1, (), (), 2**15),
        FunctionCall(1, (), [b""] * 65536, 0),
        CopyFail("a\x00b"),
        EncryptionResponse(b"X"),
        EncryptionResponse(b""),
        AuthenticationMD5Password(b"abc"),
        AuthenticationSASL(("a\x00b",)),
        AuthenticationSASL(("a", "")),
        BackendKeyData(1, b"abc"),
        BackendKeyData(1, LONG_KEY + b"x"),
        BackendKeyData(-(2**31) - 1, b"abcd"),
        CommandComplete("a\x00b"),
        CopyInResponse(2, ()),
        CopyOutResponse(-1, ()),
        CopyInResponse(0, [0] * 65536),
        DataRow([None] * 65536),
        ErrorResponse({"": "x"}),
        ErrorResponse({"SS": "x"}),
        ErrorResponse({"\x00": "x"}),
        ErrorResponse({"é": "x"}),
        NoticeResponse({"S": "a\x00b"}),
        NegotiateProtocolVersion(2**31, ()),
        NegotiateProtocolVersion(0, ("a\x00b",)),
        NotificationResponse(2**31, "", ""),
        NotificationResponse(1, "a\x00b", ""),
        NotificationResponse(1, "", "a\x00b"),
        ParameterDescription((-1,)),
        ParameterStatus("a\x00b", ""),
        ParameterStatus("", "a\x00b"),
        ReadyForQuery("X"),
        ReadyForQuery(""),
        RowDescription([_field] * 65536),
        RowDescription([FieldDescription("a\x00b", 0, 0, 0, 0, 0)]),
        RowDescription([FieldDescription("a", -1, 0, 0, 0, 0)]),
        RowDescription([FieldDescription("a", 0, 2**15, 0, 0, 0)]),
    ],
    ids=lambda message: repr(message)[:60],
)
def test_encode_refuses_what_does_not_fit(message: Message) -> None:
    with pytest.raises(LocalProtocolError):
        message.encode()


def test_encode_takes_the_largest_counts() -> None:
    count = 65535
    for message in (
        Parse("", "", [0] * count),
        Bind("", "", [1] * count, [None] * count, [1] * count),
        DataRow([None] * count),
        ParameterDescription([2**32 - 1] * count),
        RowDescription([_field] * count),
    ):
        data = message.encode()
        decode = decode_frontend if isinstance(message, (Parse, Bind)) else decode_backend
        assert decode(message.tag, data, 5, len(data)) == message


def test_encode_refuses_a_message_longer_than_its_length_can_say() -> None:
    # One shared value: the sum is found before the parts are joined, so no memory is taken for it.
    part = bytes(2**26)
    for message in (
        Bind("", "", (), [part] * 32, ()),
        DataRow([part] * 32),
        FunctionCall(1, (), [part] * 32, 0),
    ):
        with pytest.raises(LocalProtocolError, match="longer than the protocol's 2147483647"):
            message.encode()


@pytest.mark.parametrize(
    "make", [CopyData, SASLResponse, FunctionCallResponse, lambda data: Bind("", "", (), [data], ())]
)
def test_encode_refuses_a_value_longer_than_its_length_can_say(make: Callable[[bytes], Message]) -> None:
    huge = bytes(2**31)  # zeroed pages that nobody touches: no memory is taken
    with pytest.raises(LocalProtocolError):
        make(huge).encode()


# Objects.


def test_a_template_makes_the_binds_that_a_bind_is() -> None:
    template = BindTemplate("s", (1, 1), (1,))
    for values in ([b"ab", None], [b"cd", None], [b"x" * 5000, b""], [None, None]):
        fields = b"".join([b"\xff" * 4 if value is None else int32(len(value)) + value for value in values])
        bind = BindValues(template, fields)
        assert bind.encode() == Bind("", "s", (1, 1), values, (1,)).encode()
        assert repr(bind).startswith("BindValues(statement='s', values=b")
        assert bind == BindValues(BindTemplate("s", (1, 1), (1,)), fields)
    with pytest.raises(LocalProtocolError, match="65536 of them"):
        BindTemplate("s", [1] * 65536, ())
    with pytest.raises(LocalProtocolError, match="NUL"):
        BindTemplate("a\0b", (), ())


def test_messages_compare_by_type_and_fields() -> None:
    a, b = Query("select 1"), Query("select 1")
    b.request = Sync()
    assert a == b
    assert hash(a) == hash(b)
    assert a != Query("select 2")
    assert a != "select 1"
    assert CopyInResponse(0, (0,)) != CopyOutResponse(0, (0,))
    assert Bind("", "", [0], [b"1"], []) == Bind("", "", (0,), (b"1",), ())
    assert Sync() == Sync()
    assert len({Sync(), Sync(), Query("a"), Query("b")}) == 3
    assert _field == FieldDescription("n", 0, 0, 23, 4, -1, 0)
    assert _field != FieldDescription("n", 0, 0, 23, 4, -1, 1)
    assert _field != "n"
    assert len({_field, FieldDescription("n", 0, 0, 23, 4, -1, 0)}) == 1


def test_a_message_without_an_encoding_says_so() -> None:
    with pytest.raises(LocalProtocolError, match="Message is no message that can be sent"):
        Message().encode()


@each_vector
def test_repr_shows_the_fields_and_no_secret(vector: Vector) -> None:
    message = vector.message
    text = repr(message)
    assert text.startswith(type(message).__name__ + "(")
    for name in message.field_names:
        assert f"{name}=" in text
        if name in message.secret_names and getattr(message, name) is not None:
            assert f"{name}=******" in text
    assert len(text) < 1000


def test_repr_exactly() -> None:
    assert repr(Parse("s", "select 1", [23])) == "Parse(name='s', query='select 1', parameter_types=[23])"
    assert repr(BindComplete()) == "BindComplete()"
    assert repr(PasswordMessage(b"hunter2")) == "PasswordMessage(password=******)"
    assert repr(SASLInitialResponse("M", None)) == "SASLInitialResponse(mechanism='M', data=None)"
    startup = repr(StartupMessage({"user": "u", "options": "-c secret=1"}))
    assert startup == "StartupMessage(parameters={'user': 'u', 'options': '******'}, protocol=196610)"
    assert repr(Query("x" * 1000)).endswith("x...)")
    assert repr(_field) == (
        "FieldDescription(name='n', table_oid=0, column_number=0, type_oid=23, type_size=4, "
        "type_modifier=-1, format=0)"
    )
