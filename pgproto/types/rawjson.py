"""RawJSON: a JSON document that is sent as it is."""

from __future__ import annotations

from ..wire.exact import exact_bytes, exact_str

__all__ = ["RawJSON"]


class RawJSON:
    """A parameter for json or jsonb that is a document already: a plain str would be sent as a JSON string.

    Immutable and hashable.  The server checks the document.

    Args:
        document: its text; bytes are UTF-8.

    Raises:
        TypeError: it is neither str nor bytes.
        ValueError: it is a str that is not valid Unicode.
    """

    __slots__ = ("_data",)

    def __init__(self, document: str | bytes | bytearray | memoryview) -> None:
        if isinstance(document, str):
            try:
                self._data = exact_str(document).encode()
                return
            except UnicodeEncodeError:
                pass  # raised below, because the __context__ would show the text
            raise ValueError("str that is not valid Unicode (lone surrogate)")
        if not isinstance(document, (bytes, bytearray, memoryview)):
            raise TypeError(f"a JSON document must be a str or bytes, not {type(document).__name__}")
        self._data = exact_bytes(document)

    @property
    def data(self) -> bytes:
        """The document in UTF-8."""
        return self._data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RawJSON):
            return NotImplemented
        return self._data == other._data

    def __hash__(self) -> int:
        return hash(self._data)

    def __reduce__(self) -> tuple[object, ...]:
        return (RawJSON, (self._data,))

    def __repr__(self) -> str:
        return f"RawJSON({self._data!r})"
