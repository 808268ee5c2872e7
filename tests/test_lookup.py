"""The look-up of types: on the wire, once for all who share a map, and whatever becomes of who asks."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import DataError, Outcome, PostgresError, QueryTimeout, RemoteProtocolError
from pgproto.session import GRACE, Execution, QueuedQuery, Script, Transaction
from pgproto.session.lookup import PATIENCE, LookUp
from pgproto.testing.answers import catalog
from pgproto.types import TypeMap
from pgproto.types.catalog import LOOK_UP
from pgproto.wire import BindComplete, CopyBothResponse, ParseComplete, ReadyForQuery
from tests.support.backend import FATAL, Answer, fails, int4, ok, rows_of
from tests.support.pair import Pair, byte_by_byte

MOOD, MOODS, POINT, LINE, PATH = 16400, 16401, 16402, 16403, 16404
ROWS = [
    (MOOD, "mood", "e", 0, 0, {}),
    (MOODS, "mood[]", "b", MOOD, 0, {}),
    (POINT, "point2", "c", 0, 0, {"x": 23, "y": 23}),
]
POINT_1_2 = int4(2) + b"".join([int4(23) + int4(4) + int4(value) for value in (1, 2)])
SCRIPT = {
    LOOK_UP: catalog(*ROWS),
    "one": rows_of(1),
    "mood": Answer(columns=[("m", MOOD)], rows=[[b"sad"]]),
    "point": Answer(columns=[("p", POINT)], rows=[[POINT_1_2]], texts=[[b"(1,2)"]]),
    "both": Answer(columns=[("m", MOOD), ("p", POINT)], rows=[[b"ok", POINT_1_2]]),
    "take": ok(types=[POINT]),
    "bad": fails("22012"),
    "begin": ok("BEGIN"),
}


def record(*fields: tuple[int, bytes]) -> bytes:
    return int4(len(fields)) + b"".join([int4(oid) + int4(len(data)) + data for oid, data in fields])


def query(sql: str, *args: object) -> Execution:
    return Execution([QueuedQuery(sql, args)])


def rows(operation: Execution) -> list[tuple[Any, ...]]:
    assert operation.error is None
    return [tuple(row) for row in operation.items[0].rows]


def pair_with(answer: Answer | None = None, types: TypeMap | None = None) -> Pair:
    """A session whose server answers the look-up in this way, or knows ROWS."""
    script = SCRIPT if answer is None else SCRIPT | {LOOK_UP: answer}
    return Pair(script, types=TypeMap() if types is None else types)


def look_ups(pair: Pair) -> int:
    """How often it has asked."""
    return sum(data.count(LOOK_UP.encode()) for direction, data in pair.log if direction == "F")


def asks(pair: Pair, operation: Execution) -> Execution:
    """Submit an operation, and send everything up to the look-up, which is sent and not answered."""
    pair.engine.submit(operation)
    while not look_ups(pair):
        pair.send()
        if not look_ups(pair):
            assert pair.deliver()
    return operation


def in_flight(pair: Pair) -> LookUp:
    found = pair.engine.channel.segments[-1].operation
    assert isinstance(found, LookUp)
    return found


# ---- What is learned


@pytest.mark.parametrize("oid", [2249, 2287])
def test_a_type_that_only_a_record_names_is_looked_up_before_the_next_run(oid: int) -> None:
    value = record((MOOD, b"sad"), (23, int4(1)))
    if oid == 2287:
        value = b"".join([int4(1), int4(0), int4(2249), int4(1), int4(1), int4(len(value)), value])
    script = SCRIPT | {"record": Answer(columns=[("r", oid)], rows=[[value]])}
    pair = Pair(script, types=TypeMap())
    first = pair.run(query("record"))
    assert isinstance(first.error, DataError)
    assert f"a field of type with OID {MOOD} in a record, which is not known yet: run it again" in str(
        first.error
    )
    assert look_ups(pair) == 0
    expected = ("sad", 1)
    assert rows(pair.run(query("record"))) == [(expected,) if oid == 2249 else ([expected],)]
    assert look_ups(pair) == 1
    assert rows(pair.run(query("one"))) == [(1,)]


def test_a_type_of_a_record_that_nobody_knows_is_looked_up_once() -> None:
    answer = Answer(columns=[("r", 2249)], rows=[[record((MOOD, b"sad"))]])
    pair = Pair({LOOK_UP: catalog(), "record": answer}, types=TypeMap())
    for _ in range(3):
        error = pair.run(query("record")).error
        assert isinstance(error, DataError)
        assert "cast the field to text" in str(error)
    assert look_ups(pair) == 1


def test_types_are_looked_up_between_the_description_and_the_first_bind() -> None:
    pair = pair_with()
    both = pair.run(query("both"))
    assert [(row[0], tuple(row[1])) for row in rows(both)] == [("ok", (1, 2))]
    sent = [line.split("\t")[2] for line in pair.trace() if line.startswith("F")]
    described, asked, run = ["Parse", "Describe"], ["Parse", "Bind", "Execute"], ["Bind", "Execute"]
    assert sent == [*described, "Sync", *asked, "Sync", *run, "Sync"]
    assert rows(pair.run(query("mood"))) == [("sad",)]
    assert pair.run(query("take", (1, 2))).error is None
    assert look_ups(pair) == 1
    assert pair.engine.channel.statements.types.named("point2") is not None


def test_a_map_that_knows_the_types_asks_for_nothing() -> None:
    types = TypeMap()
    pair_with(types=types).run(query("both"))
    pair = pair_with(types=types)
    pair.run(query("both"))
    assert not look_ups(pair)


def test_what_is_many_levels_deep_is_asked_for_again() -> None:
    """The model's server answers everything at once, so what is left out here is what was too deep."""
    pair = pair_with(catalog((PATH, "path2", "c", 0, 0, {"a": LINE})))

    pair.backend.script = pair.backend.script | {"path": Answer(columns=[("p", PATH)], rows=[])}
    asks(pair, query("path"))
    pair.deliver()
    assert in_flight(pair).oids == [LINE]
    pair.backend.script = pair.backend.script | {LOOK_UP: catalog((LINE, "line2", "d", 23, 0, {}))}
    pair.pump()
    codec = pair.engine.channel.statements.types.named("path2")
    assert codec is not None
    assert codec.format == 1


@pytest.mark.parametrize(
    "answer",
    [
        fails("42501"),
        fails("42P01", "parse"),
        catalog(),
        rows_of(1),
        Answer(columns=[("a", 26)] * 11, rows=[[None] * 11]),
        Answer(columns=[("a", 26)] * 11, rows=[[b"\0" * 4, b"\xff", *[b""] * 9]]),
        Answer("COPY 1", copy="in"),
        Answer("COPY 0", copy="out"),
    ],
)
def test_what_cannot_be_learned_travels_as_text(answer: Answer) -> None:
    """It is not asked for again, until the session is reset."""
    pair = pair_with(answer)
    pair.backend.script["point"] = Answer(columns=[("p", POINT)], rows=[[b"(1,2)"]])
    assert rows(pair.run(query("point"))) == [("(1,2)",)]
    assert pair.run(query("take", "(1,2)")).error is None
    assert look_ups(pair) == 1
    pair.run(query("DISCARD ALL"))
    pair.backend.script.update(SCRIPT)
    assert [tuple(row[0]) for row in pair.run(query("point")).items[0].rows] == [(1, 2)]
    assert look_ups(pair) == 2


def test_replication_is_no_answer() -> None:
    pair = pair_with(catalog())
    pair.backend.script["point"] = Answer(columns=[("p", POINT)], rows=[[b"(1,2)"]])
    operation = query("point")
    asks(pair, operation)
    pair.backend.silent = True
    pair.backend.out.clear()
    pair.deliver(ParseComplete().encode() + BindComplete().encode() + CopyBothResponse(0, ()).encode())
    assert isinstance(operation.items[0].error, RemoteProtocolError)
    assert pair.engine.closed


@pytest.mark.parametrize("times", [1, 3, 4])
def test_a_passing_trouble_is_no_answer(times: int) -> None:
    answer = fails("57014")
    pair = pair_with(answer)
    pair.backend.script["mood"] = Answer(columns=[("m", MOODS)], rows=[[b"{sad}"]])
    mood = query("mood")
    asks(pair, mood)
    for _ in range(times - 1):
        pair.deliver()
        pair.send()
    if times < 4:
        pair.deliver()
        pair.backend.script[LOOK_UP] = catalog()
    pair.pump()
    assert rows(mood) == [("{sad}",)]
    assert look_ups(pair) == min(times + 1, 4)


def test_nonsense_in_several_pieces_is_nonsense() -> None:
    pair = pair_with(Answer(columns=[("a", 26)] * 11, rows=[[None] * 10] * 2))
    pair.chop = byte_by_byte
    assert rows(pair.run(query("mood"))) == [("sad",)]
    assert look_ups(pair) == 1


def test_a_map_without_a_parent_learns_nothing() -> None:
    pair = Pair(SCRIPT)
    assert rows(pair.run(query("mood"))) == [("sad",)]
    assert not look_ups(pair)


# ---- In nobody's way


def test_in_a_transaction_block_its_failure_is_undone() -> None:
    pair = pair_with(fails("42501"))
    pair.run(query("begin"))
    pair.backend.script["point"] = Answer(columns=[("p", POINT)], rows=[[b"(1,2)"]])
    assert rows(pair.run(query("point"))) == [("(1,2)",)]
    assert pair.engine.transaction_status == "T"
    sent = [line for line in pair.trace() if line.startswith("F") and "SAVEPOINT" in line]
    assert len(sent) == 3  # two in Parse, one in Query
    assert pair.run(query("point")).error is None


def test_in_a_transaction_block_it_is_released() -> None:
    pair = pair_with()
    pair.run(query("begin"))
    assert rows(pair.run(query("mood"))) == [("sad",)]
    assert pair.engine.transaction_status == "T"
    assert sum("RELEASE" in line for line in pair.trace() if line.startswith("F")) == 1


def test_in_a_transaction_block_nothing_follows_it_before_its_answer() -> None:
    pair = pair_with(fails("42501"))
    block = Transaction(pair.engine)
    block.enter()
    asks(pair, query("mood"))
    later = Script("one")
    pair.engine.submit(later)
    assert not pair.send()
    pair.pump()
    assert later.error is None
    assert pair.engine.transaction_status == "T"


def test_it_splits_no_half_written_segment() -> None:
    """Its Sync would commit the half."""
    pair = pair_with()
    first = pair.engine
    many = Execution([QueuedQuery("take text", ("x" * 40000,)) for _ in range(4)])
    pair.backend.script = pair.backend.script | {"take text": ok(types=[25])}
    first.submit(many)
    mood = query("mood")
    first.submit(mood)  # prepared ahead of its turn
    pair.send()
    ready = ReadyForQuery("I").encode()
    described, _, rest = bytes(pair.backend.out).partition(ready)
    pair.backend.out.clear()
    pair.deliver(described + ready)
    pair.send(1)
    assert many.half_written()
    pair.deliver(rest)
    assert first.channel.statements.unresolved
    assert not any(isinstance(each.operation, LookUp) for each in first.channel.segments)
    pair.pump()
    assert [item.outcome for item in many.items] == [Outcome.COMMITTED] * 4
    assert rows(mood) == [("sad",)]


def test_it_waits_while_a_cancel_request_is_under_way() -> None:
    pair = pair_with()
    running = query("one")
    pair.engine.submit(running)
    mood = query("mood")
    pair.engine.submit(mood)
    pair.send()
    pair.engine.abandon(running)
    pair.engine.abandon(mood)
    pair.engine.take_cancel()
    again = query("mood")
    pair.engine.submit(again)
    pair.deliver()
    assert pair.engine.channel.statements.unresolved
    assert not pair.send()
    pair.engine.cancel_done()
    pair.pump()
    assert rows(again) == [("sad",)]


@pytest.mark.parametrize("late", [False, True])
def test_it_is_cancelled_if_its_caller_goes_away(late: bool) -> None:
    """It may wait for a lock.  What it says after all is of use."""
    pair = pair_with(None if late else fails("57014"))
    mood = asks(pair, query("mood"))
    assert not in_flight(pair).unwanted
    pair.engine.abandon(mood)
    assert in_flight(pair).unwanted
    assert pair.engine.take_cancel() is not None
    pair.pump()
    pair.engine.cancel_done()
    pair.backend.script = SCRIPT
    assert rows(pair.run(query("one"))) == [(1,)]
    assert rows(pair.run(query("mood"))) == [("sad",)]
    assert look_ups(pair) == (1 if late else 2)


def test_trouble_that_lasts_passes_with_the_operation() -> None:
    """The values of this operation come as text, those of the next one do not."""
    pair = pair_with(fails("57014"))
    pair.run(query("one"))
    assert pair.run(query("point")).error is None
    assert pair.engine.channel.statements.types.known(POINT) is None
    pair.backend.script = SCRIPT
    asked = look_ups(pair)
    assert not pair.engine.channel.statements.unknowable
    assert rows(pair.run(query("point"))) == [((1, 2),)]
    assert look_ups(pair) == asked + 1


def test_a_deadline_ends_the_operation_that_waits_for_it() -> None:
    pair = pair_with()
    mood = query("mood")
    mood.deadline = pair.now + 5
    asks(pair, mood)
    pair.pass_time(5)
    assert mood.items[0].outcome is Outcome.NOT_SENT
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.pass_time(GRACE)
    pair.pass_time(GRACE)
    assert isinstance(pair.engine.cause, QueryTimeout)  # the server does not answer


def test_in_a_failed_transaction_the_statement_is_prepared_again() -> None:
    """Where a statement waits that was described before the transaction failed."""
    pair = pair_with()
    pair.run(query("begin"))
    statements = pair.engine.channel.statements
    asks(pair, query("mood"))
    statement = statements.get("mood")
    pair.pump()
    pair.run(query("bad"))
    assert pair.engine.transaction_status == "E"
    statements.types.forget()
    used = statements.get("one")
    used.users += 1
    statements.unresolved += [(statement, ()), (used, ())]
    again = pair.run(query("take"))
    assert isinstance(again.error, (DataError, PostgresError))
    assert not statements.unresolved
    assert statements.get("mood") is not statement
    assert not used.leaving


# ---- Once for all who share a map


def two() -> tuple[Pair, Pair]:
    types = TypeMap()
    return pair_with(types=types), pair_with(types=types)


def waits(pair: Pair, operation: Execution) -> Execution:
    """Submit an operation; it needs types for which another session asks."""
    pair.engine.submit(operation)
    pair.pump()
    assert not operation.finished
    assert not look_ups(pair)
    assert not pair.engine.channel.segments
    assert pair.engine.next_deadline() is not None
    return operation


def test_another_session_waits_for_the_answer() -> None:
    first, second = two()
    asks(first, query("both"))
    mood = waits(second, query("mood"))
    second.pass_time(PATIENCE / 2)
    second.pump()
    assert not mood.finished
    first.pump()
    second.pass_time(PATIENCE / 2)
    second.pump()
    assert rows(mood) == [("sad",)]
    assert not look_ups(second)


def test_it_goes_on_at_its_next_event_too() -> None:
    first, second = two()
    asks(first, query("both"))
    mood = waits(second, query("mood"))
    first.pump()
    assert rows(second.run(query("one"))) == [(1,)]
    assert rows(mood) == [("sad",)]
    assert not look_ups(second)


def test_it_asks_itself_when_the_other_session_ends() -> None:
    first, second = two()
    asks(first, query("mood"))
    mood = waits(second, query("mood"))
    first.deliver(FATAL)
    first.eof()
    assert first.engine.finished
    second.pass_time(0.01)
    second.pump()
    assert rows(mood) == [("sad",)]
    assert look_ups(second) == 1


def test_it_asks_itself_when_the_other_session_is_silent() -> None:
    first, second = two()
    asks(first, query("mood"))
    mood = waits(second, query("mood"))
    second.pass_time(PATIENCE + 0.6)
    second.pump()
    assert rows(mood) == [("sad",)]
    assert look_ups(second) == 1
    first.pump()
    third = pair_with(types=first.engine.channel.statements.types)
    assert third.run(query("mood")).error is None


def test_it_asks_itself_when_the_other_session_has_failed() -> None:
    """The third waits for the first, but not for the second as well."""
    types = TypeMap()
    first, second, third = (pair_with(fails("42501"), types) for _ in range(3))
    asks(first, query("mood"))
    waits(second, query("mood"))
    mood = waits(third, query("mood"))
    first.pump()
    second.pass_time(0.01)
    second.send()
    assert look_ups(second) == 1
    third.pass_time(0.01)
    third.pump()
    assert rows(mood) == [("sad",)]
    assert look_ups(third) == 1
    second.pump()
    assert types.asker(MOOD) is None


def test_it_asks_for_what_nobody_asks_for() -> None:
    types = TypeMap()
    first, second = pair_with(types=types), pair_with(catalog(ROWS[2]), types)
    asks(first, query("mood"))
    both = asks(second, query("both"))
    assert in_flight(second).oids == [POINT]
    second.pump()
    assert not both.finished
    first.pump()
    second.pass_time(0.01)
    second.pump()
    assert [(row[0], tuple(row[1])) for row in rows(both)] == [("ok", (1, 2))]


def test_a_caller_that_waits_may_go_away() -> None:
    first, second = two()
    asks(first, query("mood"))
    mood = waits(second, query("mood"))
    second.engine.abandon(mood)
    assert mood.items[0].outcome is Outcome.NOT_SENT
    assert second.engine.idle
    assert rows(second.run(query("one"))) == [(1,)]  # it needs no type, so it does not wait
    assert not look_ups(second)
