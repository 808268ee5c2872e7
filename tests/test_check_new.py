"""The checks of a new session before a pool lends it."""

from __future__ import annotations

import pytest

from pgproto import ConnectionClosed, LocalProtocolError
from pgproto.pool import is_permanent
from pgproto.session import check_left, check_new
from pgproto.wire import NoticeResponse
from tests.support.backend import FATAL, error_fields
from tests.support.pair import Pair
from tests.support.queries import SCRIPT, query


def refused(pair: Pair, hook: str = "") -> Exception:
    with pytest.raises((ConnectionClosed, LocalProtocolError)) as caught:
        check_new(pair.engine, hook)
    return caught.value


def busy() -> Pair:
    pair = Pair(SCRIPT)
    pair.backend.silent = True
    pair.engine.submit(query("select 1"))
    pair.pump()
    return pair


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


def test_one_that_ended_in_the_hook_is_the_servers_doing_too() -> None:
    pair = Pair(SCRIPT)
    pair.deliver(FATAL)
    pair.eof()
    problem = refused(pair, "on_connect")
    assert isinstance(problem, ConnectionClosed)
    assert str(problem).startswith("the session ended in on_connect: ")
    assert problem.__cause__ is pair.engine.cause
    assert not is_permanent(problem)


def test_one_that_the_hook_closed() -> None:
    pair = Pair(SCRIPT)
    pair.engine.close()
    problem = refused(pair, "on_connect")
    assert str(problem) == "on_connect closed the connection"
    assert is_permanent(problem)


def test_one_that_was_left_busy_is_the_hooks_doing() -> None:
    problem = refused(busy(), "on_connect")
    assert str(problem).startswith("on_connect left the connection busy")
    assert is_permanent(problem)


def test_what_any_hook_has_left() -> None:
    with pytest.raises(LocalProtocolError, match="on_release left"):
        check_left(busy().engine, "on_release")
    check_left(Pair(SCRIPT).engine, "on_release")
    ended = Pair(SCRIPT)
    ended.engine.close()
    check_left(ended.engine, "on_release")
    retiring = Pair(SCRIPT)
    retiring.engine.retiring = True
    check_left(retiring.engine, "on_release")


def test_a_notice_does_no_harm() -> None:
    pair = Pair(SCRIPT)
    pair.deliver(NoticeResponse(error_fields("00000", "hello", "NOTICE")).encode())
    check_new(pair.engine)
