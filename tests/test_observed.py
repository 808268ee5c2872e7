"""The price of observers: that its cases run, and what its table says."""

from __future__ import annotations

from benchmarks.observed import measured, operations, table


def test_every_case_runs_and_is_measured() -> None:
    cases = operations()
    assert next(iter(cases)) == "no observer"
    assert len(cases) >= 3
    seconds = measured(cases, rounds=2, repeats=2)
    assert list(seconds) == list(cases)
    assert all(0 < each < 1 for each in seconds.values())


def test_the_best_round_counts() -> None:
    calls: list[str] = []
    cases = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    measured(cases, rounds=2, repeats=3)
    assert "".join(calls) == "aaabbb" * 2  # they take turns


def test_the_table_compares_with_the_first_case() -> None:
    assert table({"none": 0.00002, "an observer": 0.00003}) == [
        "none            20.00 us   1.00",
        "an observer     30.00 us   1.50",
    ]
