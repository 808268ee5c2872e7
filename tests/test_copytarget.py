"""The table that records are copied into."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import LocalProtocolError, Outcome
from pgproto.session.copytarget import CopyTarget
from pgproto.types import BUILT_IN


def test_its_texts() -> None:
    target = CopyTarget('a"b', ["x", 'y"'], "S", "x > 1 -- why")
    assert target.select == 'SELECT "x", "y""" FROM "S"."a""b"'
    copy = 'COPY "S"."a""b" ("x", "y""") FROM STDIN (FORMAT {}) WHERE (x > 1 -- why\n)'
    assert target.records([23, 25], BUILT_IN).sql == copy.format("binary")
    assert target.records([23, 99999], BUILT_IN).sql == copy.format("text")
    plain = CopyTarget("t", None)
    assert plain.columns is None
    assert plain.listing().args == ('"t"',)
    plain.choose(["a"])
    assert plain.operation(in_text=True).sql == 'COPY "t" ("a") FROM STDIN (FORMAT text)'


@pytest.mark.parametrize(
    ("columns", "text"), [([], "no columns"), (["a", "b", "a"], "named twice"), ("ab", "sequence of names")]
)
def test_columns_that_cannot_be(columns: Any, text: str) -> None:
    with pytest.raises(LocalProtocolError, match=text) as caught:
        CopyTarget("t", columns)
    assert caught.value.outcome is Outcome.NOT_SENT


def test_arguments_of_other_types() -> None:
    wrong: Any = 7
    arguments: list[tuple[Any, ...]] = [
        (wrong, None),
        ("t", [wrong]),
        ("t", None, wrong),
        ("t", None, "", wrong),
    ]
    for each in arguments:
        with pytest.raises(TypeError):
            CopyTarget(*each)
    with pytest.raises(LocalProtocolError):
        CopyTarget("t", None, "", "a\0b")
