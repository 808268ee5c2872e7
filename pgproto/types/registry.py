"""The types that every server has, with their codecs.

Their OIDs are constants of PostgreSQL (src/include/catalog/pg_type.dat).
The reg* types are text on purpose: their text form is the object's name, their binary form only a number.
"""

from __future__ import annotations

from typing import Final

from .arrays import ArrayCodec
from .codec import Codec
from .datetimes import DateCodec, IntervalCodec, TimeCodec, TimestampCodec, TimetzCodec
from .numeric import NumericCodec
from .scalars import (
    BoolCodec,
    ByteaCodec,
    CharCodec,
    FloatCodec,
    IntCodec,
    JsonCodec,
    OpaqueCodec,
    TextCodec,
    UuidCodec,
    VoidCodec,
)
from .typemap import TypeMap

__all__ = ["BUILT_IN"]

# Each codec, and the OID of its type's array type (0: there is none).
_SCALARS: Final[list[tuple[Codec, int]]] = [
    (BoolCodec(16, "bool"), 1000),
    (ByteaCodec(17, "bytea"), 1001),
    (CharCodec(18, '"char"'), 1002),
    (TextCodec(19, "name"), 1003),
    (IntCodec(20, "int8", "q"), 1016),
    (IntCodec(21, "int2", "h"), 1005),
    (IntCodec(23, "int4", "i"), 1007),
    (TextCodec(25, "text"), 1009),
    (IntCodec(26, "oid", "I"), 1028),
    (IntCodec(28, "xid", "I"), 1011),
    (IntCodec(29, "cid", "I"), 1012),
    (JsonCodec(114, "json", b""), 199),
    (FloatCodec(700, "float4", "f"), 1021),
    (FloatCodec(701, "float8", "d"), 1022),
    (TextCodec(705, "unknown"), 0),
    (TextCodec(1042, "bpchar"), 1014),
    (TextCodec(1043, "varchar"), 1015),
    (DateCodec(1082, "date"), 1182),
    (TimeCodec(1083, "time"), 1183),
    (TimestampCodec(1114, "timestamp", False), 1115),
    (TimestampCodec(1184, "timestamptz", True), 1185),
    (IntervalCodec(1186, "interval"), 1187),
    (TimetzCodec(1266, "timetz"), 1270),
    (NumericCodec(1700, "numeric"), 1231),
    (TextCodec(1790, "refcursor"), 2201),
    (TextCodec(2275, "cstring"), 1263),
    (VoidCodec(2278, "void"), 0),
    (UuidCodec(2950, "uuid"), 2951),
    (JsonCodec(3802, "jsonb", b"\x01"), 3807),
    (IntCodec(5069, "xid8", "Q"), 271),
]

# Types whose values are sent and received as text: name, OID, and the OID of their array type.
_TEXT_ONLY: Final[list[tuple[str, int, int]]] = [
    ("aclitem", 1033, 1034),
    ("bit", 1560, 1561),
    ("box", 603, 1020),
    ("cidr", 650, 651),
    ("circle", 718, 719),
    ("daterange", 3912, 3913),
    ("inet", 869, 1041),
    ("int2vector", 22, 1006),
    ("int4range", 3904, 3905),
    ("int8range", 3926, 3927),
    ("int4multirange", 4451, 6150),
    ("int8multirange", 4536, 6157),
    ("datemultirange", 4535, 6155),
    ("nummultirange", 4532, 6151),
    ("tsmultirange", 4533, 6152),
    ("tstzmultirange", 4534, 6153),
    ("jsonpath", 4072, 4073),
    ("line", 628, 629),
    ("lseg", 601, 1018),
    ("macaddr", 829, 1040),
    ("macaddr8", 774, 775),
    ("money", 790, 791),
    ("numrange", 3906, 3907),
    ("oidvector", 30, 1013),
    ("path", 602, 1019),
    ("pg_lsn", 3220, 3221),
    ("pg_snapshot", 5038, 5039),
    ("point", 600, 1017),
    ("polygon", 604, 1027),
    ("record", 2249, 2287),
    ("regclass", 2205, 2210),
    ("regcollation", 4191, 4192),
    ("regconfig", 3734, 3735),
    ("regdictionary", 3769, 3770),
    ("regnamespace", 4089, 4090),
    ("regoper", 2203, 2208),
    ("regoperator", 2204, 2209),
    ("regproc", 24, 1008),
    ("regprocedure", 2202, 2207),
    ("regrole", 4096, 4097),
    ("regtype", 2206, 2211),
    ("tid", 27, 1010),
    ("tsquery", 3615, 3645),
    ("tsrange", 3908, 3909),
    ("tstzrange", 3910, 3911),
    ("tsvector", 3614, 3643),
    ("varbit", 1562, 1563),
    ("xml", 142, 143),
]


def _built_in() -> TypeMap:
    types = TypeMap()
    opaque = [(OpaqueCodec(oid, name), array_oid) for name, oid, array_oid in _TEXT_ONLY]
    for codec, array_oid in [*_SCALARS, *opaque]:
        types.add(codec)
        if array_oid:
            name = f"{codec.name}[]"
            types.add(ArrayCodec(array_oid, codec) if codec.format else OpaqueCodec(array_oid, name))
    return types


BUILT_IN: Final = _built_in()
"""The types that every server has."""
