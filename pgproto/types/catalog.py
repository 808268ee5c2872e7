"""What the catalog says of the types that are not built in.

One query finds the types of some OIDs, and what they are made of: elements of arrays, base types of domains,
bounds of ranges, ranges of multiranges, fields of composites, and so on, some levels deep.  It goes by
indexes alone, and compares with arrays, of which the planner thinks that they have few elements: so its
price is that of the types that it finds, and the server's JIT keeps away from it.

Manual: "System Catalogs" (pg_type, pg_range, pg_attribute, pg_depend).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

__all__ = ["LOOK_UP", "LOOK_UP_COLUMNS", "LOOK_UP_PARAMETER", "TypeRow", "is_row", "missing"]

_LEVELS: Final = 5

_ONE_LEVEL: Final = """
  SELECT t.oid, pg_catalog.format_type(t.oid, NULL), t.typname, t.typtype::pg_catalog.text,
    CASE WHEN t.typtype = 'd' THEN t.typbasetype WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END
      AS element,
    COALESCE((SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid),
      (SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid), 0) AS part,
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid
      AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
    ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid
      AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS fields,
    t.typdelim::pg_catalog.text,
    (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = t.typnamespace),
    COALESCE((SELECT e.extname::pg_catalog.text FROM pg_catalog.pg_depend d, pg_catalog.pg_extension e
      WHERE d.classid = 1247 AND d.objid = t.oid AND d.objsubid = 0 AND d.deptype = 'e'
      AND d.refclassid = 3079 AND e.oid = d.refobjid AND t.typsend <> 0 AND t.typreceive <> 0), '')
  FROM pg_catalog.pg_type t
  WHERE (t.oid >= 10000 OR t.typtype <> 'b' OR t.typcategory = 'A') AND t.oid = ANY ("""
# The OIDs from here on are given out by initdb and later; those before it are constants of the source.
_FIRST_GIVEN: Final = 10000


def _look_up() -> str:
    levels = [f"t0 AS MATERIALIZED ({_ONE_LEVEL}$1::pg_catalog.oid[]))"]
    for level in range(1, _LEVELS):
        parts = f"SELECT pg_catalog.unnest(fields || element || part) FROM t{level - 1}"  # noqa: S608
        levels.append(f"t{level} AS MATERIALIZED ({_ONE_LEVEL}ARRAY({parts})))")
    every = " UNION ALL ".join([f"SELECT * FROM t{level}" for level in range(_LEVELS)])  # noqa: S608
    return f"WITH {', '.join(levels)} {every}"


LOOK_UP: Final = _look_up()
"""Its parameter is an array of OIDs; its rows are `TypeRow`s, some perhaps twice."""
LOOK_UP_PARAMETER: Final = 1028
"""The OID of its parameter's type."""
LOOK_UP_COLUMNS: Final = (26, 25, 19, 25, 26, 26, 1009, 1028, 25, 19, 25)
"""The OIDs of its columns' types."""


class TypeRow:
    """What the catalog says of one type.

    Args:
        row: a row of `LOOK_UP`.

    Attributes:
        oid: its OID.
        name: as `format_type` writes it: with its schema, if the search_path does not lead there.
        typname: its name alone.
        kind: typtype: "b" base, "c" composite, "d" domain, "e" enum, "r" range, "m" multirange, "p" pseudo.
        element: the OID of an array's element, or of a domain's base type; 0 if it is neither.
        part: the OID of a range's bounds, or of a multirange's ranges; 0 if it is neither.
        field_names: of a composite.
        field_types: of a composite.
        delimiter: what is between the elements of an array in text.
        schema: the name of its schema.
        extension: the name of the extension that it belongs to; "" if it belongs to none, or has no binary
            form.
    """

    __slots__ = (
        "delimiter",
        "element",
        "extension",
        "field_names",
        "field_types",
        "kind",
        "name",
        "oid",
        "part",
        "schema",
        "typname",
    )

    def __init__(self, row: Sequence[Any]) -> None:
        self.oid: int = row[0]
        self.name: str = row[1]
        self.typname: str = row[2]
        self.kind: str = row[3]
        self.element: int = row[4]
        self.part: int = row[5]
        self.field_names: list[str] = row[6]
        self.field_types: list[int] = row[7]
        self.delimiter: str = row[8]
        self.schema: str = row[9]
        self.extension: str = row[10]

    def document(self) -> list[object]:
        """The row, as JSON can hold it."""
        of_composite = [list(self.field_names), list(self.field_types)]
        of_all = [self.oid, self.name, self.typname, self.kind, self.element, self.part]
        return [*of_all, *of_composite, self.delimiter, self.schema, self.extension]


_SHAPE: Final = (int, str, str, str, int, int, list, list, str, str, str)


def is_row(row: object) -> bool:
    """True for what `TypeRow.document` has given."""
    if not isinstance(row, list) or [type(each) for each in row] != list(_SHAPE):
        return False
    names: list[object] = row[6]
    types: list[object] = row[7]
    if len(names) != len(types):
        return False
    return all(type(each) is str for each in names) and all(type(each) is int for each in types)


def missing(rows: Sequence[Sequence[Any]]) -> list[int]:
    """The OIDs of what the rows refer to and do not have: it is more levels deep."""
    found = [TypeRow(row) for row in rows]
    wanted: dict[int, None] = {}
    for row in found:
        wanted.update(dict.fromkeys([row.element, row.part, *row.field_types]))
    for row in found:
        wanted.pop(row.oid, None)
    return [oid for oid in wanted if oid >= _FIRST_GIVEN]
