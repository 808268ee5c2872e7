"""TextFormCodec: the values of a codec travel as text.

For what is made of a type that has no binary codec (money[], a composite with a regclass), whose text form is
read and written by the codecs of its parts; and for rows that the server sends as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .codec import Codec, malformed_text

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["TextFormCodec", "in_their_format"]


class TextFormCodec(Codec):
    """The same type, values and errors as another codec, in text format.

    Args:
        codec: the other.

    Attributes:
        typed: the other.
    """

    __slots__ = ("typed",)

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec.oid, codec.name)
        self.typed = codec
        self.format = 0
        self.is_list = codec.is_list
        self.is_numbers = codec.is_numbers
        self.is_tuple = codec.is_tuple
        self.mutable = codec.mutable

    def encode(self, value: object) -> bytes:
        """The text in UTF-8."""
        return self.typed.encode_text(value).encode()

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The value of a text in UTF-8."""
        try:
            text = buffer[start:end].decode()
        except UnicodeDecodeError as error:
            raise malformed_text(self.name, f"not UTF-8 at byte {error.start} ({error.reason})") from None
        return self.typed.decode_text(text)

    def encode_text(self, value: object) -> str:
        """The text."""
        return self.typed.encode_text(value)

    def decode_text(self, text: str) -> object:
        """The value."""
        return self.typed.decode_text(text)

    def over(self, types: Callable[[int], Codec]) -> Codec:
        """The same type in a map where the types that it is made of have other codecs."""
        other = self.typed.over(types)
        return self if other is self.typed else other


def in_their_format(codec: Codec, *parts: Codec) -> Codec:
    """The codec of what is made of others: in text if one of them travels as text.

    Args:
        codec: made as if they travelled in binary.
        parts: what it is made of.
    """
    return codec if all(part.format for part in parts) else TextFormCodec(codec)
