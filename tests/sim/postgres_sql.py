"""The SQL of the model server: real SQL, so that a real server can be asked the same, but very little of it.

What it knows, one statement a line (V is `$n`, a number or a 'string'; upper or lower case):

    insert into ledger values (V)                    unique ids, checked at once: 23505
    insert into deferred values (V)                  unique ids, checked at the commit
    delete from ledger where id = V
    select count(*) from ledger | select id from ledger [where id = V]
    select V::text as tag, n from generate_series(1, V::int4) as n
    select V::text as tag, 1/(V::int4 - n) as n from generate_series(1, V::int4) as n    22012 in a row
    select V::text as tag, (V::TYPE is not null)::int4 as n    TYPE is any that only goes in
    select array[V::text]::label[] as tags         a type that is not built in
    what the library asks the catalog about types    `pgproto.types.catalog.LOOK_UP`
    select 1 | select V::int4 | select V::text
    select 1/0                                       22012 at Bind (at once in a simple Query)
    select fail(V)                                   raises the SQLSTATE at Execute
    select warn(V)                                   sends a WARNING
    select pg_sleep(V) | pg_notify(V, V) | pg_advisory_lock_shared(V) | pg_advisory_unlock_all()
    select pg_backend_pid() | nextval('numbers') | lastval() | name from pg_prepared_statements
    select 1 as id into pg_temp.NAME | select * from hidden    a view that leaves a role and a lock behind
    select * from shape | alter table shape add column NAME int4      "cached plan" (0A000)
    insert into amounts values (V, V) | select id, amount from amounts where id = V
    alter table amounts alter column amount type TYPE using amount::TYPE    int8, float8, text
    select "NAME", ... from ledger                   what copy_records asks
    copy amounts from stdin (format binary)
    copy ledger from stdin | copy ledger to stdout | copy (SELECT) to stdout    [with (format binary)]
    begin | start transaction | commit | end | rollback | abort | savepoint S | release S | rollback to S
    commit and chain | rollback and chain | prepare transaction 'G' | commit prepared 'G'
    declare C cursor [with hold] for SELECT | fetch N from C | close C | close all
    listen C | unlisten C | unlisten * | notify C [, 'text']
    set [local] NAME = V | reset NAME | reset all | show NAME | set role NAME
    set session authorization default
    create temp table NAME (id int4) | drop table NAME
    discard all | discard temp | discard sequences | deallocate NAME | deallocate all | vacuum ledger

Anything else is a syntax error (42601); `select * from missing` is 42P01.  `SETUP` makes the tables and
functions on a real server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from pgproto.types.catalog import LOOK_UP, LOOK_UP_COLUMNS, LOOK_UP_PARAMETER

__all__ = ["EMPTY", "SETUP", "Plan", "SQLError", "SQLValue", "Value", "parse", "split"]

SQLValue = int | float | str | None

SETUP: Final = """
create table ledger (id int8 primary key);
create table deferred (id int8 unique deferrable initially deferred);
create table shape (a int4);
insert into shape values (1);
create function fail(code text) returns int4 language plpgsql as
    $$begin raise exception using errcode = code; end$$;
create table amounts (id int8 primary key, amount int8);
create sequence numbers;
create domain label as text;
create function hide() returns int4 language plpgsql as
    $$begin perform pg_advisory_lock_shared(1); execute 'set role postgres'; return 1; end$$;
create view hidden as select hide();
create function warn(message text) returns int4 language plpgsql as
    $$begin raise warning using message = message; return 1; end$$;
"""

BOOL: Final = 16
INT8: Final = 20
INT4: Final = 23
TEXT: Final = 25
VOID: Final = 2278
FLOAT8: Final = 701
LABEL: Final = 16400
LABELS: Final = 16401
GIVEN: Final = {"int8": INT8, "float8": FLOAT8, "numeric": 1700, "timestamptz": 1184, "jsonb": 3802} | {
    "int4[]": 1007
}
SIZES: Final = dict.fromkeys((LABELS, *LOOK_UP_COLUMNS), -1) | {
    BOOL: 1,
    INT8: 8,
    INT4: 4,
    TEXT: -1,
    VOID: 4,
    FLOAT8: 8,
}


class SQLError(Exception):
    """An ERROR of the server."""

    def __init__(self, code: str, message: str = "", routine: str = "") -> None:
        super().__init__(code)
        self.routine = routine
        self.code = code
        self.message = message or f"error {code}"


class Value(NamedTuple):
    """A value in a statement: a constant, or parameter number `parameter` (from 1)."""

    parameter: int
    constant: str


class Plan:
    """What a statement means; one for each text, shared, never changed.

    Attributes:
        sql: the text.
        kind: which function of the executor runs it.
        types: the OIDs of its parameters; 0 for what the column of `amounts` is.
        values: its values, in the order of the text.
        names: names of things in it, in the order of the text.
        columns: its columns as (name, OID); () if it returns no rows.
        query: the statement inside of it (COPY, DECLARE).
        exits: it is one of the few that a failed transaction block takes.
        error: what its analysis finds; folding: what evaluating its constants at Bind finds.
    """

    __slots__ = ("columns", "error", "exits", "folding", "kind", "names", "query", "sql", "types", "values")

    def __init__(
        self,
        sql: str,
        kind: str,
        *,
        values: tuple[Value, ...] = (),
        types: tuple[int, ...] = (),
        names: tuple[str, ...] = (),
        columns: tuple[tuple[str, int], ...] = (),
        query: Plan | None = None,
        exits: bool = False,
        error: str = "",
        folding: str = "",
    ) -> None:
        self.sql = sql
        self.kind = kind
        self.values = values
        self.names = names
        self.columns = columns
        self.query = query
        self.exits = exits
        self.error = error
        self.folding = folding
        count = max((value.parameter for value in values), default=0)
        found = [TEXT] * count
        for value, oid in zip(values, types, strict=True):
            if value.parameter:
                found[value.parameter - 1] = oid
        self.types = tuple(found)


EMPTY: Final = Plan("", "empty")

_VALUE: Final = r"(\$\d+|-?\d+(?:\.\d+)?|'[^']*')"
_NAME: Final = r'("[^"]+"|[a-z_]\w*)'
_SERIES: Final = rf"from generate_series\(1, {_VALUE}::int4\) as n"

_Make = Callable[[str, "re.Match[str]"], Plan]


def _value(text: str) -> Value:
    if text.startswith("$"):
        return Value(int(text[1:]), "")
    return Value(0, text.strip("'"))


def _name(text: str) -> str:
    return text.strip('"')


def _plain(
    kind: str, types: tuple[int, ...] = (), *columns: tuple[str, int], folding: str = "", error: str = ""
) -> _Make:
    """A statement whose groups are values, and which has these columns."""

    def make(sql: str, match: re.Match[str]) -> Plan:
        values = tuple(_value(text) for text in match.groups())
        return Plan(sql, kind, values=values, types=types, columns=columns, folding=folding, error=error)

    return make


def _given(sql: str, match: re.Match[str]) -> Plan:
    values = (_value(match[1]), _value(match[2]))
    return Plan(
        sql, "given", values=values, types=(TEXT, GIVEN[match[3]]), columns=(("tag", TEXT), ("n", INT4))
    )


def _named(kind: str, *columns: tuple[str, int], exits: bool = False) -> _Make:
    """A statement whose groups are names."""

    def make(sql: str, match: re.Match[str]) -> Plan:
        names = tuple(_name(text) for text in match.groups() if text is not None)
        return Plan(sql, kind, names=names, columns=columns, exits=exits)

    return make


def _listed(sql: str, match: re.Match[str]) -> Plan:
    names = [_name(text) for text in match[1].split(", ")]
    return Plan(sql, "ledger", columns=tuple((name, INT8) for name in names))


def _show(sql: str, match: re.Match[str]) -> Plan:
    name = _name(match[1])
    return Plan(sql, "show", names=(name,), columns=((name, TEXT),))


def _setting(sql: str, match: re.Match[str]) -> Plan:
    value = _value(match[3]) if match[3][0] in "'-0123456789" else Value(0, match[3])
    names = (match[2].lower(), "local" if match[1] else "")
    return Plan(sql, "set", names=names, values=(value,), types=(TEXT,))


def _notify(sql: str, match: re.Match[str]) -> Plan:
    values = (Value(0, _name(match[1])), Value(0, (match[2] or "").strip("'")))
    return Plan(sql, "notify", values=values, types=(TEXT, TEXT))


def _inner(kind: str, *groups: str) -> _Make:
    """A statement with another one in the group `query`."""

    def make(sql: str, match: re.Match[str]) -> Plan:
        query = parse(match["query"])
        if not query.columns:
            raise SQLError("42601", "syntax error")
        found = match.groupdict()
        names = tuple(_name(found[group] or "") for group in groups)
        values = tuple(Value(0, value.constant) for value in query.values)
        error = "42P02" if query.types else ""
        return Plan(
            sql, kind, names=names, values=values, types=(TEXT,) * len(values), query=query, error=error
        )

    return make


def _fetch(sql: str, match: re.Match[str]) -> Plan:
    return Plan(sql, "fetch", names=(_name(match[2]), match[1] or "1"))


_TABLE: Final[list[tuple[re.Pattern[str], _Make]]] = [
    (re.compile(pattern, re.IGNORECASE), make)
    for pattern, make in (
        (rf"insert into ledger values \({_VALUE}\)", _plain("insert", (INT8,))),
        (rf"insert into deferred values \({_VALUE}\)", _plain("defer", (INT8,))),
        (rf"delete from ledger where id = {_VALUE}", _plain("delete", (INT8,))),
        (r"select count\(\*\) from ledger", _plain("count", (), ("count", INT8))),
        (rf"select id from ledger where id = {_VALUE}", _plain("find", (INT8,), ("id", INT8))),
        (r'select ((?:"?id"?)) from "?ledger"?', _listed),
        (
            rf"select {_VALUE}::text as tag, n {_SERIES}",
            _plain("rows", (TEXT, INT4), ("tag", TEXT), ("n", INT4)),
        ),
        (
            rf"select {_VALUE}::text as tag, 1/\({_VALUE}::int4 - n\) as n {_SERIES}",
            _plain("break", (TEXT, INT4, INT4), ("tag", TEXT), ("n", INT4)),
        ),
        (
            rf"select {_VALUE}::text as tag, \({_VALUE}::(int8|float8|numeric|timestamptz|jsonb|int4\[\])"
            r" is not null\)::int4 as n",
            _given,
        ),
        (
            rf"select array\[{_VALUE}::text\]::label\[\] as tags",
            _plain("labels", (TEXT,), ("tags", LABELS)),
        ),
        (rf"select {_VALUE}::int4", _plain("value", (INT4,), ("int4", INT4))),
        (rf"select {_VALUE}::text", _plain("value", (TEXT,), ("text", TEXT))),
        (r"select (\d+)", _plain("value", (INT4,), ("?column?", INT4))),
        (r"select 1/0", _plain("value", (), ("?column?", INT4), folding="22012")),
        (rf"select fail\({_VALUE}\)", _plain("fail", (TEXT,), ("fail", INT4))),
        (rf"select warn\({_VALUE}\)", _plain("warn", (TEXT,), ("warn", INT4))),
        (rf"select pg_sleep\({_VALUE}\)", _plain("sleep", (FLOAT8,), ("pg_sleep", VOID))),
        (
            rf"select pg_notify\({_VALUE}, {_VALUE}\)",
            _plain("pg_notify", (TEXT, TEXT), ("pg_notify", VOID)),
        ),
        (
            rf"select pg_advisory_lock_shared ?\({_VALUE}\)",
            _plain("lock", (INT8,), ("pg_advisory_lock_shared", VOID)),
        ),
        (
            r"select (?:pg_catalog\.)?pg_advisory_unlock_all\(\)",
            _plain("unlock", (), ("pg_advisory_unlock_all", VOID)),
        ),
        (r"select (?:pg_catalog\.)?pg_backend_pid\(\)", _plain("pid", (), ("pg_backend_pid", INT4))),
        (
            r"select name from (?:pg_catalog\.)?pg_prepared_statements",
            _plain("prepared", (), ("name", TEXT)),
        ),
        (r"select nextval\('numbers'\)", _plain("nextval", (), ("nextval", INT8))),
        (r"select lastval\(\)", _plain("lastval", (), ("lastval", INT8))),
        (r"select \* from hidden", _plain("hidden", (), ("hide", INT4))),
        (rf"select 1 as id into pg_temp\.{_NAME}", _named("into")),
        (
            r"select case when pg_is_in_recovery\(\) then 'on' else 'off' end",
            _plain("recovery", (), ("case", TEXT)),
        ),
        (r"select \* from shape", _plain("shape", (), ("a", INT4))),
        (r"select \* from missing", _plain("value", (), error="42P01")),
        (rf"alter table shape add column {_NAME} int4", _named("alter")),
        (rf"insert into amounts values \({_VALUE}, {_VALUE}\)", _plain("amount_in", (INT8, 0))),
        (
            rf"select id, amount from amounts where id = {_VALUE}",
            _plain("amount", (INT8,), ("id", INT8), ("amount", 0)),
        ),
        (r'select "id", "amount" from "amounts"', _plain("amounts", (), ("id", INT8), ("amount", 0))),
        (r'copy "?amounts"?(?: \("id", "amount"\))? from stdin \(format binary\)', _named("copy_amounts")),
        (
            r"alter table amounts alter column amount type (int8|float8|text) using amount::\1",
            _named("retype"),
        ),
        (
            r'copy "?ledger"?(?: \("?id"?\))? from stdin(?: (?:with )?\(format (binary)\))?',
            _named("copy_in"),
        ),
        (
            r"copy \((?P<query>.+)\) to stdout(?: (?:with )?\(format (?P<format>binary)\))?",
            _inner("copy_out", "format"),
        ),
        (
            r"copy ledger to stdout",
            lambda sql, _: Plan(sql, "copy_out", names=("",), query=parse("select id from ledger")),
        ),
        (
            r"(?:begin|start transaction)(?: isolation level (?:read (?:un)?committed|repeatable read"
            r"|serializable))?( read only| read write)?(?: deferrable)?",
            _named("begin"),
        ),
        (r"(?:commit|end)(?: and (chain))?", _named("commit", exits=True)),
        (r"(?:rollback|abort)(?: and (chain))?", _named("rollback", exits=True)),
        (r"prepare transaction ('[^']*')", _named("prepare", exits=True)),
        (r"(commit|rollback) prepared ('[^']*')", _named("decide")),
        (rf"savepoint {_NAME}", _named("savepoint")),
        (rf"release(?: savepoint)? {_NAME}", _named("release")),
        (rf"rollback to(?: savepoint)? {_NAME}", _named("rollback_to", exits=True)),
        (rf"declare (?P<name>{_NAME}) cursor for (?P<query>.+)", _inner("declare", "name")),
        (rf"declare (?P<name>{_NAME}) cursor with hold for (?P<query>.+)", _inner("hold", "name")),
        (r"close all", _named("close_all")),
        (rf"fetch (?:(\d+|all) (?:from )?)?{_NAME}", _fetch),
        (rf"close {_NAME}", _named("close")),
        (rf"listen {_NAME}", _named("listen")),
        (rf"unlisten (?:\*|{_NAME})", _named("unlisten")),
        (rf"notify {_NAME}(?:, ('[^']*'))?", _notify),
        (r"set session authorization default", _named("authorize")),
        (
            rf"set role {_NAME}",
            lambda sql, match: Plan(
                sql, "set", names=("role", ""), values=(Value(0, _name(match[1])),), types=(TEXT,)
            ),
        ),
        (rf"set (local )?([a-z_.]+) (?:=|to) ({_VALUE}|\w+)", _setting),
        (r"reset all", _named("reset")),
        (r"reset ([a-z_.]+)", _named("reset")),
        (r"show ([a-z_.]+)", _show),
        (rf"create temp(?:orary)? table {_NAME} \(id int4\)", _named("create")),
        (rf"drop table {_NAME}", _named("drop")),
        (r"discard all", _named("discard")),
        (r"discard (temp|sequences)", _named("discard_part")),
        (r"deallocate all", _named("deallocate")),
        (rf"deallocate (?:prepare )?{_NAME}", _named("deallocate")),
        (r"vacuum ledger", _named("vacuum")),
    )
]

_COMMENT: Final = re.compile(r"--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_PIECES: Final = re.compile(r"((?:[^;']|'[^']*')+)")


@lru_cache(maxsize=4096)
def _parse(sql: str) -> Plan:
    if sql == LOOK_UP:
        columns = tuple((f"column{number}", oid) for number, oid in enumerate(LOOK_UP_COLUMNS, 1))
        return Plan(sql, "catalog", values=(Value(1, ""),), types=(LOOK_UP_PARAMETER,), columns=columns)
    text = " ".join(_COMMENT.sub(" ", sql).split())
    if not text:
        return EMPTY
    for pattern, make in _TABLE:
        match = pattern.fullmatch(text)
        if match is not None:
            return make(sql, match)
    raise SQLError("42601", "syntax error")


def parse(sql: str) -> Plan:
    """What one statement means.

    Raises:
        SQLError: a syntax error.
    """
    return _parse(sql)


@lru_cache(maxsize=4096)
def split(script: str) -> tuple[Plan, ...]:
    """The statements of a script; empty ones are left out.

    Raises:
        SQLError: a syntax error in any of them.
    """
    plans = [parse(piece) for piece in _PIECES.findall(_COMMENT.sub(" ", script))]
    return tuple(plan for plan in plans if plan is not EMPTY)
