"""Columns by Arrow's C interface: a consumer of our own walks the structs, and releases them."""

from __future__ import annotations

import ctypes
import gc
import platform
import struct
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from pgproto.columns import ColumnBatch, ColumnData, export, release, structs
from pgproto.columns.release import Releases, by_ctypes, code_for, executable
from pgproto.columns.release import releases as native
from pgproto.columns.structs import Array, GetError, GetTwo, Release, Schema, Stream, python_api
from tests.support.columns import column, decoded, field, plain, row
from tests.test_columns import array, enums, numeric

_pointer = python_api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)

SOURCE_TYPES = [20, 25, 16, 1009, 20001, 1700, 2950, 20002, 1186]
FIELDS = [
    field("n", 20),
    field("text", 25),
    field("even", 16),
    field("list", 1009),
    field("mood", 20001),
    field("price", 1700, numeric(10, 2)),
    field("id", 2950),
    field("moods", 20002),
    field("span", 1186),
]


def batch(rows: int = 10) -> ColumnBatch:
    return decoded(
        FIELDS,
        [
            row(
                struct.pack(">q", n),
                None if n % 3 == 0 else f"t{n}".encode(),
                bytes([n % 2]),
                array(25, b"x", None),
                (b"sad", b"ok")[n % 2],
                f"{n}.50".encode(),
                bytes(15) + bytes([n % 256]),
                array(20001, b"sad"),
                struct.pack(">qii", n, n, n),
            )
            for n in range(rows)
        ],
        types=enums(),
    )


@pytest.fixture(params=["native", "ctypes"])
def releases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """The machine's own functions, and those that stand in for them elsewhere."""
    if request.param == "ctypes":
        monkeypatch.setattr(export, "releases", by_ctypes())
    found: Releases = vars(export)["releases"]
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert owners() == 0


def owners() -> int:
    gc.collect()
    return sum(isinstance(each, export._Owner) for each in gc.get_objects())


def moved(struct_type: Any, address: int) -> Any:
    """What a consumer does: a copy of the struct, which is its own from here on."""
    found = struct_type.from_address(address)
    copy = struct_type()
    ctypes.memmove(ctypes.addressof(copy), address, ctypes.sizeof(copy))
    assert copy.release
    found.release = None
    return copy


def taken(capsule: object, struct_type: Any, name: bytes) -> Any:
    return moved(struct_type, _pointer(capsule, name))


def let_go(found: Any) -> None:
    Release(found.release)(ctypes.addressof(found))
    assert not found.release


def addresses(found: Any, field: str) -> list[int]:
    place = getattr(found, field)
    count = found.n_children if field == "children" else found.n_buffers
    return list((ctypes.c_void_p * count).from_address(place)) if count else []


SIZES = {"s": 2, "i": 4, "l": 8, "tin": 16, "w:16": 16}


def column_of(schema: Any, values: Any) -> ColumnData:
    """The column that the structs describe, in memory of its own."""
    format = schema.format.decode()
    assert schema.flags == structs.NULLABLE
    assert (values.offset, values.n_children) == (0, schema.n_children)
    pairs = zip(addresses(schema, "children"), addresses(values, "children"), strict=True)
    children = [column_of(Schema.from_address(one), Array.from_address(other)) for one, other in pairs]
    pointers = addresses(values, "buffers")
    bits = (values.length + 7) // 8
    sizes = [bits]
    if format in "uz":
        sizes.append(4 * (values.length + 1))
        sizes.append(ctypes.c_int32.from_address(pointers[1] + 4 * values.length).value)
    elif format == "+l":
        sizes.append(4 * (values.length + 1))
    elif format != "+s":
        size = 16 if format.startswith("d:") else SIZES.get(format, 0)
        sizes.append(bits if format == "b" else size * values.length)
    memory = [
        None if not place else bytearray(ctypes.string_at(place, size))
        for place, size in zip(pointers, sizes, strict=True)
    ]
    dictionary = None
    if schema.dictionary:
        dictionary = column_of(Schema.from_address(schema.dictionary), Array.from_address(values.dictionary))
    name = schema.name.decode()
    return ColumnData(name, 0, format, values.length, values.null_count, memory, children, dictionary)


def shown(columns: Any) -> dict[str, list[Any]]:
    return {each.name: plain(each) for each in columns}


@pytest.mark.parametrize("rows", [0, 1, 10])
def test_an_array(releases: Releases, rows: int) -> None:
    source = batch(rows)
    expected = shown(source)
    schema_capsule, array_capsule = source.__arrow_c_array__()
    del source
    schema = taken(schema_capsule, Schema, b"arrow_schema")
    values = taken(array_capsule, Array, b"arrow_array")
    del schema_capsule, array_capsule
    gc.collect()
    found = column_of(schema, values)
    assert (found.format, len(found)) == ("+s", rows)
    assert shown(found.children) == expected
    let_go(schema)
    assert owners() > 0
    let_go(values)


def test_one_column(releases: Releases) -> None:
    source = batch()["mood"]
    schema, values = source.__arrow_c_array__()
    kind = source.__arrow_c_schema__()
    found = [taken(each, Schema, b"arrow_schema") for each in (schema, kind)]
    copied = taken(values, Array, b"arrow_array")
    assert plain(column_of(found[0], copied)) == plain(source)
    assert found[1].name == b"mood"
    for each in (*found, copied):
        let_go(each)


def test_a_schema(releases: Releases) -> None:
    schema = taken(batch().__arrow_c_schema__(), Schema, b"arrow_schema")
    names = [Schema.from_address(each).name.decode() for each in addresses(schema, "children")]
    assert names == [each.name for each in FIELDS]
    let_go(schema)


def test_a_stream(releases: Releases) -> None:
    source = batch()
    expected = shown(source)
    stream = taken(source.__arrow_c_stream__(), Stream, b"arrow_array_stream")
    del source
    place = ctypes.addressof(stream)
    schema, values, end = Schema(), Array(), Array()
    assert GetTwo(stream.get_schema)(place, ctypes.addressof(schema)) == 0
    for each in (values, end):
        assert GetTwo(stream.get_next)(place, ctypes.addressof(each)) == 0
    assert not end.release
    assert GetError(stream.get_last_error)(place) is None
    let_go(stream)
    assert shown(column_of(schema, values).children) == expected
    let_go(values)
    let_go(schema)


def test_a_stream_that_fails_says_why(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("no room")

    stream = taken(batch().__arrow_c_stream__(), Stream, b"arrow_array_stream")
    monkeypatch.setattr(export, "_whole_schema", fails)
    monkeypatch.setattr(export, "_whole_array", fails)
    place = ctypes.addressof(stream)
    for get, result in ((stream.get_schema, Schema()), (stream.get_next, Array())):
        assert GetTwo(get)(place, ctypes.addressof(result)) == 5
        text = GetError(stream.get_last_error)(place)
        assert ctypes.string_at(text or 0) == b"MemoryError('no room')"
        assert not result.release
    let_go(stream)


def test_children_that_are_moved_out_live_on(releases: Releases) -> None:
    source = batch()
    expected = plain(source["list"])
    schema_capsule, array_capsule = source.__arrow_c_array__()
    schema = taken(schema_capsule, Schema, b"arrow_schema")
    values = taken(array_capsule, Array, b"arrow_array")
    kind = moved(Schema, addresses(schema, "children")[3])
    child = moved(Array, addresses(values, "children")[3])
    del source, schema_capsule, array_capsule
    let_go(values)
    let_go(schema)
    assert plain(column_of(kind, child)) == expected
    let_go(kind)
    let_go(child)


def test_capsules_that_nobody_takes(releases: Releases) -> None:
    source = batch()
    kept = [source.__arrow_c_array__(), source.__arrow_c_stream__(), source.__arrow_c_schema__()]
    assert owners() > 0
    kept.clear()


def test_released_by_other_threads(releases: Releases) -> None:
    found = [taken(batch().__arrow_c_array__()[1], Array, b"arrow_array") for _ in range(20)]
    threads = [threading.Thread(target=let_go, args=(each,)) for each in found]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_released_in_the_middle_of_an_exception() -> None:
    """Python drops the operands of what has failed while the exception is set."""
    assert native.native == (code_for(platform.machine(), sys.platform) is not None)
    if not native.native:
        return
    for _ in range(100):
        with pytest.raises(ZeroDivisionError):
            print(batch(1).__arrow_c_stream__(), batch(1).__arrow_c_array__(), 1 // 0)


def test_the_memory_cannot_be_resized_while_it_is_lent(releases: Releases) -> None:
    source = batch()
    values = taken(source.__arrow_c_array__()[1], Array, b"arrow_array")
    memory = source["n"].memory[1]
    assert memory is not None
    with pytest.raises(BufferError):
        memory += bytes(1000)
    let_go(values)
    memory += bytes(1)


def test_a_thousand_exports_take_no_memory(releases: Releases) -> None:
    source = batch(100)
    source = ColumnBatch(100, [source["text"], source["moods"]])

    def some(count: int) -> int:
        for _ in range(count):
            source.__arrow_c_array__()
            let_go(taken(source.__arrow_c_stream__(), Stream, b"arrow_array_stream"))
            let_go(taken(source.__arrow_c_array__()[1], Array, b"arrow_array"))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        some(20)
        assert some(1000) - some(20) < 20_000
    finally:
        tracemalloc.stop()


def test_the_code_for_each_machine() -> None:
    for machine in ("x86_64", "aarch64"):
        functions = code_for(machine, "linux")
        assert functions is not None
        assert len({bytes(each) for each in functions}) == 4
        assert all(len(each) % 8 == 0 for each in functions)
    assert code_for("riscv64", "linux") is None
    assert code_for("x86_64", "win32") is None


class Library:
    """A system that refuses."""

    def __init__(self, page: int, answer: int) -> None:
        self.mmap = self.Function(page)
        self.mprotect = self.Function(answer)

    class Function:
        def __init__(self, answer: int) -> None:
            self.answer = answer

        def __call__(self, *_: object) -> int:
            return self.answer


def test_a_system_that_forbids_code() -> None:
    assert executable([], Library(release._FAILED or 0, 0)) is None
    assert executable([], Library(8, -1)) is None
    assert executable([], Library(8, 0)) == []


def test_without_code_there_are_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "elsewhere")
    assert not release._made().native


def test_one_column_of_nothing() -> None:
    for oid in (20, 25, 1007, 16):
        values = taken(column(oid, []).__arrow_c_array__()[1], Array, b"arrow_array")
        assert all(addresses(values, "buffers")[1:])
        let_go(values)
