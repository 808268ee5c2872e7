"""docs/types.md says what happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer
from tests.types.rows import FROM_SQL, SCHEMA
from tests.types.table import DOCUMENT, PEERS, cells, given, parsed, played, version


@pytest.fixture(scope="module")
def documented(pg18: PostgresServer) -> Iterator[str]:
    with pg18.database() as name:
        pg18.query(SCHEMA, dbname=name)
        yield pg18.dsn(dbname=name, options="-c search_path=doc,public")


def test_the_document_says_what_happens(documented: str) -> None:
    """The columns of the peers are compared where the version is installed that the document names."""
    text = DOCUMENT.read_text()
    head, rows = parsed(text)
    assert len(rows) == len(given()) + len(FROM_SQL) > 380
    assert SCHEMA.split("\n", 3)[3] in text
    ours = played("pgproto", documented)
    drivers = [peer for peer in PEERS if f"{peer} {version(peer)}" in head]
    theirs = {peer: played(peer, documented) for peer in drivers}
    wrong = []
    for row, key in zip(rows, [*given(), *(("", sql) for sql in FROM_SQL)], strict=True):
        made = cells(key, ours[key], {peer: theirs[peer][key] for peer in drivers})
        kept = row[: len(row) - len(PEERS)] + [
            row[head.index(f"{each} {version(each)}") - len(head)] for each in drivers
        ]
        if made != kept:
            wrong.append(f"{' | '.join(kept)}\n    is now\n{' | '.join(made)}")
    assert wrong == [], "python -m tests.types --table writes the tables anew"
