"""The instruction budget: reading what callgrind has counted, comparing, storing; and that its cases run."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import pgproto
from benchmarks import budget, counted
from benchmarks.budget import Counts, compared, counts, interpreter
from benchmarks.counted import CASES, prepared

PROFILE = """part: 1
desc: Trigger: --dump-before=getppid
summary: 366353087
totals: 366353087
part: 2
totals: 5000
part: 3
totals: 77
part: 4
fn=(1) totals: 8
totals: 900
part: 5
desc: Trigger: Program termination
totals: 22876352
"""


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    yield
    gc.enable()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A budget of the test's own, and no need of valgrind."""
    monkeypatch.setattr(budget, "BUDGET", tmp_path / "budget.json")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    return tmp_path / "budget.json"


def counting(monkeypatch: pytest.MonkeyPatch, **instructions: int) -> list[str]:
    """What the next runs shall have counted; the builds that were counted."""
    builds: list[str] = []

    def count(build: str, tree: Path) -> Counts:
        builds.append(build)
        return instructions

    monkeypatch.setattr(budget, "count", count)
    return builds


def test_every_other_part_is_a_case() -> None:
    assert counts(PROFILE, {"a": 50, "b": 1}) == {"a": 100, "b": 900}


@pytest.mark.parametrize("repeats", [{"a": 1}, {"a": 1, "b": 1, "c": 1}])
def test_a_missing_mark_is_an_error(repeats: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="5 parts"):
        counts(PROFILE, repeats)


@pytest.mark.parametrize(
    ("now", "over", "under"),
    [
        (1000, False, False),
        (1050, False, False),
        (1051, True, False),
        (950, False, False),
        (949, False, True),
    ],
)
def test_five_percent_are_allowed(now: int, over: bool, under: bool) -> None:
    lines, *found = compared({"same": 7, "case": now}, {"same": 7, "case": 1000})
    assert found == [over, under]
    assert lines[2].split()[:4] == ["case", "1,000", f"{now:,}", f"{now / 1000:.3f}"]
    assert lines[2].endswith("over") == over
    assert lines[2].endswith("under") == under


def test_one_that_is_better_does_not_make_up_for_one_that_is_worse() -> None:
    assert compared({"a": 80, "b": 120}, {"a": 100, "b": 100})[1:] == (True, True)


def test_a_case_without_a_budget_is_over_it() -> None:
    lines, over, _ = compared({"new": 10}, {"old": 10})
    assert over
    assert "inf  over" in lines[1]


def test_what_is_stored_is_held_to(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    builds = counting(monkeypatch, a=1000)
    assert budget.main(["--write", "--build", "pure"]) == 0
    assert json.loads(file.read_text()) == {interpreter(): {"pure": {"a": 1000}}}
    assert budget.main(["--build", "pure"]) == 0
    counting(monkeypatch, a=1060)
    assert budget.main(["--build", "pure"]) == 1
    assert "over the budget" in capsys.readouterr().out
    counting(monkeypatch, a=900)
    assert budget.main(["--build", "pure"]) == 0
    assert "lower the budget" in capsys.readouterr().out
    assert builds == ["pure", "pure"]


def test_storing_one_build_keeps_the_others(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(json.dumps({"elsewhere": {"pure": {"a": 1}}}))
    counting(monkeypatch, a=2)
    budget.main(["--write"])
    stored = {interpreter(): {"compiled": {"a": 2}, "pure": {"a": 2}}}
    assert json.loads(file.read_text()) == {"elsewhere": {"pure": {"a": 1}}, **stored}


def test_another_interpreter_has_no_budget(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(json.dumps({"CPython 2.7": {"pure": {"a": 1}}}))
    builds = counting(monkeypatch, a=1000)
    assert budget.main([]) == 0
    assert builds == []
    printed = capsys.readouterr().out
    assert f"no budget for {interpreter()}" in printed
    assert "CPython 2.7" in printed


def test_without_valgrind_it_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="needs valgrind"):
        budget.main([])


def test_the_stored_budget_has_every_case() -> None:
    stored = json.loads(budget.BUDGET.read_text())
    assert stored
    for builds in stored.values():
        assert set(builds) == {"compiled", "pure"}
        for kept in builds.values():
            assert list(kept) == list(CASES)
            assert all(count > 0 for count in kept.values())


def test_every_case_can_be_repeated() -> None:
    for operation in prepared().values():
        operation()


def test_every_case_is_between_two_marks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marks: list[int] = []
    runs: list[str] = []

    def operations() -> dict[str, counted.Operation]:
        return {name: partial(runs.append, name) for name in CASES}

    monkeypatch.setattr(counted, "prepared", operations)
    monkeypatch.setattr(os, "getppid", lambda: marks.append(len(runs)))
    counted.main()
    assert marks[0] == 0
    assert [after - before for before, after in zip(marks[::2], marks[1::2], strict=True)] == [
        case.repeat for case in CASES.values()
    ]
    assert capsys.readouterr().out == f"{pgproto.build}\n"
