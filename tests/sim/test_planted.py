"""The power of the simulation: it finds every planted bug, and nothing in the library as it is."""

from __future__ import annotations

import pytest

from tests.support.builds import pure_only

from . import run
from .planted import BUGS, hunt
from .planted_edit import Bug, Edit, Value

pytestmark = pure_only("compiled functions have no code that could be edited")

bugs = pytest.mark.parametrize("bug", BUGS.values(), ids=list(BUGS))


@bugs
def test_it_is_caught_as_what_it_is(bug: Bug) -> None:
    catch = hunt(bug)
    violation = catch.violation
    assert violation is not None, f"{bug.name} survived {catch.schedules} schedules"
    assert catch.fits, f"{bug.name} was caught as {violation.kind}: {violation.what}"
    # The library as it is passes the same schedule.
    assert run(violation.seed, bug.profile).seed == violation.seed


@bugs
def test_it_changes_the_code_that_it_names(bug: Bug) -> None:
    for edit in bug.edits:
        before = state(edit)
        with bug.planted():
            assert state(edit) != before
        assert state(edit) == before


def state(edit: Edit | Value) -> object:
    if isinstance(edit, Value):
        return vars(edit.owner)[edit.name]
    return edit.target().__code__


def test_there_are_enough_of_them() -> None:
    assert len(BUGS) >= 122


class Example:
    """Something to plant bugs in."""

    def twice(self, number: int) -> int:
        """Edited below."""
        if number:
            number = number + 1
            number = number - 1
        return 2 * number

    @property
    def name(self) -> str:
        """Edited below."""
        return "right"


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
        ("thrice", "number", "pass"),  # no such function
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
