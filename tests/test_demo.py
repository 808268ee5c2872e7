"""The demo reports failures: they are printed, and the exit code shows them.

The demo itself runs in continuous integration, by `make demo`.
"""

from __future__ import annotations

import pytest

from demo.report import Report
from demo.scene import PARTS, SLOW, Part, Timer, numbers
from pgproto import Outcome


def test_all_true(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.check(1 + 1 == 2, "one and one is two")
    assert report.verdict() == 0
    assert capsys.readouterr().out.splitlines() == [
        "  [ok] one and one is two",
        "",
        "All 1 claims were checked, and all are true.",
    ]


def test_one_false_claim_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.check(True, "true")
    report.check([], "something is there", "nothing")
    report.check(True, "true as well")
    assert report.verdict() == 1
    out = capsys.readouterr().out
    assert "[FAILED] something is there  (found: nothing)" in out
    assert "1 of 3 claims FAILED" in out


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    Report().table(["a", "b"], [["long", "1"], ["x", "100"]], right=1)
    assert capsys.readouterr().out.splitlines() == ["  a        b", "  long     1", "  x      100"]


def test_a_part_has_an_expectation_for_every_statement() -> None:
    numbered: list[int] = []
    for index, (name, atomic, statements) in enumerate(PARTS):
        part = Part("asyncio", index)
        assert part.name == name
        assert part.batch.atomic is atomic
        assert len(part.batch) == len(part.expected) == len(statements)
        assert part.outcomes == [None] * len(statements)
        numbered += [number for number in part.orders if number != SLOW]
    assert len(numbered) == len(set(numbered)), "an order's row would not tell whose it is"
    expected = {outcome for _, _, statements in PARTS for _, outcome in statements}
    assert {Outcome.COMMITTED, Outcome.ROLLED_BACK, Outcome.SKIPPED, Outcome.UNKNOWN} <= expected


def test_the_timer_keeps_the_best_and_counts_round_trips() -> None:
    trips = iter([3, 5, 10, 11])
    timer = Timer(lambda: next(trips))
    with timer:
        pass
    first = timer.seconds
    assert timer.round_trips == 2
    with timer:
        pass
    assert timer.round_trips == 1
    assert timer.seconds <= first
    assert len(numbers()) == 100
