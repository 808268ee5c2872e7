"""Random values of every type: they come back unchanged, locally and from the server, which agrees with them.

The server agrees if what was sent in binary has the same text as what its own input makes of a text that
was written without the library (`generate`), and of the text that the library writes.  What the library
reads of the server's text is the value again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pgproto_blocking
from pgproto.sqlstates import FeatureNotSupported
from pgproto.types import BUILT_IN, Codec, TypeMap
from pgproto.types.catalog import LOOK_UP
from tests.types.generate import Made, Maker
from tests.types.values import CATALOG, SCHEMA, Catalog, Type, same

__all__ = ["Report", "agree", "known_types"]

_EACH = 40
"""The values of one statement."""
_SHOWN = 20


@dataclass
class Report:
    """What a run has seen.

    Attributes:
        values: how many values were compared.
        types: of how many types.
        wrong: what did not agree.
    """

    values: int = 0
    types: int = 0
    wrong: list[str] = field(default_factory=list)


def known_types(conn: Any) -> tuple[Catalog, TypeMap]:
    """A server's types, with the types of `SCHEMA`, and their codecs."""
    conn.script(SCHEMA)
    try:
        conn.fetch("select '<a/>'::xml")
        without = []
    except FeatureNotSupported:  # built without libxml
        without = ["xml"]
    catalog = Catalog(conn.fetch(CATALOG), without)
    types = TypeMap(BUILT_IN)
    types.learn(conn.fetch(LOOK_UP, [oid for oid in catalog.types if types.known(oid) is None]))
    return catalog, types


def agree(dsn: str, values: int, seed: int) -> Report:
    """Make values of all types in turn, and compare them.

    Args:
        dsn: of a database, in which the schema of `SCHEMA` is made.
        values: how many, at least.
        seed: the same one makes the same values.
    """
    report = Report()
    with pgproto_blocking.connect(dsn) as conn:
        catalog, types = known_types(conn)
        maker = Maker(catalog, seed)
        rows = maker.types()
        report.types = len(rows)
        while report.values < values and len(report.wrong) < _SHOWN:
            for row in rows:
                codec = types.codec(row.oid)
                made = [maker.make(row.oid) for _ in range(_EACH)]
                report.values += len(made)
                report.wrong += _locally(codec, made)
                report.wrong += _on_the_server(conn, row, codec, made)
    return report


def _locally(codec: Codec, made: list[Made]) -> list[str]:
    wrong = []
    for value, _ in made:
        data, text = codec.encode(value), codec.encode_text(value)
        back = codec.decode(b"\xff" + data + b"\xff", 1, 1 + len(data))
        of_text = codec.decode_text(text)
        if not (same(back, value) and same(of_text, value)):
            wrong.append(
                f"{codec.name}: {value!r:.300} is {data.hex():.300} and {text!r:.300}, "
                f"and these are {back!r:.300} and {of_text!r:.300}"
            )
    return wrong


def _on_the_server(conn: Any, row: Type, codec: Codec, made: list[Made]) -> list[str]:
    parameters: list[object] = []
    columns: list[str] = []
    for value, text in made:
        at = len(parameters)
        sent = f"(${at + 1}::{row.name})"
        parameters += [value, text, codec.encode_text(value)]
        columns += [sent, f"{sent}::text", *[f"(${at + n}::text::{row.name})::text" for n in (2, 3)]]
    try:
        result = iter(conn.fetch(f"select {', '.join(columns)}", *parameters)[0])
    except Exception as error:
        return [f"{row.name}: {error!r:.1000}, one of {[text for _, text in made]!r:.2000}"]
    wrong = []
    for value, text in made:
        back, stored, of_made, of_written = itertools.islice(result, 4)
        if not stored == of_made == of_written:
            seen = (
                f"{stored!r:.300}; of {text!r:.300} {of_made!r:.300}; of what was written {of_written!r:.300}"
            )
            wrong.append(f"{row.name}: {value!r:.300} is {seen}")
        elif not (same(back, value) and same(codec.decode_text(stored), value)):
            wrong.append(
                f"{row.name}: {value!r:.300} came back as {back!r:.300}, and as text {stored!r:.300}"
            )
    return wrong
