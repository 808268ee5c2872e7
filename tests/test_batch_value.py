"""The first value of an item, for `fetchval`."""

from __future__ import annotations

import pytest

from pgproto import DataError, Outcome
from pgproto.session import Execution, QueuedQuery
from tests.support.backend import Answer, rows_of
from tests.support.pair import Pair


def test_the_value_of_an_item() -> None:
    item = QueuedQuery("select", ())
    assert item.value() is None
    pair = Pair({"select": Answer("SELECT 1", columns=[], rows=[[]]), "one": rows_of(7)})
    run = pair.run(Execution([item, one := QueuedQuery("one", ())]))
    assert run.error is None
    assert one.value() == 7
    with pytest.raises(DataError, match="no columns") as caught:
        item.value()
    assert caught.value.outcome is Outcome.COMMITTED
    assert caught.value.query == "select"
