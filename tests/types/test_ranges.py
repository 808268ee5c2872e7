"""The operators of `Range` are those of the server: random ranges, compared by both."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from pgproto import Multirange, Range
from pgproto_pytest import Driver
from tests.support.drivers import only

FUNCTIONS = """
    create function pg_temp.{name}(a {type}, b {type}) returns {type} language plpgsql as
    $$begin return a {sign} b; exception when data_exception then return null; end$$;
"""
OPERATORS = """
    select a, b, a < b, a <= b, a > b, a >= b, a = b, a && b, a @> b, a -|- b, a * b,
      pg_temp.plus(a, b), pg_temp.minus(a, b), {several}(a) @> b
    from unnest($1::{type}[], $2::{type}[]) with ordinality pairs(a, b, n) order by n
"""
VALUES: dict[str, list[Any]] = {
    "int4range": [0, 1, 2, 3, 4],
    "numrange": [Decimal(each) for each in ("-Infinity", "0", "0.5", "1", "Infinity", "NaN")],
}
MULTIRANGES = {"int4range": "int4multirange", "numrange": "nummultirange"}


def ranges(type_: str, count: int) -> Iterator[Range[Any]]:
    rng = random.Random(20240229)
    values = VALUES[type_]
    for _ in range(count):
        if rng.random() < 0.1:
            yield Range(empty=True)
            continue
        low, high = sorted([rng.randrange(len(values)), rng.randrange(len(values))])
        lower = None if rng.random() < 0.15 else values[low]
        upper = None if rng.random() < 0.15 else values[high]
        yield Range(lower, upper, rng.choice(["[)", "[]", "(]", "()"]))


def result(function: Callable[[Any, Any], Any], a: Range[Any], b: Range[Any]) -> object:
    try:
        return function(a, b)
    except ValueError:
        return None


@only("blocking")
@pytest.mark.parametrize("type_", VALUES)
def test_the_operators_are_those_of_the_server(driver: Driver, dsn: str, type_: str) -> None:
    async def scenario(pg: Driver) -> None:
        made = list(ranges(type_, 4000))
        async with pg.connect(dsn) as conn:
            for name, sign in (("plus", "+"), ("minus", "-")):
                await conn.script(FUNCTIONS.format(name=name, sign=sign, type=type_))
            sql = OPERATORS.format(type=type_, several=MULTIRANGES[type_])
            found = await conn.fetch(sql, made[::2], made[1::2])
            ordered = await conn.fetchval(
                f"select array_agg(r order by r) from unnest($1::{type_}[]) r", made
            )
        for a, b, *seen in found:
            mine = [a < b, a <= b, a > b, a >= b, a == b, a.overlaps(b), b in a, a.adjacent(b), a * b]
            mine += [result(operator.add, a, b), result(operator.sub, a, b), b in Multirange([a])]
            assert mine == seen, (a, b)
        assert ordered == sorted(ordered)
        assert all(one <= other for one, other in pairwise(ordered))
        assert {None} < {row[11] for row in found}  # of all kinds

    driver.run(scenario, deadline=60)
