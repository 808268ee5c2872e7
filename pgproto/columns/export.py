"""Exports columns by Arrow's C interface, without a copy.

A struct owns one reference to an `_Owner`, which owns its memory; `release` gives it up (see `release`).
A consumer may move a child out of its parent: then it sets the child's `release` to NULL in the parent's
memory, and releases its own copy, before or after the parent.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import addressof, c_void_p, py_object
from typing import TYPE_CHECKING, Any, Final

from .release import releases
from .structs import ARRAY, NULLABLE, SCHEMA, STREAM, Array, GetError, GetTwo, Schema, Stream, python_api

if TYPE_CHECKING:
    from .batch import ColumnData

__all__ = ["array_capsules", "column_capsules", "column_schema_capsule", "schema_capsule", "stream_capsule"]

_EIO: Final = 5

_take = python_api("Py_IncRef", None, py_object)
_give_up = python_api("Py_DecRef", None, c_void_p)
_new_capsule = python_api("PyCapsule_New", py_object, c_void_p, ctypes.c_char_p, c_void_p)
_set_context = python_api("PyCapsule_SetContext", ctypes.c_int, py_object, c_void_p)

_NOTHING: Final = ctypes.create_string_buffer(64)
"""What the pointers to empty buffers point to."""


class _Owner:
    """Owns the memory of a struct: its buffers, and its children, with those that nobody has moved out.

    Args:
        parts: the children and the dictionary: structs with a reference each.
        memory: what else must live as long as the struct.
    """

    def __init__(self, parts: Sequence[Any], memory: Sequence[Any]) -> None:
        self._parts = parts
        self._memory = memory

    def __del__(self, give_up: Any = _give_up) -> None:  # the global is gone when the interpreter ends
        for part in self._parts:
            if part.release:
                part.release = None
                give_up(part.private_data)


def _pointers(structs: Sequence[Any]) -> Any:
    return (c_void_p * len(structs))(*[addressof(each) for each in structs])


def _owned(struct: Any, release: int, parts: Sequence[Any], *memory: Any) -> Any:
    """The struct, which owns the rest from here on."""
    owner = _Owner(parts, memory)
    struct.release = release
    struct.private_data = id(owner)
    _take(owner)
    return struct


def _schema(name: str, format: str, children: Sequence[Any], dictionary: Any = None) -> Any:
    pointers = _pointers(children)
    encoded, formatted = name.encode(), format.encode()
    struct = Schema(
        format=formatted,
        name=encoded,
        flags=NULLABLE,
        n_children=len(children),
        children=addressof(pointers) if children else None,
        dictionary=None if dictionary is None else addressof(dictionary),
    )
    parts = [*children] if dictionary is None else [*children, dictionary]
    return _owned(struct, releases.schema, parts, pointers, encoded, formatted)


def _schema_of(column: ColumnData) -> Any:
    dictionary = None if column.dictionary is None else _schema_of(column.dictionary)
    return _schema(column.name, column.format, [_schema_of(child) for child in column.children], dictionary)


def _array(
    length: int,
    null_count: int,
    memory: Sequence[bytearray | None],
    children: Sequence[Any],
    dictionary: Any = None,
) -> Any:
    views: list[Any] = []
    buffers = (c_void_p * len(memory))()
    for index, data in enumerate(memory):
        if data:
            view = (ctypes.c_char * len(data)).from_buffer(data)  # as long as it lives, the size is fixed
            views.append(view)
            buffers[index] = addressof(view)
        elif data is not None:
            buffers[index] = addressof(_NOTHING)
    pointers = _pointers(children)
    struct = Array(
        length=length,
        null_count=null_count,
        n_buffers=len(memory),
        n_children=len(children),
        buffers=addressof(buffers),
        children=addressof(pointers) if children else None,
        dictionary=None if dictionary is None else addressof(dictionary),
    )
    parts = [*children] if dictionary is None else [*children, dictionary]
    return _owned(struct, releases.array, parts, views, buffers, pointers)


def _array_of(column: ColumnData) -> Any:
    dictionary = None if column.dictionary is None else _array_of(column.dictionary)
    children = [_array_of(child) for child in column.children]
    return _array(len(column), column.null_count, column.memory, children, dictionary)


def _whole_schema(columns: Sequence[ColumnData]) -> Any:
    return _schema("", "+s", [_schema_of(column) for column in columns])


def _whole_array(length: int, columns: Sequence[ColumnData]) -> Any:
    return _array(length, 0, [None], [_array_of(column) for column in columns])


def _capsule(struct: Any, name: bytes) -> object:
    """A capsule with a struct; if nobody moves it out, it is released with the capsule."""
    box = _Owner([struct], ())
    capsule: object = _new_capsule(addressof(struct), name, releases.destructor)
    _take(box)
    _set_context(capsule, id(box))
    return capsule


def column_schema_capsule(column: ColumnData) -> object:
    """A capsule with the ArrowSchema of one column."""
    return _capsule(_schema_of(column), SCHEMA)


def column_capsules(column: ColumnData) -> tuple[object, object]:
    """A capsule with the ArrowSchema of one column, and one with its ArrowArray."""
    return column_schema_capsule(column), _capsule(_array_of(column), ARRAY)


def schema_capsule(columns: Sequence[ColumnData]) -> object:
    """A capsule with the ArrowSchema of a struct of columns."""
    return _capsule(_whole_schema(columns), SCHEMA)


def array_capsules(length: int, columns: Sequence[ColumnData]) -> tuple[object, object]:
    """A capsule with the ArrowSchema of a struct of columns, and one with its ArrowArray."""
    return schema_capsule(columns), _capsule(_whole_array(length, columns), ARRAY)


class _Batches(_Owner):
    """Owns a stream of one batch."""

    def __init__(self, length: int, columns: Sequence[ColumnData]) -> None:
        super().__init__((), ())
        self.length = length
        self.columns = columns
        self.given = False
        self.error = b""


def stream_capsule(length: int, columns: Sequence[ColumnData]) -> object:
    """A capsule with an ArrowArrayStream of one batch."""
    struct = Stream(*[c_void_p.from_buffer(each).value for each in _CALLBACKS])
    owner = _Batches(length, columns)
    struct.release = releases.stream
    struct.private_data = id(owner)
    _take(owner)
    return _capsule(struct, STREAM)


def _owner_of(stream: int) -> _Batches:
    owner: _Batches = ctypes.cast(Stream.from_address(stream).private_data, py_object).value
    return owner


def _moved(struct: Any, place: int) -> None:
    ctypes.memmove(place, addressof(struct), ctypes.sizeof(struct))


def _give_schema(stream: int, place: int) -> int:
    owner = _owner_of(stream)
    try:
        _moved(_whole_schema(owner.columns), place)
    except Exception as error:  # noqa: BLE001 - memory, for example
        owner.error = repr(error).encode()
        return _EIO
    return 0


def _give_next(stream: int, place: int) -> int:
    owner = _owner_of(stream)
    try:
        if owner.given:
            Array.from_address(place).release = None  # the end of the stream
        else:
            owner.given = True
            _moved(_whole_array(owner.length, owner.columns), place)
    except Exception as error:  # noqa: BLE001 - as above
        owner.error = repr(error).encode()
        return _EIO
    return 0


def _give_error(stream: int) -> int | None:
    owner = _owner_of(stream)
    if not owner.error:
        return None
    text = ctypes.c_char_p(owner.error)
    return ctypes.cast(text, c_void_p).value


_CALLBACKS: Final = (GetTwo(_give_schema), GetTwo(_give_next), GetError(_give_error))
