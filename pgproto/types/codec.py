"""A codec converts the values of one SQL type to and from PostgreSQL's binary format, and its text format.

Both formats take the same values, and give the same.  What is written as text reads the same under every
setting of a session; what is read may be in any DateStyle, IntervalStyle and bytea_output that says all.

Rule: `encode` raises TypeError or ValueError with a reason that never quotes the value (it may be a secret);
the caller, which knows the parameter or column, turns that into a DataError.
Rule: `decode` reads exactly `buffer[start:end]` and raises DataError for anything that no server would send.
The caller guarantees `0 <= start <= end <= len(buffer)`.
Rule: `encode_text` and `decode_text` raise the same errors.

A `FixedCodec` has a fixed width and a `struct` code.  It decodes in two steps, `struct` and `convert`, so
that a row or an array reads many neighbouring values with one `struct` call; and it encodes in two steps,
`raw` and `struct`, so that one call writes the value and its length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError
from ..wire.messages import LENGTHS
from ..wire.native import COMPILED, read_integer

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = [
    "MAX_FIELD",
    "Codec",
    "FixedCodec",
    "OutdatedTypeError",
    "UnknownTypeError",
    "expected",
    "frame_length",
    "is_own",
    "malformed",
    "malformed_text",
    "reread",
    "runs_of",
    "with_type",
    "within",
]


class OutdatedTypeError(DataError):
    """A value is not of the shape that its type had when it was looked up: the type was altered."""


class UnknownTypeError(DataError):
    """A value has a part of a type that was not looked up, because no description says that it is there.

    Attributes:
        oid: the OID of that type.
    """

    oid: int = 0


_UINT64: Final = 1 << 64

MAX_FIELD: Final = 0x7FFFFFFF
"""The longest value in bytes: its length is an int32."""


def expected(what: str, value: object) -> TypeError:
    """The error for a value of the wrong Python type; the text names the type, not the value."""
    return TypeError(f"expected {what}, got {type(value).__name__}")


def with_type(reason: str, value: object) -> str:
    """The reason for a refusal, with the value's Python type added unless it is already named."""
    name = type(value).__name__
    return reason if name in reason else f"{reason} (value of type {name})"


def malformed(name: str, reason: str) -> DataError:
    """The error for bytes that are not a binary value of the SQL type `name`."""
    return DataError(f"malformed binary value of type {name}: {reason}")


def malformed_text(name: str, reason: str) -> DataError:
    """The error for a text that is no value of the SQL type `name`."""
    return DataError(f"malformed text of type {name}: {reason}")


def reread(codec: Codec, text: str) -> object:
    """What `decode_text` gives for a type whose `encode` takes the text form, too.

    Raises:
        DataError: it does not take this one.
    """
    try:
        data = codec.encode(text)
    except (TypeError, ValueError) as error:
        raise malformed_text(codec.name, str(error)) from None
    return codec.decode(data, 0, len(data))


def is_own(error: BaseException) -> bool:
    """True if pgproto raised it: the innermost frame does not belong to another package."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or str(trace.tb_frame.f_globals.get("__name__")).startswith("pgproto.")


def within(place: str, error: Exception) -> Exception:
    """The error for an unfit part of a value: its kind and its cause, and the place in the text.

    Raise it `from` its own cause, so that no context shows the value.
    """
    text = f"{place}: {error}"
    named = TypeError(text) if isinstance(error, TypeError) else ValueError(text)
    named.__cause__ = error.__cause__ if is_own(error) else error
    return named


def frame_length(length: i64) -> bytes:
    """A value's length as an int32; ValueError if it does not fit."""
    if length < 256:
        return LENGTHS[length]
    if length > MAX_FIELD:
        raise ValueError(f"{length} bytes are more than a value can have ({MAX_FIELD})")
    return int(length).to_bytes(4, "big")


def runs_of(codecs: Sequence[Codec], *, most: int) -> list[tuple[list[FixedCodec], Codec | None]]:
    """Cut the codecs into runs: neighbouring ones of fixed width, then at most one other.

    Args:
        codecs: the codecs of columns or parameters, in order.
        most: the largest number of codecs of fixed width in a run.
    """
    runs: list[tuple[list[FixedCodec], Codec | None]] = []
    fixed: list[FixedCodec] = []
    for codec in codecs:
        if isinstance(codec, FixedCodec):
            fixed.append(codec)
            if len(fixed) < most:
                continue
            runs.append((fixed, None))
        else:
            runs.append((fixed, codec))
        fixed = []
    if fixed:
        runs.append((fixed, None))
    return runs


class Codec:
    """The codec of one SQL type.  Instances have no state and may be shared by threads.

    Args:
        oid: the type's OID in pg_type.
        name: the type's SQL name, for messages.

    Attributes:
        format: how its values travel, as in Bind: 1 binary, 0 text.
        is_list: a list is one value of it, so that an array of it is taken for one of one dimension.
        is_numbers: a list is one value of it only if numbers are in it: in an array of it, lists of anything
            else are dimensions.
        is_tuple: a tuple is one value of it, so that in an array of it only lists are dimensions.
        mutable: its values can be changed, so that one can be made to refer to its own row.
    """

    __slots__ = ("format", "is_list", "is_numbers", "is_tuple", "mutable", "name", "oid")

    def __init__(self, oid: int, name: str) -> None:
        self.oid = oid
        self.name = name
        self.format = 1
        self.is_list = False
        self.is_numbers = False
        self.is_tuple = False
        self.mutable = False

    def encode(self, value: object) -> bytes:
        """The binary form of a value that is not None.

        Raises:
            TypeError: this SQL type does not take values of this Python type.
            ValueError: the value has the right type, but is out of range or otherwise unfit.
        """
        raise NotImplementedError

    @property
    def writer(self) -> Codec:
        """The codec that writes its values: itself, but for a domain that of its base type."""
        return self

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append a field of Bind or binary COPY: the length of `encode(value)` and its bytes.

        Returns:
            How many bytes were appended.
        """
        data = self.encode(value)
        size: i64 = len(data)
        parts.append(frame_length(size))
        parts.append(data)
        return 4 + size

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The value whose binary form is `buffer[start:end]`.

        Raises:
            DataError: the bytes are malformed, or Python has no such value.
        """
        raise NotImplementedError

    def encode_text(self, value: object) -> str:
        """The text form of a value that is not None, as the type's input function takes it.

        Raises:
            TypeError, ValueError: as `encode`.
        """
        raise TypeError(f"the codec of {self.name} writes no text")

    def decode_text(self, text: str) -> object:
        """The value whose text form this is, as the type's output function prints it.

        Raises:
            DataError: the text is malformed, or depends on the session's settings in a way that it does not
                show, or Python has no such value.
        """
        raise DataError(f"the codec of {self.name} reads no text: {len(text)} characters")

    def over(self, types: Callable[[int], Codec]) -> Codec:
        """The codec of the same type in a map where the types that it is made of have other codecs.

        Args:
            types: gives that map's codec of a type, by its OID.
        """
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} ({self.oid})>"


class FixedCodec(Codec):
    """A type whose binary form has one width and is one `struct` item.

    Args:
        oid: the type's OID.
        name: the type's SQL name.
        code: the item's `struct` code (big-endian, standard size).
        exact: the Python type, if `struct` takes and returns the values without conversion; else None.
        item: the code of the item that is written, if it is another.  If it is wider than the value, the
            first bytes of `raw` are the last ones of the length.

    Attributes:
        head: the bytes of a field before its item: the length.
    """

    __slots__ = (
        *("_by_shifts", "_pack", "_pack_field", "_with_sign"),
        *("code", "exact", "head", "item", "size", "unpack_from"),
    )

    def __init__(self, oid: int, name: str, code: str, exact: type[object] | None, item: str = "") -> None:
        super().__init__(oid, name)
        shape = struct.Struct(">" + code)
        self.code = code
        self.exact = exact
        self.size: int = shape.size
        # Not "_signed": mypyc prefixes an underscore, and gcc has a keyword __signed.
        self._with_sign: bool = code in "hiq"
        self._by_shifts: bool = COMPILED and code in "hiqHIQ"
        # In the stubs these take and return Any.
        self.item = item or code
        written = struct.Struct(">" + self.item)
        self.head = frame_length(self.size)[: 4 - (written.size - self.size)]
        self._pack: Any = written.pack
        self._pack_field: Any = struct.Struct(f">{len(self.head)}s{self.item}").pack
        self.unpack_from: Any = shape.unpack_from

    def raw(self, value: object) -> object:
        """The `struct` item for a value that is not None; raises as `encode`."""
        raise NotImplementedError

    def encode(self, value: object) -> bytes:
        """The binary form of a value that is not None."""
        return self.packed(self.raw(value), value)

    def packed(self, item: object, value: object) -> bytes:
        """The binary form of a `struct` item; ValueError if it is out of range.

        Args:
            item: what `raw` gave for the value.
            value: the value, whose type the error names.
        """
        try:
            data: bytes = self._pack(item)
        except (struct.error, OverflowError):
            raise self.out_of_range(value) from None
        return data

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append length and value by one `struct` call."""
        item = self.raw(value)
        try:
            field: bytes = self._pack_field(self.head, item)
        except (struct.error, OverflowError):
            raise self.out_of_range(value) from None
        parts.append(field)
        return 4 + self.size

    def out_of_range(self, value: object) -> ValueError:
        """The error for a value that is too large or too small."""
        return ValueError(f"{type(value).__name__} out of range of {self.name}")

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The value whose binary form is `buffer[start:end]`."""
        size: i64 = end - start
        if size != self.size:
            raise malformed(self.name, f"{size} bytes instead of {self.size}")
        if not self._by_shifts:
            raw: object = self.unpack_from(buffer, start)[0]
            return raw if self.exact is not None else self.convert(raw)
        integer: i64 = read_integer(buffer, start, size, self._with_sign)
        number: object = integer
        if integer < 0 and not self._with_sign:
            number = int(integer) + _UINT64  # only eight bytes can be read so
        return number if self.exact is not None else self.convert(number)

    def encode_text(self, value: object) -> str:
        """The text form: as Python prints the value that the server would send back."""
        data = self.encode(value)
        return str(self.decode(data, 0, len(data)))

    def decode_text(self, text: str) -> object:
        """The value, of a type that takes its text form as well."""
        return reread(self, text)

    def convert(self, raw: object) -> object:
        """The value for a raw `struct` item; DataError if Python has none."""
        return raw

    @property
    def converter(self) -> Callable[[Any], object]:
        """A function that does the same as `convert`."""
        return self.convert
