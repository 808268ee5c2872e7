"""The types that every server has, with their codecs.

Their OIDs are constants of PostgreSQL (src/include/catalog/pg_type.dat).
The reg* types are text on purpose: their text form is the object's name, their binary form only a number.
"""

from __future__ import annotations

from typing import Final

from .arrays import ArrayCodec
from .bits import BitCodec
from .codec import Codec
from .datetimes import DateCodec, IntervalCodec, TimeCodec, TimestampCodec, TimetzCodec
from .figures import Box, Circle, Line, LineSegment, Point
from .geometry import FigureCodec, PointsCodec
from .network import CidrCodec, InetCodec, MacCodec
from .numeric import NumericCodec
from .ranges import MultirangeCodec, RangeCodec
from .scalars import (
    BoolCodec,
    ByteaCodec,
    CharCodec,
    FloatCodec,
    IntCodec,
    JsonCodec,
    NameCodec,
    OpaqueCodec,
    TextCodec,
    UuidCodec,
    VoidCodec,
)
from .system import JsonPathCodec, LsnCodec, RecordCodec, TidCodec, VectorCodec
from .textform import in_their_format
from .typemap import BUILT_IN, TypeMap

__all__ = ["BUILT_IN"]

# Each codec, and the OID of its type's array type (0: there is none).
_SCALARS: Final[list[tuple[Codec, int]]] = [
    (BoolCodec(16, "bool"), 1000),
    (ByteaCodec(17, "bytea"), 1001),
    (CharCodec(18, '"char"'), 1002),
    (NameCodec(19, "name"), 1003),
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
    (BitCodec(1560, "bit"), 1561),
    (BitCodec(1562, "varbit"), 1563),
    (InetCodec(869, "inet"), 1041),
    (CidrCodec(650, "cidr"), 651),
    (MacCodec(829, "macaddr", 6), 1040),
    (MacCodec(774, "macaddr8", 8), 775),
    (FigureCodec(600, "point", Point, (False, False), "(x,y)"), 1017),
    (FigureCodec(628, "line", Line, (False, False, False), "{a,b,c}"), 629),
    (FigureCodec(601, "lseg", LineSegment, (True, True), "[(x1,y1),(x2,y2)]"), 1018),
    (FigureCodec(603, "box", Box, (True, True), "(x1,y1),(x2,y2)"), 1020),
    (FigureCodec(718, "circle", Circle, (True, False), "<(x,y),r>"), 719),
    (PointsCodec(602, "path", True), 1019),
    (PointsCodec(604, "polygon", False), 1027),
    (TidCodec(27, "tid"), 1010),
    (LsnCodec(3220, "pg_lsn"), 3221),
    (JsonPathCodec(4072, "jsonpath"), 4073),
    (TextCodec(142, "xml"), 143),
    (JsonCodec(3802, "jsonb", b"\x01"), 3807),
    (IntCodec(5069, "xid8", "Q"), 271),
]

# Types whose values are sent and received as text: name, OID, and the OID of their array type.
_TEXT_ONLY: Final[list[tuple[str, int, int]]] = [
    ("aclitem", 1033, 1034),
    ("gtsvector", 3642, 3644),
    ("money", 790, 791),
    ("pg_brin_bloom_summary", 4600, 0),
    ("pg_brin_minmax_multi_summary", 4601, 0),
    ("pg_dependencies", 3402, 0),
    ("pg_mcv_list", 5017, 0),
    ("pg_ndistinct", 3361, 0),
    ("pg_node_tree", 194, 0),
    ("pg_snapshot", 5038, 5039),
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
    ("tsquery", 3615, 3645),
    ("tsvector", 3614, 3643),
    ("txid_snapshot", 2970, 2949),
]


# Ranges: name, OID, OID of the array type, OID of the bounds' type; then the same of their multirange.
_RANGES: Final[list[tuple[str, int, int, int, str, int, int]]] = [
    ("int4range", 3904, 3905, 23, "int4multirange", 4451, 6150),
    ("int8range", 3926, 3927, 20, "int8multirange", 4536, 6157),
    ("numrange", 3906, 3907, 1700, "nummultirange", 4532, 6151),
    ("daterange", 3912, 3913, 1082, "datemultirange", 4535, 6155),
    ("tsrange", 3908, 3909, 1114, "tsmultirange", 4533, 6152),
    ("tstzrange", 3910, 3911, 1184, "tstzmultirange", 4534, 6153),
]


_BOX: Final = 603


def _fill(types: TypeMap) -> None:
    def add(codec: Codec, array_oid: int) -> None:
        types.add(codec)
        if array_oid:
            delimiter = ";" if codec.oid == _BOX else ","
            types.add(in_their_format(ArrayCodec(array_oid, codec, delimiter=delimiter), codec))

    for codec, array_oid in _SCALARS:
        add(codec, array_oid)
    for name, oid, array_oid in _TEXT_ONLY:
        add(OpaqueCodec(oid, name), array_oid)
    for name, oid, array_oid, element, several, multirange_oid, multirange_array in _RANGES:
        each = RangeCodec(oid, name, types.codec(element))
        add(each, array_oid)
        add(MultirangeCodec(multirange_oid, several, each), multirange_array)
    add(VectorCodec(22, types.codec(21), "int2vector"), 1006)
    add(VectorCodec(30, types.codec(26), "oidvector"), 1013)
    add(RecordCodec(2249, "record", types.codec), 2287)


_fill(BUILT_IN)
