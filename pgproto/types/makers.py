"""Row makers: what the rows of a result become.

A `RowMaker` is asked once for each result, with its columns; it returns a function that makes an object of a
row's values.  `into=` takes a maker, or what `maker_of` finds one for:

    Row, dict, tuple    the row's values with names, by name, or as they are
    a type of values    the value of the only column: int, str, datetime, Range, list, an Enum, ...
    a TypedDict         a dict with its keys
    a pydantic model    validates a dict of the values
    anything callable   gets the values as keyword arguments: a dataclass, a NamedTuple, an attrs class, a
                        function

Rule: names and columns must agree, or no row is made.  Each column is a field, each field without a default
is a column, and no two columns have the same name.  Only what takes any keyword takes any column: a function
with `**kwargs`, a pydantic model whose `extra` says "allow" or "ignore".

Rule: neither pydantic nor attrs is imported.  A model is recognised by its attributes.

Rule: a maker is the caller's code.  `RowDecoder` calls it row by row; the client calls it in the caller's own
task, after the query has ended.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, Final, Generic, TypeAlias, TypeVar
from uuid import UUID

from ..errors import DataError, because
from .bits import BitString
from .figures import Box, Circle, Line, LineSegment, Path, Point, Polygon
from .interval import Interval
from .ranges import Multirange, Range
from .row import Columns, Row

__all__ = ["VALUES", "Column", "Into", "Make", "RowMaker", "check_into", "make_all", "maker_of", "prepared"]

T = TypeVar("T")

Make: TypeAlias = Callable[[tuple[Any, ...]], Any]

# One column of a result, of which a value is an instance.
_SCALARS: Final[tuple[type, ...]] = (
    *(int, bool, float, str, bytes, Decimal, UUID, date, datetime, time, timedelta, list),
    *(IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network),
    *(Interval, Range, Multirange, BitString, Box, Circle, Line, LineSegment, Path, Point, Polygon),
)


class Column:
    """One column of a result.

    Attributes:
        name: its name.
        type_oid: the OID of its type.
        type_name: the name of its type, such as "int4" or "mood[]"; "with OID 16459" if it is not known.
    """

    __slots__ = ("name", "type_name", "type_oid")

    def __init__(self, name: str, type_oid: int, type_name: str) -> None:
        self.name = name
        self.type_oid = type_oid
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Column):
            return NotImplemented
        return (self.name, self.type_oid, self.type_name) == (other.name, other.type_oid, other.type_name)

    def __hash__(self) -> int:
        return hash((self.name, self.type_oid, self.type_name))

    def __reduce__(self) -> tuple[type[Column], tuple[str, int, str]]:
        return (Column, (self.name, self.type_oid, self.type_name))

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {self.type_oid}, {self.type_name!r})"


class RowMaker(Generic[T]):
    """What the rows of a result become, if neither a class nor a function of the values by name says it.

    Args:
        prepare: called once for a result with its columns; returns what makes an object of the tuple of a
            row's values.  It raises an exception, which is best a DataError, if it cannot use such columns.
    """

    __slots__ = ("prepare",)

    def __init__(self, prepare: Callable[[tuple[Column, ...]], Callable[[tuple[Any, ...]], T]]) -> None:
        self.prepare = prepare


Into: TypeAlias = RowMaker[T] | type[T] | Callable[..., T]
"""What `into=` takes: what each row becomes is inferred from it."""


def prepared(into: object, columns: tuple[Column, ...]) -> Make:
    """What makes an object of the tuple of a row's values.

    Args:
        into: a RowMaker, or what `maker_of` takes.
        columns: the result's columns.

    Raises:
        DataError: it cannot use these columns; what a caller's code has raised is the `__cause__`.
    """
    try:
        return maker_of(into).prepare(columns)
    except DataError:
        raise
    except Exception as error:
        text = f"into={_name(into)} cannot be used: {type(error).__name__}"
        raise because(DataError(text), error) from error


def check_into(into: object) -> Any:
    """What was passed as `into=` without its type arguments: dict[str, int] is dict.

    It is quick, so that what makes no objects is refused before anything is sent.

    Raises:
        TypeError: it is neither a maker nor a class that has objects nor a function.
    """
    if isinstance(into, RowMaker):
        return into
    base: Any = into
    while True:
        origin = typing.get_origin(base)
        if isinstance(base, typing.NewType):
            base = base.__supertype__
        elif origin is typing.Annotated:
            base = base.__origin__
        elif origin is not None:
            base = origin
        else:
            break
    # Any, Literal, Union and the like are callable, but make nothing.
    of_typing = getattr(base, "__module__", None) in ("typing", "typing_extensions")
    if not callable(base) or of_typing or base is types.UnionType or inspect.isabstract(base):
        name = str(into) if typing.get_origin(into) is not None else _name(into)
        raise TypeError(f"into= must be a class, a function or a RowMaker, not {name}")
    return base


def maker_of(into: object) -> RowMaker[Any]:
    """The maker for what was passed as `into=`.

    Raises:
        TypeError: as `check_into`.
    """
    base = check_into(into)
    if isinstance(base, RowMaker):
        return base
    if base is tuple:
        return VALUES
    if base is Row:
        return RowMaker(_rows)
    if isinstance(base, type):
        if issubclass(base, (Enum, *_SCALARS)):
            return _scalar(base)
        if base is dict:
            return _by_name(base, [], dict, any_other=True)
        if issubclass(base, dict) and hasattr(base, "__required_keys__"):
            return _by_name(base, _keys(base), dict)
        if hasattr(base, "model_fields") and hasattr(base, "model_validate"):
            return _model(base)
    return _callable(base)


def make_all(rows: list[Any], make: Make, into: object, before: int = 0) -> DataError | None:
    """Replace each row's values by the object that is made of them, up to the first that cannot be made.

    Args:
        rows: the tuples of values; afterwards, the objects that were made.
        make: what a maker has returned for their columns.
        into: what was passed as `into=`, for errors.
        before: the number of earlier rows of the result, for errors.

    Returns:
        The error for that row.  An exception that is no DataError is its `__cause__`; one that is no
        Exception propagates.
    """
    for index in range(len(rows)):
        try:
            rows[index] = make(rows[index])
        except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
            del rows[index:]
            place = f"row {before + index + 1}"
            if isinstance(error, DataError):
                return DataError(f"{place}: {error}")
            return because(DataError(f"{place}: {_name(into)} raised {type(error).__name__}"), error)
    return None


def _same(_: tuple[Column, ...]) -> Make:
    return tuple  # of a tuple, that is the tuple


VALUES: Final = RowMaker(_same)
"""The rows as tuples of their values."""


def _rows(columns: tuple[Column, ...]) -> Make:
    names = Columns([column.name for column in columns])

    def make(values: tuple[Any, ...]) -> Row:
        return Row(names, values)

    return make


def _scalar(wanted: type) -> RowMaker[Any]:
    """The value of the only column; a subclass of a type of values (an Enum, class UserId(int)) is called."""

    def prepare(columns: tuple[Column, ...]) -> Make:
        if len(columns) != 1:
            raise DataError(f"{_name(wanted)} is one column, but the result has {len(columns)}")

        def make(values: tuple[Any, ...]) -> object:
            value = values[0]
            if isinstance(value, wanted):
                return value
            if value is None or wanted in _SCALARS:
                got = "NULL" if value is None else type(value).__name__
                raise DataError(f"expected {_name(wanted)}, got {got}")
            return wanted(value)

        return make

    return RowMaker(prepare)


class _Field:
    """What a caller's class or function takes.

    Attributes:
        name: its name, for errors.
        names: the columns that it may be.
        required: it has no default.
    """

    __slots__ = ("name", "names", "required")

    def __init__(self, name: str, names: Iterable[str], required: bool) -> None:
        self.name = name
        self.names = frozenset(names)
        self.required = required


def _by_name(
    into: object, fields: Sequence[_Field], call: Callable[[dict[str, Any]], Any], *, any_other: bool = False
) -> RowMaker[Any]:
    """Call something with a dict of the values.

    Args:
        into: what was passed, for errors.
        fields: what it takes.
        call: called with the dict.
        any_other: True if it takes columns besides its fields.
    """

    def prepare(columns: tuple[Column, ...]) -> Make:
        names = [column.name for column in columns]
        _check(into, fields, names, any_other)

        def make(values: tuple[Any, ...]) -> object:
            return call(dict(zip(names, values, strict=True)))

        return make

    return RowMaker(prepare)


def _check(into: object, fields: Sequence[_Field], names: Sequence[str], any_other: bool) -> None:
    """Raise one DataError with everything in which fields and columns differ."""
    taken: set[str] = set()
    for field in fields:
        taken |= field.names
    present: set[str] = set()
    problems: list[str] = []
    for name in names:
        if name in present:
            problems.append(f"{name!r} is the name of two columns")
        elif name not in taken and not any_other:
            problems.append(f"the column {name!r} has no field")
        present.add(name)
    missing = [field.name for field in fields if field.required and not field.names & present]
    problems += [f"the field {name!r} has no column" for name in missing]
    if problems:
        raise DataError(f"the result does not fit {_name(into)}: {', '.join(problems)}")


def _keys(wanted: Any) -> list[_Field]:
    """The keys of a TypedDict.  Its `__required_keys__` are wrong if its annotations are strings."""
    required: set[str] = set(wanted.__required_keys__)
    hints: dict[str, Any] = {}
    try:
        hints = typing.get_type_hints(wanted, include_extras=True)
    except Exception:  # noqa: BLE001 - a name that cannot be resolved; then they are the best that is known
        hints = dict.fromkeys([*required, *wanted.__optional_keys__])
    for key, hint in hints.items():
        origin = typing.get_origin(hint)
        if origin is typing.Required:
            required.add(key)
        elif origin is typing.NotRequired:
            required.discard(key)
    return [_Field(key, [key], key in required) for key in hints]


def _model(model: Any) -> RowMaker[Any]:
    """A pydantic model: fields by their aliases or, where the model says so, by their names."""
    config: Mapping[str, Any] = model.model_config
    by_name = bool(config.get("populate_by_name") or config.get("validate_by_name"))
    fields: list[_Field] = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias or field.alias
        names = _aliases(alias)
        if by_name or alias is None:
            names.append(name)
        fields.append(_Field(name, names, field.is_required()))
    any_other = config.get("extra") in ("allow", "ignore")
    return _by_name(model, fields, model.model_validate, any_other=any_other)


def _aliases(alias: Any) -> list[str]:
    """The column names of a str, an AliasPath or AliasChoices."""
    if alias is None:
        return []
    if isinstance(alias, str):
        return [alias]
    choices = getattr(alias, "choices", [alias])
    return [each if isinstance(each, str) else each.path[0] for each in choices]


def _callable(function: Callable[..., Any]) -> RowMaker[Any]:
    """A class or function that takes the values by name."""
    fields: list[_Field] = []
    any_other = False
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # written in C: it checks by itself
        parameters = []
        any_other = True
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            any_other = True
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            if parameter.default is inspect.Parameter.empty:
                raise TypeError(f"{_name(function)} does not take {parameter.name!r} by name")
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            required = parameter.default is inspect.Parameter.empty
            fields.append(_Field(parameter.name, [parameter.name], required))

    def call(values: dict[str, Any]) -> object:
        return function(**values)

    return _by_name(function, fields, call, any_other=any_other)


def _name(into: object) -> str:
    """The name of a class or function, or of an object's class."""
    name = getattr(into, "__qualname__", None)
    return name if isinstance(name, str) else type(into).__name__
