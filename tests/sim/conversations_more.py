"""More conversations for the model server and the real one: interrupted ones, and those of mere chance."""

from __future__ import annotations

import random
from typing import Final

from pgproto.wire import Bind, Close, CopyData, Describe, Execute, Flush, Parse, Query, Sync
from tests.sim.conversations import INSERT, ROWS, Step, bound, query

__all__ = ["CANCEL", "INTERRUPTED", "TERMINATE", "by_chance"]

S: Final = Sync()


def _alone(*texts: str) -> list[Step | str]:
    return [*query(*texts)]


CANCEL: Final = "cancel"
TERMINATE: Final = "terminate"
_SLEEP: Final = "select pg_sleep(60)"

INTERRUPTED: Final[dict[str, list[Step | str]]] = {
    "cancel, simple": [
        *_alone(_SLEEP),
        CANCEL,
        *_alone("select 1; select pg_sleep(60)"),
        CANCEL,
        *_alone("select 1"),
    ],
    "cancel, extended": [
        [*bound("select 1"), *bound(_SLEEP), *bound("select 1"), S],
        CANCEL,
        *_alone("select 1"),
    ],
    "cancel in a block": [*_alone("begin", _SLEEP), CANCEL, *_alone("select 1", "rollback")],
    "cancel while idle": [CANCEL, *_alone("select 1", "begin"), CANCEL, *_alone("commit")],
    "cancel in a pipeline": [[*bound("select 1"), Flush()], CANCEL, [*bound("select 1"), S]],
    "cancel in COPY": [*_alone("copy ledger from stdin"), CANCEL, [CopyData(b"1\n")], *_alone("select 1")],
    "terminate, idle": [TERMINATE],
    "terminate in a block": [*_alone("begin"), TERMINATE],
    "terminate, running": [*_alone("select 1; select pg_sleep(60)"), TERMINATE],
    "terminate, extended": [[*bound("select 1"), *bound(_SLEEP), *bound("select 1"), S], TERMINATE],
    "terminate in COPY": [*_alone("copy ledger from stdin"), TERMINATE],
    "terminate in a failed segment": [[*bound("select 1/0"), Flush()], TERMINATE],
    "statement_timeout": [
        *_alone("set statement_timeout = 50", _SLEEP, "select 1", "begin", _SLEEP, "rollback"),
        [*bound("select 1"), *bound(_SLEEP), *bound("select 1"), S],
    ],
    "idle_in_transaction_session_timeout": _alone(
        "set idle_in_transaction_session_timeout = 50", "select 1", "begin"
    ),
    "idle in a failed transaction": _alone(
        "set idle_in_transaction_session_timeout = 50", "begin; select 1/0"
    ),
    "idle_session_timeout": _alone("set idle_session_timeout = 50"),
}
"""Conversations that others, or time, interrupt."""

_CHANCE: Final = (
    "select 1",
    "select 1/0",
    "select fail('40001')",
    "selec",
    "",
    "begin",
    "commit",
    "rollback",
    "savepoint a",
    "savepoint b",
    "release a",
    "rollback to a",
    "rollback to b",
    "insert into ledger values (1)",
    "insert into ledger values (2)",
    "insert into ledger values (3)",
    "insert into deferred values (1)",
    "insert into deferred values (2)",
    "delete from ledger where id = 1",
    "select count(*) from ledger",
    "select id from ledger where id = 2",
    "listen news",
    "notify news, 'x'",
    "unlisten *",
    "set application_name = 'x'",
    "set local application_name = 'y'",
    "reset all",
    "discard all",
    "vacuum ledger",
    "declare c cursor for select 1",
    "fetch c",
    "close c",
    "create temp table t (id int4)",
    "drop table t",
    "select * from shape",
    "alter table shape add column b int4",
    "deallocate s",
    "copy ledger to stdout",
    "begin read only",
)


def by_chance(seed: int) -> list[Step]:
    """A conversation of a few steps that nobody has thought of."""
    rng = random.Random(seed)
    steps: list[Step] = []
    for _ in range(rng.randrange(3, 9)):
        if rng.random() < 0.35:
            steps.append([Query("; ".join(rng.choices(_CHANCE, k=rng.choice((1, 1, 2, 3)))))])
            continue
        step: Step = []
        for _ in range(rng.randrange(1, 6)):
            step += rng.choice(_MAKERS)(rng)
        steps.append([*step, S])
    return steps


def _name(rng: random.Random) -> str:
    return rng.choice(("", "", "s", "t"))


_MAKERS: Final = (
    lambda rng: bound(rng.choice(_CHANCE)),
    lambda rng: bound(rng.choice(_CHANCE)),
    lambda rng: bound(ROWS, b"q", b"%d" % rng.randrange(4), limit=rng.randrange(3)),
    lambda rng: bound(INSERT, b"%d" % rng.randrange(1, 5)),
    lambda rng: [Parse(_name(rng), rng.choice(_CHANCE))],
    lambda rng: [Bind(_name(rng), _name(rng), (), (), ())],
    lambda rng: [Describe(rng.choice("SP"), _name(rng))],
    lambda rng: [Execute(_name(rng), rng.randrange(3))],
    lambda rng: [Close(rng.choice("SP"), _name(rng))],
    lambda rng: [Sync()],
    lambda rng: [Flush()],
)
