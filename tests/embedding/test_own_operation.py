"""A driver's own operation, in a session whose encoding is not UTF-8."""

from __future__ import annotations

import pytest

from pgproto import ConnectionLost, Outcome, PostgresError
from pgproto.session import Script
from tests.embedding.nonblocking import Session
from tests.embedding.own_operation import RawQuery
from tests.support.pair import Pair
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SJIS", "SQL_ASCII"])
def test_bytes_go_out_and_come_back(pg: PostgresServer, encoding: str) -> None:
    text = {"LATIN1": b"caf\xe9", "SJIS": b"\x95\x5c\x83\x5c"}.get(encoding, "café".encode())
    with Session(pg.dsn(), client_encoding=encoding) as session:
        query = RawQuery(b'select $1 as "' + text + b'", null', [text])
        after = Script("select 1")
        session.engine.submit(query)
        session.run(after)
        assert (query.finished, query.error) == (True, None)
        assert query.columns == [text, b"?column?"]
        assert query.rows == [[text, None]]
        assert query.tag == "SELECT 1"
        wrong = RawQuery(b'select "' + text + b'"')
        session.run(wrong)
        assert isinstance(wrong.error, PostgresError)
        assert wrong.error.outcome is Outcome.FAILED
        assert text in wrong.error.raw_fields["M"]
        assert wrong.error.query == wrong.text()


def test_it_is_told_of_the_end_like_any_other() -> None:
    for sent, outcome in ((False, Outcome.NOT_SENT), (True, Outcome.UNKNOWN)):
        pair = Pair()
        query = RawQuery(b"select")
        pair.engine.submit(query)
        if sent:
            pair.send()
        pair.engine.transport_failed(OSError("gone"))
        assert isinstance(query.error, ConnectionLost)
        assert query.error.outcome is outcome
