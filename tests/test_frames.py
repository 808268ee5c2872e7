"""The receive buffer: where frames begin and end, for every segmentation, within the limits."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc

import pytest

from pgproto.errors import RemoteProtocolError
from pgproto.protocol import DataRows
from pgproto.wire import (
    BindComplete,
    CommandComplete,
    DataRow,
    FrameReader,
    Limits,
    ReadyForQuery,
    decode_backend,
    decode_frontend,
    decode_startup,
    frames,
    tags,
)
from tests.support.vectors import FRAMED

BACKEND = frames.backend_limits()
FRONTEND = frames.frontend_limits()

Frame = tuple[int, bytes]


def read_frames(reader: FrameReader, limits: Limits = BACKEND) -> list[Frame]:
    """All frames that are there, one by one."""
    found: list[Frame] = []
    while reader.next_frame(limits):
        found.append((reader.tag, reader.buffer[reader.start : reader.end]))
    return found


def read_runs(reader: FrameReader, limits: Limits = BACKEND) -> list[Frame]:
    """All frames that are there, runs of one type at a time."""
    found: list[Frame] = []
    while reader.next_frame(limits):
        start = reader.start - 5
        count = reader.skip_run(limits)
        run = DataRows(reader.buffer, start, reader.end, count)
        assert len(run.bodies()) == count
        found += [(reader.tag, body) for body in run.bodies()]
    return found


def header(tag: int, length: int) -> bytes:
    return struct.pack(">Bi", tag, length)


ANSWER = (
    BindComplete().encode()
    + b"".join([DataRow([b"%d" % number, None]).encode() for number in range(20)])
    + CommandComplete("SELECT 20").encode()
    + ReadyForQuery("I").encode()
)
ANSWER_FRAMES: list[Frame] = [
    (tags.BIND_COMPLETE, b""),
    *[(tags.DATA_ROW, DataRow([b"%d" % number, None]).encode()[5:]) for number in range(20)],
    (tags.COMMAND_COMPLETE, b"SELECT 20\x00"),
    (tags.READY_FOR_QUERY, b"I"),
]


# Segmentation.


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 11, 64, 1000])
def test_any_segmentation_gives_the_same_frames(size: int) -> None:
    for reading in (read_frames, read_runs):
        reader = FrameReader()
        found: list[Frame] = []
        for index in range(0, len(ANSWER), size):
            reader.receive_data(ANSWER[index : index + size])
            found += reading(reader)
        assert found == ANSWER_FRAMES
        assert reader.pending == 0


def test_every_two_splits_give_the_same_frames() -> None:
    data = BindComplete().encode() + DataRow([b"ab"]).encode() + ReadyForQuery("T").encode()
    whole = FrameReader()
    whole.receive_data(data)
    expected = read_frames(whole)
    assert [tag for tag, _ in expected] == [tags.BIND_COMPLETE, tags.DATA_ROW, tags.READY_FOR_QUERY]
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            reader = FrameReader()
            found: list[Frame] = []
            for piece in (data[:first], data[first:second], data[second:]):
                reader.receive_data(piece)
                found += read_runs(reader)
            assert found == expected


def test_pieces_may_pile_up_before_anybody_looks() -> None:
    for size in (1, 3, 5000):
        reader = FrameReader()
        data = ANSWER * 50
        for index in range(0, len(data), size):
            reader.receive_data(data[index : index + size])
        assert reader.pending == len(data)
        assert read_runs(reader) == ANSWER_FRAMES * 50


def test_small_and_large_pieces_keep_their_order() -> None:
    rng = random.Random(1)
    values = [rng.randbytes(rng.choice((0, 1, 100, 4096, 70_000, 200_000))) for _ in range(40)]
    data = b"".join([DataRow([value]).encode() for value in values])
    reader = FrameReader()
    found: list[Frame] = []
    position = 0
    while position < len(data):
        size = rng.choice((1, 10, 4095, 4096, 4097, 65_536, 100_000))
        reader.receive_data(data[position : position + size])
        position += size
        if rng.random() < 0.3:
            found += read_frames(reader)
    found += read_frames(reader)
    assert [body for _, body in found] == [DataRow([value]).encode()[5:] for value in values]


def test_buffer_is_the_data_that_was_received() -> None:
    # No copy is made of a read that begins where a frame does.
    reader = FrameReader()
    reader.receive_data(ANSWER)
    assert reader.next_frame(BACKEND)
    assert reader.buffer is ANSWER
    # ... and indices into it stay good when the reader has gone on to another.
    assert reader.next_frame(BACKEND)
    buffer, start, count, end = reader.buffer, reader.start, reader.skip_run(BACKEND), reader.end
    reader.receive_data(b"D")
    assert len(read_frames(reader)) == 2
    reader.receive_data(header(tags.DATA_ROW, 6)[1:] + b"\x00\x00")
    assert read_frames(reader) == [(tags.DATA_ROW, b"\x00\x00")]
    assert buffer is ANSWER
    assert count == 20
    assert decode_backend(tags.DATA_ROW, buffer, start, start + 11) == DataRow([b"0", None])
    assert decode_backend(tags.DATA_ROW, buffer, end - 12, end) == DataRow([b"19", None])


def test_a_consumed_buffer_is_let_go() -> None:
    reader = FrameReader()
    reader.receive_data(ANSWER)
    read_frames(reader)
    assert reader.buffer == b""


def test_nothing_received_is_nothing() -> None:
    reader = FrameReader()
    assert not reader.next_frame(BACKEND)
    assert not reader.next_startup()
    assert reader.next_byte() == -1
    reader.receive_data(b"")
    assert not reader.next_frame(BACKEND)
    assert reader.pending == 0
    assert reader.take_rest() == b""


# Runs.


def test_run_stops_at_another_type_and_at_a_part() -> None:
    row = DataRow([b"x"]).encode()
    reader = FrameReader()
    reader.receive_data(row + row + BindComplete().encode() + row + row[:-1])
    assert reader.next_frame(BACKEND)
    assert (reader.skip_run(BACKEND), reader.start) == (2, 5)
    assert reader.end == 2 * len(row)
    assert reader.next_frame(BACKEND)
    assert reader.tag == tags.BIND_COMPLETE
    assert (reader.skip_run(BACKEND), reader.start) == (1, 2 * len(row) + 5)
    assert reader.next_frame(BACKEND)
    assert reader.skip_run(BACKEND) == 1
    assert not reader.next_frame(BACKEND)
    assert reader.pending == len(row) - 1
    reader.receive_data(row[-1:])
    assert read_runs(reader) == [(tags.DATA_ROW, row[5:])]


@pytest.mark.parametrize("cut", range(1, 6))
def test_run_stops_at_a_part_of_a_header(cut: int) -> None:
    row = DataRow([b"x"]).encode()
    reader = FrameReader()
    reader.receive_data(row + row[:cut])
    assert reader.next_frame(BACKEND)
    assert reader.skip_run(BACKEND) == 1
    assert reader.pending == cut


@pytest.mark.parametrize("length", [3, 0, -1, -(2**31), 101])
def test_run_leaves_a_bad_length_for_next_frame(length: int) -> None:
    limits = frames.backend_limits(100)
    row = DataRow([b"x"]).encode()
    reader = FrameReader()
    reader.receive_data(row + row + header(tags.DATA_ROW, length) + bytes(200))
    assert reader.next_frame(limits)
    assert reader.skip_run(limits) == 2
    for _ in range(2):  # it is no matter of asking again
        with pytest.raises(RemoteProtocolError, match=f"'D' .* length {length}; allowed are 4 to 100"):
            reader.next_frame(limits)
    assert reader.pending == 205


# Limits.


@pytest.mark.parametrize("length", [3, 2, 1, 0, -1, -(2**31)])
@pytest.mark.parametrize("tag", sorted(tags.BACKEND_NAMES))
def test_length_below_four(tag: int, length: int) -> None:
    reader = FrameReader()
    reader.receive_data(header(tag, length) + b"x" * 10)
    with pytest.raises(RemoteProtocolError, match=f"length {length}; allowed are 4 to"):
        reader.next_frame(BACKEND)


@pytest.mark.parametrize(
    "limits",
    [
        BACKEND,
        FRONTEND,
        frames.BACKEND_STARTUP,
        frames.FRONTEND_STARTUP,
        frames.backend_limits(100),
        frames.frontend_limits(2**31 - 1),
    ],
    ids=["backend", "frontend", "backend-startup", "frontend-startup", "backend-100", "frontend-max"],
)
def test_length_is_judged_with_the_header_alone(limits: Limits) -> None:
    for tag in range(256):
        largest = limits.of(tag)
        for length in (largest, largest + 1, 2**31 - 1):
            if length > 2**31 - 1:
                continue
            reader = FrameReader()
            data = header(tag, length)
            for byte in data[:-1]:
                reader.receive_data(bytes((byte,)))
                assert not reader.next_frame(limits)
            reader.receive_data(data[-1:])
            if length <= largest:
                assert not reader.next_frame(limits)
                continue
            with pytest.raises(RemoteProtocolError, match=f"length {length}; allowed are 4 to {largest}$"):
                reader.next_frame(limits)


def test_the_limits_themselves() -> None:
    data = {ord(tag) for tag in "TDdVENAt"}
    for tag in tags.BACKEND_NAMES:
        assert BACKEND.of(tag) == (2**30 - 2 if tag in data else 30_000)
        assert frames.BACKEND_STARTUP.of(tag) == (8_192 if chr(tag) in "Rv" else 30_000)
        assert frames.backend_limits(50_000).of(tag) == (50_000 if tag in data else 30_000)
    large = {ord(tag) for tag in "QPBFd"}
    for tag in tags.FRONTEND_NAMES:
        assert FRONTEND.of(tag) == (2**30 - 2 if tag in large else 10_000)
        assert frames.FRONTEND_STARTUP.of(tag) == (65_535 if tag == ord("p") else 10_000)
    assert frames.MAX_STARTUP_SIZE == 10_004
    assert repr(Limits(1, {2: 3})) == "Limits(1, {2: 3})"


def test_a_limit_can_be_lower_than_the_default() -> None:
    reader = FrameReader()
    reader.receive_data(header(tags.AUTHENTICATION, 8_193))
    with pytest.raises(RemoteProtocolError, match=r"'R' \(0x52\) and length 8193; allowed are 4 to 8192"):
        reader.next_frame(frames.BACKEND_STARTUP)


def test_memory_is_not_taken_ahead_of_the_bytes() -> None:
    limits = frames.backend_limits(2**31 - 1)
    reader = FrameReader()
    tracemalloc.start()
    try:
        reader.receive_data(header(tags.DATA_ROW, 2**31 - 1))
        assert not reader.next_frame(limits)
        for _ in range(100):
            reader.receive_data(b"x")
            assert not reader.next_frame(limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 65_536
    assert reader.pending == 105


def test_single_bytes_take_little_more_memory_than_they_are() -> None:
    # As a list of 2-byte objects these bytes would take twenty times their size.
    size = 200_000
    reader = FrameReader()
    reader.receive_data(header(tags.DATA_ROW, size + 4))
    pair = [bytes((number, number)) for number in range(256)]
    tracemalloc.start()
    try:
        for number in range(size // 2):
            reader.receive_data(bytes(pair[number & 255]))
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 1.5 * size
    assert reader.next_frame(BACKEND)


# Linear time: told from work that grows with the size, with a generous ratio.


def _seconds(size: int, step: int, look: bool) -> float:
    data = header(tags.DATA_ROW, size + 4) + bytes(size)
    pieces = [data[index : index + step] for index in range(0, len(data), step)]
    reader = FrameReader()
    begin = time.process_time()
    for piece in pieces:
        reader.receive_data(piece)
        if look:
            reader.next_frame(BACKEND)
    assert reader.end == size + 5 or reader.next_frame(BACKEND)
    return time.process_time() - begin


@pytest.mark.parametrize(("step", "small"), [(1, 4_096), (3, 8_192)])
@pytest.mark.parametrize("look", [False, True])
def test_time_is_linear_in_the_size(step: int, small: int, look: bool) -> None:
    # 16 times the size: linear work takes 16 times as long, quadratic work 256 times.
    one = min(_seconds(small, step, look) for _ in range(3))
    many = min(_seconds(16 * small, step, look) for _ in range(2))
    assert many < 96 * one


@pytest.mark.parametrize("look", [False, True])
def test_large_pieces_cost_little_more_than_to_join_them(look: bool) -> None:
    # 4,096 pieces of 4 KiB.  To join at every piece would copy 32 GiB in place of 16 MiB.
    pieces = [bytes(4096) for _ in range(4096)]
    begin = time.process_time()
    joined = b"".join(pieces)
    floor = time.process_time() - begin
    assert _seconds(len(joined), 4096, look) < 30 * floor + 0.1


def test_a_pile_of_small_frames_is_read_in_linear_time() -> None:
    def seconds(count: int) -> float:
        reader = FrameReader()
        reader.receive_data(BindComplete().encode() * count)
        begin = time.process_time()
        for _ in range(count):
            # One more byte arrives before each look: nothing may be joined for it.
            reader.receive_data(b"2")
            assert reader.next_frame(BACKEND)
        return time.process_time() - begin

    one = min(seconds(2_500) for _ in range(3))
    many = min(seconds(40_000) for _ in range(3))
    assert many < 96 * one


# Untagged packets and the single byte.


def test_startup_then_frames() -> None:
    for step in (1, 2, 3, 100):
        data = (
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
            + b"\x00\x00\x00\x09\x00\x03\x00\x00\x00"
            + b"S\x00\x00\x00\x04"
        )
        reader = FrameReader()
        packets: list[object] = []
        for index in range(0, len(data), step):
            reader.receive_data(data[index : index + step])
            while len(packets) < 2 and reader.next_startup():
                assert reader.tag == 0
                packets.append(decode_startup(reader.buffer, reader.start, reader.end))
        assert [type(packet).__name__ for packet in packets] == ["SSLRequest", "StartupMessage"]
        assert read_frames(reader, FRONTEND) == [(tags.SYNC, b"")]


@pytest.mark.parametrize("length", [7, 4, 0, -1, -(2**31), 10_005, 2**31 - 1])
def test_startup_length(length: int) -> None:
    reader = FrameReader()
    reader.receive_data(struct.pack(">i", length))
    with pytest.raises(RemoteProtocolError, match=f"length {length}; allowed are 8 to 10004"):
        reader.next_startup()
    assert reader.pending == 4


def test_startup_limit_is_an_argument() -> None:
    reader = FrameReader()
    reader.receive_data(struct.pack(">i", 51))
    with pytest.raises(RemoteProtocolError, match="allowed are 8 to 50"):
        reader.next_startup(50)
    assert not reader.next_startup(51)


def test_next_byte_takes_one_byte_and_no_more() -> None:
    reader = FrameReader()
    reader.receive_data(b"SN")
    assert reader.next_byte() == ord("S")
    assert reader.pending == 1
    reader.receive_data(b"G")
    assert [reader.next_byte(), reader.next_byte(), reader.next_byte()] == [ord("N"), ord("G"), -1]


def test_take_rest_empties_the_reader() -> None:
    reader = FrameReader()
    reader.receive_data(b"Z\x00\x00\x00\x05I" + b"E\x00\x00")
    assert reader.next_frame(BACKEND)
    reader.receive_data(b"\x00")
    reader.receive_data(bytes(5000))
    reader.receive_data(b"!")
    assert reader.pending == 3 + 1 + 5000 + 1
    assert reader.take_rest() == b"E\x00\x00\x00" + bytes(5000) + b"!"
    assert reader.pending == 0
    reader.receive_data(b"2\x00\x00\x00\x04")
    assert read_frames(reader) == [(tags.BIND_COMPLETE, b"")]


# Fuzz: streams of random bytes and of mutated vectors, cut anywhere.


def _stream(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(40))
    data = bytearray(b"".join([rng.choice(FRAMED).data for _ in range(rng.randrange(1, 4))]))
    for _ in range(rng.randrange(3)):
        position = rng.randrange(len(data))
        data[position] = rng.choice((0, 1, 4, 5, 127, 128, 255, rng.randrange(256)))
    return bytes(data[: rng.randrange(len(data) + 1)]) if rng.random() < 0.2 else bytes(data)


def _read_until_error(data: bytes, cuts: list[int], limits: Limits, runs: bool) -> tuple[list[Frame], str]:
    reader = FrameReader()
    found: list[Frame] = []
    position = 0
    received = 0
    try:
        for cut in [*cuts, len(data)]:
            reader.receive_data(data[position:cut])
            received += cut - position
            position = cut
            found += read_runs(reader, limits) if runs else read_frames(reader, limits)
            consumed = sum(5 + len(body) for _, body in found)
            assert reader.pending == received - consumed
    except RemoteProtocolError as error:
        return found, str(error)
    return found, ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_fuzz_reader(seed: int) -> None:
    rng = random.Random(seed)
    failed = 0
    inputs = 12_000
    for _ in range(inputs):
        data = _stream(rng)
        limits = rng.choice((BACKEND, FRONTEND, frames.BACKEND_STARTUP, frames.backend_limits(40)))
        whole = _read_until_error(data, [], limits, runs=False)
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(5)))
        # An error loses what read_frames had found in that very call, so compare what an error leaves.
        cut = _read_until_error(data, cuts, limits, runs=True)
        assert whole[1] == cut[1]
        if whole[1]:
            failed += 1
        else:
            assert whole[0] == cut[0]
        for tag, body in whole[0]:
            for decode in (decode_backend, decode_frontend):
                try:
                    decode(tag, body, 0, len(body))
                except RemoteProtocolError:
                    pass
    assert inputs // 10 < failed < inputs - inputs // 10
