"""What the pools ask of a session before they lend it for the first time."""

from __future__ import annotations

import pytest

from pgproto import ConnectionClosed, LocalProtocolError
from pgproto.pool import is_permanent
from pgproto.session import check_new
from pgproto.wire import NoticeResponse
from tests.support.backend import FATAL, error_fields
from tests.support.pair import Pair
from tests.support.queries import SCRIPT, query


def refused(pair: Pair) -> Exception:
    with pytest.raises((ConnectionClosed, LocalProtocolError)) as caught:
        check_new(pair.engine)
    return caught.value


def test_a_session_as_it_should_be() -> None:
    check_new(Pair(SCRIPT).engine)


def test_one_that_has_ended_is_the_servers_doing() -> None:
    pair = Pair(SCRIPT)
    pair.deliver(FATAL)
    pair.eof()
    problem = refused(pair)
    assert isinstance(problem, ConnectionClosed)
    assert not is_permanent(problem)


def test_one_that_is_about_to_end_too() -> None:
    pair = Pair(SCRIPT)
    pair.engine.retiring = True
    assert isinstance(refused(pair), ConnectionClosed)


def test_one_that_was_left_busy_is_the_hooks_doing() -> None:
    pair = Pair(SCRIPT)
    pair.backend.silent = True
    pair.engine.submit(query("select 1"))
    pair.pump()
    assert is_permanent(refused(pair))


def test_a_notice_does_no_harm() -> None:
    pair = Pair(SCRIPT)
    pair.deliver(NoticeResponse(error_fields("00000", "hello", "NOTICE")).encode())
    check_new(pair.engine)
