"""What Arrow's libraries make of our columns, and we of theirs: those that are installed here.

CI has none of them; `pip install pyarrow polars duckdb pandas` beside the test extra has them all.  What they
are held to is also in test_columns_export and test_columns_copy, by a consumer and producers of our own.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pgproto.columns import ColumnBatch
from pgproto.columns.consume import ArrowSource
from tests.support.columns import plain
from tests.test_columns_copy import copied, rows
from tests.test_columns_export import SOURCE_TYPES, batch, owners

VALUES = [(n, None if n % 3 == 0 else f"t{n}", bool(n % 2), ("sad", "ok")[n % 2]) for n in range(10)]
NAMES = ("n", "text", "even", "mood")
OIDS = [20, 25, 16, 20001]


def some() -> ColumnBatch:
    whole = batch(10)
    return ColumnBatch(10, [whole[name] for name in NAMES])


def with_pyarrow(pyarrow: Any) -> None:
    table = pyarrow.table(batch(10))
    table.validate(full=True)
    assert table.column("n").to_pylist() == list(range(10))
    assert table.column("price").to_pylist()[1] == Decimal("1.50")
    assert table.column("list").to_pylist()[0] == ["x", None]
    assert table.column("mood").to_pylist() == [each[3] for each in VALUES]
    pyarrow.record_batch(batch(0)).validate(full=True)
    assert pyarrow.array(batch(3)["text"]).to_pylist() == [None, "t1", "t2"]
    assert pyarrow.schema(batch(1)).names == [each.name for each in batch(1)]
    assert copied(table, SOURCE_TYPES) == copied(batch(10), SOURCE_TYPES)
    assert copied(table.slice(3, 5).select(NAMES), OIDS) == rows(OIDS, *VALUES[3:8])
    at = datetime(2024, 2, 29, tzinfo=UTC)
    other = pyarrow.table(
        {
            "at": pyarrow.array([at, None], pyarrow.timestamp("ns", "Europe/Rome")),
            "large": pyarrow.array(["a", None], pyarrow.large_string()),
            "view": pyarrow.array(["longer than twelve bytes", None], pyarrow.string_view()),
            "list": pyarrow.array([[1, None], None], pyarrow.large_list(pyarrow.int8())),
            "dec": pyarrow.array([Decimal("1.5"), None], pyarrow.decimal256(50, 3)),
        }
    )
    found = copied(other, [1184, 25, 25, 1007, 1700])
    first = (at, "a", "longer than twelve bytes", [1, None], Decimal("1.500"))
    assert found == rows([1184, 25, 25, 1007, 1700], first, (None,) * 5)
    reader = pyarrow.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(max_chunksize=4)))
    assert copied(reader, SOURCE_TYPES) == copied(table, SOURCE_TYPES)
    # It drops the table while the exception is set.
    for _ in range(20):
        with pytest.raises(KeyError, match="no such column"):
            pyarrow.table(batch(3)).column("no such column")


def with_polars(polars: Any) -> None:
    frame = polars.DataFrame(some())
    assert frame.rows() == VALUES
    assert copied(frame, OIDS) == rows(OIDS, *VALUES)


def with_duckdb(duckdb: Any) -> None:
    found = batch(10)
    with duckdb.connect() as connection:
        assert connection.sql("select sum(n), count(text), max(price) from found").fetchall() == [
            (45, 6, Decimal("9.50"))
        ]
        assert len(found) == 10
        result = connection.sql("select 7::bigint as n union all select null order by 1")
        assert copied(result, [20]) == rows([20], (7,), (None,))


def with_pandas(pandas: Any) -> None:
    if hasattr(pandas.DataFrame, "from_arrow") and importlib.util.find_spec("pyarrow") is not None:
        frame = pandas.DataFrame.from_arrow(some())
        assert frame["n"].tolist() == list(range(10))
        assert copied(frame[["n"]], [20]) == rows([20], *[(n,) for n in range(10)])


PEERS: dict[str, Callable[[Any], None]] = {
    "pyarrow": with_pyarrow,
    "polars": with_polars,
    "duckdb": with_duckdb,
    "pandas": with_pandas,
}


def test_the_libraries_that_are_installed() -> None:
    for name, check in PEERS.items():
        if importlib.util.find_spec(name) is not None:
            check(importlib.import_module(name))
            gc.collect()
            assert owners() == 0, name


def test_a_batch_is_its_own_source() -> None:
    source = ArrowSource(some())
    assert [kind.name for kind in source.kinds] == list(NAMES)
    source.close()
    assert plain(some()["n"]) == list(range(10))
