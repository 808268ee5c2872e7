r"""Encodes records for COPY ... FROM STDIN in text format: a line for each record.

A line is the text forms of its values with a tab between them; NULL is \N; a backslash, and what would end a
value or a line, has a backslash before it.  There is neither a header nor a trailer.

It takes longer than binary, but every type has a text form: it is for tables with a column whose type has no
binary codec.

Manual: "COPY", "File Formats", "Text Format".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .copyrows import RecordEncoder
from .fields import Unfit
from .registry import BUILT_IN
from .typemap import TypeMap

__all__ = ["COPY_NULL", "CopyTextEncoder", "escaped"]

COPY_NULL: Final = b"\\N"
"""NULL, which is not escaped."""

_SPECIAL: Final = re.compile(rb"[\\\b\f\n\r\t\v]")
_ESCAPES: Final = {
    b"\\": rb"\\",
    b"\b": rb"\b",
    b"\f": rb"\f",
    b"\n": rb"\n",
    b"\r": rb"\r",
    b"\t": rb"\t",
    b"\v": rb"\v",
}


def escaped(text: bytes) -> bytes:
    """A value's text form as it stands in a line."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text)


class CopyTextEncoder(RecordEncoder):
    """The encoder of one COPY in text, with DELIMITER, NULL and ENCODING 'UTF8' as they are by default.

    Args:
        columns: the names of the columns, in the order of the values of each record.
        type_oids: the OIDs of the columns' types.
        types: the types of the session.
    """

    __slots__ = ()

    def __init__(self, columns: Sequence[str], type_oids: Sequence[int], types: TypeMap = BUILT_IN) -> None:
        super().__init__(columns, type_oids, types)

    def add(self, parts: list[bytes], record: object) -> int:
        """Append the line of one record; on an error, append nothing."""
        codecs = self.codecs
        self.rows += 1
        values = record if type(record) is tuple else self._values(record)
        if len(values) != len(codecs):
            raise self._miscounted(values)
        texts: list[bytes] = []
        index = 0
        try:
            for codec in codecs:
                value = values[index]
                texts.append(COPY_NULL if value is None else escaped(codec.encode_text(value).encode()))
                index += 1
        except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
            refused = self._refused(Unfit(index, error), values[index])
        else:
            line = b"\t".join(texts) + b"\n"
            parts.append(line)
            return len(line)
        raise refused  # outside the handler, so that no __context__ shows the value
