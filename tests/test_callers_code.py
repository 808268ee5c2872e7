"""The caller's code that the core runs: its exceptions and nested calls must not disturb others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest

import pgproto
from pgproto import (
    Batch,
    ConnectionLost,
    DataError,
    LocalProtocolError,
    Outcome,
    PostgresError,
    RemoteProtocolError,
)
from pgproto.session import (
    CopyIn,
    Engine,
    ExecuteMany,
    Execution,
    Listener,
    Prepare,
    QueuedQuery,
    Script,
    Statement,
    Stream,
    Transaction,
)
from pgproto.session.batch import Refusing, as_item
from pgproto.session.channel import HIGH_WATER
from pgproto.session.operation import Operation
from pgproto.session.sources import ExecutionBuffer, encoded
from pgproto.types import CopyRowEncoder, Row, RowDecoder
from pgproto.types.fields import values_of
from pgproto.types.row import Columns
from tests.support.backend import Answer, int4, ok, rows_of
from tests.support.builds import pure_only
from tests.support.pair import Pair

C, N = Outcome.COMMITTED, Outcome.NOT_SENT
INSERT = "insert $1"
SCRIPT = {
    "select 1": rows_of(1),
    INSERT: ok(types=[1184]),
    "insert json": ok(types=[3802]),
    "insert int": ok(types=[23]),
    "insert float": ok(types=[701]),
    "copy t from stdin": Answer("COPY 1", copy="in"),
}
NOON = datetime(2020, 1, 1, tzinfo=UTC)


class Zone(tzinfo):
    """A time zone that does something when it is asked."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    def utcoffset(self, _: datetime | None) -> timedelta:
        self.work()
        return timedelta(0)

    def dst(self, _: datetime | None) -> None:
        raise AssertionError("not asked")

    def tzname(self, _: datetime | None) -> str:
        raise AssertionError("not asked")


def raising(error: BaseException) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


def moment(work: Callable[[], object]) -> datetime:
    return datetime(2020, 1, 1, tzinfo=Zone(work))


def inserts(*values: object, atomic: bool = True) -> Execution:
    return Execution([QueuedQuery(INSERT, (value,)) for value in values], atomic=atomic)


def labels(operation: Execution) -> list[Outcome | None]:
    return [item.outcome for item in operation.items]


def usable(pair: Pair) -> None:
    """The session is at rest, and goes on."""
    assert pair.engine.idle
    assert labels(pair.run(Execution([QueuedQuery("select 1", ())]))) == [C]


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def repr_of(reason: object) -> str:
    return "text" if isinstance(reason, str) else "error"


ORDINARY = (
    TypeError,
    ValueError,
    RuntimeError,
    MemoryError,
    RecursionError,
    StopIteration,
    StopAsyncIteration,
)
OTHERS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


@pytest.mark.holds("L2")
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("behind", [False, True], ids=["alone", "behind"])
@pytest.mark.parametrize("kind", [*ORDINARY, *OTHERS])
def test_what_a_value_raises_ends_its_own_operation(
    pair: Pair, kind: type[BaseException], behind: bool, known: bool
) -> None:
    if known:
        pair.run(inserts(NOON))
    neighbour = Execution([QueuedQuery("select 1", ())])
    if behind:
        pair.engine.submit(neighbour)
    raised = kind("here")
    operation = inserts(NOON, moment(raising(raised)), NOON)
    pair.engine.submit(operation)
    after = Execution([QueuedQuery("select 1", ())])
    pair.engine.submit(after)
    pair.pump()
    assert operation.finished
    assert labels(operation) == [N, N, N]
    error = operation.items[1].error
    assert isinstance(error, DataError)
    assert error.outcome is N
    assert error.__cause__ is raised
    assert operation.error is (error if kind in ORDINARY else raised)
    assert labels(after) == [C]
    assert not behind or labels(neighbour) == [C]
    assert pair.backend.committed.count(INSERT) == known
    usable(pair)


@pytest.mark.holds("L2")
def test_items_that_are_isolated_go_on_without_it(pair: Pair) -> None:
    operation = pair.run(inserts(NOON, moment(raising(KeyError("x"))), NOON, atomic=False))
    assert labels(operation) == [C, N, C]
    assert operation.error is None
    # An interrupt is meant for the caller, not for one of its items.
    interrupt = KeyboardInterrupt()
    operation = pair.run(inserts(NOON, moment(raising(interrupt)), NOON, atomic=False))
    assert operation.error is interrupt
    assert labels(operation) == [N, N, N]
    usable(pair)


@pytest.mark.holds("L2")
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("call", ["submit", "abandon", "close", "fail", "tick"])
def test_a_value_that_calls_back(pair: Pair, call: str, known: bool) -> None:
    if known:
        pair.run(inserts(NOON))
    other = Execution([QueuedQuery("select 1", ())])

    def work() -> None:
        if done:
            return
        done.append(True)
        if call == "submit":
            pair.engine.submit(other)
        elif call == "abandon":
            pair.engine.abandon(operation)
        elif call == "fail":
            pair.engine.abandon(operation)
            raise RuntimeError
        elif call == "tick":
            pair.now += 10
            pair.engine.tick()
        else:
            pair.engine.close()

    done: list[bool] = []
    operation = inserts(NOON, moment(work), NOON)
    operation.deadline = pair.now + 5
    pair.engine.submit(operation)
    pair.pump()
    assert operation.finished
    if call == "submit":
        assert labels(operation) == [C] * 3
        assert labels(other) == [C]
    else:
        assert labels(operation) == [N] * 3
        assert all(item.parameters is None for item in operation.items)
        assert pair.backend.committed.count(INSERT) == known
    if call == "close":
        assert pair.engine.finished
    else:
        usable(pair)


@pytest.mark.holds("L2", "L15")
def test_a_batch_whose_items_were_changed_by_hand(pair: Pair) -> None:
    class Odd(Sequence[Any]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: Any) -> Any:
            raise RuntimeError

    odd: tuple[Any, ...] = (None, 5, Odd(), {"a": 1}, "x", b"x", {1})
    for value in odd:
        operation = inserts(NOON, NOON)
        operation.items[1].args = value
        pair.run(operation)
        assert labels(operation) == [N, N]
        assert isinstance(operation.items[1].error, DataError)
        usable(pair)


@pytest.mark.holds("L2", "L15")
@pure_only("its attributes take nothing else than a str")
def test_a_batch_whose_texts_were_changed_by_hand(pair: Pair) -> None:
    text: Any
    for text in (None, [], 7):
        operation = inserts(NOON, NOON)
        operation.items[1].sql = text
        with pytest.raises(TypeError):
            raise_from(pair, operation)
        assert labels(operation) == [N, N]
        usable(pair)
        first = Execution([QueuedQuery("select 1", ())])
        pair.engine.submit(first)
        operation = Execution([QueuedQuery("new", ()), QueuedQuery("also new", ())])
        operation.items[1].sql = text
        with pytest.raises(TypeError):
            raise_from(pair, operation)
        assert labels(first) == [C]
        # The statement that was about to be prepared is not waited for.
        assert pair.run(Execution([QueuedQuery("new", ())])).finished


def raise_from(pair: Pair, operation: Operation) -> None:
    pair.run(operation)
    assert operation.error is not None
    raise operation.error


@pytest.mark.holds("L2")
def test_what_is_raised_by_other_values(pair: Pair) -> None:
    class Whole(int):
        def __float__(self) -> float:
            raise raised

        def __le__(self, _: object) -> bool:
            raise raised

        __ge__ = __le__

    class Broken(TypeError):
        def __str__(self) -> str:
            raise KeyError

    class Places(dict[str, int]):
        def items(self) -> Any:
            raise raised

    raised: BaseException
    for raised in (RuntimeError(), Broken(), TypeError("mine"), RecursionError(), OverflowError()):
        for sql, value in (
            ("insert int", Whole(1)),
            ("insert float", Whole(1)),
            ("insert json", Places(a=1)),
            (INSERT, moment(raising(raised))),
        ):
            operation = pair.run(Execution([QueuedQuery(sql, (value,))]))
            if sql == "insert int":
                assert operation.error is None  # the number that it is, without asking it
                continue
            assert isinstance(operation.error, DataError), (sql, raised)
            if (sql, type(raised)) != ("insert float", OverflowError):
                assert operation.error.__cause__ is raised, (sql, raised)
            assert operation.error.outcome is N
            usable(pair)
    # What the codec itself refuses says all there is to say.
    operation = pair.run(Execution([QueuedQuery("insert int", ("x",))]))
    assert isinstance(operation.error, DataError)
    assert operation.error.__cause__ is None


@pytest.mark.holds("L2")
def test_a_value_is_asked_once_and_the_first_unfit_one_is_named() -> None:
    class Flaky(dict[str, int]):
        calls = 0

        def items(self) -> Any:
            Flaky.calls += 1
            if Flaky.calls == 1:
                raise TypeError("only the first time")
            return super().items()

    encoder = CopyRowEncoder(["a", "b"], [23, 3802])
    with pytest.raises(DataError, match="column 'b' of type jsonb: only the first time"):
        encoder.encode((1, Flaky(a=1)))
    Flaky.calls = 0
    with pytest.raises(DataError, match="column 'a' of type int4"):
        encoder.encode(("x", Flaky(a=1)))


@pytest.mark.holds("L2")
@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("when", ["before", "after"])
@pure_only("an operation cannot be made of interpreted code")
def test_an_interrupt_in_the_middle_of_a_step(pair: Pair, when: str, kind: type[BaseException]) -> None:
    """Between any two instructions: what was not sent is not sent later, else the session ends."""

    class Interrupted(Operation):
        def produce(self, channel: Any) -> int:
            if when == "after":
                self.begun = True
                channel.open(self)
            raise kind

    pair.run(Execution([QueuedQuery("select 1", ())]))
    waiting = Execution([QueuedQuery("select 1", ())])
    pair.engine.submit(waiting)
    operation = Interrupted()
    if kind is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            pair.engine.submit(operation)
    else:
        pair.engine.submit(operation)
    pair.pump()
    assert operation.finished
    if when == "before" and kind is MemoryError:
        assert isinstance(operation.error, kind)
        usable(pair)
    else:
        assert pair.engine.finished
        assert waiting.items[0].outcome in (N, Outcome.UNKNOWN)


@pytest.mark.holds("L2")
@pure_only("an operation cannot be made of interpreted code")
def test_an_operation_that_is_abandoned_while_it_writes_and_then_fails(pair: Pair) -> None:
    class Gone(Operation):
        def produce(self, channel: Any) -> int:
            pair.engine.abandon(self)
            raise MemoryError

    pair.run(Execution([QueuedQuery("select 1", ())]))
    operation = Gone()
    pair.engine.submit(operation)
    assert operation.finished
    usable(pair)


@pytest.mark.holds("L2")
@pure_only("the engine's inside cannot be replaced")
def test_an_interrupt_after_an_operation_was_queued(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Execution, "produce", raising_method(MemoryError))
        operation = pair.run(inserts(NOON))
    assert labels(operation) == [N]
    assert isinstance(operation.error, MemoryError)
    usable(pair)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_produce", interrupted)
        operation = inserts(NOON)
        with pytest.raises(KeyboardInterrupt):
            pair.engine.submit(operation)
    assert labels(operation) == [N]
    assert pair.engine.finished
    assert pair.backend.committed.count(INSERT) == 0
    # While something is read, the session ends; whoever waits is told, and the interrupt goes on.
    for kind in (MemoryError, KeyboardInterrupt):
        pair = Pair(SCRIPT)
        operation = inserts(NOON)
        pair.engine.submit(operation)
        pair.send()
        with monkeypatch.context() as patch, contextlib.ExitStack() as stack:
            patch.setattr(Execution, "handle", raising_method(kind))
            if kind is KeyboardInterrupt:
                stack.enter_context(pytest.raises(KeyboardInterrupt))
            pair.deliver()
        assert pair.engine.finished
        assert labels(operation) == [N]
        assert type(operation.error) is ConnectionLost
        assert isinstance(operation.error.__cause__, ConnectionLost)
        assert isinstance(operation.error.__cause__.__cause__, kind)


@pure_only("a compiled class has no heirs here")
def test_a_record_that_raises_stop_iteration_is_no_end() -> None:
    class Buffer(ExecutionBuffer):
        def add(self, record: Sequence[Any]) -> None:
            raise StopIteration

    statement = Statement("insert $1", "s")
    with pytest.raises(RuntimeError, match="not as its end") as raised:
        list(encoded(Buffer(ExecuteMany(statement.sql, statement)), [(1,)]))
    assert isinstance(raised.value.__cause__, StopIteration)
    assert list(encoded(ExecutionBuffer(ExecuteMany(statement.sql, statement)), [])) == []


def raising_method(kind: type[BaseException]) -> Callable[..., None]:
    def method(*_: object) -> None:
        raise kind

    return method


@pytest.mark.holds("L2")
def test_rows_that_cannot_be_decoded(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever json.loads raises is that item's error; the session is in step."""
    pair = Pair(SCRIPT | {"json": Answer(columns=[("a", 114)], rows=[[b"1"], [b"2"]])})
    script = {"json": Answer(columns=[("a", 25)], rows=[[b"1"]])}
    for kind in (RecursionError, MemoryError, KeyError):
        with monkeypatch.context() as patch:
            patch.setattr("json.loads", raising_method(kind))
            for make in (Execution, lambda items: Stream(items[0])):
                operation = pair.run(make([QueuedQuery("json", ())]))
                assert isinstance(operation.error, DataError)
                assert operation.error.outcome is C
        usable(pair)
        with monkeypatch.context() as patch:
            patch.setattr(RowDecoder, "decode", raising_method(kind)) if pgproto.build == "pure" else None
            pair = Pair(SCRIPT | script)
            each: Operation
            for each in (
                Execution([QueuedQuery("json", ())]),
                Stream(QueuedQuery("json", ())),
                Script("json"),
            ):
                pair.run(each)
                if pgproto.build == "pure":
                    assert isinstance(each.error, DataError)
                    assert isinstance(each.error.__cause__, kind)
        usable(pair)
        pair = Pair(SCRIPT | {"json": Answer(columns=[("a", 114)], rows=[[b"1"], [b"2"]])})


# ---- More than the high-water mark before the first execution


def padded(text: str, size: int) -> str:
    return text + " " * (size - len(text))


@pytest.mark.slow
@pytest.mark.holds("D1")
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("size", [60, 600, 20_000, HIGH_WATER - 20, HIGH_WATER, 5 * HIGH_WATER])
@pytest.mark.parametrize("count", [1, 2, 7, 300])
@pytest.mark.parametrize("atomic", [True, False])
def test_long_texts(named: bool, size: int, count: int, atomic: bool) -> None:
    if size * count > 3_000_000:
        count = 3_000_000 // size
    texts = [padded(f"select {number}", size + number % 7) for number in range(count)]
    pair = Pair({text: rows_of(number) for number, text in enumerate(texts)}, named=named)
    for _ in range(2):
        operation = pair.run(Execution([QueuedQuery(text, ()) for text in texts], atomic=atomic))
        assert operation.error is None
        assert labels(operation) == [C] * count
        assert [item.rows[0][0] for item in operation.items] == list(range(count))
    for text in texts[:3]:
        assert pair.run(Stream(QueuedQuery(text, ()))).error is None
        prepare = pair.run(Prepare(pair.engine.prepare(text)))
        assert prepare.error is None
        held = Execution([QueuedQuery(text, (), prepare.statement)] * 1)
        assert labels(pair.run(held)) == [C]


@pytest.mark.slow
@pytest.mark.holds("D1")
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("count", [2_500])
def test_more_evictions_than_the_high_water_mark(named: bool, count: int) -> None:
    """The names to close come before the next statement, whoever runs it, and fill the mark."""
    script = {f"select {number}": rows_of(number) for number in range(count)}
    script |= {"fetch c": Answer("FETCH 1", columns=[("n", 23)], rows=[[int4(7)]], late=True)}
    script |= {"insert int": ok(types=[23]), "copy t from stdin": Answer("COPY 1", copy="in")}

    def many(pair: Pair) -> ExecuteMany:
        operation = ExecuteMany("insert int")
        pair.run(operation)
        buffer = ExecutionBuffer(operation)
        assert buffer.add((1,)) is None
        run = buffer.end()
        assert run is not None
        operation.feed(run)
        operation.end()
        pair.engine.resume()
        pair.pump()
        return operation

    def copied(pair: Pair) -> CopyIn:
        operation = pair.run(CopyIn("copy t from stdin"))
        operation.feed(b"x" * (3 * HIGH_WATER))
        operation.end()
        pair.engine.resume()
        pair.pump()
        return operation

    known = "select 1"
    following: tuple[Callable[[Pair], Operation], ...] = (
        lambda pair: pair.run(Execution([QueuedQuery(known, ())])),
        lambda pair: pair.run(Execution([QueuedQuery(known, ()) for _ in range(3)])),
        lambda pair: pair.run(Execution([QueuedQuery(known, ()) for _ in range(3)], atomic=False)),
        lambda pair: pair.run(Execution([QueuedQuery("fetch c", ()), QueuedQuery(known, ())])),
        lambda pair: pair.run(Stream(QueuedQuery(known, ()))),
        lambda pair: pair.run(Script(known)),
        many,
        copied,
    )
    for follow in following:
        pair = Pair(script, cache=10, named=named)
        assert labels(pair.run(Execution([QueuedQuery(known, ())]))) == [C]
        keep = pair.engine.channel.statements.get(known)
        keep.users += 1  # somebody uses it, so that it is not evicted with the others
        assert pair.run(Execution([QueuedQuery(f"select {n}", ()) for n in range(count)])).error is None
        operation = follow(pair)
        assert operation.finished
        assert operation.error is None
        assert pair.engine.idle


@pytest.mark.slow
@pytest.mark.holds("D1")
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_long_texts_in_a_transaction_and_for_many_records(named: bool) -> None:
    text = padded("insert", 2 * HIGH_WATER)
    pair = Pair({text: ok(types=[23]), "BEGIN": ok("BEGIN"), "COMMIT": ok("COMMIT")}, named=named)
    block = Transaction(pair.engine)
    block.enter()
    assert pair.run(Execution([QueuedQuery(text, (1,))])).error is None
    operation = ExecuteMany(text)
    pair.run(operation)
    buffer = ExecutionBuffer(operation)
    for number in range(20_000):
        run = buffer.add([number])
        if run is not None:
            operation.feed(run)
    last = buffer.end()
    assert last is not None
    operation.feed(last)
    operation.end()
    pair.engine.resume()
    pair.pump()
    assert operation.error is None
    for step in block.commit():
        pair.run(step)
    assert pair.backend.committed.count(text) == 20_001
    assert pair.engine.idle


# ---- What a source raises


@pytest.mark.holds("D2")
@pytest.mark.parametrize(
    "reason",
    [
        ValueError("\ud800 and \0"),
        type("Surrogate", (type,), {"__name__": "\udfff\0"})("x", (Exception,), {})(),
        type("Nameless", (type,), {"__name__": property(raising_method(KeyError))})("x", (Exception,), {})(),
        type("Mute", (Exception,), {"__str__": raising_method(KeyError)})(),
        type("Mute", (Exception,), {"__str__": raising_method(KeyboardInterrupt)})(),
        type("Mute", (Exception,), {"__str__": lambda _: None})(),
        type("Mute", (Exception,), {"__format__": raising_method(MemoryError)})(),
        KeyboardInterrupt("x"),
        "x\ud800" * 10_000,
    ],
    ids=repr_of,
)
def test_the_reason_of_a_stopped_copy_can_always_be_sent(pair: Pair, reason: BaseException | str) -> None:
    operation = pair.run(CopyIn("copy t from stdin"))
    operation.feed(b"1\n")
    operation.stop(reason)
    pair.engine.resume()
    pair.pump()
    assert operation.finished
    assert isinstance(operation.error, PostgresError)
    assert not pair.backend.committed
    usable(pair)


@pytest.mark.holds("L2")
@pytest.mark.parametrize("pipelining", [True, False])
def test_the_last_items_have_ended_when_the_others_are_answered(pipelining: bool) -> None:
    pair = Pair(SCRIPT | {"insert text": ok(types=[25])})
    pair.engine.pipelining = pipelining
    items = [QueuedQuery("insert text", ("x" * HIGH_WATER,)) for _ in range(3)]
    operation = pair.run(Execution([*items, *inserts("unfit", "unfit").items], atomic=False))
    assert operation.finished
    assert labels(operation) == [C, C, C, N, N]
    usable(pair)


# ---- What is passed for a statement or a record


class Held:
    """As an adapter's PreparedStatement."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement


class Text(str):
    __slots__ = ()


@pytest.mark.holds("L15")
def test_what_is_passed_for_a_statement(pair: Pair) -> None:
    for bad in (None, 5, b"x", QueuedQuery("select 1", ()), Held):
        takes: tuple[Any, ...] = (Batch().queue, ExecuteMany.of, Script, CopyIn, Refusing)
        for take in takes:
            with pytest.raises(TypeError):
                take(bad)
        with pytest.raises(TypeError, match="channel"):  # and not what mypyc says to a wrong item
            Listener(("x", bad))
    with pytest.raises(LocalProtocolError, match="channel"):
        Listener(("x\0",))
    assert type(as_item(Text("x"), ()).sql) is str
    assert type(ExecuteMany.of(Text("x")).sql) is str
    assert type(Script(Text("x")).sql) is str
    assert type(Listener((Text("x"),)).channels[0]) is str
    statement = pair.run(Prepare(Statement(Text("insert int"), "mine", kept=True))).statement
    for query in (statement, Held(statement)):
        assert labels(pair.run(Execution([as_item(query, (1,))]))) == [C]
        assert ExecuteMany.of(query).statement is statement
    other = Pair(SCRIPT)
    other.run(Prepare(Statement("select 1", "mine", kept=True)))
    operation: Operation
    for operation in (Execution([as_item(statement, (1,))]), ExecuteMany.of(statement)):
        other.run(operation)
        assert isinstance(operation.error, LocalProtocolError)
        assert operation.error.outcome is N
        assert "another connection" in str(operation.error)
        usable(other)


@pytest.mark.holds("L13")
def test_what_is_passed_for_a_record() -> None:
    assert values_of((1, 2)) == values_of([1, 2]) == (1, 2)

    class Failing(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Unreadable(Sequence[Any]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: Any) -> Any:
            raise RuntimeError

    encoder = CopyRowEncoder(["a"], [23])
    parts: list[bytes] = []
    for record, text in (
        (Failing(), "record 1: the value of column 'a' raised RuntimeError"),
        ({"b": 1}, "record 2: the value of column 'a' is missing"),
        (Unreadable(), "record 3: RuntimeError was raised when the values were read"),
        ({1}, "record 4: the values must be a list, a tuple or another sequence, not set"),
    ):
        with pytest.raises(DataError) as caught:
            encoder.add(parts, record)
        assert str(caught.value) == text
        assert (type(caught.value.__cause__) is RuntimeError) == ("RuntimeError" in text)
    assert parts == []
    row = Row(Columns(("x",)), (7,))
    parts = []
    encoder.add(parts, row)
    assert b"".join(parts) == encoder.encode({"a": 7}) == encoder.encode([7]) == encoder.encode((7,))


def test_rows_of_another_shape_end_the_session() -> None:
    operation: Operation
    for operation in (Execution([QueuedQuery("odd", ())]), Stream(QueuedQuery("odd", ())), Script("odd")):
        pair = Pair({"odd": Answer(columns=[("n", 23)], rows=[[int4(7), int4(8)]])})
        pair.run(operation)
        assert isinstance(operation.error, RemoteProtocolError)
        assert pair.engine.closed
