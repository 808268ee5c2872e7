"""The little that the session needs to know about a statement's text: three yes-or-no questions.

Nothing here parses SQL, and nothing is ever inserted into it.  The rule: look at the first words and at
the names that are called, and when in doubt give the answer that promises less.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import LocalProtocolError, Outcome

__all__ = ["check_sql", "describes_late", "first_words", "is_plain", "leaves_no_trace", "quote_identifier"]

# White space and comments in front of the first word.  Nested block comments are not told apart: what is
# left then starts with no known word, which is the careful answer.
_SPACE: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)*")
_WORDS: Final = re.compile(r"([A-Za-z_]+)(?:\s+([A-Za-z_]+))?")


def _set(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(separator))


# Statements that end a transaction, or run in transactions of their own: of these, and of what was sent
# together with them, nobody can say "not committed" before the server has said so.
_NOT_PLAIN: Final = _set(
    """abort begin call checkpoint cluster commit discard do end prepare reindex release rollback
    savepoint start vacuum"""
)
_NOT_PLAIN_PAIRS: Final = _set(
    """alter database|alter subscription|alter system|alter table|alter type|create database|create index
    |create subscription|create tablespace|create unique|drop database|drop index|drop subscription
    |drop tablespace|refresh materialized""",
    "|",
)

# Describe of such a statement can answer NoData, although Execute returns rows.
_LATE: Final = _set("call execute explain fetch show")

# Statements that change nothing about the session itself ...
_TRACELESS: Final = _set(
    """begin commit copy delete end insert merge release rollback savepoint select start table truncate
    update values with"""
)
# ... as long as they call nothing but these.  Any other function could set a parameter or take a lock.
# (Words that stand in front of a parenthesis without being functions are in the list too.)
# The look-behind keeps it linear: without it every letter of a long word is tried as the first one.
_CALL: Final = re.compile(r'(?<![\w$".])([\w$".]+)\s*\(')
_HARMLESS_CALLS: Final = _set(
    """abs all and any array array_agg array_append array_length array_remove array_to_string as avg between
    bit bool_and bool_or by cardinality case cast ceil ceiling char char_length character coalesce concat
    concat_ws conflict copy count cube date_part date_trunc decimal dense_rank distinct else every except
    exists extract filter first_value float floor format from gen_random_uuid generate_series greatest group
    grouping having in insert intersect interval into is json_agg json_array_elements json_build_array
    json_build_object jsonb_agg jsonb_array_elements jsonb_build_array jsonb_build_object key lag last_value
    lateral lead least left length like limit lower ltrim materialized max md5 min mod mode not now null
    nullif numeric octet_length offset on or order ordinality over overlay partition percentile_cont
    pg_backend_pid pg_sleep pg_typeof position power random range rank regexp_replace repeat replace
    returning right rollup round row row_number rows rtrim select set sets sign similar some split_part sqrt
    string_agg string_to_array strpos substr substring sum then time timestamp to_char to_date to_jsonb
    to_timestamp trim trunc union unique unnest upper using values varchar varying version when where with
    within xmlagg"""
)
_STATEFUL_WORDS: Final = re.compile(
    r"\b(?:temp|temporary|set_config|pg_settings|advisory)\b|;", re.IGNORECASE
)


# PostgreSQL's MaxAllocSize, less what goes with the text in its message: a longer message ends the session.
_MAX_SQL: Final = 0x3FFFFFFE - 65536


def check_sql(sql: str) -> None:
    """Refuse a text that no message can carry, before anything of its operation is sent.

    Raises:
        LocalProtocolError: it has a NUL or a lone surrogate in it, or is longer than 1 GiB.
    """
    problem = "it contains a NUL character" if "\0" in sql else ""
    try:
        size = len(sql) if sql.isascii() else len(sql.encode())
    except UnicodeEncodeError:
        size = 0
        problem = "it contains a lone surrogate"
    if size > _MAX_SQL:
        problem = f"it has {size} bytes"
    if problem:
        error = LocalProtocolError(f"the SQL text cannot be sent: {problem}")
        error.outcome = Outcome.NOT_SENT
        raise error


def first_words(sql: str) -> tuple[str, str]:
    """The statement's first two words in lower case; "" where there is none."""
    space = _SPACE.match(sql)
    words = _WORDS.match(sql, space.end() if space is not None else 0)
    if words is None:
        return "", ""
    return words.group(1).lower(), (words.group(2) or "").lower()


def is_plain(sql: str) -> bool:
    """True if the statement certainly neither ends a transaction nor commits on its own."""
    first, second = first_words(sql)
    if not first:
        return not sql.strip()
    return first not in _NOT_PLAIN and f"{first} {second}" not in _NOT_PLAIN_PAIRS


def describes_late(sql: str) -> bool:
    """True if the columns may be known only when the statement is executed (FETCH of a cursor, ...)."""
    return first_words(sql)[0] in _LATE


def leaves_no_trace(sql: str) -> bool:
    """True if the statement leaves the session as it was, so that no reset is needed after it.

    A view, a trigger or an operator can still hide a function that does not; whoever has such ones asks
    the pool to reset always.
    """
    if first_words(sql)[0] not in _TRACELESS or _STATEFUL_WORDS.search(sql.rstrip().rstrip(";")):
        return False
    return all(name.lower() in _HARMLESS_CALLS for name in _CALL.findall(sql))


def quote_identifier(name: str) -> str:
    """The name as a quoted identifier.  Manual: "Identifiers and Key Words"."""
    if "\0" in name:
        raise ValueError("an identifier cannot contain a NUL character")
    return '"' + name.replace('"', '""') + '"'
