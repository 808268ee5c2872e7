"""Libraries that read and write by DB-API, and by SQLAlchemy's dialect: what is stored is what they give."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pgproto_blocking import dbapi

pandas: Any = pytest.importorskip("pandas")
polars: Any = pytest.importorskip("polars")
petl: Any = pytest.importorskip("petl")
sqlalchemy: Any = pytest.importorskip("sqlalchemy")

ROWS = [(1, "Emma", Decimal("1.50")), (2, "Ulysses", None)]


@pytest.fixture
def books(conn: dbapi.Connection) -> Iterator[dbapi.Connection]:
    conn.execute("create temporary table books (id int4, title text, price numeric)")
    conn.cursor().executemany("insert into books values ($1, $2, $3)", ROWS)
    conn.commit()
    yield conn
    conn.rollback()


@pytest.mark.filterwarnings("ignore:pandas only supports SQLAlchemy")
def test_pandas(books: dbapi.Connection) -> None:
    frame = pandas.read_sql("select id, title from books where id < $1 order by id", books, params=(9,))
    assert frame.to_dict("list") == {"id": [1, 2], "title": ["Emma", "Ulysses"]}
    parts = list(pandas.read_sql("select id from books order by id", books, chunksize=1))
    assert [part["id"].tolist() for part in parts] == [[1], [2]]


def test_pandas_with_the_dialect(dsn: str) -> None:
    engine = sqlalchemy.create_engine(dsn.replace("postgresql:", "postgresql+pgproto:"))
    try:
        frame = pandas.DataFrame({"id": [1, 2], "title": ["Emma", "Ulysses"], "at": [0.5, 1.5]})
        frame.to_sql("frames", engine, index=False)
        assert pandas.read_sql_table("frames", engine).equals(frame)
        frame.to_sql("frames", engine, index=False, if_exists="replace", method="multi", chunksize=1)
        assert pandas.read_sql("select * from frames order by id", engine).equals(frame)
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("drop table if exists frames"))
        engine.dispose()


def test_polars(books: dbapi.Connection) -> None:
    frame = polars.read_database("select * from books order by id", books)
    assert frame.rows() == [(1, "Emma", Decimal("1.50")), (2, "Ulysses", None)]
    parameters = {"parameters": [1]}
    frame = polars.read_database("select title from books where id = $1", books, execute_options=parameters)
    assert frame.rows() == [("Emma",)]


def test_petl(books: dbapi.Connection) -> None:
    table = petl.fromdb(books, "select id, title from books order by id")
    assert list(table) == [("id", "title"), (1, "Emma"), (2, "Ulysses")]
    named = petl.fromdb(lambda: books.cursor("mine"), "select id from books order by id")
    assert list(named) == [("id",), (1,), (2,)]
