"""Bytes that no server would send: every decoder answers with a declared error or a value, never else."""

from __future__ import annotations

import random
import struct

from pgproto.errors import DataError, RemoteProtocolError
from pgproto.types import BUILT_IN, Codec, RowDecoder
from pgproto.types.system import RecordCodec
from pgproto.wire.messages import FieldDescription
from tests.support.codecs import binary_codec

SAMPLES: dict[int, object] = {
    1007: [[1, 2], [3, None]],
    1009: ["a", None, "bc"],
    1231: [None],
    3807: [{"a": [1]}],
    114: {"a": [1, None, "x"]},
    3802: [True],
    25: "häß",
}


def seeds(codec: Codec) -> list[bytes]:
    """Something to mutate for each codec: a good value if there is one at hand, and edge patterns."""
    found = [b"", b"\0" * 8, b"\xff" * 12, b"\x7f" + b"\xff" * 7]
    if codec.oid in SAMPLES:
        found.append(codec.encode(SAMPLES[codec.oid]))
    found.append(struct.pack(">HhHHHH", 2, 1, 0, 3, 1234, 5678))
    found.append(struct.pack(">iiIii", 1, 1, 23, 1, 1) + b"\xff\xff\xff\xff")
    return found


def names(codec: Codec) -> list[str]:
    """Its own name, and those of what its values are made of; a record can have everything in it."""
    if isinstance(codec, RecordCodec):
        return ["of type"]
    element = getattr(codec, "element", None)
    return [codec.name, *([] if element is None else names(element))]


def mutate(random_bytes: random.Random, data: bytes) -> bytes:
    """The data with a few bytes changed, inserted, or cut away."""
    changed = bytearray(data)
    for _ in range(random_bytes.randrange(1, 5)):
        action = random_bytes.randrange(4)
        at = random_bytes.randrange(len(changed) + 1)
        if action == 0:
            changed[at:at] = random_bytes.randbytes(random_bytes.randrange(1, 9))
        elif action == 1:
            del changed[at : at + random_bytes.randrange(1, 5)]
        elif changed:
            changed[at % len(changed)] = random_bytes.choice(
                (0, 1, 4, 0x7F, 0x80, 0xFF, random_bytes.randrange(256))
            )
    return bytes(changed)


def test_every_codec_against_60_000_inputs() -> None:
    generator = random.Random(20240229)
    codecs = [codec for codec in BUILT_IN if codec.format]
    refused = accepted = named = 0
    while refused + accepted < 60_000:
        for codec in codecs:
            for seed in seeds(codec):
                data = mutate(generator, seed) if generator.random() < 0.8 else generator.randbytes(len(seed))
                before, after = generator.randbytes(3), generator.randbytes(3)
                try:
                    codec.decode(before + data + after, 3, 3 + len(data))
                except DataError as error:
                    named += any(name in str(error) for name in names(codec))
                    refused += 1
                else:
                    accepted += 1
    assert named == refused > 10_000
    assert accepted > 1_000


def test_a_value_never_depends_on_the_bytes_around_it() -> None:
    for codec in BUILT_IN:
        for seed in seeds(codec):
            results: list[str] = []
            for filler in (b"\0" * 40, b"\xff" * 40):
                try:
                    results.append(repr(codec.decode(filler + seed + filler, 40, 40 + len(seed))))
                except DataError as error:
                    results.append(str(error))
            assert results[0] == results[1]


def framed(body: bytes) -> bytes:
    """A DataRow message with any body."""
    return b"D" + struct.pack(">i", 4 + len(body)) + body


def test_rows_against_20_000_inputs() -> None:
    generator = random.Random(1)
    oids = [23, 25, 1184, 16, 1700, 1009, 701, 2950, 99999]
    decoder = RowDecoder([FieldDescription(f"c{oid}", 0, 0, oid, -1, -1, 1) for oid in oids])
    codecs = [binary_codec(oid) for oid in oids]
    body = struct.pack(">h", len(oids))
    values: list[bytes | None] = [
        b"\0\0\0\1",
        b"abc",
        b"\0" * 8,
        b"\1",
        None,
        None,
        b"\0" * 8,
        b"u" * 16,
        b"text",
    ]
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    assert len(codecs) == len(values)
    whole = framed(body)
    assert len(decoder.decode(whole, 0, len(whole))) == 1
    outcomes = {"row": 0, "data": 0, "protocol": 0}
    for _ in range(20_000):
        data = mutate(generator, body)
        try:
            decoder.decode(b"!!" + framed(data) + b"!!!!!!!!", 2, 7 + len(data))
            outcomes["row"] += 1
        except DataError as error:
            outcomes["data"] += str(error).startswith("row 1, column ")
        except RemoteProtocolError as error:
            outcomes["protocol"] += str(error).startswith("DataRow ")
    assert min(outcomes.values()) > 100, outcomes
    assert sum(outcomes.values()) == 20_000
