"""Row makers: what `into=` takes, which columns each form wants, and what it makes."""

from __future__ import annotations

import dataclasses
import enum
import operator
import pickle
import struct
import typing
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from datetime import date, datetime
from types import SimpleNamespace
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NoReturn,
    NotRequired,
    Protocol,
    Required,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import pytest

from pgproto.errors import DataError
from pgproto.types import Column, Row, RowDecoder, RowMaker
from pgproto.types.makers import VALUES, maker_of
from pgproto.wire import FieldDescription

T = TypeVar("T")


@dataclasses.dataclass
class Plain:
    id: int
    name: str = "nobody"
    seen: list[str] = dataclasses.field(default_factory=list, init=False)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Keywords:
    name: str
    id: int


@dataclasses.dataclass
class Page(Generic[T]):
    id: T
    name: str


class Pair(NamedTuple):
    id: int
    name: str = "nobody"


class Keys(TypedDict):
    id: int
    name: NotRequired[str]


class Partial(TypedDict, total=False):
    id: Required[int]
    name: str


@attrs.define
class Attrs:
    _id: int
    name: str = attrs.field(default="nobody")


class Usual:
    def __init__(self, id: int, name: str) -> None:
        self.id = id
        self.name = name


def function(id: int, /, **others: object) -> None:
    """Its first parameter can only be passed by position."""


def anything(**values: object) -> list[tuple[str, object]]:
    return list(values.items())


def positions(*values: object, name: str, id: int) -> tuple[object, ...]:
    return (*values, name, id)


UserId = NewType("UserId", int)
AdminId = NewType("AdminId", UserId)


class Number(int):
    pass


class Mood(enum.Enum):
    HAPPY = "happy"


def columns(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, 23, "int4") for name in names)


def made(into: object, names: str, *values: object) -> Any:
    return maker_of(into).prepare(columns(*names.split()))(values)


def test_by_keyword() -> None:
    assert made(Plain, "id name", 1, "x") == Plain(1, "x")
    assert made(Plain, "id", 1) == Plain(1)
    assert made(Plain, "name id", "x", 1) == Plain(1, "x")
    assert made(Keywords, "id name", 1, "x") == Keywords(id=1, name="x")
    assert made(Page[int], "id name", 1, "x") == Page(1, "x")
    assert made(Pair, "id", 1) == (1, "nobody")
    assert type(made(Pair, "name id", "x", 1)) is Pair
    assert made(Attrs, "id name", 1, "x") == Attrs(1, "x")
    assert vars(made(Usual, "name id", "x", 1)) == {"id": 1, "name": "x"}
    assert made(anything, "b ?column?", 1, 2) == [("b", 1), ("?column?", 2)]
    assert made(positions, "id name", 1, "x") == ("x", 1)
    assert made(lambda id: id + 1, "id", 1) == 2


def test_what_is_written_in_c_checks_by_itself() -> None:
    row = made(SimpleNamespace, "id name", 1, "x")
    assert (row.id, row.name) == (1, "x")
    assert made(OrderedDict, "b a", 1, 2) == OrderedDict(b=1, a=2)


def test_dict_tuple_and_row() -> None:
    for mapping in (dict, dict[str, Any], dict[str, int]):
        assert made(mapping, "b a", 1, 2) == {"b": 1, "a": 2}
    for kind in (tuple, tuple[int, ...], tuple[int, int]):
        values = (1, 2)
        assert maker_of(kind).prepare(columns("a", "a"))(values) is values
    row = made(Row, "b a", 1, 2)
    assert (type(row), row["a"]) == (Row, 2)


@pytest.mark.parametrize("kind", [Keys, Partial])
def test_typed_dict(kind: type[Any]) -> None:
    """Its annotations are strings here, which its own `__required_keys__` cannot read."""
    assert made(kind, "id name", 1, "x") == {"id": 1, "name": "x"}
    assert made(kind, "id", 1) == {"id": 1}
    with pytest.raises(DataError, match=r"^the result does not fit .*: the field 'id' has no column$"):
        made(kind, "name", "x")
    with pytest.raises(DataError, match=f"fit {kind.__name__}: the column 'more' has no field$"):
        made(kind, "id more", 1, 2)


def test_typed_dict_whose_annotations_cannot_be_resolved() -> None:
    annotations = {"__annotations__": {"id": "Nowhere", "name": NotRequired[str]}, "__module__": __name__}
    meta: Any = type(Keys)
    odd = meta("Odd", (), annotations)
    assert made(odd, "id", 1) == {"id": 1}
    with pytest.raises(DataError, match="the field 'id' has no column"):
        made(odd, "name", "x")


def test_a_result_of_one_column() -> None:
    assert made(int, "n", 7) == 7
    assert made(int, "n", True) is True  # a bool is an int
    assert made(date, "d", datetime(2020, 1, 1)) == datetime(2020, 1, 1)
    assert made(list[int], "a", [1]) == [1]
    assert made(UserId, "n", 7) == made(AdminId, "n", 7) == 7
    number = made(Number, "n", 7)
    assert (type(number), number) == (Number, 7)
    assert made(Number, "n", number) is number
    assert made(Mood, "m", "happy") is Mood.HAPPY
    assert made(Mood, "m", Mood.HAPPY) is Mood.HAPPY  # of a codec of one's own
    for kind, value in (
        (str, 1),
        (int, 1.0),
        (float, 1),
        (uuid.UUID, "x"),
        (bool, 1),
        (datetime, date(2020, 1, 1)),
    ):
        with pytest.raises(DataError, match=f"^expected {kind.__name__}, got {type(value).__name__}$"):
            made(kind, "n", value)
    for scalar in (int, str, Mood, Number):
        with pytest.raises(DataError, match=r"got NULL$"):
            made(scalar, "n", None)
        with pytest.raises(DataError, match=r"is one column, but the result has 2$"):
            made(scalar, "n m", 1, 2)
    with pytest.raises(ValueError, match="sad"):
        made(Mood, "m", "sad")


@pytest.mark.parametrize(
    ("into", "names", "reason"),
    [
        (Plain, "name", "Plain: the field 'id' has no column"),
        (Plain, "id name seen", "Plain: the column 'seen' has no field"),
        (Plain, "id id", "Plain: 'id' is the name of two columns"),
        (dict, "id id", "dict: 'id' is the name of two columns"),
        (Pair, "name", "Pair: the field 'id' has no column"),
        (Attrs, "_id", "Attrs: the column '_id' has no field, the field 'id' has no column"),
        (anything, "a b a", "anything: 'a' is the name of two columns"),
        (
            Usual,
            "ID Name",
            "Usual: the column 'ID' has no field, the column 'Name' has no field, "
            "the field 'id' has no column, the field 'name' has no column",
        ),
    ],
)
def test_what_does_not_fit(into: object, names: str, reason: str) -> None:
    """Everything that does not fit is in one error."""
    with pytest.raises(DataError) as caught:
        maker_of(into).prepare(columns(*names.split()))
    assert str(caught.value) == f"the result does not fit {reason}"


@pytest.mark.parametrize(
    "into",
    [
        1,
        "text",
        None,
        int | None,
        operator.getitem(Union, (int, None)),
        operator.getitem(Union, (int, str)),
        Union,
        Any,
        Literal["a"],
        Annotated[int | None, 1],
        Protocol,
        Sequence[int],
        Callable[[int], str],
        Hashable,
        NoReturn,
    ],
)
def test_what_makes_no_objects(into: object) -> None:
    with pytest.raises(TypeError, match="into= must be a class, a function or a RowMaker, not "):
        maker_of(into)


@pytest.mark.parametrize("into", [Annotated[int, "of a kind"], NewType("Id", Annotated[int, 1])])
def test_an_annotated_type_is_that_type(into: Any) -> None:
    assert maker_of(into).prepare(columns("n"))((7,)) == 7


def test_parameters_by_position_only() -> None:
    with pytest.raises(TypeError, match=r"^function does not take 'id' by name$"):
        maker_of(function)

    def optional(first: int = 1, /, name: str = "") -> tuple[int, str]:
        return first, name

    assert made(optional, "name", "x") == (1, "x")


def test_a_row_maker() -> None:
    def prepare(found: tuple[Column, ...]) -> Callable[[tuple[Any, ...]], str]:
        names = [column.name for column in found]
        return lambda values: "; ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))

    maker = RowMaker(prepare)
    assert maker_of(maker) is maker
    assert made(maker, "a b", 1, 2) == "a: 1; b: 2"


# ---- pydantic, which is not imported: a model is what looks like one


class FieldInfo:
    def __init__(self, required: bool, alias: Any = None, validation_alias: Any = None) -> None:
        self.required = required
        self.alias = alias
        self.validation_alias = validation_alias

    def is_required(self) -> bool:
        return self.required


class Choices:
    choices = ("see", SimpleNamespace(path=["cee", 0]))


def model(**config: object) -> Any:
    class Model:
        model_config = config
        model_fields: typing.ClassVar = {
            "id": FieldInfo(True),
            "name": FieldInfo(True, "naam"),
            "c": FieldInfo(False, None, Choices()),
            "d": FieldInfo(False, "dee", SimpleNamespace(path=["de", "d"])),
        }

        @staticmethod
        def model_validate(values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
            return "validated", values

    return Model


def test_a_model() -> None:
    assert made(model(), "id naam", 1, "x") == ("validated", {"id": 1, "naam": "x"})
    assert made(model(), "id naam cee de", 1, "x", 2, 3)[0] == "validated"
    for wrong in ("id name", "id naam more", "id naam c", "id naam dee", "naam"):
        with pytest.raises(DataError, match="does not fit"):
            maker_of(model()).prepare(columns(*wrong.split()))
    for config in ({"populate_by_name": True}, {"validate_by_name": True}):
        assert made(model(**config), "id name c", 1, "x", 2)[0] == "validated"
        assert made(model(**config), "id naam see", 1, "x", 2)[0] == "validated"
    for extra in ("allow", "ignore"):
        assert made(model(extra=extra), "id naam more", 1, "x", 2)[1]["more"] == 2


def test_a_pydantic_model() -> None:
    """What the stand-in above stands for."""
    pydantic: Any = pytest.importorskip("pydantic")
    real = pydantic.create_model(
        "Real",
        id=(int, ...),
        name=(str, pydantic.Field("nobody", alias="naam")),
        c=(
            int,
            pydantic.Field(0, validation_alias=pydantic.AliasChoices("see", pydantic.AliasPath("cee", 0))),
        ),
    )
    assert made(real, "id naam see", 1, "x", 2).model_dump() == {"id": 1, "name": "x", "c": 2}
    assert made(real, "id cee", 1, [3]).c == 3
    for wrong in ("id name", "naam", "id more", "id id"):
        with pytest.raises(DataError, match="does not fit Real"):
            maker_of(real).prepare(columns(*wrong.split()))
    with pytest.raises(pydantic.ValidationError):
        made(real, "id", "x")


# ---- RowDecoder


FIELDS = [FieldDescription(name, 0, 0, 23, -1, -1, 1) for name in ("id", "n")]


def data_rows(*rows: tuple[int, ...]) -> bytes:
    data = b""
    for row in rows:
        body = struct.pack(">h", len(row)) + b"".join(struct.pack(">ii", 4, value) for value in row)
        data += b"D" + struct.pack(">i", len(body) + 4) + body
    return data


DATA = data_rows((1, 10), (2, 20), (3, 30))


def test_a_decoder_with_a_maker() -> None:
    seen = []

    def prepare(found: tuple[Column, ...]) -> Callable[[tuple[Any, ...]], int]:
        seen.append(found)
        return sum

    decoder = RowDecoder(FIELDS, into=RowMaker(prepare))
    assert decoder.decode(DATA, 0, len(DATA)) == decoder.decode(DATA, 0, len(DATA)) == [11, 22, 33]
    assert seen == [(Column("id", 23, "int4"), Column("n", 23, "int4"))]
    assert decoder.description == seen[0]
    assert RowDecoder([FieldDescription("x", 0, 0, 99999, -1, -1)]).description == (
        Column("x", 99999, "with OID 99999"),
    )


def test_a_decoder_of_values() -> None:
    plain = RowDecoder(FIELDS)
    decoder = plain.values_only()
    assert decoder.decode(DATA, 0, len(DATA)) == [(1, 10), (2, 20), (3, 30)]
    assert type(decoder.decode(DATA, 0, len(DATA))[0]) is tuple
    assert type(RowDecoder(FIELDS, into=VALUES).decode(DATA, 0, len(DATA))[0]) is tuple
    assert plain.values_only() is decoder
    null = b"D" + struct.pack(">ihii", 14, 2, -1, -1)  # not by runs
    assert decoder.decode(null, 0, len(null)) == [(None, None)]


def test_what_makes_objects_is_kept() -> None:
    decoder = RowDecoder(FIELDS)
    one = decoder.making(Plainer)
    assert decoder.making(Plainer) is one
    assert decoder.making(dict)((1, 2)) == {"id": 1, "n": 2}
    assert decoder.making(Plainer) is not one


@dataclasses.dataclass
class Plainer:
    id: int
    n: int

    def __post_init__(self) -> None:
        if self.id == 3:
            raise RuntimeError("a secret")
        if self.id == 4:
            raise DataError("not four")
        if self.id == 5:
            raise KeyboardInterrupt


def test_an_exception_of_the_callers_class() -> None:
    decoder = RowDecoder(FIELDS, into=Plainer)
    with pytest.raises(DataError) as caught:
        decoder.decode(DATA, 0, len(DATA), 10)
    assert str(caught.value) == "row 13: Plainer raised RuntimeError"
    assert isinstance(caught.value.__cause__, RuntimeError)
    four, five = data_rows((4, 0)), data_rows((5, 0))
    with pytest.raises(DataError, match=r"^row 1: not four$") as caught:
        decoder.decode(four, 0, len(four))
    assert caught.value.__cause__ is None
    with pytest.raises(KeyboardInterrupt):
        decoder.decode(five, 0, len(five))
    with pytest.raises(DataError, match="the field 'name' has no column"):
        RowDecoder(FIELDS, into=Usual)


def test_an_exception_while_the_columns_are_looked_at() -> None:
    def prepare(_: object) -> Any:
        raise LookupError("what?")

    with pytest.raises(DataError, match=r"^into=RowMaker cannot be used: LookupError$") as caught:
        RowDecoder(FIELDS).making(RowMaker(prepare))
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(DataError, match=r"^into=function cannot be used: TypeError$"):
        RowDecoder(FIELDS).making(function)


def test_columns() -> None:
    one = Column("a", 23, "int4")
    assert repr(one) == "Column('a', 23, 'int4')"
    assert [pickle.loads(pickle.dumps(one, protocol)) for protocol in range(6)] == [one] * 6
    assert one == Column("a", 23, "int4")
    assert hash(one) == hash(Column("a", 23, "int4"))
    assert one != Column("a", 25, "text")
    assert one != ("a", 23, "int4")
