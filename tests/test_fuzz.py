"""Random and mutated bytes into everything that reads bytes: declared errors only, and an end.

210,000 inputs from fixed seeds, in chunks that can run side by side.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from pgproto import (
    CLIENT,
    NEED_DATA,
    SERVER,
    Closed,
    Connection,
    DataError,
    LocalProtocolError,
    RemoteProtocolError,
)
from pgproto.errors import ConnectionLost, PostgresError
from pgproto.protocol import DataRows
from pgproto.types import RowDecoder
from pgproto.types.registry import codec_for
from pgproto.wire import (
    FieldDescription,
    FrameReader,
    decode_backend,
    decode_frontend,
    decode_startup,
    frames,
    tags,
)
from pgproto.wire.decode import decode_password
from tests.support.drive import walk
from tests.support.vectors import VECTORS
from tests.test_states import HEADS, PHASES

CHUNKS = range(10)
PER_CHUNK = 4_200
DECLARED = (RemoteProtocolError, ConnectionLost, PostgresError, LocalProtocolError)

# What a peer could say: all vectors, and whole conversations of them.
CORPUS = {side: [vector.data for vector in VECTORS if vector.direction == side] for side in "FB"}
PLACES = [*PHASES.values(), *HEADS.values()]


LENGTHS = [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\4"]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """The data with one to four small injuries."""
    mutable = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(mutable)) if mutable else 0
        injury = rng.randrange(6)
        if injury == 0 and mutable:
            mutable[place] = rng.randrange(256)
        elif injury == 1 and mutable:
            mutable[place] ^= 1 << rng.randrange(8)
        elif injury == 2:
            del mutable[place : place + rng.randint(1, 8)]
        elif injury == 3:
            mutable[place:place] = rng.randbytes(rng.randint(1, 8))
        elif injury == 4:
            mutable[place : place + 4] = rng.choice(
                [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\4"]
            )
        else:
            mutable += mutable[place : place + 20]
    return bytes(mutable)


def stream(rng: random.Random, side: str) -> bytes:
    """Some messages, some of them injured; or noise."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randint(1, 64))
    parts = [rng.choice(CORPUS[side]) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.8:
        index = rng.randrange(len(parts))
        parts[index] = mutated(rng, parts[index])
    return b"".join(parts)


def feed(rng: random.Random, connection: Connection, data: bytes) -> None:
    """Feed it in two pieces, then EOF: it ends, and within as many events as there can be."""
    cut = rng.randrange(len(data) + 1)
    limit = 3 * len(data) + 10
    for piece in (data[:cut], data[cut:]):
        if piece:
            connection.receive_data(piece)
        for _ in range(limit):
            event = connection.next_event()
            if event is NEED_DATA or isinstance(event, Closed):
                break
            if isinstance(event, DataRows):
                assert len(event.bodies()) == len(event.offsets)
            repr(event)
        else:
            pytest.fail("events without end")
    connection.receive_data(b"")
    for _ in range(limit):
        event = connection.next_event()
        assert event is not NEED_DATA
        if isinstance(event, Closed):
            assert event.error is None or isinstance(event.error, DECLARED)
            assert connection.next_event() is event
            assert connection.in_flight == 0
            return
    pytest.fail("no end")


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize(("role", "side"), [(CLIENT, "B"), (SERVER, "F")], ids=["client", "server"])
def test_connections(chunk: int, role: int, side: str) -> None:
    rng = random.Random(f"connections {chunk} {side}")
    for _ in range(PER_CHUNK):
        path = rng.choice(PLACES)
        feed(rng, walk(role, path), stream(rng, side))


Decoder = Callable[[bytes], object]


def decoders() -> list[Decoder]:
    """Every message decoder: by type byte and direction, the start-up packets, and the kinds of 'p'."""

    def by_tag(decode: Callable[[int, bytes, int, int], object], tag: int) -> Decoder:
        return lambda data: decode(tag, data, 0, len(data))

    found = [by_tag(decode_backend, tag) for tag in tags.BACKEND_NAMES]
    found += [by_tag(decode_frontend, tag) for tag in tags.FRONTEND_NAMES]
    found += [by_tag(decode_password, kind) for kind in range(4)]
    found.append(lambda data: decode_startup(data, 0, len(data)))
    return found


@pytest.mark.parametrize("chunk", CHUNKS)
def test_message_decoders(chunk: int) -> None:
    rng = random.Random(f"decoders {chunk}")
    bodies = [vector.data[5 if vector.message.tag else 4 :] for vector in VECTORS]
    candidates = decoders()
    refused = 0
    for _ in range(PER_CHUNK):
        data = mutated(rng, rng.choice(bodies)) if rng.random() < 0.9 else rng.randbytes(rng.randint(0, 40))
        try:
            repr(rng.choice(candidates)(data))
        except RemoteProtocolError:
            refused += 1
    assert 0 < refused < PER_CHUNK


@pytest.mark.parametrize("chunk", CHUNKS)
def test_frames(chunk: int) -> None:
    rng = random.Random(f"frames {chunk}")
    limits = frames.backend_limits(1000)
    for _ in range(PER_CHUNK):
        reader = FrameReader()
        data = stream(rng, "B")
        consumed = 0
        try:
            for start in range(0, len(data), 7):
                reader.receive_data(data[start : start + 7])
                while reader.next_frame(limits):
                    assert 5 <= reader.end - reader.start + 5 <= 1001
                    if rng.random() < 0.3:
                        starts = reader.run(reader.tag, limits)
                        assert starts == sorted(starts)
                    consumed += 1
                    assert consumed <= len(data)
        except RemoteProtocolError:
            continue
        assert reader.pending <= len(data)


OIDS = [oid for oid in range(5000) if codec_for(oid) is not None]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_row_decoders(chunk: int) -> None:
    rng = random.Random(f"rows {chunk}")
    rows = wrong = 0
    for _ in range(PER_CHUNK):
        oids = [rng.choice(OIDS) for _ in range(rng.randint(1, 3))]
        decoder = RowDecoder([FieldDescription(f"c{oid}", 0, 0, oid, -1, -1) for oid in oids])
        body = len(oids).to_bytes(2, "big")
        for _ in oids:
            value = rng.randbytes(rng.choice((0, 1, 2, 4, 8, 12, 16, 20, 24)))
            if rng.random() < 0.5:
                value = bytes(len(value))
            body += len(value).to_bytes(4, "big") + value
        if rng.random() < 0.3:
            body = mutated(rng, body)
        try:
            rows += len(decoder.decode(body, [0], len(body)))
        except (DataError, RemoteProtocolError):
            wrong += 1
    assert rows > 10
    assert wrong > 10


def test_there_are_enough_of_them() -> None:
    assert len(CHUNKS) * PER_CHUNK * 5 >= 200_000
