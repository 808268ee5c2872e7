"""Random values of a server's types, each in Python and as the text that PostgreSQL's own input reads.

The text is not made by the library: what the server makes of it says whether what was sent is right.
Values are such as come back unchanged: multiranges in order, the larger corner of a box first, and so on.
"""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any, Final
from uuid import UUID

from pgproto.types import (
    Array,
    BitString,
    Box,
    Circle,
    Interval,
    Line,
    LineSegment,
    Multirange,
    Path,
    Point,
    Polygon,
    Range,
)
from tests.types.values import Catalog, Type

__all__ = ["Made", "Maker"]

Made = tuple[Any, str]
"""A value, and its text."""

_ALPHABET: Final = "aZ09 ,;:{}()[]\"'\\/\n\t\r<>&|!*$%äß€日\U0001d11e\x01\x7f\u2028"
_EDGES: Final = (0, 1, -1, 2, 10, 255, 256)
_DISCRETE: Final = ("integer", "bigint", "date")
_EPOCH: Final = datetime(2000, 1, 1)


class Maker:
    """Makes random values.

    Args:
        catalog: the server's types.
        seed: the same one makes the same values.
    """

    def __init__(self, catalog: Catalog, seed: int) -> None:
        self.catalog = catalog
        self.rng = random.Random(seed)
        self.base: dict[str, Callable[[], Made]] = {
            "boolean": lambda: self.pick([(True, "t"), (False, "f")]),
            "smallint": lambda: self.integer(-(2**15), 2**15 - 1),
            "integer": lambda: self.integer(-(2**31), 2**31 - 1),
            "bigint": lambda: self.integer(-(2**63), 2**63 - 1),
            "oid": lambda: self.integer(0, 2**32 - 1),
            "xid": lambda: self.integer(0, 2**32 - 1),
            "cid": lambda: self.integer(0, 2**32 - 1),
            "xid8": lambda: self.integer(0, 2**64 - 1),
            "real": self.float4,
            "double precision": self.float8,
            "numeric": self.numeric,
            "text": self.text,
            "character varying": self.text,
            "bpchar": self.padded,
            "refcursor": self.text,
            "name": self.name,
            '"char"': self.char,
            "bytea": self.bytea,
            "uuid": self.uuid,
            "json": self.json,
            "jsonb": self.json,
            "jsonpath": self.jsonpath,
            "date": self.date,
            "time without time zone": self.time,
            "time with time zone": self.timetz,
            "timestamp without time zone": self.timestamp,
            "timestamp with time zone": self.timestamptz,
            "interval": self.interval,
            '"bit"': self.bits,
            "bit varying": self.bits,
            "inet": lambda: self.address(False),
            "cidr": lambda: self.address(True),
            "macaddr": lambda: self.mac(6),
            "macaddr8": lambda: self.mac(8),
            "point": self.point,
            "line": self.line,
            "lseg": lambda: self.two_points(LineSegment),
            "box": lambda: self.two_points(Box),
            "path": self.path,
            "polygon": self.polygon,
            "circle": self.circle,
            "tid": self.tid,
            "pg_lsn": self.lsn,
            "int2vector": lambda: self.vector(-(2**15), 2**15 - 1),
            "oidvector": lambda: self.vector(0, 2**32 - 1),
        }

    def types(self) -> list[Type]:
        """The types of which it makes values: those of `base`, and what is made of them."""
        return [
            row
            for row in self.catalog
            if (row.kind != "c" or row.name.startswith("every."))
            and "information_schema" not in row.name
            and all(
                part.name in self.base
                or (part.part and part.name not in self.catalog.without)
                or part.kind == "e"
                or part.name.startswith("every.")
                for part in self.catalog.parts(row.oid)
            )
        ]

    def make(self, oid: int) -> Made:
        """A value of a type."""
        row = self.catalog.types[oid]
        made = self.base.get(row.name)
        if made is not None:
            return made()
        if row.kind == "e":
            label = self.rng.choice(row.labels)
            return label, label
        if row.kind == "d":
            return self.make(row.part)
        if row.kind == "c":
            return self.composite(row)
        if row.kind == "r":
            return self.range_(row)
        if row.kind == "m":
            return self.multirange(row)
        return self.array(row)

    def pick(self, values: Sequence[Made]) -> Made:
        return self.rng.choice(values)

    # ---- What is made of other types

    def optional(self, oid: int) -> tuple[Any, str | None]:
        if self.rng.random() < 0.15 and self.catalog.types[oid].name != "every.int_of_int":
            return None, None
        return self.make(oid)

    def composite(self, row: Type) -> Made:
        fields = [self.optional(oid) for oid in row.fields]
        texts = ["" if text is None else _quoted(text) for _, text in fields]
        return tuple(value for value, _ in fields), f"({','.join(texts)})"

    def array(self, row: Type) -> Made:
        element = self.catalog.types[row.part]
        most = 1 if element.name in ("json", "jsonb") or self._holds_lists(element) else 3
        shape = [self.rng.randint(1, 3) for _ in range(self.rng.choice([0, 1, 1, 1, 2, most]))]
        if most == 1:
            shape = shape[:1]
        if not shape:
            return [], "{}"
        delimiter = ";" if element.name == "box" else ","

        def level(depth: int) -> Made:
            items: list[Any] = []
            texts: list[str] = []
            for _ in range(shape[depth]):
                if depth + 1 < len(shape):
                    value, text = level(depth + 1)
                    texts.append(text)
                else:
                    value, leaf = self.optional(element.oid)
                    texts.append("NULL" if leaf is None else _quoted(leaf))
                items.append(value)
            return items, "{" + delimiter.join(texts) + "}"

        items, text = level(0)
        if self.rng.random() < 0.8:
            return items, text
        bounds = [self.rng.choice([0, 1, -1, 2, -(2**31), 2**31 - 9]) for _ in shape]
        subscripts = [f"[{at}:{at + length - 1}]" for at, length in zip(bounds, shape, strict=True)]
        return items if set(bounds) == {1} else Array(items, bounds), f"{''.join(subscripts)}={text}"

    def _holds_lists(self, element: Type) -> bool:
        """True for a domain over arrays, and the like: a list is one value of it."""
        if element.kind == "d":
            base = self.catalog.types[element.part]
            return (base.kind == "b" and bool(base.part)) or self._holds_lists(base)
        return False

    def range_(self, row: Type) -> Made:
        dice = self.rng.random()
        if dice < 0.1:
            return Range(empty=True), "empty"
        if dice < 0.2:
            return Range(), "(,)"
        low, high = self.points(row.part, 2)
        discrete = self.catalog.types[row.part].name in _DISCRETE
        words = "[)" if discrete else self.rng.choice(["[)", "[]", "(]", "()"])
        if low[0] == high[0]:
            if discrete:
                return Range(empty=True), "empty"
            words = "[]"
        if dice < 0.3:
            return Range(None, high[0], "(" + words[1]), f"(,{_quoted(high[1])}{words[1]}"
        if dice < 0.4:
            return Range(low[0], None, words[0] + ")"), f"{words[0]}{_quoted(low[1])},)"
        return (
            Range(low[0], high[0], words),
            f"{words[0]}{_quoted(low[1])},{_quoted(high[1])}{words[1]}",
        )

    def multirange(self, row: Type) -> Made:
        part = self.catalog.types[row.part]
        bounds = self.points(part.part, 2 * self.rng.randint(0, 3))
        pairs: list[tuple[Made, Made]] = []
        for low, high in zip(bounds[::2], bounds[1::2], strict=True):
            if low[0] != high[0] and (not pairs or pairs[-1][1][0] != low[0]):
                pairs.append((low, high))
        ranges = [Range(low[0], high[0]) for low, high in pairs]
        texts = [f"[{_quoted(low[1])},{_quoted(high[1])})" for low, high in pairs]
        return Multirange(ranges), "{" + ",".join(texts) + "}"

    def points(self, oid: int, count: int) -> list[Made]:
        """Values of a type in the server's order; the same one again if that is not known here."""
        row = self.catalog.types[oid]
        if row.kind == "c":
            only = self.make(oid)
            return [only] * count
        made: list[Made] = []
        while len(made) < count:
            each = self.make(oid)
            if each[0] == each[0]:  # no NaN
                made.append(each)
        if row.kind == "e":
            return sorted(made, key=lambda each: row.labels.index(each[0]))
        return sorted(made, key=lambda each: each[0])

    # ---- Numbers

    def integer(self, low: int, high: int) -> Made:
        rng = self.rng
        dice = rng.random()
        if dice < 0.2:
            value = rng.choice([low, high, low + 1, high - 1])
        elif dice < 0.4:
            value = max(low, min(high, rng.choice(_EDGES)))
        else:
            value = max(low, min(high, rng.getrandbits(rng.randint(1, 64)) * rng.choice([1, -1])))
        value += value == 7  # which the domains of SCHEMA refuse
        return value, str(value)

    def float8(self) -> Made:
        if self.rng.random() < 0.3:
            value = self.rng.choice([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 5e-324, 0.1])
        else:
            (value,) = struct.unpack(">d", self.rng.randbytes(8))
        return value, repr(value)

    def float4(self) -> Made:
        if self.rng.random() < 0.3:
            value = self.rng.choice([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 0.5])
        else:
            (value,) = struct.unpack(">f", self.rng.randbytes(4))
        return value, repr(value)

    def number(self) -> float:
        """A finite one, of a figure's."""
        while not math.isfinite(value := self.float8()[0]):
            pass
        return float(value)

    def numeric(self) -> Made:
        rng = self.rng
        dice = rng.random()
        if dice < 0.06:
            text = rng.choice(["NaN", "Infinity", "-Infinity"])
            return Decimal(text), text
        scale = rng.choice([0, 0, 1, 2, 3, 4, 5, 8, rng.randint(0, 60), rng.randint(0, 400)])
        digits = str(rng.getrandbits(rng.choice([1, 8, 16, 40, 100, 400, 1500])))
        digits += "0" * rng.choice([0, 0, 0, 1, 4, 8, 30])
        digits = digits.rjust(scale + 1, "0")
        whole, fraction = digits[: len(digits) - scale], digits[len(digits) - scale :]
        sign = "-" if rng.random() < 0.5 and digits.strip("0") else ""
        text = f"{sign}{whole}.{fraction}" if fraction else sign + whole
        return Decimal(text), text

    # ---- Characters and bytes

    def characters(self, most: int) -> str:
        rng = self.rng
        if rng.random() < 0.05:
            return rng.choice(["", "NULL", "null", "\\", '"', "''", "{}", " ", "empty", "(,)"])[:most]
        text = "".join(rng.choices(_ALPHABET, k=rng.randint(0, most)))
        return text + "x" * rng.choice([0] * 20 + [2000]) if most > 60 else text

    def text(self) -> Made:
        text = self.characters(self.rng.choice([3, 10, 80]))
        return text, text

    def padded(self) -> Made:
        text = self.text()[0].rstrip(" ")  # the cast to text cuts it
        return text, text

    def name(self) -> Made:
        text = self.characters(15)
        return text, text

    def char(self) -> Made:
        code = self.rng.randint(0, 255)
        text = "" if code == 0 else chr(code) if code < 128 else f"\\{code:03o}"
        return text, text

    def bytea(self) -> Made:
        data = self.rng.randbytes(self.rng.choice([0, 1, 2, 16, 100, 3000]))
        return data, "\\x" + data.hex()

    def uuid(self) -> Made:
        value = UUID(bytes=self.rng.randbytes(16))
        return value, str(value)

    def json(self) -> Made:
        value = self.document(3)
        while value is None:  # None is SQL's NULL
            value = self.document(3)
        return value, json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def document(self, depth: int) -> Any:
        rng = self.rng
        dice = rng.randrange(8 if depth else 6)
        if dice == 0:
            return None
        if dice == 1:
            return rng.random() < 0.5
        if dice == 2:
            return rng.getrandbits(rng.choice([4, 31, 63, 200])) * rng.choice([1, -1])
        if dice == 3:
            return rng.choice([0.5, -1.25, 0.1, 3.141592653589793, 123456.789, 1.0])
        if dice in (4, 5):
            return self.characters(12)
        if dice == 6:
            return [self.document(depth - 1) for _ in range(rng.randint(0, 3))]
        # In the order of jsonb, which is by length and then by bytes: the text is compared, too.
        keys = {self.characters(4) for _ in range(rng.randint(0, 3))}
        return {
            key: self.document(depth - 1)
            for key in sorted(keys, key=lambda each: (len(each.encode()), each.encode()))
        }

    def jsonpath(self) -> Made:
        steps = ['."a"', '."b c"', "[*]", "[0]", ".*", ".size()", '?(@."x" > 1)']
        text = "$" + "".join(self.rng.choices(steps, k=self.rng.randint(0, 4)))
        return text, text

    # ---- Dates and times

    def date(self) -> Made:
        rng = self.rng
        dice = rng.random()
        value = date.fromordinal(rng.randint(1, date.max.toordinal()))
        if dice < 0.1:
            value = rng.choice([date.min, date.max, date(2000, 1, 1), date(1999, 12, 31), date(2000, 2, 29)])
        return value, value.isoformat()

    def time(self) -> Made:
        rng = self.rng
        micros = rng.choice(
            [0, 1, 86_399_999_999, rng.randrange(86_400_000_000), rng.randrange(86_400) * 10**6]
        )
        value = (_EPOCH + timedelta(microseconds=micros)).time()
        return value, value.isoformat()

    def timetz(self) -> Made:
        rng = self.rng
        offset = rng.choice([0, 3600, -3600, 57599, -57599, rng.randint(-57599, 57599)])
        value = self.time()[0].replace(tzinfo=timezone(timedelta(seconds=offset)))
        return value, value.isoformat()

    def timestamp(self) -> Made:
        value = datetime.combine(self.date()[0], self.time()[0])
        return value, value.isoformat(" ")

    def timestamptz(self) -> Made:
        value = self.timestamp()[0].replace(tzinfo=UTC)
        return value, value.isoformat(" ")

    def interval(self) -> Made:
        months, days = self.integer(-(2**31), 2**31 - 1)[0], self.integer(-(2**31), 2**31 - 1)[0]
        micros = self.integer(-(2**63) + 1, 2**63 - 1)[0]  # PostgreSQL reads no -(2**63)
        if abs(months) >= 2**31 - 1 and abs(days) >= 2**31 - 1:
            days = 0  # that, with the largest microseconds, is infinite
        seconds, rest = divmod(abs(micros), 1_000_000)
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:06}"
        text = f"{months} mons {days} days {'-' if micros < 0 else '+'}{clock}"
        return Interval(months, days, micros), text

    # ---- Networks, bits, figures, and PostgreSQL's own

    def bits(self) -> Made:
        length = self.rng.choice([0, 1, 7, 8, 9, 64, self.rng.randint(0, 200)])
        text = "".join(self.rng.choices("01", k=length))
        return BitString(text), text

    def address(self, network: bool) -> Made:
        rng = self.rng
        most = rng.choice([32, 128])
        bits = rng.choice([most, 0, rng.randint(0, most)])
        number = rng.choice([rng.getrandbits(most), 0, (1 << most) - 1, rng.getrandbits(8)])
        if network:
            number = number >> (most - bits) << (most - bits)
        interface: Any = (IPv4Interface if most == 32 else IPv6Interface)((number, bits))
        value: Any = interface.network if network else interface
        if not network and bits == most:
            value = (IPv4Address if most == 32 else IPv6Address)(number)
        return value, str(value)

    def mac(self, size: int) -> Made:
        text = self.rng.randbytes(size).hex(":")
        return text, text

    def point(self) -> Made:
        value = Point(self.number(), self.number())
        return value, f"({value.x!r},{value.y!r})"

    def line(self) -> Made:
        numbers = [self.rng.choice([1.0, -2.5, 1e10]), self.number(), self.number()]
        return Line(*numbers), "{" + ",".join(map(repr, numbers)) + "}"

    def two_points(self, kind: Any) -> Made:
        numbers = [self.number() for _ in range(4)]
        if kind is Box:
            x, y = sorted(numbers[::2]), sorted(numbers[1::2])
            numbers = [x[1], y[1], x[0], y[0]]
        value = kind(Point(*numbers[:2]), Point(*numbers[2:]))
        text = f"({numbers[0]!r},{numbers[1]!r}),({numbers[2]!r},{numbers[3]!r})"
        return value, text if kind is Box else f"[{text}]"

    def several(self) -> tuple[tuple[Point, ...], str]:
        made = [self.point() for _ in range(self.rng.choice([1, 2, 3, 8]))]
        return tuple(value for value, _ in made), ",".join([text for _, text in made])

    def path(self) -> Made:
        points, text = self.several()
        closed = self.rng.random() < 0.5
        return Path(points, closed), f"({text})" if closed else f"[{text}]"

    def polygon(self) -> Made:
        points, text = self.several()
        return Polygon(points), f"({text})"

    def circle(self) -> Made:
        value, text = self.point()
        radius = abs(self.number())
        return Circle(value, radius), f"<{text},{radius!r}>"

    def tid(self) -> Made:
        value = (self.integer(0, 2**32 - 1)[0], self.integer(0, 2**16 - 1)[0])
        return value, f"({value[0]},{value[1]})"

    def lsn(self) -> Made:
        number = self.integer(0, 2**64 - 1)[0]
        text = f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
        return text, text

    def vector(self, low: int, high: int) -> Made:
        numbers = tuple(self.integer(low, high)[0] for _ in range(self.rng.randint(1, 5)))
        return numbers, " ".join(map(str, numbers))


def _quoted(text: str) -> str:
    """In the text of an array, a composite or a range."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
