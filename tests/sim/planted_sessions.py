"""Planted bugs: what one borrower leaves to the next one."""

from __future__ import annotations

from typing import Final

from pgproto.client.driver import Driver
from pgproto.pool import resetting
from pgproto.session import simple, sql
from pgproto.session.listening import Listeners
from pgproto.session.script import Reset

from .planted_edit import Bug, Edit, Value

__all__ = ["BUGS"]

BUGS: Final = (
    Bug(
        "copy-leaves-no-trace",
        "pgproto 0.1: a session is not reset after COPY, whose query called a function that takes a lock",
        [
            Edit(
                simple.SimpleQuery,
                "send",
                (
                    "not leaves_no_trace(self.sql)",
                    'not (leaves_no_trace(self.sql) or self.sql.startswith("copy"))',
                ),
            )
        ],
        kinds="dirty",
        says="advisory lock",
        profile="pool",
        start=448,
    ),
    Bug(
        "comment-hides-a-call",
        "pgproto 0.1: a comment between a function and its parenthesis hides that it is called",
        [Edit(sql, "leaves_no_trace", ("bare = _bare(sql)", "bare = sql"))],
        kinds="dirty",
        says="advisory lock",
        profile="pool",
    ),
    Bug(
        "select-into-is-a-select",
        "pgproto 0.1: SELECT INTO pg_temp makes a table that the next borrower's queries find",
        [
            Edit(sql, "leaves_no_trace", ('bare is None or "pg_temp" in bare.lower()', "bare is None")),
            Edit(sql, "_is_traceless", ("_STATEFUL.search(bare)", "False")),
        ],
        kinds="dirty",
        says="temporary table",
        profile="pool",
    ),
    Bug(
        "on-connect-once",
        "pgproto 0.1: a reset wipes what on_connect has set up, and nobody sets it up again",
        [Edit(Driver, "_set_up_again", ("await self._set_up(conn, seconds)", "conn.forget_traces()"))],
        kinds="set-up",
        profile="pool",
    ),
    Bug(
        "own-reset-is-a-reset",
        "pgproto 0.1: after a reset of the borrower's own, of some settings, the session counts as new",
        [
            Edit(
                Reset,
                "segment_done",
                (
                    "super().segment_done(channel, segment)",
                    "channel.forget_traces()\nsuper().segment_done(channel, segment)",
                ),
            )
        ],
        kinds="dirty set-up",
        profile="pool",
    ),
    Bug(
        "listeners-outlive-the-lease",
        "pgproto 0.1: the next borrower's listen() sends nothing, and hears nothing",
        [
            Edit(Listeners, "end_lease", ("each.owner is owner", "False")),
            Edit(Listeners, "unlistened", ("each.heard", "False")),
        ],
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
        start=513,
    ),
)
