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

__all__ = ["CopyTextEncoder"]

_SPECIAL: Final = re.compile(r"[\\\b\f\n\r\t\v]")
_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
)


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
        self._rows += 1
        values = record if type(record) is tuple else self._values(record)
        if len(values) != len(codecs):
            raise self._miscounted(values)
        texts: list[str] = []
        index = 0
        try:
            for codec in codecs:
                value = values[index]
                text = "\\N" if value is None else codec.encode_text(value)
                if value is not None and _SPECIAL.search(text):
                    text = text.translate(_ESCAPES)
                texts.append(text)
                index += 1
        except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
            refused = self._refused(Unfit(index, error), values[index])
        else:
            line = ("\t".join(texts) + "\n").encode()
            parts.append(line)
            return len(line)
        raise refused  # outside the handler, so that no __context__ shows the value
