"""Small parts of the long runs (see `__main__`), and what these can find."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest

import pgproto_blocking
from pgproto.errors import DataError
from pgproto.types import Codec, TypeMap
from pgproto.types.arrays import ArrayCodec
from pgproto.types.scalars import BoolCodec, IntCodec
from tests.support.builds import pure_only
from tests.types.agree import agree, known_types
from tests.types.generate import Maker
from tests.types.mutants import Judge, damage, marks, seeds, work
from tests.types.values import Catalog


@pytest.fixture(scope="module")
def known(dsn18: str) -> Iterator[tuple[Catalog, TypeMap]]:
    with pgproto_blocking.connect(dsn18) as conn:
        yield known_types(conn)


def test_the_server_agrees(dsn18: str) -> None:
    report = agree(dsn18, 4000, 20261130)
    assert report.wrong == []
    assert report.types > 150


def test_damaged_values(known: tuple[Catalog, TypeMap]) -> None:
    catalog, types = known
    judge = work(Maker(catalog, 20261130), types, 40_000)
    assert judge.findings == {}
    assert judge.inputs > 40_000 > judge.refused > 20_000
    assert judge.texts > judge.texts_refused > 5_000


def test_nothing_is_allocated_ahead(known: tuple[Catalog, TypeMap]) -> None:
    """Every number of every value becomes the largest one."""
    catalog, types = known
    tried = 0
    tracemalloc.start()
    try:
        for seed in seeds(Maker(catalog, 1), types, 1):
            for data in seed.binary:
                for at, size in marks(seed.codec, data, 0, len(data)):
                    largest = b"\x7f" + b"\xff" * (size - 1)
                    changed = data[:at] + largest + data[at + size :]
                    tracemalloc.reset_peak()
                    before = tracemalloc.get_traced_memory()[0]
                    try:
                        seed.codec.decode(changed, 0, len(changed))
                    except DataError:
                        pass
                    assert tracemalloc.get_traced_memory()[1] - before < 100 * len(data) + (1 << 20)
                    tried += 1
    finally:
        tracemalloc.stop()
    assert tried > 1000


class Careless(Codec):
    """A codec with the mistakes that the judge must see."""

    def __init__(self, what: str) -> None:
        super().__init__(1, "careless")
        self.what = what

    def decode(self, buffer: bytes, start: int, end: int) -> object:
        if self.what == "beyond":
            return buffer[start : end + 1]
        if self.what == "raises":
            return int(buffer[start:end])
        return object()

    def encode(self, value: object) -> bytes:
        raise ValueError("nothing")


@pure_only("the careless codec is a subclass in Python")
@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("beyond", "the bytes around it"),
        ("raises", "ValueError test_random.py"),
        ("differs", "the bytes around it"),
    ],
)
def test_the_judge_sees(what: str, found: str) -> None:
    judge = Judge()
    judge.run(Careless(what), b"a")
    assert [name.startswith(found) for name in judge.findings] == [True]
    judge.run_text(BoolCodec(16, "bool"), "t")
    assert len(judge.findings) == 1


def test_damage_is_where_it_matters() -> None:
    codec = ArrayCodec(1007, IntCodec(23, "int4", "i"))
    data = codec.encode([[1, None], [3, 4]])
    assert marks(codec, data, 0, 28)[:7] == [(at, 4) for at in range(0, 28, 4)]
    changed = {
        damage(random.Random(seed), data, marks(codec, data, 0, len(data)), data) for seed in range(200)
    }
    assert len(changed) > 120
