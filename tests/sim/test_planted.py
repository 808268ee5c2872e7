"""The power of the simulation: it finds every planted bug, and nothing in the library as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.builds import pure_only

from . import run
from .planted import BUGS, found, hunt
from .planted_edit import Bug, Edit, Value, Wrap, returns

pytestmark = pure_only("compiled functions have no code that could be edited")

SEEDS = found()
bugs = pytest.mark.parametrize("bug", BUGS.values(), ids=list(BUGS))


@bugs
def test_it_is_caught_as_what_it_is(bug: Bug) -> None:
    catch = hunt(bug, first=SEEDS[bug.name])
    violation = catch.violation
    assert violation is not None, f"{bug.name} survived {catch.schedules} schedules"
    assert catch.fits, f"{bug.name} was caught as {violation.kind}: {violation.what}"
    # The library as it is passes the same schedule.
    assert run(violation.seed, bug.profile).seed == violation.seed


@bugs
def test_it_changes_the_code_that_it_names(bug: Bug) -> None:
    for change in bug.changes:
        before = change.now()
        with bug.planted():
            assert change.now() != before
        assert change.now() == before


def test_there_are_enough_of_them() -> None:
    assert len(BUGS) >= 122


def test_few_of_them_are_edits() -> None:
    """A refactoring of the library must not edit its judges: see `planted_edit`."""
    edited = [name for name, bug in BUGS.items() if any(isinstance(each, Edit) for each in bug.changes)]
    assert 4 * len(edited) <= len(BUGS)


class Base:
    """What the example is built upon."""

    def thrice(self, number: int, *, less: int = 0) -> int:
        """Wrapped below."""
        return 3 * number - less


class Example(Base):
    """Something to plant bugs in."""

    def twice(self, number: int) -> int:
        """Edited below."""
        if number:
            number = number + 1
            number = number - 1
        return 2 * number

    def thrice(self, number: int, *, less: int = 0) -> int:
        """Wrapped below."""
        return super().thrice(number, less=less)

    @property
    def name(self) -> str:
        """Edited and wrapped below."""
        return "right"

    @staticmethod
    def half(number: int) -> int:
        """Wrapped below."""
        return number // 2


def test_an_edit_and_its_end() -> None:
    example = Example()
    twice = example.twice
    edit = Edit(Example, "twice", ("number = number + 1\nnumber = number - 1", "number += 1"))
    with edit.planted():
        assert twice(2) == 6
        assert example.twice(0) == 0
    assert twice(2) == 4
    with Edit(Example, "name", ("right", "wrong")).planted():
        assert example.name == "wrong"
    assert example.name == "right"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("twice", "three", "four"),  # is not there
        ("twice", "number = number", "pass"),  # is there twice
        ("missing", "number", "pass"),  # no such function
        ("__doc__", "plant", "pass"),  # no function
        ("twice", "2 * number", "two * number"),  # says a name that nobody knows
    ],
)
def test_an_edit_that_does_not_fit_is_refused(name: str, old: str, new: str) -> None:
    with pytest.raises(LookupError), Edit(Example, name, (old, new)).planted():
        pass


def test_a_value_that_is_not_there_is_refused() -> None:
    with pytest.raises(LookupError), Value(Example, "missing", 1).planted():
        pass


def one_more(thrice: Callable[..., int], self: Base, number: int, *, less: int = 0) -> int:
    return thrice(self, number, less=less) + 1


def test_what_is_wrapped_is_wrapped_for_everybody_who_holds_it() -> None:
    example = Example()
    held = example.thrice
    with Wrap(Base, "thrice", one_more).planted():
        assert held(2) == 7  # it is called by super()
        with Wrap(Example, "thrice", one_more).planted():
            assert held(2, less=1) == example.thrice(number=2, less=1) == 7
    assert held(2, less=1) == 5


def test_a_property_and_a_static_method_are_wrapped() -> None:
    half = Example.half
    wrong = Wrap(Example, "name", lambda name, self: f"not {name(self)}")
    with wrong.planted(), Wrap(Example, "half", returns(0)).planted():
        assert Example().name == "not right"
        assert half(8) == Example.half(number=8) == 0
    assert Example().name == "right"
    assert half(8) == 4


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (Example, "missing", returns(None)),
        (Example, "__doc__", returns(None)),  # no function
        (type("Heir", (Example,), {}), "twice", returns(None)),  # it is not its own
        (Example, "twice", lambda twice, self: 0),  # it is called with a number
        (Example, "thrice", lambda thrice, self, number: 0),
        (Example, "thrice", lambda thrice, self, number, less: 0),  # less is given by name
        (Example, "thrice", lambda thrice, self, number, *, less: 0),  # it may be left out
        (Example, "thrice", lambda thrice, self, number, *, more=0: 0),
    ],
)
def test_a_wrap_that_does_not_fit_is_refused(owner: type, name: str, instead: Callable[..., object]) -> None:
    with pytest.raises(LookupError), Wrap(owner, name, instead).planted():
        pass
