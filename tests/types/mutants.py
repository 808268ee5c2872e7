"""Binary values of every type, damaged where it matters: lengths, counts, flags, OIDs, dimensions, ends.

`seeds` makes values and encodes them; `marks` finds the numbers that say how to read the rest, and `damage`
changes one of them, or something else.  `Judge` decodes the result between two kinds of other bytes, which
must make no difference: a value, or a DataError with the same text.  Texts are damaged as well, more simply.
"""

from __future__ import annotations

import itertools
import random
import resource
import struct
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pgproto_blocking
from pgproto.errors import DataError
from pgproto.types import Codec, TypeMap
from pgproto.types.arrays import ArrayCodec
from pgproto.types.bits import BitCodec
from pgproto.types.composites import CompositeCodec, DomainCodec
from pgproto.types.geometry import PointsCodec
from pgproto.types.network import InetCodec
from pgproto.types.numeric import NumericCodec
from pgproto.types.ranges import MultirangeCodec, RangeCodec
from pgproto.types.scalars import JsonCodec
from pgproto.types.system import JsonPathCodec, RecordCodec
from tests.types.agree import known_types
from tests.types.generate import Maker

__all__ = ["Judge", "damage", "damage_text", "damaged", "marks", "seeds", "work"]

_NUMBERS: Final = (0, 1, -1, -2, 2, 3, 4, 6, 7, 255, 2**15, 2**16, 2**27, 2**31 - 1, -(2**31), 2**31 - 4)
_PIECES: Final = (
    *"{}[]()<>,;:\"'\\-+.eE/ 0159$\n\x00\u0660é\ud800",
    "NULL",
    "infinity",
    "NaN",
    "9" * 25,
    "{" * 50,
    '"(' * 50,
    "1e999999999",
    "[0:2147483647]=",
    "BC",
)
_POISONS: Final = (b"\0" * 8 + b"\xff\x00\x00\x00\x04" * 8, b"\xff" * 48)
MEMORY: Final = 96 << 20
"""As many bytes more are too many for a value of a few hundred bytes."""

_RECORD: Final = 2249

Mark = tuple[int, int]
"""Where a number is, and its size in bytes."""


def marks(codec: Codec, data: bytes, start: int, end: int) -> list[Mark]:
    """Where the numbers are that say how to read a whole value, `data[start:end]`."""
    if isinstance(codec, DomainCodec):
        return marks(codec.base, data, start, end)
    if isinstance(codec, ArrayCodec):
        (dimensions,) = struct.unpack_from(">i", data, start)
        head = 12 + 8 * dimensions
        found = [(at, 4) for at in range(start, start + head, 4)]
        return found + _fields(data, start + head, end, codec.element)
    if isinstance(codec, CompositeCodec):
        return [(start, 4), *_fields(data, start + 4, end, *codec._codecs, oid=4)]
    if isinstance(codec, RecordCodec):
        return [(start, 4), *_fields(data, start + 4, end, oid=4)]
    if isinstance(codec, RangeCodec):
        return [(start, 1), *_fields(data, start + 1, end, codec.element)]
    if isinstance(codec, MultirangeCodec):
        return [(start, 4), *_fields(data, start + 4, end, codec.element)]
    if isinstance(codec, NumericCodec):
        return [(at, 2) for at in range(start, min(end, start + 12), 2)]
    if isinstance(codec, BitCodec):
        return [(start, 4)]
    if isinstance(codec, PointsCodec):
        at = end - (end - start) // 16 * 16
        return [(at - 4, 4), (start, 1)]
    if isinstance(codec, InetCodec):
        return [(at, 1) for at in range(start, start + 4)]
    if isinstance(codec, JsonCodec | JsonPathCodec):
        return [(start, 1)] if end > start else []
    return [(at, size) for size in (4, 8) for at in range(start, end - size + 1, size)][:4]


def _fields(data: bytes, at: int, end: int, *codecs: Codec, oid: int = 0) -> list[Mark]:
    """Of values with their lengths, one after the other; before each there may be an OID."""
    found: list[Mark] = []
    for codec in itertools.chain(codecs, itertools.repeat(codecs[-1] if codecs else None)):
        if at + oid + 4 > end:
            break
        found += [(at, 4)] if oid else []
        at += oid
        found.append((at, 4))
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        if length > 0:
            found += marks(codec, data, at, at + length) if codec is not None else []
            at += length
    return found


def damage(rng: random.Random, data: bytes, places: Sequence[Mark], other: bytes) -> bytes:
    """One to three injuries; most of them to what says how to read the rest."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        dice = rng.randrange(10)
        if dice < 5 and places:
            at, size = rng.choice(places)
            old = int.from_bytes(changed[at : at + size], "big", signed=True)
            new = rng.choice([rng.choice(_NUMBERS), old + 1, old - 1, old * 2, rng.getrandbits(8 * size)])
            changed[at : at + size] = (new % (1 << 8 * size)).to_bytes(size, "big")
        elif dice == 5:
            del changed[rng.randrange(len(changed) + 1) :]
        elif dice == 6:
            at = rng.randrange(len(changed) + 1)
            changed[at:at] = rng.randbytes(rng.choice([1, 2, 4, 8]))
        elif dice == 7:
            at = rng.randrange(len(changed) + 1)
            del changed[at : at + rng.choice([1, 2, 4, 8])]
        elif dice == 8 and changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        else:
            at = rng.randrange(len(changed) + 1)
            changed[at:] = other[at:]
    return bytes(changed)


class Judge:
    """What was seen of damaged values.

    Attributes:
        inputs: how many there were.
        refused: how many were a DataError.
        texts: how many texts there were besides.
        texts_refused: how many of these were a DataError.
        findings: by what went wrong, the type and the bytes of the shortest input, and the traceback.
    """

    def __init__(self) -> None:
        self.inputs = 0
        self.refused = 0
        self.texts = 0
        self.texts_refused = 0
        self.findings: dict[str, tuple[str, str, str]] = {}

    def run(self, codec: Codec, data: bytes) -> None:
        """Decode it twice, and encode what came out."""
        self.inputs += 1
        seen: list[object] = []
        value: Any = None
        try:
            for poison in _POISONS:
                try:
                    value = codec.decode(poison + data + poison, len(poison), len(poison) + len(data))
                    seen.append(repr(value))
                except DataError as error:
                    seen.append(error.args)
            self.refused += not isinstance(seen[0], str)
            if seen[0] != seen[1]:
                self._found("the bytes around it make a difference", codec, data, f"{seen!r:.1000}")
            elif isinstance(seen[0], str) and self.inputs % 8 == 0:
                self._back(codec, value)
        except Exception as error:
            self._raised(error, codec, data)

    def run_text(self, codec: Codec, text: str) -> None:
        """Read a text."""
        self.texts += 1
        try:
            codec.decode_text(text)
        except DataError:
            self.texts_refused += 1
        except Exception as error:
            self._raised(error, codec, text.encode("utf-8", "backslashreplace"))

    def _raised(self, error: Exception, codec: Codec, data: bytes) -> None:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = "".join(traceback.format_exception(error))
        self._found(f"{type(error).__name__} {Path(where.filename).name}:{where.lineno}", codec, data, text)

    def _back(self, codec: Codec, value: Any) -> None:
        """A value that a server could have sent can be sent; one that none would send may be refused."""
        try:
            again = codec.encode(value)
        except (TypeError, ValueError):
            return
        back: Any = codec.decode(again, 0, len(again))
        assert back == value or repr(back) == repr(value), "it came back as another value"

    def _found(self, name: str, codec: Codec, data: bytes, text: str) -> None:
        known = self.findings.get(name)
        if known is None or len(data.hex()) < len(known[1]):
            self.findings[name] = codec.name, data.hex(), text


@dataclass
class Seed:
    """Good values of one type.

    Args:
        codec: the type's.
        binary: some values.
        texts: the same in text.
    """

    codec: Codec
    binary: list[bytes]
    texts: list[str]


def seeds(maker: Maker, types: TypeMap, each: int) -> Iterator[Seed]:
    """So many values of every type; those of composites are also such of `record`."""
    for row in maker.types():
        codec = types.codec(row.oid)
        values = [maker.make(row.oid)[0] for _ in range(each)]
        binary = [codec.encode(value) for value in values]
        yield Seed(codec, binary, [codec.encode_text(value) for value in values])
        if isinstance(codec, CompositeCodec):
            yield Seed(types.codec(_RECORD), binary, [])


def work(maker: Maker, types: TypeMap, inputs: int) -> Judge:
    """Damage so many binary values, and a quarter as many texts."""
    rng = maker.rng
    judge = Judge()
    while judge.inputs < inputs:
        for seed in seeds(maker, types, 4):
            for data in seed.binary:
                places = marks(seed.codec, data, 0, len(data))
                for _ in range(20):
                    judge.run(seed.codec, damage(rng, data, places, rng.choice(seed.binary)))
            for text in seed.texts:
                for _ in range(5):
                    judge.run_text(seed.codec, damage_text(rng, text, rng.choice(seed.texts)))
    return judge


def damage_text(rng: random.Random, text: str, other: str) -> str:
    """One to three injuries."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(text) + 1)
        dice = rng.randrange(5)
        if dice == 0:
            text = text[:at]
        elif dice == 1:
            text = text[:at] + rng.choice(_PIECES) + text[at:]
        elif dice == 2:
            text = text[:at] + text[at + rng.randint(1, 4) :]
        elif dice == 3:
            text = text[:at] + rng.choice(_PIECES) + text[at + 1 :]
        else:
            text = text[:at] + other[rng.randrange(len(other) + 1) :]
    return text


def _limit_memory() -> None:
    """From here on this process gets little more memory: what allocates ahead fails with a MemoryError."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))


def damaged(dsn: str, inputs: int, seed: int) -> Judge:
    """Judge so many damaged values, with little memory: call it in a process of its own.

    Args:
        dsn: of a database, in which the schema of `SCHEMA` is made.
        inputs: how many.
        seed: the same one makes the same values.
    """
    with pgproto_blocking.connect(dsn) as conn:
        catalog, types = known_types(conn)
    _limit_memory()
    return work(Maker(catalog, seed), types, inputs)
