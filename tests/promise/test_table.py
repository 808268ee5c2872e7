"""docs/promise.md says what pytest collects, and no row is open."""

from __future__ import annotations

from tests.support.builds import pure_only

from .table import PAGE, ROWS, collect, render

pytestmark = pure_only("what is collected is the same")


def test_each_row_is_held_and_the_page_says_by_what() -> None:
    held = collect()
    assert [row for row in ROWS if not held[row].tests] == []
    result = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    assert result.rstrip() == render(held).rstrip(), "make promise writes the page anew"
