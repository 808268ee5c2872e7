"""Bind messages made from a template, for a statement that is executed many times.

The parts that all Binds of a statement share (its name, the format codes) are encoded once; the parameters
come already encoded.  `BindValues` is one Bind.  `Executes` is a run of Binds, each followed by its Execute:
one object for as many executions as fit into one piece of output.
"""
# ruff: noqa: D102 - `encode` is documented once, in Message

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from ..errors import LocalProtocolError
from . import tags
from .frontend import Execute
from .hints import mypyc_attr
from .messages import Message, cstrings, frame, int16s

__all__ = ["BindTemplate", "BindValues", "Executes"]

_SHORT: Final = 4096  # bytes; up to this size, copying twice is faster than join()


class BindTemplate:
    """The constant parts of every Bind of a statement, encoded once.

    Args:
        statement: the statement's name.
        parameter_formats: 0 (text) or 1 (binary) for each parameter.
        result_formats: as for Bind.
        portal: the portal's name; "" for the unnamed portal.
        limit: how many rows its Execute returns at most; 0 for all.

    Raises:
        LocalProtocolError: an argument does not fit the protocol.
    """

    __slots__ = ("_header", "_size", "_tail", "execution_tail", "head", "statement")

    def __init__(
        self,
        statement: str,
        parameter_formats: Sequence[int],
        result_formats: Sequence[int],
        portal: str = "",
        limit: int = 0,
    ) -> None:
        self.statement = statement
        formats = int16s(parameter_formats)
        self.head = (
            cstrings(f"{portal}\x00{statement}\x00", 2) + formats + len(parameter_formats).to_bytes(2, "big")
        )
        self._tail = int16s(result_formats)
        self.execution_tail = self._tail + Execute(portal, limit).encode()
        """The bytes after the values: the end of the Bind, and an Execute."""
        self._header = b""  # type byte, length and head of a message whose values take `_size` bytes
        self._size = -1

    def header(self, size: int) -> bytes:
        """A Bind up to its values, which take `size` bytes.  Kept: the next values often have that size."""
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
    """A Bind made from a template.

    Args:
        template: the parts that all Binds of the statement share.
        values: the encoded parameters, each with its length in front.
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

    It is one request with `count` answers: the rows come as DataRows, the ends as CommandCompletes.

    Args:
        statement: the statement's name.
        data: the encoded messages (`BindTemplate` has their parts).
        count: the number of executions, at least 1.
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
        """The length of `data` in bytes."""
        return len(self.data)
