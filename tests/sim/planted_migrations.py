"""Planted bugs: what a pooler that follows prepared statements hides of a migration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgproto.session.channel import Channel
from pgproto.session.preparing import Preparing
from pgproto.session.statements import Statement, StatementCache
from pgproto.wire import FieldDescription

from .planted_edit import Bug, Wrap, returns

__all__ = ["BUGS"]


def _as_ever_if_named(
    are_known: Callable[..., bool], self: Statement, fields: tuple[FieldDescription, ...]
) -> bool:
    return bool(self.name) or are_known(self, fields)


def _without_types(
    declare: Callable[..., None], self: Preparing, channel: Channel, statement: Statement
) -> None:
    types, statement.parameter_types = statement.parameter_types, ()
    declare(self, channel, statement)
    statement.parameter_types = types


def _and_go_on_with_names(forget_all: Callable[[StatementCache], None], self: StatementCache) -> None:
    direct, self.direct = self.direct, True
    forget_all(self)
    self.direct = direct


def _by_name(go_on: Callable[..., None], self: Preparing, channel: Channel) -> None:
    statements = channel.statements
    direct, statements.direct = statements.direct, True
    go_on(self, channel)
    statements.direct = direct


BUGS: Final = (
    Bug(
        "named-is-not-described-again",
        "pgproto 0.1: a named statement is described once, but the next server may return something else",
        [Wrap(Statement, "returns", _as_ever_if_named)],
        kinds="types surprise",
        profile="migrating",
    ),
    Bug(
        "types-are-not-declared",
        "pgproto 0.1: Parse leaves the parameters' types to the server, where they are others by now",
        [Wrap(Preparing, "declare", _without_types)],
        kinds="types",
        says="in the database",
        profile="migrating",
    ),
    Bug(
        "pooler-is-taken-for-the-server",
        "pgproto 0.1: who answers is not asked, so a pooler's copy of a statement passes for the server's",
        [Wrap(StatementCache, "doubt", returns(None))],
        kinds="types surprise",
        profile="migrating",
    ),
    Bug(
        "new-name-for-an-old-plan",
        "pgproto 0.1: after 0A000 the text gets a new name, which the pooler takes for the old plan",
        [Wrap(StatementCache, "forget_all", _and_go_on_with_names)],
        kinds="surprise",
        says="nobody should hear",
        profile="migrating",
    ),
    Bug(
        "types-learned-by-name",
        "pgproto 0.1: a statement's types are learned by a name, so from the plan that the pooler has",
        [Wrap(Preparing, "go_on_preparing", _by_name)],
        kinds="types surprise",
        profile="migrating",
    ),
)
