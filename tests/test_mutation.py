"""The mutation run itself: what it breaks, how a mutant is put in place, and which tests it gets."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from tests.mutation import worker
from tests.mutation.operators import mutants, mutate
from tests.mutation.survey import Survey
from tests.support.builds import pure_only

SOURCE = '''
"""A text."""
LIMIT: int = 3
TABLE = {1: 2, 3: 4}
__all__ = ["f"]


class Thing:
    """A text."""

    kind = 5

    def f(self, a: int, b: bool = True) -> int:
        """A text."""
        if a < 1 and b:
            raise ValueError(f"{a} is {1}")
        x = a + 2
        return x

    def __repr__(self) -> str:
        return "3"
'''


def test_what_is_broken_and_what_is_not() -> None:
    assert [(each.function, each.line, each.change) for each in mutants(SOURCE)] == [
        ("", 3, "3 -> 4"),
        ("", 4, "without 1"),
        ("", 4, "without 3"),
        ("", 4, "1 -> 2"),
        ("", 4, "3 -> 4"),
        ("", 4, "2 -> 3"),
        ("", 4, "4 -> 5"),
        ("Thing.f", 13, "True -> False"),
        ("Thing.f", 15, "a < 1 and b -> a < 1 or b"),
        ("Thing.f", 15, "a < 1 and b -> b"),
        ("Thing.f", 15, "a < 1 and b -> a < 1"),
        ("Thing.f", 15, "a < 1 -> a <= 1"),
        ("Thing.f", 15, "1 -> 2"),
        ("Thing.f", 16, "raise ValueError(f'{a} is {1}') -> pass"),
        ("Thing.f", 17, "x = a + 2 -> x = None"),
        ("Thing.f", 17, "a + 2 -> a - 2"),
        ("Thing.f", 17, "2 -> 3"),
        ("Thing.f", 18, "return x -> return None"),
    ]


def test_a_mutant_differs_from_the_source_in_one_place() -> None:
    whole = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in mutants(SOURCE):
        changed = ast.unparse(mutate(SOURCE, mutant.number)).splitlines()
        assert len(changed) >= len(whole) - 1
        assert sum(line not in whole for line in changed) <= 1
        assert changed != whole
    with pytest.raises(LookupError):
        mutate(SOURCE, 1000)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])


def in_a_fork(path: Path, change: str) -> int:
    """Put the first mutant with that change in place, in a process of its own; its exit status."""
    source = path.read_text()
    mutant = next(each for each in mutants(source) if each.change == change)
    child = os.fork()
    if not child:
        status = 2
        try:
            from pgproto.pool import settings
            from pgproto.pool.backoff import Backoff

            worker.put(path, source, mutant)
            made = settings.PoolSettings()
            backoff = Backoff(made, lambda: 1.0)
            backoff.failed(0.0)
            status = int((made.max_size, round(backoff.due, 6)) != (10, 0.12))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pure_only("compiled functions have no code that could be edited")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # xdist has a thread; forks are short
@pytest.mark.parametrize(
    ("path", "change", "noticed"),
    [
        ("pgproto/pool/settings.py", "10 -> 11", 1),  # a default
        ("pgproto/pool/backoff.py", "0.2 -> 1.2", 1),  # a constant of the module
        ("pgproto/pool/backoff.py", "self._step(now) -> pass", 0),  # in `admit`, which is not called
        ("pgproto/pool/backoff.py", "1.0 + _JITTER * self._random() -> 1.0 - _JITTER * self._random()", 1),
    ],
)
def test_a_mutant_is_put_in_place(path: str, change: str, noticed: int) -> None:
    assert in_a_fork(Path(path), change) == noticed


def test_a_mutant_is_run_by_the_tests_of_its_lines() -> None:
    known = Survey({"a": 3.0, "b": 1.0, "c": 2.0}, [], {"x.py": {1: ["a", "b"], 2: ["c"]}})
    assert known.of(Path("x.py"), range(1, 2)) == ["b", "a"]
    assert known.of(Path("x.py"), range(3, 4)) == []
    assert known.of(Path("x.py"), range(0)) == ["b", "c", "a"]
    assert known.of(Path("tables.py"), range(0)) == ["b", "c", "a"]
