"""TypeMap: the codecs of a server's types, by OID and by name.

A map asks its parent for what it does not know itself.  The root of all is `BUILT_IN`, which `registry`
fills: the OIDs of the types that every PostgreSQL has are constants of its source
(src/include/catalog/pg_type.dat).  All other types, of extensions and of users, have OIDs that differ from
one database to the next; a map learns them from the catalog.

Rule: a map answers for every OID.  The values of a type that it does not know are sent and received as text.
Rule: every codec of a map is made from three things: the parent's codecs, what the catalog says, and what the
user has set.  A change of one makes the codecs anew, so the order of changes does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal

from .arrays import ArrayCodec
from .catalog import TypeRow, is_row
from .classes import ClassFields, EnumCodec, OwnJsonCodec, class_codec, members_of
from .codec import Codec
from .composites import CompositeCodec, DomainCodec, LabelCodec
from .extensions import extension_codec
from .infinity import INFINITE_TYPES, POLICIES, infinity_codec
from .own import Function, own_codec, type_key
from .ranges import MultirangeCodec, RangeCodec
from .scalars import OpaqueCodec, UnknownCodec
from .textform import in_their_format

__all__ = ["BUILT_IN", "TypeMap"]

_VERSION: Final = 1
# Types that are made of others, so deep, travel as text: compiled code crashes if it recurses too far.
_DEPTH: Final = 64


class TypeMap:
    """OIDs and names, with their codecs.  It may grow while it is used.

    Sessions in several threads and event loops may share it: what they do to it (`learn`, `forget`, `claim`
    and what follows it) is done by single operations of dicts, and waits for nobody.

    Args:
        parent: who is asked for what this map does not know; by default the map of the built-in types.  What
            is set in the parent when something is set here holds here, too, unless this map says otherwise.
            A map that has something set looks types up itself, and not in its parent.
        root: True for a map that has no parent, and learns nothing.

    Attributes:
        forgotten: how many times it has forgotten what it had learned.
    """

    __slots__ = (
        *("_added", "_askers", "_by_name", "_by_oid", "_rows", "forgotten", "parent"),
        *("_classes", "_decoders", "_encoders", "_infinities"),
    )

    def __init__(self, parent: TypeMap | None = None, *, root: bool = False) -> None:
        self.parent = None if root else parent or BUILT_IN
        self._by_oid: dict[int, Codec] = {}
        self._by_name: dict[str, Codec] = {}
        self._added: list[Codec] = []
        self.forgotten = 0
        self._askers: dict[int, object] = {}  # who is asking the catalog for a type
        self._rows: dict[int, TypeRow] = {}
        # What the user has set, by OID or name: each is made over the codec that the type has without it.
        self._infinities: dict[int | str, Callable[[Codec], Codec]] = {}
        self._classes: dict[int | str, Callable[[Codec], Codec]] = {}
        self._encoders: dict[int | str, Function] = {}
        self._decoders: dict[int | str, Function] = {}
        self._make()

    def set_codec(
        self,
        name: str | int,
        *,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], object] | None = None,
        format: Literal["text", "binary", "value"] = "text",
    ) -> None:
        """Convert the values of a type by functions of your own, also in arrays, ranges and composites.

        A statement that is prepared already keeps the codecs that it has: set them before the first query.
        What a function raises becomes the `__cause__` of a DataError, and the connection stays usable.

        A later call replaces the function of the same direction, and leaves the other one.  The functions are
        above what `set_infinity`, `set_enum`, `set_composite` and `set_json` say, in whatever order they were
        called: with the format "value" they get and give the values that these make.

        Args:
            name: the type's name ("geometry": in whatever schema it is), its schema and name
                ("gis.geometry"), or its OID.  A name that a built-in type has means that type, also one of
                SQL ("integer", "char" for bpchar) and that of its array ("text[]" or "_text").
            encode: makes of a parameter, which is not None, what is sent: a str (text), bytes (binary), or a
                value that the type takes without this codec (value).  None: parameters stay as they are.
            decode: makes the result's value of what arrives, which is the same.  None: results stay as they
                are.
            format: what the functions return and take.

        Raises:
            ValueError: neither function is given, or the format is none of the three, or one of the functions
                is for text and the other one, set before, for binary.
        """
        if encode is None and decode is None:
            raise ValueError("give encode, decode or both")
        if format not in ("text", "binary", "value"):
            raise ValueError('the format is "text", "binary" or "value"')
        key = self._key(name)
        other = (
            self._encoders.get(key) if encode is None else self._decoders.get(key) if decode is None else None
        )
        if other is not None and {other[1], format} == {"text", "binary"}:
            raise ValueError(f'the function for the other direction has the format "{other[1]}"')
        if encode is not None:
            self._encoders[key] = (encode, format)
        if decode is not None:
            self._decoders[key] = (decode, format)
        self._make()

    def set_enum(self, name: str | int, enum: type[Enum], *, by: Literal["value", "name"] = "value") -> None:
        """Have the values of an enum as members of a Python Enum.

        It replaces an earlier `set_composite`, and what `set_codec` says is above it.

        A parameter may be a member or a label.  A label without a member (one that was added to the type
        later) is a DataError.  It is for other types, too: an IntEnum fits a domain over int4.

        Args:
            name: the type, as for `set_codec`.
            enum: the Enum.
            by: what the labels are: the members' values, or their names.

        Raises:
            TypeError: `enum` is no Enum class.
            ValueError: `by` is neither of the two.
        """
        members = members_of(enum, by)
        self._put(self._classes, name, lambda codec: EnumCodec(codec, enum, members))

    def set_composite(self, name: str | int, kind: type[Any]) -> None:
        """Have the values of a composite type as objects of a class.

        A parameter may be such an object, or what a composite type takes otherwise: a tuple, a mapping.
        If class and type do not fit, converting a value is a DataError that says what is missing.

        Args:
            name: the type, as for `set_codec`.
            kind: a dataclass, a NamedTuple, a class of attrs or pydantic, or any other class whose
                constructor takes the fields by their names and whose objects have them as attributes.

        Raises:
            TypeError: it is no such class.
        """
        fields = ClassFields(kind)
        self._put(self._classes, name, lambda codec: class_codec(codec, fields))

    def set_json(
        self,
        *,
        dumps: Callable[[Any], str | bytes] | None = None,
        loads: Callable[[str], object] | None = None,
    ) -> None:
        """Convert json and jsonb by other functions than json.dumps and json.loads.

        Args:
            dumps: makes a document of a parameter.  A `RawJSON` is sent as it is.
            loads: makes a value of a document.
        """
        for name, prefix in (("json", b""), ("jsonb", b"\x01")):
            self._put(self._classes, name, _json_maker(prefix, dumps, loads))

    def set_infinity(self, policy: Literal["error", "none", "extreme", "object"]) -> None:
        """Say what `infinity` and `-infinity` of date, timestamp and timestamptz are in Python.

        It may be called before or after `set_codec`, whose functions of the format "value" get these values,
        but no None.

        Args:
            policy: "error": they are a DataError, as without this call.  "none": results have None.
                "extreme": the last and the first value that Python has (`date.max`), in both directions.
                "object": `pgproto.INFINITY` and `pgproto.MINUS_INFINITY`, in both directions.

        Raises:
            ValueError: it is none of these.
        """
        if policy not in POLICIES:
            raise ValueError('the policy is "error", "none", "extreme" or "object"')
        for name in INFINITE_TYPES:
            self._put(self._infinities, name, infinity_codec(policy))

    def save(self) -> dict[str, Any]:
        """What the map has learned, as a document for `load` that JSON can hold.

        Codecs that were set are not in it.
        """
        return {"version": _VERSION, "types": [row.document() for row in self._rows.values()]}

    def load(self, document: Mapping[str, Any]) -> None:
        """Learn types from a document, so that connections need not look them up.

        It must be of the same database, because OIDs mean something else in every other one.  It may be out
        of date: types that it lacks are looked up, and after the first error about an altered one all are.

        Args:
            document: what `save` returned.

        Raises:
            ValueError: it is no such document.
        """
        rows: object = document.get("types")
        if document.get("version") != _VERSION or not isinstance(rows, list):
            raise ValueError("no document of TypeMap.save")
        if not all(is_row(row) for row in rows):
            raise ValueError("a document of TypeMap.save that was altered")
        self.learn(rows)

    def add(self, codec: Codec) -> None:
        """Know a type by its codec's OID and name, in place of what was known by them."""
        self._added.append(codec)
        self._know(codec)

    def learn(self, rows: Sequence[Sequence[Any]]) -> None:
        """Know types by what the catalog says of them, until `forget`.

        Args:
            rows: the result of `catalog.LOOK_UP`; what they refer to is in them, or is known already.
        """
        told = [TypeRow(each) for each in rows]
        self._make_learned({row.oid: row for row in told if self.known(row.oid) is None})

    def forget(self) -> None:
        """Forget what was learned: a type was altered, and others may be made of it."""
        for oid in list(self._rows):
            self._rows.pop(oid, None)
            codec = self._by_oid.pop(oid, None)
            if codec is not None and self._by_name.get(codec.name) is codec:
                self._by_name.pop(codec.name, None)
        for codec in self._added:
            self._know(codec)
        self.forgotten += 1
        if self.parent is not None:
            self.parent.forget()

    def learned(self, oid: int) -> bool:
        """True if it is known what the catalog has said of a type."""
        if oid in self._rows or self.parent is None or self._is_set():
            return oid in self._rows
        return self.parent.learned(oid)

    def known(self, oid: int) -> Codec | None:
        """The codec of a type; None if neither this map nor a parent knows it."""
        codec = self._by_oid.get(oid)
        if codec is not None or self.parent is None or (self._is_set() and self.parent.learned(oid)):
            return codec
        return self.parent.known(oid)

    def named(self, name: str) -> Codec | None:
        """The codec of the type of this name, as `format_type` writes it; None if it is not known."""
        codec = self._by_name.get(name)
        if codec is None and self.parent is not None:
            codec = self.parent.named(name)
            return None if codec is None else self.known(codec.oid)
        return codec

    def codec(self, oid: int) -> Codec:
        """The codec of a type.

        Args:
            oid: the type's OID, as in RowDescription and ParameterDescription.
        """
        return self.known(oid) or UnknownCodec(oid)

    # ---- Who looks a type up, if several sessions need it at once

    def claim(self, oids: Sequence[int], asker: object) -> list[int]:
        """Say that one is about to ask the catalog for types.

        Args:
            oids: the types.
            asker: the same object for each claim of a session.

        Returns:
            Those that are still unknown and that nobody else asks for.
        """
        mine = [oid for oid in oids if self._askers.setdefault(oid, asker) is asker]
        # They may have been learned since the caller looked: known first, released then.
        learned = [oid for oid in mine if self.known(oid) is not None]
        self.release(learned, asker)
        return [oid for oid in mine if oid not in learned]

    def take_over(self, oids: Sequence[int], asker: object) -> None:
        """Ask for types that somebody else asks for, who takes too long."""
        for oid in oids:
            self._askers[oid] = asker

    def asker(self, oid: int) -> object:
        """Who asks for a type; None if nobody does."""
        return self._askers.get(oid)

    def release(self, oids: Iterable[int], asker: object) -> None:
        """These types were looked up, or will not be."""
        for oid in oids:
            if self._askers.get(oid) is asker:
                self._askers.pop(oid, None)

    # ---- Making codecs

    def _know(self, codec: Codec) -> None:
        self._by_oid[codec.oid] = codec
        self._by_name[codec.name] = codec

    def _key(self, name: str | int) -> str | int:
        """The OID, or the name that the map knows the type by."""
        key = type_key(name)
        if isinstance(key, str):
            schema, dot, typname = key.rpartition(".")
            if typname[:1] == "_" and schema in ("", "pg_catalog"):
                array = type_key(f"{'pg_catalog.' if typname == '_char' else ''}{typname[1:]}[]")
                array = str(array).removeprefix("pg_catalog.")
                if BUILT_IN.named(array) is not None:
                    return f"{schema}{dot}{array}"
        return key

    def _put(
        self,
        settings: dict[int | str, Callable[[Codec], Codec]],
        name: str | int,
        make: Callable[[Codec], Codec],
    ) -> None:
        """Remember what the user has set for a type."""
        settings[self._key(name)] = make
        self._make()

    def _is_set(self) -> bool:
        """True if the user has set something in this map."""
        return bool(self._infinities or self._classes or self._encoders or self._decoders)

    def _chain(self) -> list[TypeMap]:
        """The map, its parent, and so on."""
        found: list[TypeMap] = [self]
        while found[-1].parent is not None:
            found.append(found[-1].parent)
        return found

    def _unset(self) -> list[Codec]:
        """The codecs that every map has, and what was added to a parent in their place."""
        *parents, root = self._chain()
        added = {codec.oid: codec for each in reversed(parents[1:]) for codec in each._added}
        return [added.get(codec.oid, codec) for codec in root]

    def _as_set(self, codec: Codec, names: Sequence[str]) -> Codec:
        """The codec that the user has set for a type, made over the one that it has without that.

        What is set in this map goes before what is set in its parent.
        """
        keys: list[int | str] = [codec.oid, *names]
        chain = self._chain()
        for settings in ([each._infinities for each in chain], [each._classes for each in chain]):
            made = [each[key] for each in settings for key in keys if key in each]
            if made:
                codec = made[0](codec)
        encoders = [each._encoders[key] for each in chain for key in keys if key in each._encoders]
        decoders = [each._decoders[key] for each in chain for key in keys if key in each._decoders]
        return own_codec(codec, encoders[0] if encoders else None, decoders[0] if decoders else None)

    def _make(self) -> None:
        """Make all codecs of this map."""
        self._by_oid.clear()
        self._by_name.clear()
        is_set = self._is_set()
        for codec in self._unset() if is_set else self.parent or ():
            own = codec.over(self.codec)
            if is_set:
                own = self._as_set(own, [f"pg_catalog.{codec.name}", codec.name])
            if own is not self.known(codec.oid):
                self._know(own)
        for codec in self._added:
            self._know(codec)
        self._make_learned(dict(self._rows))

    def _make_learned(self, rows: dict[int, TypeRow]) -> None:
        """Make the codecs of types that the catalog has told of."""
        made: dict[int, Codec] = {}

        def codec(oid: int, depth: int) -> Codec:
            row = rows.get(oid)
            if row is None:
                return self.codec(oid)
            if oid not in made:
                opaque = OpaqueCodec(oid, row.name)
                made[oid] = opaque  # what is made of itself ends here
                names = [f"{row.schema}.{row.typname}"]
                names += [name for name in (row.name, row.typname) if BUILT_IN.named(name) is None]
                made[oid] = self._as_set(make(row, depth + 1) if depth < _DEPTH else opaque, names)
            return made[oid]

        def make(row: TypeRow, depth: int) -> Codec:
            if row.kind == "e":
                return LabelCodec(row.oid, row.name)
            if row.kind == "c":
                parts = [codec(oid, depth) for oid in row.field_types]
                fields = list(zip(row.field_names, parts, strict=True))
                return in_their_format(CompositeCodec(row.oid, row.name, fields), *parts)
            if row.kind == "d":
                return DomainCodec(row.oid, row.name, codec(row.element, depth))
            if row.element:
                element = codec(row.element, depth)
                return in_their_format(ArrayCodec(row.oid, element, row.name, row.delimiter), element)
            if row.part:
                part = codec(row.part, depth)
                if row.kind == "m":
                    return in_their_format(MultirangeCodec(row.oid, row.name, part), part)
                return in_their_format(RangeCodec(row.oid, row.name, part), part)
            known = extension_codec(row.extension, row.typname, row.oid, row.name)
            return known or OpaqueCodec(row.oid, row.name)

        for oid, row in rows.items():
            self._know(codec(oid, 0))
            self._rows[oid] = row  # last, so that what is known can always be forgotten

    def __iter__(self) -> Iterator[Codec]:
        """The codecs of this map, without its parent's."""
        return iter(self._by_oid.values())

    def __repr__(self) -> str:
        return f"<TypeMap of {len(self._by_oid)} types>"


def _json_maker(
    prefix: bytes, dumps: Callable[[Any], str | bytes] | None, loads: Callable[[str], object] | None
) -> Callable[[Codec], Codec]:
    return lambda codec: OwnJsonCodec(codec.oid, codec.name, prefix, dumps, loads)


BUILT_IN: Final = TypeMap(root=True)
"""The types that every server has."""
