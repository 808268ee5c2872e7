"""Binds by template: for a statement that is executed again and again.

What is the same in each Bind of a statement (its name, the format codes) is encoded once; what differs
comes as the bytes that stand in the message.  `BindValues` is one Bind.  `Executes` is a run of them, each
with its Execute: one object on the way out for as many executions as fit a piece of output.
"""
# ruff: noqa: D102 - `encode` is documented once, in Message

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from ..errors import LocalProtocolError
from . import tags
from .frontend import EXECUTE_ALL
from .hints import mypyc_attr
from .messages import Message, cstrings, frame, int16s

__all__ = ["BindTemplate", "BindValues", "Executes"]

_SHORT: Final = 4096  # bytes that are copied twice sooner than joined


class BindTemplate:
    """What is the same in every Bind of a statement to the unnamed portal, encoded once.

    Args:
        statement: the statement's name.
        parameter_formats: one for each parameter: 0 text, 1 binary.
        result_formats: as for Bind.

    Raises:
        LocalProtocolError: one of them does not fit the protocol.
    """

    __slots__ = ("_header", "_size", "_tail", "execution_tail", "head", "statement")

    def __init__(
        self, statement: str, parameter_formats: Sequence[int], result_formats: Sequence[int]
    ) -> None:
        self.statement = statement
        formats = int16s(parameter_formats)
        self.head = cstrings(f"\x00{statement}\x00", 2) + formats + len(parameter_formats).to_bytes(2, "big")
        self._tail = int16s(result_formats)
        self.execution_tail = self._tail + EXECUTE_ALL
        """What stands after the values of a Bind that is executed at once."""
        self._header = b""  # type byte, length and head of a message whose values take `_size` bytes
        self._size = -1

    def header(self, size: int) -> bytes:
        """A Bind up to its values, which take `size` bytes.  As a rule they are as long as the last ones."""
        if size != self._size:
            self._header = frame(tags.BIND, self.head, size + len(self._tail))
            self._size = size
        return self._header

    def encode(self, values: bytes) -> bytes:
        """The Bind with these values."""
        size = len(values)
        header = self.header(size)
        if size < _SHORT:
            return header + values + self._tail
        return b"".join([header, values, self._tail])


@mypyc_attr(acyclic=True, free_list_len=1)
class BindValues(Message):
    """A Bind by its template.

    Args:
        template: what all of its Binds share.
        values: the parameters as they stand in the message: each with its length in front.
    """

    __slots__ = ("template", "values")
    tag: ClassVar[int] = tags.BIND
    type_byte: int = tags.BIND
    field_names: ClassVar[tuple[str, ...]] = ("statement", "values")

    def __init__(self, template: BindTemplate, values: bytes) -> None:
        self.request = None
        self.template = template
        self.values = values

    @property
    def statement(self) -> str:
        """The statement's name."""
        return self.template.statement

    def encode(self) -> bytes:
        return self.template.encode(self.values)


@mypyc_attr(acyclic=True, free_list_len=1)
class Executes(Message):
    """A run of executions of one statement: `count` times a Bind to the unnamed portal and its Execute.

    It is one request for as many answers: their rows come as DataRows, their ends as CommandCompletes.

    Args:
        statement: the statement's name.
        data: the messages, as they stand on the wire (`BindTemplate` has their parts).
        count: how many executions they are, at least 1.
    """

    __slots__ = ("count", "data", "statement")
    tag: ClassVar[int] = tags.BIND
    type_byte: int = tags.BIND
    field_names: ClassVar[tuple[str, ...]] = ("statement", "data", "count")

    def __init__(self, statement: str, data: bytes, count: int) -> None:
        self.request = None
        self.statement = statement
        self.data = data
        self.count = count

    def encode(self) -> bytes:
        if self.count < 1 or not self.data:
            raise LocalProtocolError("a run has at least one execution")
        return self.data

    def __len__(self) -> int:
        """How many bytes they are."""
        return len(self.data)
