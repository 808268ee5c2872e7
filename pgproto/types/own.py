"""The codecs of `TypeMap.set_codec`: functions of the user's, around the codec that a type has without them.

Rule: what the functions raise is never mistaken for pgproto's own error.  It is the `__cause__` of a
ValueError or DataError that says which function failed.  What is no Exception (KeyboardInterrupt, a
cancellation) leaves an encoder as it is; a decoder runs while the answers of others are read, too, so its
caller gets it when the operation has ended (`statements.error_of_call`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import DataError, because
from ..wire.exact import exact_bytes, exact_str
from .codec import Codec
from .scalars import ByteaCodec, TextCodec

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["Function", "OwnCodec", "by_decoder", "by_encoder", "own_codec", "type_key"]

# A function of the user's, and what it takes or returns: "text", "binary" or "value".
Function: TypeAlias = tuple[Callable[[Any], Any], str]

# Names of SQL, as format_type writes them and as the grammar takes them, and those of pg_type.
_SQL_NAMES: Final = {
    "bigint": "int8",
    "bit varying": "varbit",
    "boolean": "bool",
    "char": "bpchar",
    "char varying": "varchar",
    "character": "bpchar",
    "character varying": "varchar",
    "dec": "numeric",
    "decimal": "numeric",
    "double precision": "float8",
    "float": "float8",
    "int": "int4",
    "integer": "int4",
    "real": "float4",
    "smallint": "int2",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}


def type_key(name: str | int) -> str | int:
    """The name of a type as the built-in map has it, or its OID.

    A name of SQL is that of its type: "char" is bpchar.  With pg_catalog before it, it is the catalog's:
    there "char" is the type that SQL writes in quotes.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise TypeError(f"a type is a name or an OID, not {type(name).__name__}")
    if isinstance(name, int):
        return name
    element = name.removesuffix("[]")
    if element == "pg_catalog.char":
        return f'pg_catalog."char"{name[len(element) :]}'
    return _SQL_NAMES.get(element, element) + name[len(element) :]


def by_encoder(what: str, function: Callable[[Any], object], value: object) -> object:
    """What a function of the user's makes of a parameter.

    Args:
        what: what the function is, for the text.
        function: it may raise anything.
        value: its argument.

    Raises:
        ValueError: it raised an Exception, which is the `__cause__`.
    """
    try:
        return function(value)
    except Exception as error:
        raise because(ValueError(f"{what} raised {type(error).__name__}"), error) from error


def by_decoder(what: str, function: Callable[[Any], object], value: object) -> object:
    """What a function of the user's makes of a result.

    Args:
        what: what the function is, for the text.
        function: it may raise anything.
        value: its argument.

    Raises:
        DataError: it raised something, which is the `__cause__`.
    """
    try:
        return function(value)
    except BaseException as error:
        raise because(DataError(f"{what} raised {type(error).__name__}"), error) from error


class OwnCodec(Codec):
    """A type whose values are converted by functions of the user's.

    Args:
        base: the codec that the type has without them.
        encode: for parameters; None for what `base` does.
        decode: for results; None for what `base` does.
        format: of what the functions return and take: "text" (str), "binary" (bytes), or "value" (a value of
            `base`).
    """

    __slots__ = ("_base", "_by_value", "_decode", "_encode", "_plain", "base")

    def __init__(
        self,
        base: Codec,
        encode: Callable[[Any], Any] | None,
        decode: Callable[[Any], object] | None,
        format: str,
    ) -> None:
        super().__init__(base.oid, base.name)
        self._by_value = format == "value"
        self.format = base.format if self._by_value else int(format == "binary")
        self.base = base
        # Of a type without a binary codec, bytes are the values of the other direction.
        self._base = ByteaCodec(base.oid, base.name) if self.format > base.format else base
        self._plain = TextCodec(base.oid, base.name)
        self._encode = encode
        self._decode = decode
        self.is_list = base.is_list
        self.is_numbers = base.is_numbers and encode is None
        self.is_tuple = base.is_tuple or encode is not None
        self.mutable = base.mutable or decode is not None

    def encode(self, value: object) -> bytes:
        """What the user's function makes of the value.

        Raises:
            TypeError: the function returned something that cannot be sent; or as that codec.
            ValueError: the function raised an Exception, which is the `__cause__`; or as that codec.
        """
        if not self.format:
            return self.encode_text(value).encode()
        if self._encode is None:
            return self._base.encode(value)
        made = self._made(self._encode, value)
        if self._by_value:
            return self._base.encode(made)
        if not isinstance(made, (bytes, bytearray, memoryview)):
            raise TypeError(f"its encoder returned {type(made).__name__} instead of bytes")
        return exact_bytes(made)

    def encode_text(self, value: object) -> str:
        """What the user's function makes of the value; raises as `encode`."""
        if self._encode is None:
            return self._base.encode_text(value)
        if self.format and not self._by_value:
            raise TypeError("its encoder gives bytes, and here the value travels as text")
        made = self._made(self._encode, value)
        if self._by_value:
            return self._base.encode_text(made)
        if not isinstance(made, str):
            raise TypeError(f"its encoder returned {type(made).__name__} instead of str")
        return self._plain.encode_text(exact_str(made))

    def _made(self, encode: Callable[[Any], object], value: object) -> object:
        made = by_encoder("its encoder", encode, value)
        if made is None:
            raise TypeError("its encoder returned None; pass None itself for NULL")
        return made

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """What the user's function makes of the value.

        Raises:
            DataError: the function raised something, which is the `__cause__`; or as that codec.
        """
        if not self.format:
            text = self._plain.decode(buffer, start, end)
            assert isinstance(text, str)
            return self.decode_text(text)
        if self._decode is None:
            return self._base.decode(buffer, start, end)
        given = self._base.decode(buffer, start, end) if self._by_value else buffer[start:end]
        if given is None:  # an infinite date, if the user wants so
            return None
        return by_decoder("its decoder", self._decode, given)

    def decode_text(self, text: str) -> object:
        """What the user's function makes of the text; raises as `decode`."""
        if self._decode is None:
            return self._base.decode_text(text)
        if self._by_value:
            given = self._base.decode_text(text)
            return None if given is None else by_decoder("its decoder", self._decode, given)
        if self.format:
            raise DataError(f"the decoder of {self.name} takes bytes, and here the value travels as text")
        return by_decoder("its decoder", self._decode, text)


def own_codec(base: Codec, encoder: Function | None, decoder: Function | None) -> Codec:
    """The codec of a type with functions of the user's, each of a format of its own.

    Args:
        base: the codec that the type has without them.
        encoder: for parameters; None for what `base` does.
        decoder: for results; None for what `base` does.
    """
    if encoder is not None and decoder is not None and encoder[1] == decoder[1]:
        return OwnCodec(base, encoder[0], decoder[0], encoder[1])
    if encoder is not None:
        base = OwnCodec(base, encoder[0], None, encoder[1])
    return base if decoder is None else OwnCodec(base, None, decoder[0], decoder[1])
