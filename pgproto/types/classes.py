"""The user's classes for enums, composite types and JSON: `TypeMap.set_enum`, `set_composite`, `set_json`.

    enum         a member of an Enum class, by its value or by its name; a value is taken as well
    composite    an object of a class whose constructor takes the fields by their names; what a composite
                 takes otherwise is taken as well
    json jsonb   by other functions than json.dumps and json.loads

Rule: a class that does not fit its type is told when a value is converted, because the type is known only
then; the text says what is missing on which side.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..wire.exact import exact_bytes, exact_str
from .codec import Codec, expected, malformed
from .composites import CompositeCodec, DomainCodec
from .own import OwnCodec, by_decoder, by_encoder
from .rawjson import RawJSON
from .scalars import JsonCodec
from .textform import TextFormCodec

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["ClassFields", "EnumCodec", "OwnJsonCodec", "class_codec", "members_of"]


def members_of(kind: type[Enum], by: str) -> dict[object, Enum]:
    """The members by what stands for them in the database: their values or their names, aliases included.

    Raises:
        TypeError: it is no Enum class.
        ValueError: `by` is something else.
    """
    if not isinstance(kind, type) or not issubclass(kind, Enum):
        raise TypeError("an enum is registered with a class that is derived from enum.Enum")
    if by not in ("value", "name"):
        raise ValueError('an enum goes by "value" or by "name"')
    return {member._value_ if by == "value" else name: member for name, member in kind.__members__.items()}


class EnumCodec(Codec):
    """A type whose values are members of an Enum.

    Args:
        base: the codec that the type has without it.
        kind: the Enum.
        members: its members by the values of `base`.
    """

    __slots__ = ("_kind", "_members", "_values", "base")

    def __init__(self, base: Codec, kind: type[Enum], members: Mapping[object, Enum]) -> None:
        super().__init__(base.oid, base.name)
        self.base = base
        self.format = base.format
        self._kind = kind
        self._members: dict[object, Enum] = dict(members)
        self._values: dict[str, object] = {}
        for value, member in members.items():
            self._values.setdefault(member._name_, value)

    def _value(self, given: object) -> object:
        if not isinstance(given, Enum):
            return given
        if not isinstance(given, self._kind) or given._name_ not in self._values:
            raise expected(self._kind.__name__, given)
        return self._values[given._name_]

    def _member(self, value: object) -> object:
        member = self._members.get(value)
        if member is None:
            raise DataError(
                f"{value!r} of type {self.name} is no member of {self._kind.__name__}: add it there, or "
                "select it as text (cast it ::text)"
            )
        return member

    def encode(self, value: object) -> bytes:
        """Take a member, or what stands for one."""
        return self.base.encode(self._value(value))

    def encode_text(self, value: object) -> str:
        """Take a member, or what stands for one."""
        return self.base.encode_text(self._value(value))

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The member."""
        return self._member(self.base.decode(buffer, start, end))

    def decode_text(self, text: str) -> object:
        """The member."""
        return self._member(self.base.decode_text(text))


class ClassFields:
    """What the constructor of a class takes, and where its objects keep it.

    Args:
        kind: a dataclass, a NamedTuple, a class of attrs, or any other whose constructor takes its attributes
            by their names.

    Raises:
        TypeError: it is no class, or one whose constructor cannot be called by names.

    Attributes:
        kind: the class.
        attributes: the attribute for each parameter.
        required: the parameters without a default.
        takes_all: it takes any other name, too.
    """

    __slots__ = ("attributes", "kind", "required", "takes_all")

    def __init__(self, kind: type[Any]) -> None:
        if not isinstance(kind, type):
            raise TypeError(f"a composite type is registered with a class, not {type(kind).__name__}")
        try:
            parameters = list(inspect.signature(kind).parameters.values())
        except ValueError:
            raise TypeError(f"{kind.__name__} does not say what its constructor takes") from None
        self.kind: Callable[..., object] = kind
        self.attributes: dict[str, str] = {}
        self.required: list[str] = []
        self.takes_all = False
        private: dict[str, str] = {}
        of_attrs: Any = getattr(kind, "__attrs_attrs__", ())
        for each in of_attrs:
            private[each.alias] = each.name
        for parameter in parameters:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(f"the constructor of {kind.__name__} takes {parameter.name} by position only")
            if parameter.kind is parameter.VAR_KEYWORD:
                self.takes_all = True
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                self.attributes[parameter.name] = private.get(parameter.name, parameter.name)
                if parameter.default is parameter.empty:
                    self.required.append(parameter.name)

    def made(self, values: dict[str, object]) -> object:
        """An object of the class."""
        return self.kind(**values)

    def mismatch(self, type_name: str, names: tuple[str, ...]) -> str:
        """Why a composite type with these fields and the class do not fit; "" if they do."""
        name = getattr(self.kind, "__name__", "")
        lacking = [] if self.takes_all else [each for each in names if each not in self.attributes]
        unfilled = [each for each in self.required if each not in names]
        found: list[str] = []
        if lacking:
            found.append(f"{name} does not take {', '.join(lacking)}")
        if unfilled:
            found.append(f"the type has no {', '.join(unfilled)}, which {name} needs")
        return f"type {type_name} does not fit its class: {'; '.join(found)}" if found else ""


class ClassCodec(CompositeCodec):
    """A composite type whose values are objects of a class.

    Args:
        base: the codec that the type has without it.
        fields: of the class, which fits the type.
    """

    __slots__ = ("_fields",)

    def __init__(self, base: CompositeCodec, fields: ClassFields) -> None:
        super().__init__(base.oid, base.name, base.fields)
        self.mutable = True
        self._fields = fields

    def _values(self, value: object) -> list[object]:
        kind: Any = self._fields.kind
        if not isinstance(value, kind):
            return super()._values(value)
        attributes = self._fields.attributes
        values: list[object] = []
        for name in self._columns.names:
            attribute = attributes.get(name, name)
            values.append(by_encoder(f"its {attribute!r}", operator.attrgetter(attribute), value))
        return values

    def _made(self, values: list[object]) -> object:
        return by_decoder("its class", self._fields.made, dict(zip(self._columns.names, values, strict=True)))


class MisfitCodec(Codec):
    """A type whose values cannot be converted.

    Args:
        base: the codec that the type has otherwise.
        reason: why.
    """

    __slots__ = ("_reason",)

    def __init__(self, base: Codec, reason: str) -> None:
        super().__init__(base.oid, base.name)
        self.format = base.format
        self._reason = reason

    def encode(self, value: object) -> bytes:
        """Take nothing."""
        raise ValueError(self._reason)

    def encode_text(self, value: object) -> str:
        """Take nothing."""
        raise ValueError(self._reason)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """Nothing."""
        raise DataError(self._reason)

    def decode_text(self, text: str) -> object:
        """Nothing."""
        raise DataError(self._reason)


def class_codec(codec: Codec, fields: ClassFields) -> Codec:
    """The codec of a type whose values are objects of a class.

    Args:
        codec: the codec that the type has without it.
        fields: of the class.
    """
    if isinstance(codec, DomainCodec):
        return DomainCodec(codec.oid, codec.name, class_codec(codec.base, fields))
    if isinstance(codec, OwnCodec):  # of the type that a domain is made of
        return class_codec(codec.base, fields)
    typed = codec.typed if isinstance(codec, TextFormCodec) else codec
    if not isinstance(typed, CompositeCodec):
        return MisfitCodec(codec, f"type {codec.name} is no composite type")
    reason = fields.mismatch(codec.name, tuple([name for name, _ in typed.fields]))
    if reason:
        return MisfitCodec(codec, reason)
    own = ClassCodec(typed, fields)
    return own if typed is codec else TextFormCodec(own)


class OwnJsonCodec(JsonCodec):
    """json or jsonb by functions of the user's.

    Args:
        dumps: makes a document (str or bytes) of a value; None for json.dumps.
        loads: makes a value of a document (str); None for json.loads.
    """

    __slots__ = ("_dumps", "_loads")

    def __init__(
        self,
        oid: int,
        name: str,
        prefix: bytes,
        dumps: Callable[[Any], str | bytes] | None,
        loads: Callable[[str], object] | None,
    ) -> None:
        super().__init__(oid, name, prefix)
        self._dumps = dumps
        self._loads = loads

    def encode(self, value: object) -> bytes:
        """Take what the function takes."""
        if self._dumps is None or isinstance(value, RawJSON):
            return super().encode(value)
        made = by_encoder("its dumps", self._dumps, value)
        if isinstance(made, (bytes, bytearray)):
            return self._prefix + exact_bytes(made)
        if not isinstance(made, str):
            raise TypeError(f"its dumps returned {type(made).__name__} instead of str or bytes")
        return self._prefix + RawJSON(exact_str(made)).data

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """What the function returns."""
        if self._loads is None:
            return super().decode(buffer, start, end)
        if self._prefix:
            if start == end or buffer[start] != self._prefix[0]:
                raise malformed(self.name, "not version 1")
            start += 1
        try:
            text = buffer[start:end].decode()
        except UnicodeDecodeError as error:
            raise malformed(self.name, f"not UTF-8 at byte {error.start} ({error.reason})") from None
        return by_decoder("its loads", self._loads, text)
