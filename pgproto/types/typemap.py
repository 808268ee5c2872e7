"""TypeMap: the codecs of a server's types, by OID and by name.

A map asks its parent for what it does not know itself.  The root of all is `registry.BUILT_IN`: the OIDs of
the types that every PostgreSQL has are constants of its source (src/include/catalog/pg_type.dat).  All other
types, of extensions and of users, have OIDs that differ from one database to the next.

Rule: a map answers for every OID.  The values of a type that it does not know are sent and received as text.
"""

from __future__ import annotations

from collections.abc import Iterator

from .codec import Codec
from .scalars import OpaqueCodec

__all__ = ["TypeMap"]


class TypeMap:
    """OIDs and names, with their codecs.  It may grow while it is used.

    Args:
        parent: who is asked for what this map does not know; None for nobody.
    """

    __slots__ = ("_by_name", "_by_oid", "_learned", "parent")

    def __init__(self, parent: TypeMap | None = None) -> None:
        self.parent = parent
        self._by_oid: dict[int, Codec] = {}
        self._by_name: dict[str, Codec] = {}
        self._learned: list[Codec] = []

    def add(self, codec: Codec) -> None:
        """Know a type by its codec's OID and name, in place of what was known by them."""
        self._by_oid[codec.oid] = codec
        self._by_name[codec.name] = codec

    def learn(self, codec: Codec) -> None:
        """Know a type by what the catalog says of it, until `forget`."""
        self._learned.append(codec)
        self.add(codec)

    def forget(self) -> None:
        """Forget what was learned: a type was altered, and others may be made of it."""
        learned, self._learned = self._learned, []
        for codec in learned:
            if self._by_oid.get(codec.oid) is codec:
                del self._by_oid[codec.oid]
            if self._by_name.get(codec.name) is codec:
                del self._by_name[codec.name]

    def known(self, oid: int) -> Codec | None:
        """The codec of a type; None if neither this map nor a parent knows it."""
        codec = self._by_oid.get(oid)
        if codec is None and self.parent is not None:
            return self.parent.known(oid)
        return codec

    def named(self, name: str) -> Codec | None:
        """The codec of the type of this name, as `format_type` writes it; None if it is not known."""
        codec = self._by_name.get(name)
        if codec is None and self.parent is not None:
            return self.parent.named(name)
        return codec

    def codec(self, oid: int) -> Codec:
        """The codec of a type.

        Args:
            oid: the type's OID, as in RowDescription and ParameterDescription.
        """
        return self.known(oid) or OpaqueCodec(oid, f"with OID {oid}")

    def __iter__(self) -> Iterator[Codec]:
        """The codecs that were added to this map."""
        return iter(self._by_oid.values())

    def __repr__(self) -> str:
        return f"<TypeMap of {len(self._by_oid)} types>"
