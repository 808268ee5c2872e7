"""What was learned of types is forgotten when it may be wrong, and learned again."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import DataError, Outcome, PostgresError
from pgproto.errors import Error
from pgproto.session import CopyRecords, ExecuteMany, Execution, Prepare, QueuedQuery, Resolve, Stream
from pgproto.session.copytarget import CopyTarget
from pgproto.session.sources import ExecutionBuffer, encoded
from pgproto.session.stale import is_outdated
from pgproto.testing.answers import catalog
from pgproto.types import CopyRowEncoder, ParameterEncoder, TypeMap
from pgproto.types.catalog import LOOK_UP
from tests.support.backend import Answer, error_fields, fails, int4, ok
from tests.support.catalog import type_row
from tests.support.pair import Pair
from tests.test_lookup import MOOD, POINT, POINT_1_2, ROWS, SCRIPT, look_ups, pair_with, query, rows

# point2 with a third field.
POINT_3D = (POINT, "point2", "c", 0, 0, {"x": 23, "y": 23, "z": 23})
POINT_1_2_3 = int4(3) + b"".join([int4(23) + int4(4) + int4(value) for value in (1, 2, 3)])
ALTERED = {
    LOOK_UP: catalog(ROWS[0], ROWS[1], POINT_3D),
    "point": Answer(columns=[("p", POINT)], rows=[[POINT_1_2_3]]),
}


def alter(*pairs: Pair) -> None:
    for pair in pairs:
        pair.backend.script.update(ALTERED)


def many(pair: Pair, operation: ExecuteMany, *records: Any) -> ExecuteMany:
    """Run it with these records."""
    pair.engine.submit(operation)
    pair.pump()
    try:
        for chunk in encoded(ExecutionBuffer(operation), records):
            operation.feed(chunk)
            pair.engine.resume()
            pair.pump()
    except DataError as error:
        operation.stop(error)
    else:
        operation.end()
    pair.engine.resume()
    pair.pump()
    return operation


def test_one_error_says_that_a_composite_was_altered() -> None:
    pair = pair_with()
    pair.run(query("point"))
    alter(pair)
    failed = pair.run(query("point"))
    assert isinstance(failed.error, DataError)
    assert "altered" in str(failed.error)
    assert failed.error.outcome is Outcome.COMMITTED
    assert [tuple(row[0]) for row in pair.run(query("point")).items[0].rows] == [(1, 2, 3)]
    assert look_ups(pair) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_other_sessions_of_the_map_decode_by_the_types_of_now(stream: bool) -> None:
    types = TypeMap()
    first, second = pair_with(types=types), pair_with(types=types)
    for pair in (first, second):
        pair.run(query("point"))
    alter(first, second)
    first.run(query("point"))
    first.run(query("point"))
    if stream:
        operation = Stream(QueuedQuery("point", ()))
        second.run(operation)
        taken = operation.take()
    else:
        taken = second.run(query("point")).items[0].rows
    assert [tuple(row[0]) for row in taken] == [(1, 2, 3)]
    assert not look_ups(second)


def test_types_that_another_session_has_doubted_are_learned_again() -> None:
    """Nothing of the values would tell that the attributes have other names."""
    types = TypeMap()
    first, second = pair_with(types=types), pair_with(types=types)
    kept = second.engine.prepare("point")
    for pair in (first, second):
        pair.run(query("point"))
    second.run(Prepare(kept))
    types.forget()
    alter(second)
    assert [tuple(row[0]) for row in second.run(query("point")).items[0].rows] == [(1, 2, 3)]
    again = Execution([QueuedQuery("point", (), kept)])
    second.run(again)
    assert [tuple(row[0]) for row in again.items[0].rows] == [(1, 2, 3)]


def test_what_a_transaction_has_altered_is_forgotten_if_it_is_rolled_back() -> None:
    pair = pair_with()
    pair.backend.script |= {"alter type point2": ok("ALTER TYPE"), "rollback": ok("ROLLBACK")}
    pair.run(query("begin"))
    pair.run(query("alter type point2"))
    pair.run(query("point"))
    types = pair.engine.channel.statements.types
    assert types.learned(POINT)
    pair.run(query("rollback"))
    assert not types.learned(POINT)


def test_a_type_that_is_gone_may_be_in_every_plan() -> None:
    pair = pair_with()
    pair.run(query("one"))
    pair.run(query("point"))
    statements = pair.engine.channel.statements
    one = statements.get("one")
    gone = error_fields("XX000", "cache lookup failed for type 70001")
    pair.backend.script["bad"] = Answer(error=gone, fails="execute")
    assert isinstance(pair.run(query("bad")).error, PostgresError)
    assert statements.get("one") is not one
    assert not statements.types.learned(POINT)


def test_a_stream_gets_the_error() -> None:
    pair = pair_with()
    pair.run(query("point"))
    alter(pair)
    stream = Stream(QueuedQuery("point", ()))
    pair.run(stream)
    assert isinstance(stream.error, DataError)


def test_a_value_that_does_not_fit_is_encoded_again_once() -> None:
    pair = pair_with()
    pair.run(query("take", (1, 2)))
    alter(pair)
    assert pair.run(query("take", (1, 2, 3))).error is None
    assert look_ups(pair) == 2
    refused = pair.run(query("take", (1,)))
    assert isinstance(refused.error, DataError)
    assert refused.items[0].outcome is Outcome.NOT_SENT
    assert look_ups(pair) == 3


@pytest.mark.parametrize("code", ["42804", "42883", "42704", "XX000"])
def test_a_refused_bind_is_repeated_once(code: str) -> None:
    pair = pair_with()
    pair.run(query("take", (1, 2)))
    message = "cache lookup failed for type 16402" if code == "XX000" else "no"
    bad = Answer(types=[POINT], error=error_fields(code, message), fails="bind")
    pair.backend.script["take"] = bad
    refused = pair.run(query("take", (1, 2)))
    assert isinstance(refused.error, PostgresError)
    assert refused.heals == 1
    pair.backend.script["take"] = ok(types=[POINT])
    assert pair.run(query("take", (1, 2))).error is None


def test_an_error_that_is_not_about_types_is_not() -> None:
    pair = pair_with()
    pair.run(query("take", (1, 2)))
    pair.backend.script["take"] = Answer(types=[POINT], error=error_fields("22P02"), fails="bind")
    assert pair.run(query("take", (1, 2))).heals == 0
    pair.backend.script["take"] = Answer(types=[POINT], error=error_fields("42804"), fails="execute")
    assert pair.run(query("take", (1, 2))).heals == 0
    assert pair.engine.channel.statements.types.learned(POINT)
    error = PostgresError({"S": "ERROR", "C": "XX000", "M": "something else"})
    assert not is_outdated(error)


@pytest.mark.parametrize("kept", [False, True])
def test_executemany_takes_the_types_of_now(kept: bool) -> None:
    pair = pair_with()
    statement = pair.engine.prepare("take") if kept else None
    if statement is not None:
        pair.run(Prepare(statement))
    assert many(pair, ExecuteMany("take", statement), (((1, 2)),)).error is None
    alter(pair)
    assert many(pair, ExecuteMany("take", statement), ((1, 2, 3),)).error is None
    pair.engine.channel.statements.types.forget()
    asked = look_ups(pair)
    assert many(pair, ExecuteMany("take", statement), ((1, 2, 3),)).error is None
    assert look_ups(pair) == asked + 1


def test_executemany_has_at_most_one_error() -> None:
    pair = pair_with()
    many(pair, ExecuteMany("take"), ((1, 2),))
    pair.backend.script["take"] = Answer(types=[POINT], error=error_fields("42804"), fails="bind")
    failed = many(pair, ExecuteMany("take"), ((1, 2),))
    assert isinstance(failed.error, Error)
    assert failed.error.outcome is Outcome.FAILED
    pair.backend.script["take"] = ok(types=[POINT])
    assert many(pair, ExecuteMany("take"), ((1, 2),)).error is None


def test_a_session_that_alters_a_type_forgets() -> None:
    pair = pair_with()
    pair.backend.script["alter type point2"] = ok("ALTER TYPE")
    pair.run(query("point"))
    pair.run(query("alter type point2"))
    alter(pair)
    assert [tuple(row[0]) for row in pair.run(query("point")).items[0].rows] == [(1, 2, 3)]


def copied(pair: Pair) -> CopyRecords:
    copy = CopyRecords("point", "copy t from stdin")
    pair.engine.submit(copy)
    pair.pump()
    copy.feed(b"data")
    copy.end()
    pair.engine.resume()
    pair.pump()
    return copy


def test_a_copy_that_is_refused_forgets() -> None:
    pair = pair_with()
    pair.run(query("point"))
    pair.backend.script["copy t from stdin"] = Answer("COPY 1", copy="in")
    types = pair.engine.channel.statements.types
    assert copied(pair).error is None
    assert types.known(POINT) is not None
    pair.backend.script["copy t from stdin"] = fails("42804", "parse")
    assert copied(pair).error is not None
    assert types.known(POINT) is None


def test_a_copy_of_other_columns_forgets_the_statement() -> None:
    pair = pair_with()
    pair.run(query("point"))
    statements = pair.engine.channel.statements
    known = statements.get("point")
    pair.backend.script["copy t from stdin"] = Answer("COPY 1", copy="in")
    pair.backend.script["point"] = Answer(columns=[("p", MOOD)], rows=[])
    assert copied(pair).types == (MOOD,)
    assert statements.get("point") is not known


def test_encoders_forget_what_does_not_fit() -> None:
    pair = pair_with()
    pair.run(query("point"))
    types = pair.engine.channel.statements.types
    codec = types.known(POINT)
    assert codec is not None
    with pytest.raises(DataError):
        CopyRowEncoder(["p"], [POINT], types).encode([(1,)])
    assert types.known(POINT) is None
    pair.run(query("DISCARD ALL"))
    pair.run(query("point"))
    types.add(codec)  # under the name of what was learned
    with pytest.raises(DataError):
        ParameterEncoder([POINT], types).encode([(1,)])
    assert types.known(POINT) is codec
    assert rows(pair.run(query("one"))) == [(1,)]
    assert POINT_1_2 in SCRIPT["point"].rows[0]


def test_the_format_of_a_copy_is_that_of_the_columns_types() -> None:
    pair = pair_with()
    pair.backend.script["money"] = Answer(columns=[("a", 790), ("m", MOOD)], rows=[])
    types = pair.engine.channel.statements.types
    point, money = pair.run(Resolve("point")), pair.run(Resolve("money"))
    binary = CopyTarget("t", ["p"]).records(point.result_types, types)
    assert binary.sql == 'COPY "t" ("p") FROM STDIN (FORMAT binary)'
    assert binary.in_text(["p"], types) is None
    assert CopyTarget("t", ["a", "m"]).records(money.result_types, types).sql.endswith("(FORMAT text)")
    text = "copy t from stdin (FORMAT text)"
    pair.backend.script[f"{text} where true"] = Answer("COPY 1", copy="in")
    copy = CopyRecords("money", text, " where true")
    pair.engine.submit(copy)
    pair.pump()
    encoder = copy.in_text(["a", "m"], types)
    assert encoder is not None
    assert encoder.encode(("$1", "sad")) == b"$1\tsad\n"


def test_a_copy_of_types_that_are_not_known_any_more_is_one_error() -> None:
    pair = pair_with()
    pair.run(Resolve("mood"))
    pair.backend.script["mood"] = Answer(columns=[("m", POINT)], rows=[])
    pair.backend.script["copy t from stdin"] = Answer("COPY 1", copy="in")
    copy = CopyRecords("mood", "copy t from stdin")
    pair.engine.submit(copy)
    pair.pump()
    with pytest.raises(DataError, match="altered"):
        copy.in_text(["m"], pair.engine.channel.statements.types)


def test_two_types_of_one_name() -> None:
    """A type that was made anew has the name of the one that is gone."""
    types = TypeMap()
    types.learn([type_row(70_001, "mood", "e")])
    types.learn([type_row(70_002, "mood", "e")])
    types.forget()
    assert types.known(70_001) is types.known(70_002) is types.named("mood") is None
