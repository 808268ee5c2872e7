"""ExecuteMany: one statement with many records, as it runs, fails, is given up, and is lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pgproto import (
    ConnectionLost,
    DataError,
    Error,
    LocalProtocolError,
    Outcome,
    PostgresError,
    RemoteProtocolError,
)
from pgproto.protocol import CommandCompletes, DataRows, Executes
from pgproto.session import (
    HIGH_WATER,
    ExecuteMany,
    Execution,
    Prepare,
    Statement,
    Transaction,
)
from pgproto.session.sources import ExecutionBuffer, encoded
from pgproto.wire import (
    Bind,
    BindComplete,
    CommandComplete,
    CopyFail,
    CopyOutResponse,
    DataRow,
    ErrorResponse,
    Execute,
    NoticeResponse,
    Parse,
    PortalSuspended,
    ReadyForQuery,
    Sync,
)
from tests.support.backend import (
    INT4,
    error_fields,
    fails,
    ok,
)
from tests.support.drive import ready, receive
from tests.support.many import INSERT, execute_many, hand_over, ones, outcome_of, script
from tests.support.pair import Pair, byte_by_byte, whole
from tests.support.queries import error_of, query, sql_error


@pytest.fixture
def pair() -> Pair:
    return Pair(script())


# ---- As it runs


def test_golden(pair: Pair) -> None:
    assert execute_many(pair, INSERT, ones(2)).rowcount == 2
    assert pair.trace() == [
        'F\t35\tParse\t "s1" "insert into t values ($1)" 0',
        'F\t8\tDescribe\t S "s1"',
        "F\t4\tSync",
        "B\t4\tParseComplete",
        "B\t10\tParameterDescription\t 1 23",
        "B\t4\tNoData",
        "B\t5\tReadyForQuery\t I",
        'F\t24\tBind\t "" "s1" 1 1 1 4 \'\\x00\\x00\\x00\\x00\' 0',
        'F\t9\tExecute\t "" 0',
        'F\t24\tBind\t "" "s1" 1 1 1 4 \'\\x00\\x00\\x00\\x01\' 0',
        'F\t9\tExecute\t "" 0',
        "F\t4\tSync",
        "B\t4\tBindComplete",
        'B\t15\tCommandComplete\t "INSERT 0 1"',
        "B\t4\tBindComplete",
        'B\t15\tCommandComplete\t "INSERT 0 1"',
        "B\t5\tReadyForQuery\t I",
    ]
    assert pair.engine.reusable


@pytest.mark.slow
@pytest.mark.parametrize("chop", [whole, byte_by_byte])
def test_many_records_are_one_transaction_in_bounded_memory(chop: Any) -> None:
    pair = Pair(script(), chop=chop)
    operation = pair.run(ExecuteMany(INSERT))
    most = 0
    for run in encoded(ExecutionBuffer(operation), ones(12_000)):
        operation.feed(run)
        pair.engine.resume()
        while operation.full:
            most = max(most, len(pair.engine.data_to_send()))
            assert pair.backend.committed == []
            pair.pump()
    assert not operation.finished
    operation.end()
    pair.engine.resume()
    pair.pump()
    assert operation.error is None
    assert operation.rowcount == 12_000
    assert HIGH_WATER < most < 3 * HIGH_WATER
    assert pair.backend.committed == [INSERT] * 12_000
    assert sum(isinstance(message, Sync) for message in pair.backend.heard) == 2
    assert execute_many(pair, INSERT, ones(1)).rowcount == 1  # it is cached now
    assert sum(isinstance(message, Parse) for message in pair.backend.heard) == 1


@pytest.mark.parametrize(
    ("sql", "records", "rows"),
    [
        (INSERT, [], 0),
        ("update", [()] * 3, 6),
        ("", [()] * 3, 0),
        ("returning", [(1,), (2,)], 2),
        ("deallocate all", [()], 0),
    ],
)
def test_it_counts_rows(pair: Pair, sql: str, records: list[Any], rows: int) -> None:
    operation = execute_many(pair, sql, records)
    assert [operation.rowcount, operation.error] == [rows, None]
    assert pair.engine.reusable
    assert operation.over
    operation.feed(ExecutionBuffer(ExecuteMany("x", Statement("x", ""))).add(()) or next(iter(_a_run())))
    assert not operation.full
    assert pair.run(query("select 1")).error is None


def _a_run() -> Iterable[Any]:
    return encoded(ExecutionBuffer(ExecuteMany("x", Statement("x", ""))), [()])


def test_without_names_the_statement_is_parsed_once() -> None:
    pair = Pair(script(), named=False)
    assert execute_many(pair, INSERT, ones(3)).rowcount == 3
    parses = [message for message in pair.backend.heard if isinstance(message, Parse)]
    assert [(parse.name, tuple(parse.parameter_types)) for parse in parses] == [("", ()), ("", (INT4,))]
    assert len(pair.backend.committed) == 3


def test_a_prepared_statement(pair: Pair) -> None:
    statement = pair.run(Prepare(Statement(INSERT, "mine", kept=True))).statement
    operation = pair.run(ExecuteMany.of(statement))
    hand_over(pair, operation, ones(3))
    operation.end()
    pair.engine.resume()
    pair.pump()
    assert operation.rowcount == 3
    pair.engine.forget(statement)
    closed = pair.run(ExecuteMany.of(statement))
    assert isinstance(closed.error, LocalProtocolError)
    assert outcome_of(closed) is Outcome.NOT_SENT
    assert ExecuteMany.of("x").sql == "x"


def test_nothing_queues_behind_it_and_it_waits_for_what_is_in_front(pair: Pair) -> None:
    pair.backend.silent = True
    front = query(INSERT, 1)
    pair.engine.submit(front)
    operation = ExecuteMany(INSERT)
    pair.engine.submit(operation)  # its statement is being prepared by the one in front
    with pytest.raises(LocalProtocolError, match="executemany"):
        pair.engine.submit(query("select 1"))
    pair.send()
    pair.backend.go_on()
    pair.pump()
    assert front.error is None
    assert not operation.starting
    operation.end()
    pair.engine.resume()
    assert operation.finished


def test_what_was_refused_to_another_is_asked_again(pair: Pair) -> None:
    pair.backend.silent = True
    front = query("bad")
    pair.engine.submit(front)
    operation = ExecuteMany("bad")
    pair.engine.submit(operation)
    pair.send()
    pair.backend.script["bad"] = ok()
    pair.send()
    pair.backend.script["bad"] = fails("42601", "parse")
    pair.backend.go_on()
    pair.pump()
    assert sql_error(front) == "42601"
    assert sql_error(operation) == "42601"
    assert pair.engine.reusable


@pytest.mark.parametrize("cached", [False, True])
def test_in_a_transaction(pair: Pair, cached: bool) -> None:
    if cached:
        execute_many(pair, INSERT, [])
    block = Transaction(pair.engine)
    block.enter()
    assert execute_many(pair, INSERT, ones(3)).rowcount == 3
    assert pair.engine.transaction_status == "T"
    assert pair.backend.committed == []
    for operation in block.commit():
        pair.run(operation)
    assert len(pair.backend.committed) == 3


# ---- As it fails


@pytest.mark.parametrize("sql", ["third", "third binds"])
@pytest.mark.parametrize("count", [3, 4, 50_000])
def test_a_record_that_the_server_refuses_undoes_all(pair: Pair, sql: str, count: int) -> None:
    taken = 0

    def records() -> Iterable[tuple[int]]:
        nonlocal taken
        for record in ones(count):
            taken += 1
            yield record

    operation = execute_many(pair, sql, records())
    error = error_of(operation)
    assert isinstance(error, PostgresError)
    assert error.outcome is Outcome.FAILED
    assert error.__notes__ == ["in record 3"]
    assert pair.backend.committed == []
    assert pair.engine.reusable
    assert taken < 20_000  # nobody asks for more once it is known
    assert execute_many(pair, INSERT, ones(1)).rowcount == 1
    assert pair.engine.channel.statements.get(sql).state == 0  # it was dropped


def test_a_statement_that_cannot_be_prepared(pair: Pair) -> None:
    operation = execute_many(pair, "bad", ones(1))
    assert sql_error(operation) == "42601"
    assert outcome_of(operation) is Outcome.FAILED
    assert pair.engine.reusable
    unsendable = pair.run(ExecuteMany("nul\0"))
    assert isinstance(unsendable.error, LocalProtocolError)
    assert outcome_of(unsendable) is Outcome.NOT_SENT
    assert pair.engine.reusable


def test_a_deferred_constraint(pair: Pair) -> None:
    operation = execute_many(pair, "deferred", ones(2))
    assert sql_error(operation) == "23503"
    assert outcome_of(operation) is Outcome.FAILED
    assert not hasattr(error_of(operation), "__notes__")
    assert pair.backend.committed == []


def test_what_commits_may_have_done_so_before_the_error(pair: Pair) -> None:
    assert outcome_of(execute_many(pair, "commit", [()] * 3)) is Outcome.UNKNOWN
    pair.backend.script["commit"].spares = 0
    assert outcome_of(execute_many(pair, "commit", [()] * 3)) is Outcome.FAILED


@pytest.mark.parametrize("cached", [False, True])
def test_a_begin_that_fails(pair: Pair, cached: bool) -> None:
    if cached:
        execute_many(pair, INSERT, [])
    pair.backend.script["BEGIN"] = fails("25006")
    block = Transaction(pair.engine)
    block.enter()
    operation = execute_many(pair, INSERT, ones(3))
    assert sql_error(operation) == "25006"
    assert outcome_of(operation) is Outcome.SKIPPED
    assert pair.backend.committed == []


def test_copy_is_no_statement_for_it(pair: Pair) -> None:
    operation = pair.run(ExecuteMany("copy t from stdin"))
    assert str(error_of(operation)) == "COPY FROM STDIN has no data here: use copy_in"
    assert outcome_of(operation) is Outcome.NOT_SENT
    assert pair.engine.reusable


@pytest.mark.parametrize("count", [1, 3])
def test_a_copy_that_its_text_does_not_show(pair: Pair, count: int) -> None:
    operation = pair.run(ExecuteMany("hidden copy in"))
    hand_over(pair, operation, [()] * count)
    operation.end()
    pair.engine.resume()
    pair.pump()
    if count == 1:
        assert sql_error(operation) == "57014"
        assert any(isinstance(message, CopyFail) for message in pair.backend.heard)
        assert pair.engine.reusable
    else:  # the server took the next Bind for COPY data
        assert isinstance(error_of(operation), Error)
        assert pair.engine.closed
    assert pair.backend.committed == []


def test_a_copy_before_the_end_was_fed(pair: Pair) -> None:
    operation = pair.run(ExecuteMany("hidden copy in"))
    hand_over(pair, operation, [()])
    pair.pump()
    assert operation.over
    operation.end()
    pair.engine.resume()
    pair.pump()
    assert sql_error(operation) == "57014"
    assert pair.engine.reusable


@pytest.mark.parametrize("in_block", [False, True])
def test_the_data_of_a_copy_out_are_not_dropped_in_silence(pair: Pair, in_block: bool) -> None:
    if in_block:
        pair.run(query("BEGIN"))
    operation = execute_many(pair, "copy t to stdout", [(), ()])
    assert str(error_of(operation)) == "the data of COPY TO STDOUT were dropped: use copy_out"
    assert outcome_of(operation) is (Outcome.OK_IN_TX if in_block else Outcome.COMMITTED)
    pair.run(query("ROLLBACK"))
    assert pair.engine.reusable


@pytest.mark.parametrize("end", ["error", "lost"])
def test_a_copy_out_that_fails_in_the_middle(pair: Pair, end: str) -> None:
    operation = pair.run(ExecuteMany("copy t to stdout"))
    pair.backend.silent = True
    hand_over(pair, operation, [()])
    operation.end()
    pair.engine.resume()
    pair.send()
    failed = ErrorResponse(error_fields("22012")).encode() + ReadyForQuery("I").encode()
    pair.deliver(
        BindComplete().encode() + CopyOutResponse(0, ()).encode() + (failed if end == "error" else b"")
    )
    if end == "lost":
        pair.eof()
    error = error_of(operation)
    assert isinstance(error, LocalProtocolError if end == "error" else ConnectionLost)
    assert error.outcome is (Outcome.FAILED if end == "error" else Outcome.UNKNOWN)


@pytest.mark.parametrize("message", [PortalSuspended(), CommandComplete("SELECT 1")])
def test_an_answer_that_was_not_asked_for(pair: Pair, message: Any) -> None:
    operation = pair.run(ExecuteMany(INSERT))
    hand_over(pair, operation, ones(1))
    if isinstance(message, CommandComplete):
        pair.pump()
        operation.stop("so")
        operation.end()  # it stays stopped
    pair.backend.silent = True
    pair.engine.resume()
    pair.send()
    pair.deliver(b"2\0\0\0\4" + message.encode() if not operation.over else message.encode())
    assert isinstance(error_of(operation), RemoteProtocolError)


# ---- What it is made of


def reported(pieces: Iterable[bytes]) -> list[object]:
    """What a Connection with a run of nine and one of five in flight makes of an answer, runs summed up."""
    run, behind, sync = Executes("s", b"r", 9), Executes("s", b"b", 5), Sync()
    connection = ready(run, behind, sync)
    names = {id(run): "run", id(behind): "behind", id(sync): "sync"}
    found: list[object] = []
    for event in receive(connection, pieces):
        request = names.get(id(event.request), "?")
        if isinstance(event, CommandCompletes):
            found += [(event.command_tag, request)] * event.count
        elif isinstance(event, DataRows):
            found += [("row", request)] * event.count
        else:
            found.append((type(event).__name__, request))
    return found


DONE = b"2\0\0\0\4" + CommandComplete("INSERT 0 1").encode()
OTHER = b"2\0\0\0\4" + CommandComplete("INSERT 0 0").encode()
WITH_ROW = b"2\0\0\0\4" + DataRow((b"1",)).encode() + CommandComplete("INSERT 0 1").encode()
NOTICE = NoticeResponse({"M": "x"}).encode()
ERROR = ErrorResponse(error_fields("22012")).encode()
END = ReadyForQuery("I").encode()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (DONE * 14 + END, "1" * 9 + "b" * 5 + "Z"),
        (DONE * 15, "1" * 9 + "b" * 5 + "X"),
        (DONE * 3 + OTHER * 2 + DONE * 9 + END, "111001111bbbbbZ"),
        (WITH_ROW * 2 + DONE * 12 + END, "r1r11111111bbbbbZ"),
        (DONE * 4 + NOTICE + DONE * 10 + END, "1111N11111bbbbbZ"),
        (DONE * 2 + DONE[:5] + NOTICE + DONE[5:] + DONE * 11 + END, "11N1111111bbbbbZ"),
        (DONE * 2 + ERROR + END, "11EsZ"),
        (DONE * 2 + DONE[:5] + ERROR + END, "11EsZ"),
        (DONE * 9 + ERROR + END, "1" * 9 + "eZ"),
        (DONE * 14 + ERROR + END, "1" * 9 + "b" * 5 + "!Z"),
        (DONE * 2 + DONE[:5] * 2, "11X"),
        (DONE * 2 + DONE[5:], "11X"),
        (DONE * 2 + b"2\0\0\0\5\0", "11X"),
    ],
)
def test_the_answers_of_runs_in_every_segmentation(answer: bytes, expected: str) -> None:
    letters: dict[object, str] = {
        ("INSERT 0 1", "run"): "1",
        ("INSERT 0 0", "run"): "0",
        ("INSERT 0 1", "behind"): "b",
        ("row", "run"): "r",
        ("NoticeResponse", "?"): "N",
        ("ErrorResponse", "run"): "E",
        ("ErrorResponse", "behind"): "e",
        ("ErrorResponse", "sync"): "!",
        ("Skipped", "behind"): "s",
        ("ReadyForQuery", "sync"): "Z",
        ("Closed", "?"): "X",
    }
    partitions = [[answer], byte_by_byte(answer)]
    partitions += [[answer[:cut], answer[cut:]] for cut in range(1, len(answer))]
    for pieces in partitions:
        assert "".join([letters[each] for each in reported(pieces)]) == expected


def test_a_run_is_what_its_messages_are_one_by_one() -> None:
    statement = Statement(INSERT, "s")
    statement.parameters_described((INT4, 25))
    statement.rows_described(())
    records: list[Any] = [(1, "a"), (2, None), (None, "long" * 2000)]
    (run,) = encoded(ExecutionBuffer(ExecuteMany(statement.sql, statement)), records)
    expected = b""
    for record in records:
        values = statement.encoder.encode(record)
        expected += Bind("", "s", (1, 1), values, ()).encode() + Execute().encode()
    assert run.encode() == expected
    assert run.count == 3
    assert repr(run).startswith("Executes(statement='s', data=b'B")


def test_a_run_of_nothing_is_not_sent() -> None:
    connection = ready()
    for run in (Executes("s", b"", 1), Executes("s", b"B", 0)):
        with pytest.raises(LocalProtocolError, match="at least one execution"):
            connection.send(run)
    assert connection.send(Sync())


def test_a_list_is_a_record_too_and_a_wrong_number_is_refused() -> None:
    statement = Statement(INSERT, "s")
    statement.parameters_described((INT4,))
    buffer = ExecutionBuffer(ExecuteMany(statement.sql, statement))
    assert buffer.add([1]) is None
    with pytest.raises(DataError, match="takes 1 parameter"):
        buffer.add((1, 2))
    with pytest.raises(DataError, match="of type int4"):
        buffer.add(("one",))
    run = buffer.end()
    assert run is not None
    assert [run.count, run.data] == [
        1,
        next(iter(encoded(ExecutionBuffer(ExecuteMany(statement.sql, statement)), [(1,)]))).data,
    ]
    assert buffer.end() is None


def test_an_execution_is_not_disturbed_by_one(pair: Pair) -> None:
    assert execute_many(pair, INSERT, ones(2)).error is None
    plain = pair.run(query(INSERT, 7))
    assert isinstance(plain, Execution)
    assert plain.items[0].outcome is Outcome.COMMITTED


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("in_block", [False, True])
def test_the_first_record_fits_the_parameters_type_of_today(keep: bool, in_block: bool) -> None:
    """A column was altered since the statement was described."""
    pair = Pair({"insert $1": ok(types=[INT4])})
    statement = None
    if keep:
        prepared = Prepare(Statement("insert $1", "kept", kept=True))
        statement = pair.run(prepared).statement
    first = pair.run(ExecuteMany("insert $1", statement))
    hand_over(pair, first, [(1,)])
    first.end()
    pair.engine.resume()
    pair.pump()
    pair.backend.committed.clear()
    pair.backend.script["insert $1"] = ok(types=[25])
    if in_block:
        Transaction(pair.engine).enter()
    mark = len(pair.backend.heard)
    operation = pair.run(ExecuteMany("insert $1", statement))
    hand_over(pair, operation, (("a",) for _ in range(3)))
    operation.end()
    pair.engine.resume()
    pair.pump()
    assert [operation.error, operation.rowcount] == [None, 3]
    assert pair.backend.committed == ([] if in_block else ["insert $1"] * 3)
    binds = [each.parameters for each in pair.backend.heard[mark:] if isinstance(each, Bind)]
    assert [parameters for parameters in binds if parameters] == [[b"a"]] * 3
    assert pair.engine.idle


@pytest.mark.parametrize(
    ("known", "records", "record", "parses"),
    [
        (True, [(1.5,)], 1, 1),  # it fits neither type
        (True, [(1,), ("a",)], 2, 0),  # what came before it is encoded, and maybe sent
        (False, [("a",)], 1, 1),  # it was described a moment ago
    ],
)
def test_a_record_that_is_to_blame(
    known: bool, records: list[tuple[object]], record: int, parses: int
) -> None:
    pair = Pair({"insert $1": ok(types=[INT4])})
    if known:
        assert execute_many(pair, "insert $1", [(1,)]).error is None
    mark = len(pair.backend.heard)
    operation = pair.run(ExecuteMany("insert $1"))
    with pytest.raises(DataError) as caught:
        hand_over(pair, operation, records)
    assert caught.value.__notes__ == [f"in record {record}"]
    operation.stop(caught.value)
    pair.engine.resume()
    pair.pump()
    assert caught.value.outcome is Outcome.NOT_SENT
    assert operation.finished
    assert len([each for each in pair.backend.heard[mark:] if isinstance(each, Parse)]) == parses
    assert execute_many(pair, "insert $1", [(1,)]).error is None


def test_a_statement_that_is_gone_when_it_is_described_anew() -> None:
    pair = Pair({"insert $1": ok(types=[INT4])})
    assert execute_many(pair, "insert $1", [(1,)]).error is None
    pair.backend.script["insert $1"] = fails("42P01", "parse")
    operation = execute_many(pair, "insert $1", [("a",)])
    assert isinstance(operation.error, PostgresError)
    assert operation.error.sqlstate == "42P01"
