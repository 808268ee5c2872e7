"""What a catalog says of types, for tests without a server."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["type_row"]


def type_row(
    oid: int,
    name: str,
    kind: str = "b",
    *,
    element: int = 0,
    part: int = 0,
    fields: Mapping[str, int] | None = None,
    schema: str = "public",
    extension: str = "",
    delimiter: str = ",",
) -> list[object]:
    """A row of `pgproto.types.catalog.LOOK_UP`.

    Args:
        oid: the type's OID.
        name: its name; the search_path leads to "public" alone.
        kind: typtype.
        element: of an array, or the base type of a domain.
        part: of a range or a multirange.
        fields: of a composite: names and OIDs.
        schema: where it is.
        extension: to which it belongs.
        delimiter: of an array's elements in text.
    """
    shown = name if schema == "public" else f"{schema}.{name}"
    names = fields or {}
    fields_of = [list(names), list(names.values())]
    return [oid, shown, name, kind, element, part, *fields_of, delimiter, schema, extension]
