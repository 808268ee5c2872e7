"""Values of the types that drivers differ in: there and back, with a type of SQLAlchemy's and without one."""

from __future__ import annotations

import datetime
import ipaddress
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, insert, inspect, select, text
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import Range, ranges

import pgproto

UUID = uuid.UUID(int=7)
MOOD = pg.ENUM("sad", "ok", name="mood_of_types")
CITEXT = pg.CITEXT()
TYPES: list[tuple[Any, Any]] = [
    (MOOD, "ok"),
    (pg.ARRAY(MOOD), ["ok", "sad", None]),
    (pg.ARRAY(CITEXT), ["a", "B"]),
    (pg.ARRAY(Integer, dimensions=2), [[1, 2], [3, 4]]),
    (pg.INT4RANGE(), Range(1, 5)),
    (pg.INT4RANGE(), Range(empty=True)),
    (pg.NUMRANGE(), Range(Decimal("1.5"), None, bounds="()")),
    (pg.DATERANGE(), Range(datetime.date(2026, 1, 1), datetime.date(2026, 2, 1))),
    (pg.ARRAY(pg.INT8RANGE()), [Range(1, 5), Range(7, None)]),
    (pg.INT4MULTIRANGE(), ranges.MultiRange([Range(1, 5), Range(7, 9)])),
    (pg.INET(), ipaddress.ip_address("10.0.0.1")),
    (pg.INET(), ipaddress.ip_interface("10.0.0.1/8")),
    (pg.CIDR(), ipaddress.ip_network("10.0.0.0/8")),
    (pg.ARRAY(pg.INET()), [ipaddress.ip_address("::1")]),
    (pg.MACADDR(), "08:00:2b:01:02:03"),
    (pg.JSON(), {"a": [1, None, "x"]}),
    (pg.JSONB(), "a text"),
    (pg.JSONB(), [1.5, {"b": None}]),
    (pg.HSTORE(), {"a": "1", "b": None}),
    (CITEXT, "Text"),
    (pg.UUID(), UUID),
    (pg.UUID(as_uuid=False), str(UUID)),
    (pg.ARRAY(pg.UUID()), [UUID]),
    (pg.INTERVAL(), datetime.timedelta(days=3, microseconds=1)),
    (pg.BYTEA(), b"\0x"),
    (pg.NUMERIC(10, 2), Decimal("1.50")),
    (pg.NUMERIC(10, 2, asdecimal=False), 1.5),
    (pg.DOUBLE_PRECISION(), 1.5),
    (pg.TIMESTAMP(timezone=True), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
    (pg.TIMESTAMP(), datetime.datetime(2026, 1, 1, 1, 2, 3)),
    (pg.DATE(), datetime.date(2026, 1, 1)),
    (pg.TIME(), datetime.time(1, 2, 3)),
    (pg.TSVECTOR(), "'a' 'b'"),
    (String(), "é"),
]


@pytest.fixture
def kinds(engine: Engine) -> Iterator[Engine]:
    MOOD.create(engine, checkfirst=True)
    yield engine
    MOOD.drop(engine)


@pytest.mark.parametrize(("kind", "value"), TYPES, ids=lambda each: repr(each)[:40])
def test_there_and_back(kinds: Engine, kind: Any, value: Any) -> None:
    table = Table("kinds", MetaData(), Column("id", Integer, primary_key=True), Column("value", kind))
    with kinds.connect() as connection:
        table.create(connection)
        # One row by a statement of its own, two by one with RETURNING, two by a pipeline.
        connection.execute(insert(table).values(id=1, value=value))
        rows = [{"id": 2, "value": value}, {"id": 3, "value": None}]
        found = connection.execute(insert(table).returning(table.c.value), rows).scalars().all()
        assert found == [value, None]
        connection.execute(insert(table), [{"id": 4, "value": value}, {"id": 5, "value": value}])
        found = connection.execute(select(table.c.value).order_by(table.c.id)).scalars().all()
        assert found == [value, value, None, value, value]
        assert type(found[0]) is type(value)
        if not isinstance(kind, pg.JSON | pg.TSVECTOR):
            same = select(table.c.id).where(table.c.value == value)
            assert len(connection.execute(same).all()) == 4
        (_, reflected) = inspect(connection).get_columns("kinds")
        assert isinstance(reflected["type"], type(kind))


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("'[1,5)'::int4range", Range(1, 5)),
        ("'empty'::int4range", Range(empty=True)),
        ("'{[1,5),[7,9)}'::int4multirange", [Range(1, 5), Range(7, 9)]),
        ("interval '1 month 2 days 00:00:03'", datetime.timedelta(days=32, seconds=3)),
        ("array['ok', 'sad']::mood_of_types[]", ["ok", "sad"]),
        ("'10.0.0.1'::inet", ipaddress.ip_address("10.0.0.1")),
        ("'a=>1'::hstore", {"a": "1"}),
        ("""'{"a": 1}'::jsonb""", {"a": 1}),
        ("row(1, 'x')", (1, "x")),
        ("indkey from pg_index where indexrelid = 'pg_class_relname_nsp_index'::regclass", (2, 3)),
    ],
)
def test_values_without_a_type(kinds: Engine, sql: str, value: Any) -> None:
    with kinds.connect() as connection:
        found = connection.execute(text(f"select {sql}")).scalar_one()
    assert found == value or tuple(found) == value


def test_a_composite_type(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("create type point_of_interest as (name text, place int4)"))
        found = connection.execute(text("select row('x', 1)::point_of_interest")).scalar_one()
        assert (found["name"], found["place"]) == ("x", 1)
        statement = text("select (cast(:value as point_of_interest)).place")
        assert connection.execute(statement, {"value": ("x", 7)}).scalar_one() == 7


def test_a_document_of_json_is_a_text_without_a_type(engine: Engine) -> None:
    """As with psycopg and asyncpg: what the statement gives to json is the document."""
    with engine.connect() as connection:
        statement = text("select cast(:document as jsonb)")
        found = connection.execute(statement, {"document": '{"a": 1}'}).scalar()
        assert found == {"a": 1}


def exact(document: str) -> Any:
    import json

    return json.loads(document, parse_float=Decimal)


@pytest.mark.parametrize(
    "options",
    [{"json_deserializer": exact, "json_serializer": lambda value: '{"a": 12345678901234567890.5}'}],
)
def test_functions_for_json_lose_no_digits(engine: Engine) -> None:
    with engine.connect() as connection:
        statement = select(Column("x", pg.JSONB)).select_from(text("(select cast(:d as jsonb) as x) y"))
        assert connection.execute(statement, {"d": {"anything": 1}}).scalar() == {
            "a": Decimal("12345678901234567890.5")
        }


@pytest.mark.parametrize("options", [{"native_inet_types": False}])
def test_addresses_as_texts(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("select '10.0.0.1'::inet, '10.0.0.0/8'::cidr")).one() == (
            "10.0.0.1",
            "10.0.0.0/8",
        )


def own() -> pgproto.TypeMap:
    types = pgproto.TypeMap()
    types.set_codec("money", decode=lambda document: Decimal(document.removeprefix("$")))
    return types


@pytest.mark.parametrize("options", [{"connect_args": {"types": own()}}])
def test_a_map_of_types_of_the_users(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("select '1.50'::money, '[1,5)'::int4range")).one() == (
            Decimal("1.50"),
            Range(1, 5),
        )
