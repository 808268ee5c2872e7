"""Every input that is kept, and mutations of them from a fixed seed: no finding.  No atheris is needed."""

from __future__ import annotations

import random
import time

import pytest

from tests.corpus.recording import from_text, to_text
from tests.fuzz import measure
from tests.fuzz.__main__ import cover
from tests.fuzz.inputs import DIRECTORY, LIMIT, kept, seeds
from tests.fuzz.mutator import join, mutate, plain_mutation, split
from tests.fuzz.targets import TARGETS
from tests.support.builds import pure_only

MUTATIONS = 1500
CHUNKS = 4

each_target = pytest.mark.parametrize("target", TARGETS)


def no_findings(watch: measure.Watch) -> None:
    report = [f"{key}: {data!r}\n{text}" for key, (text, data) in watch.findings.items()]
    assert not report, "\n".join(report)


@each_target
def test_inputs_that_are_kept(target: str) -> None:
    watch = measure.Watch(target, timed=False)
    inputs = kept(target)
    assert inputs
    for data in inputs:
        watch.run(data)
    no_findings(watch)


@each_target
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_mutations(target: str, chunk: int) -> None:
    rng = random.Random(f"{target} {chunk}")
    watch = measure.Watch(target, timed=False)
    inputs = seeds(target)
    for _ in range(MUTATIONS // CHUNKS):
        data = rng.choice(inputs)
        for _ in range(rng.randint(1, 3)):
            data = mutate(target, data, LIMIT, rng.getrandbits(32), plain_mutation)
        assert len(data) <= LIMIT
        watch.run(data)
    assert watch.inputs == MUTATIONS // CHUNKS
    no_findings(watch)


def test_the_inputs_are_few() -> None:
    assert sum(path.stat().st_size for path in DIRECTORY.iterdir()) < 1 << 20
    assert {path.stem for path in DIRECTORY.iterdir()} == set(TARGETS)


def test_their_text_is_exact() -> None:
    rng = random.Random(1)
    for data in [
        b"",
        b" ",
        b"\\ ",
        b"\\s\\x00\\0",
        bytes(range(256)),
        *(rng.randbytes(30) for _ in range(100)),
    ]:
        assert from_text(to_text(data)) == data
        assert "\n" not in to_text(data)


def test_frames_are_split_and_joined() -> None:
    assert split(join([(68, b"ab"), (90, b"")]) + b"Z\0") == ([(68, b"ab"), (90, b"")], b"Z\0")


@pytest.mark.parametrize(("error", "count"), [(ValueError("x"), 1), (None, 0)])
def test_a_finding_is_found(monkeypatch: pytest.MonkeyPatch, error: Exception | None, count: int) -> None:
    def broken(data: bytes) -> None:
        if error is not None and data:
            raise error

    monkeypatch.setitem(TARGETS, "sql", broken)
    watch = measure.Watch("sql", timed=False)
    for data in (b"", b"longer", b"x"):
        watch.run(data)
    assert [data for _, data in watch.findings.values()] == [b"x"] * count


def test_what_is_not_linear_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = 0.0

    def quadratic(data: bytes) -> None:
        nonlocal spent
        spent += len(data) ** 2

    monkeypatch.setitem(TARGETS, "sql", quadratic)
    monkeypatch.setattr(time, "thread_time", lambda: spent)
    watch = measure.Watch("sql")
    for _ in range(600):
        watch.run(bytes(10))
    assert not watch.findings
    watch.run(bytes(4000))
    assert list(watch.findings) == ["slow"]


@pure_only("the lines of compiled code are not traced")
def test_the_smallest_set_reaches_all() -> None:
    assert cover("sql", [b"select 1", b"select 2", b"\xff"]) != []
    assert len(cover("sql", [b"select 1", b"select 2", b"select 3"])) == 1
