"""Planted bugs: what a pooler that follows prepared statements hides of a migration."""

from __future__ import annotations

from typing import Final

from pgproto.session.execution import Execution
from pgproto.session.preparing import Preparing
from pgproto.session.statements import StatementCache

from .planted_edit import Bug, Edit

__all__ = ["BUGS"]

BUGS: Final = (
    Bug(
        "named-is-not-described-again",
        "pgproto 0.1: a named statement is described once, but the next server may return something else",
        [
            Edit(
                Execution,
                "_write_next",
                ("if not (statement.name and channel.statements.direct):", "if not statement.name:"),
            )
        ],
        kinds="types surprise",
        profile="migrating",
    ),
    Bug(
        "types-are-not-declared",
        "pgproto 0.1: Parse leaves the parameters' types to the server, where they are others by now",
        [
            Edit(
                Preparing,
                "declare",
                (
                    "Parse(statement.name, statement.sql, statement.parameter_types)",
                    "Parse(statement.name, statement.sql)",
                ),
            )
        ],
        kinds="types",
        says="in the database",
        profile="migrating",
    ),
    Bug(
        "pooler-is-taken-for-the-server",
        "pgproto 0.1: who answers is not asked, so a pooler's copy of a statement passes for the server's",
        [
            Edit(
                StatementCache,
                "doubt",
                ("self.direct = False", "self.direct = True"),
                ("self.unasked = self.named", "self.unasked = False"),
            )
        ],
        kinds="types surprise",
        profile="migrating",
    ),
    Bug(
        "new-name-for-an-old-plan",
        "pgproto 0.1: after 0A000 the text gets a new name, which the pooler takes for the old plan",
        [Edit(StatementCache, "forget_all", ("self._nameless or not self.direct", "self._nameless"))],
        kinds="surprise",
        says="nobody should hear",
        profile="migrating",
        start=400,
    ),
    Bug(
        "types-learned-by-name",
        "pgproto 0.1: a statement's types are learned by a name, so from the plan that the pooler has",
        [
            Edit(
                Preparing,
                "go_on_preparing",
                ('name = statement.name if channel.statements.direct else ""', "name = statement.name"),
            )
        ],
        kinds="types surprise",
        profile="migrating",
    ),
)
