"""Planted bugs: what one borrower leaves to the next one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pgproto.client.jobs import Jobs
from pgproto.pool import resetting
from pgproto.session import sql
from pgproto.session.channel import Channel
from pgproto.session.listening import Listeners
from pgproto.session.script import Reset
from pgproto.session.segment import Segment

from .planted_edit import Bug, Edit, Value, Wrap, returns

__all__ = ["BUGS"]

_HIDDEN: Final = re.compile(r"(?:/\*.*?\*/|--.*)\s*\(")  # a comment, and the parenthesis of a call after it


def _or_is_copy(leaves_none: Callable[[str], bool], sql: str) -> bool:
    return leaves_none(sql) or sql.startswith("copy")


def _or_is_select_into(leaves_none: Callable[[str], bool], sql: str) -> bool:
    return leaves_none(sql) or (sql.startswith("select ") and " into pg_temp." in sql)


def _where_no_comment_hides_it(leaves_none: Callable[[str], bool], sql: str) -> bool:
    return leaves_none(_HIDDEN.sub("", sql))


def _as_new(done: Callable[..., None], self: Reset, channel: Channel, segment: Segment) -> None:
    channel.forget_traces()
    done(self, channel, segment)


BUGS: Final = (
    Bug(
        "copy-leaves-no-trace",
        "pgproto 0.1: a session is not reset after COPY, whose query called a function that takes a lock",
        [Wrap(sql, "leaves_no_trace", _or_is_copy)],
        kinds="dirty",
        says="advisory lock",
        profile="pool",
    ),
    Bug(
        "comment-hides-a-call",
        "pgproto 0.1: a comment between a function and its parenthesis hides that it is called",
        [Wrap(sql, "leaves_no_trace", _where_no_comment_hides_it)],
        kinds="dirty",
        says="advisory lock",
        profile="pool",
    ),
    Bug(
        "select-into-is-a-select",
        "pgproto 0.1: SELECT INTO pg_temp makes a table that the next borrower's queries find",
        [Wrap(sql, "leaves_no_trace", _or_is_select_into)],
        kinds="dirty",
        says="temporary table",
        profile="pool",
    ),
    Bug(
        "on-connect-once",
        "pgproto 0.1: a reset wipes what on_connect has set up, and nobody sets it up again",
        [Edit(Jobs, "_reset", ("await self._set_up(conn, seconds)", "conn.forget_traces()"))],
        kinds="set-up",
        profile="pool",
    ),
    Bug(
        "own-reset-is-a-reset",
        "pgproto 0.1: after a reset of the borrower's own, of some settings, the session counts as new",
        [Wrap(Reset, "segment_done", _as_new)],
        kinds="dirty set-up",
        profile="pool",
    ),
    Bug(
        "listeners-outlive-the-lease",
        "pgproto 0.1: the next borrower's listen() sends nothing, and hears nothing",
        [Wrap(Listeners, "end_lease", returns(None)), Wrap(Listeners, "unlistened", returns(None))],
        kinds="dirty",
        says="listener",
        profile="pool",
    ),
    Bug(
        "reset-forgets-the-role",
        "RESET ALL leaves the role alone, and so does a script that has nothing else for it",
        [
            Value(
                resetting,
                "KEEP_STATEMENTS",
                resetting.KEEP_STATEMENTS.replace("SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; ", ""),
            )
        ],
        kinds="dirty",
        says="role",
        profile="pool",
    ),
    Bug(
        "reset-forgets-the-locks",
        "a script that resets all but the advisory locks",
        [
            Value(
                resetting,
                "KEEP_STATEMENTS",
                resetting.KEEP_STATEMENTS.replace("; SELECT pg_catalog.pg_advisory_unlock_all()", ""),
            )
        ],
        kinds="dirty",
        says="advisory lock",
        profile="pool",
    ),
)
