"""What the session needs to know about a statement's text: a few questions about its words.

Nothing here parses SQL, and nothing is ever inserted into it.  The rule: look at the first words and at
the names that are called, and when in doubt give the answer that promises less.

Names and calls can only be found in a text without comments and quotes: a comment can be between a function
and its parenthesis, and a quoted text can look like a call.  So `leaves_no_trace` looks at the bare text
(`_bare`), in which comments and strings were replaced by PostgreSQL's lexical rules, in one pass.
Manual: "Lexical Structure".
"""

from __future__ import annotations

import re
from typing import Final

from ..config.options import is_utf8
from ..errors import not_sent
from ..wire.exact import exact_str

__all__ = [
    "ALTERING_TAGS",
    "NO_DATA",
    "alters",
    "as_text",
    "check_no_copy_in",
    "check_sql",
    "control_words",
    "copies_in",
    "describes_late",
    "ends_transaction",
    "first_words",
    "is_plain",
    "leaves_no_trace",
    "may_commit",
    "sets_encoding",
    "statements_in",
    "to_savepoint",
    "unlistened",
    "words_of",
]

# PostgreSQL's white space, and its characters of names, which include everything that is not ASCII.
_BLANK: Final = r"[ \t\n\r\f\v]"
_NAME: Final = r"[\w$\x80-\U0010ffff]"
_BLANKS: Final = re.compile(rf"(?:{_BLANK}+|--[^\n\r]*)*")
_WORD: Final = re.compile(r"[A-Za-z_]+")
# A word of a statement for transaction control, or a quoted name.
_CONTROL_WORD: Final = re.compile(r'[A-Za-z_][A-Za-z_0-9$]*(?![^\x00-\x7f])|"(?:[^"]|"")+"')
# The longest of these statements: ROLLBACK TRANSACTION TO SAVEPOINT x, COMMIT TRANSACTION AND NO CHAIN.
_MAX_WORDS: Final = 5
_MAX_NAME: Final = 63  # the server truncates longer identifiers
# Where a comment or a quote may begin, and the patterns of their ends.
_SPECIAL: Final = re.compile(r"""['"$]|--|/\*""")
_LINE: Final = re.compile(r"[^\n\r]*")
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_STRING: Final = re.compile(r"'[^'\\]*'")
_STANDARD: Final = re.compile(r"'[^']*'")
_ESCAPED: Final = re.compile(r"'(?:[^'\\]|\\.|'')*+'", re.DOTALL)
_QUOTED: Final = re.compile(r'"[^"]*"')
_NAME_IN_QUOTES: Final = re.compile(rf'"{_NAME}*"')
_WORDS: Final = re.compile(r"'[\w -]*'")
_TAG: Final = re.compile(r"\$(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?\$")
_IN_NAME: Final = re.compile(rf"(?<={_NAME})")


def _set(text: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(separator))


# For a bare text: the beginning of ROLLBACK TO SAVEPOINT, and the places where a statement may end.
_TO_SAVEPOINT: Final = re.compile(
    rf"{_BLANK}*rollback{_BLANK}+(?:(?:work|transaction){_BLANK}+)?to(?!{_NAME})", re.IGNORECASE
)
_STRUCTURE: Final = re.compile(
    rf"""[;()]|(?<!{_NAME})(?<![".])(?:begin{_BLANK}+atomic|case|end)(?!{_NAME})(?![".])""", re.IGNORECASE
)

# Statements that end a transaction or run in transactions of their own: without the server's answer, neither
# they nor the statements sent together with them can be called not committed.
_NOT_PLAIN: Final = _set(
    """abort analyse analyze begin call checkpoint cluster commit discard do end prepare reindex release
    repack rollback savepoint start vacuum"""
)
_NOT_PLAIN_PAIRS: Final = _set(
    """alter database|alter subscription|alter system|alter table|alter type|create database|create index
    |create subscription|create tablespace|create unique|drop database|drop index|drop subscription
    |drop tablespace|refresh materialized""",
    "|",
)

# Statements that run a procedure.
_CALLING: Final = ("call", "do")

# The columns of these depend on what a name means when they run.  (CALL, EXPLAIN and SHOW are described
# correctly when they are parsed.)
_LATE: Final = _set("execute fetch")

# Statements that change nothing about the session itself ...
_TRACELESS: Final = _set(
    """begin commit copy delete end insert merge move release rollback savepoint select start table truncate
    update values with"""
)
# ... as long as they call nothing but these.  Any other function could set a parameter or take a lock.
# (The list also has words that can precede a parenthesis without being functions.)
# The lookbehind keeps it linear: without it every letter of a long word is tried as the first one.
_CALL: Final = re.compile(rf'(?<!{_NAME})(?<![".])((?:{_NAME}|[".])+){_BLANK}*\(')
_HARMLESS_CALLS: Final = _set(
    """abs all and any array array_agg array_append array_length array_remove array_to_string as avg
    between bit bool_and bool_or by cardinality case cast ceil ceiling char char_length character coalesce
    concat concat_ws conflict copy count cube current_setting date_part date_trunc decimal dense_rank
    distinct else every except exists extract filter first_value float floor format from gen_random_uuid
    generate_series greatest group grouping having in insert intersect interval into is json_agg
    json_array_elements json_build_array json_build_object jsonb_agg jsonb_array_elements
    jsonb_build_array jsonb_build_object key lag last_value lateral lead least left length like limit
    lower ltrim materialized max md5 min mod mode not now null nullif numeric octet_length offset on or
    order ordinality over overlay partition percentile_cont pg_backend_pid pg_sleep pg_typeof position
    power random range rank regexp_replace repeat replace returning right rollup round row row_number rows
    rtrim select set sets sign similar some split_part sqrt string_agg string_to_array strpos substr
    substring sum then time timestamp to_char to_date to_jsonb to_timestamp trim trunc union unique unnest
    upper using values varchar varying version when where with within xmlagg"""
)
# A table with a list of columns in parentheses is not a call, nor is COPY ... STDIN with options.  Any other
# INTO creates a table, even after a column named "insert": SELECT 1 AS insert INTO TEMP t.
_TARGET: Final = re.compile(
    rf"""(?<!{_NAME})(?:insert|merge){_BLANK}+into{_BLANK}+(?!(?:temp|temporary|local|global)(?!{_NAME}))
    (?:{_NAME}|[".])+""",
    re.IGNORECASE | re.VERBOSE,
)
_COPY_TARGET: Final = re.compile(
    rf"""\A{_BLANK}*copy{_BLANK}+(?:{_NAME}|[".])+(?:{_BLANK}*\([^()]*\))?(?:{_BLANK}*from{_BLANK}+stdin)?
    |(?<!{_NAME})to{_BLANK}+stdout""",
    re.IGNORECASE | re.VERBOSE,
)
# These words touch the session.  A dot with space around it would hide a part of a function's name.
_STATEFUL: Final = re.compile(
    rf"""(?<!{_NAME})(?:temp|temporary|set_config|pg_settings|advisory|into)(?!{_NAME})
    |\.{_BLANK}|{_BLANK}\.|[uU]&["']""",
    re.IGNORECASE | re.VERBOSE,
)

NO_DATA: Final = "COPY FROM STDIN has no data here: use copy_in"

# PostgreSQL accepts either name in either direction.
_STDIN: Final = re.compile(r"std(?:in|out)", re.IGNORECASE)
_COPY_FROM: Final = re.compile(
    rf"""{_BLANK}*+copy(?!{_NAME}){_BLANK}*+(?!\().*?(?<!{_NAME})from{_BLANK}+std(?:in|out)(?!{_NAME})""",
    re.IGNORECASE | re.DOTALL,
)

_UNLISTEN: Final = re.compile(
    rf"""(?<!{_NAME})unlisten(?!{_NAME}){_BLANK}*(?:("(?:[^"]|"")*+")|({_NAME}+|\*))""", re.IGNORECASE
)

# Statements that set client_encoding, and the value.
_SET_ENCODING: Final = re.compile(
    rf"""(?:\A|;){_BLANK}*+set{_BLANK}++(?:(?:session|local){_BLANK}++)?+
    (?:"?client_encoding"?{_BLANK}*+(?:=|to(?!{_NAME}))|names(?!{_NAME}){_BLANK}*+(?!\.))([^;]*+)
    |(?<!{_NAME})set_config"?{_BLANK}*+\({_BLANK}*+e?'client_encoding'{_BLANK}*+,{_BLANK}*+e?('[^']*+')""",
    re.IGNORECASE | re.VERBOSE,
)

# PostgreSQL's MaxAllocSize less the other parts of the message: a longer message ends the session.
_MAX_SQL: Final = 0x3FFFFFFE - 65536


# Command tags of statements that can change the meaning of a name, or the types of its columns.  An ALTER can
# also affect other names (partitions, tables that use a type).
_ALTERING: Final = _set(
    """ALTER DOMAIN|ALTER FOREIGN TABLE|ALTER MATERIALIZED VIEW|ALTER SCHEMA|ALTER TABLE|ALTER TYPE|ALTER VIEW
    |DROP OWNED|DROP SCHEMA""",
    "|",
)
_NAMING: Final = _set(
    """CREATE FOREIGN TABLE|CREATE TABLE|CREATE VIEW|DROP DOMAIN|DROP FOREIGN TABLE|DROP MATERIALIZED VIEW
    |DROP TABLE|DROP TYPE|DROP VIEW""",
    "|",
)
ALTERING_TAGS: Final = _ALTERING | _NAMING
_ANY_NAME: Final = re.compile(rf"{_NAME}+")
# Words before and between the names.
_NO_NAMES: Final = _set(
    """create drop or replace global local temp temporary unlogged recursive foreign materialized table view
    type domain if not exists cascade restrict as select"""
)


def alters(tag: str, sql: str) -> frozenset[str] | None:
    """The names that a statement with one of ALTERING_TAGS has altered, in lower case; None for any name.

    Args:
        tag: its command tag.
        sql: the text that contains it; if it has several statements, the result has the words of all.
    """
    bare = _bare(sql)
    if tag in _ALTERING or bare is None:
        return None
    if ";" not in bare.rstrip(" \t\n\r;"):
        bare = bare.partition("(")[0]  # columns follow
    return words_of(bare) - _NO_NAMES


def words_of(sql: str) -> frozenset[str]:
    """All words of a text, in lower case."""
    return frozenset(_ANY_NAME.findall(sql.lower()))


def as_text(text: object, what: str) -> str:
    """The text as an exact str, because a subclass could override its methods.

    Args:
        text: the caller's argument.
        what: its name in the error.

    Raises:
        TypeError: it is not a str.
    """
    if isinstance(text, str):
        return exact_str(text)
    raise TypeError(f"{what} must be a str, not {type(text).__name__}")


def check_sql(text: object) -> str:
    """The SQL text; refused if no message can carry it, before anything of its operation is sent.

    Raises:
        TypeError: it is not a str.
        LocalProtocolError: it contains a NUL or a lone surrogate, is longer than 1 GiB, or sets a
            client_encoding other than UTF8.
    """
    sql = as_text(text, "the SQL text")
    problem = "it contains a NUL character" if "\0" in sql else ""
    try:
        size = len(sql) if sql.isascii() else len(sql.encode())
    except UnicodeEncodeError:
        size = 0
        problem = "it contains a lone surrogate"
    if size > _MAX_SQL:
        problem = f"it has {size} bytes"
    if problem:
        raise not_sent(f"the SQL text cannot be sent: {problem}")
    if sets_encoding(sql):
        raise not_sent("pgproto speaks UTF8: do not SET another client_encoding", sql)
    return sql


def sets_encoding(sql: str) -> bool:
    """True if this text sets a client_encoding other than UTF8, as far as it can be read.

    The server's report comes only with ReadyForQuery, after rows in the other encoding.
    """
    lower = sql.lower()
    if "client_encoding" not in lower and "names" not in lower:
        return False
    for to, value in _SET_ENCODING.findall(_bare(sql, standard=True, words=True) or ""):
        encoding: str = (to or value).strip()
        if encoding and encoding.lower() != "default" and not is_utf8(encoding):
            return True
    return False


def first_words(sql: str) -> tuple[str, str]:
    """The statement's first two words in lower case; "" for a missing one."""
    first = _WORD.match(sql, _skip(sql, 0))
    if first is None:
        return "", ""
    start = _skip(sql, first.end())
    second = _WORD.match(sql, start) if start > first.end() else None
    return first.group().lower(), second.group().lower() if second is not None else ""


def is_plain(sql: str) -> bool:
    """True if the statement certainly neither ends a transaction nor commits on its own."""
    first, second = first_words(sql)
    if not first:
        return not sql.strip()
    return first not in _NOT_PLAIN and f"{first} {second}" not in _NOT_PLAIN_PAIRS


def may_commit(sql: str) -> bool:
    """True if the statement calls a procedure, which may commit while it runs, if outside of a block."""
    start = _skip(sql, 0)
    while sql.startswith(";", start):
        start = _skip(sql, start + 1)
    word = _WORD.match(sql, start)
    return word is not None and word.group().lower() in _CALLING


def control_words(sql: str) -> list[str]:
    """The words of a statement for transaction control; [] if they cannot be read with certainty.

    Unquoted words and names are in lower case, quoted names without their quotes: "S" and s differ, "s" and S
    do not.  A name that the server would truncate (63 bytes), fold by its locale or unescape (U&"s") is not
    certain.
    """
    words: list[str] = []
    at = _skip(sql, 0)
    while at < len(sql):
        if sql[at] == ";":
            at = _skip(sql, at + 1)
            continue
        word = _CONTROL_WORD.match(sql, at)
        if word is None or len(words) == _MAX_WORDS:
            return []
        text = word.group()
        text = text[1:-1].replace('""', '"') if text[0] == '"' else text.lower()
        if len(text.encode()) > _MAX_NAME:
            return []
        words.append(text)
        at = _skip(sql, word.end())
    return words


def ends_transaction(sql: str, tags: list[str], *, escapes: bool = False) -> bool:
    """True if statements with these command tags have ended a transaction; true in doubt.

    Args:
        sql: their text: ROLLBACK TO SAVEPOINT has the tag of ROLLBACK, but does not end a transaction.
        tags: the command tags of the first statements, in order.
        escapes: True if backslashes escape in plain strings (`standard_conforming_strings` is off).
    """
    if "COMMIT" in tags or "PREPARE TRANSACTION" in tags:
        return True
    if "ROLLBACK" not in tags:
        return False
    bare = _bare(sql, standard=not escapes)
    statements = [] if bare is None else _split(bare)
    for index, tag in enumerate(tags):
        if tag == "ROLLBACK" and (index >= len(statements) or not _TO_SAVEPOINT.match(statements[index])):
            return True
    return False


def statements_in(sql: str) -> list[str]:
    """The statements of a text without comments and strings; empty ones do not count.

    `standard_conforming_strings` must be on.
    """
    bare = _bare(sql, standard=True)
    return [] if bare is None else _split(bare)


def to_savepoint(sql: str, index: int) -> bool:
    """True if the ROLLBACK at this index of the text is one to a savepoint; true in doubt."""
    bare = _bare(sql)
    statements = [] if bare is None else _split(bare)
    return index >= len(statements) or _TO_SAVEPOINT.match(statements[index]) is not None


def copies_in(sql: str) -> bool:
    """True if a statement of this text is COPY FROM STDIN, as far as the text can be read."""
    if _STDIN.search(sql) is None:
        return False
    bare = _bare(sql, standard=True)
    return bare is not None and any(_COPY_FROM.match(statement) for statement in _split(bare))


def check_no_copy_in(sql: str) -> None:
    """Refuse COPY FROM STDIN where there are no data for it.

    The server would read the next messages as COPY data, perhaps statements of other callers.

    Raises:
        LocalProtocolError: the text contains a COPY FROM STDIN, as far as it can be read.
    """
    if copies_in(sql):
        raise not_sent(NO_DATA, sql)


def describes_late(sql: str) -> bool:
    """True if the columns are known only when the statement runs: FETCH of a cursor, EXECUTE of a name."""
    return first_words(sql)[0] in _LATE


def leaves_no_trace(sql: str) -> bool:
    """True if the statement does not change the session's state, so that no reset is needed after it.

    A view, a trigger, an operator, a cast or a default can hide a function that does change it, and a view
    can hide `pg_settings`; with such ones, let the pool reset always.
    """
    first = first_words(sql)[0]
    if first not in _TRACELESS:
        return not first and _skip(sql, 0) == len(sql)  # only comments: a ping
    bare = _bare(sql)
    if bare is None or "pg_temp" in bare.lower():
        return False
    return all(_is_traceless(part) for part in bare.split(";") if part.strip())


def _is_traceless(bare: str) -> bool:
    """The answer for one statement of a bare text."""
    first = first_words(bare)[0]
    if first not in _TRACELESS:
        return False
    bare = _TARGET.sub("insert", bare)
    if first == "copy":
        bare = _COPY_TARGET.sub("copy", bare)
    if _STATEFUL.search(bare):
        return False
    return all(name.isascii() and name.lower() in _HARMLESS_CALLS for name in _CALL.findall(bare))


def _skip(sql: str, start: int) -> int:
    """Where the white space and the comments that begin here end."""
    while True:
        blanks = _BLANKS.match(sql, start)
        assert blanks is not None  # the pattern also matches the empty string
        start = blanks.end()
        if not sql.startswith("/*", start):
            return start
        start = _comment_end(sql, start)


def _comment_end(sql: str, start: int) -> int:
    """The end of the block comment that begins here (they nest); the end of the text if it is not closed."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge.group() == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)


def _split(bare: str) -> list[str]:
    """The statements of a bare text, without empty ones."""
    statements: list[str] = []
    start = parentheses = bodies = 0
    for found in _STRUCTURE.finditer(bare):
        mark = found.group()
        if mark == ";":
            if parentheses <= 0 and not bodies:
                statements.append(bare[start : found.start()])
                start = found.end()
        elif mark == "(":
            parentheses += 1
        elif mark == ")":
            parentheses -= 1
        elif mark[0] in "bB":
            bodies = 1  # a function body: BEGIN ATOMIC ...; END
        elif bodies:
            bodies += 1 if mark[0] in "cC" else -1
    statements.append(bare[start:])
    return [statement for statement in statements if statement.strip()]


def _bare(sql: str, *, standard: bool = False, words: bool = False) -> str | None:
    """The text with a space for each comment and '' for each string; None if that is not certain.

    Quoted identifiers are kept, unless they contain more than characters of names.

    Args:
        sql: the text.
        standard: True if a backslash in a plain string is an ordinary character.  If False, a backslash makes
            the result uncertain, because `standard_conforming_strings` decides whether it escapes a quote.
        words: True to keep strings that consist of words.
    """
    plain = _STANDARD if standard else _STRING
    parts: list[str] = []
    done = 0
    while (special := _SPECIAL.search(sql, done)) is not None:
        start = special.start()
        what = special.group()
        parts.append(sql[done:start])
        if what == "--":
            found = _LINE.match(sql, start)
            parts.append(" ")
        elif what == "/*":
            parts.append(" ")
            done = _comment_end(sql, start)
            continue
        elif what == '"':
            found = _QUOTED.match(sql, start)
            name = _NAME_IN_QUOTES.match(sql, start)
            parts.append('"?"' if name is None else name.group())
        elif what == "'":
            escapes = start > 0 and sql[start - 1] in "eE" and _IN_NAME.match(sql, start - 1) is None
            found = (_ESCAPED if escapes else plain).match(sql, start)
            parts.append(found.group() if words and found and _WORDS.fullmatch(found.group()) else "''")
        elif _IN_NAME.match(sql, start) is not None or (tag := _TAG.match(sql, start)) is None:
            parts.append("$")  # part of a parameter or a name
            done = start + 1
            continue
        else:
            end = sql.find(tag.group(), tag.end())
            if end < 0:
                return None
            inside = f"'{sql[tag.end() : end]}'"
            parts.append(inside if words and _WORDS.fullmatch(inside) else "''")
            done = end + len(tag.group())
            continue
        if found is None:
            return None
        done = found.end()
    parts.append(sql[done:])
    return "".join(parts)


def unlistened(sql: str) -> list[str]:
    """The channels of the UNLISTENs in this text; "*" for all of them, or in doubt."""
    names = []
    for quoted, plain in _UNLISTEN.findall(sql):
        names.append(quoted[1:-1].replace('""', '"') if quoted else plain.lower())
    return names or ["*"]
