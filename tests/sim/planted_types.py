"""Planted bugs: what can go wrong when several sessions look up the same types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgproto.session.lookup import Resolver
from pgproto.session.statements import StatementCache
from pgproto.types import TypeMap

from .planted_edit import Bug, Wrap, returns

__all__ = ["BUGS"]


def _as_they_are(settle: Callable[[StatementCache], None], self: StatementCache) -> None:
    self.unresolved.clear()


def _and_never_look_again(ask: Callable[[Resolver], list[int]], self: Resolver) -> list[int]:
    statements = self._turns.channel.statements
    unknown = statements.unknown()
    mine = statements.types.claim(unknown, statements.mark)
    return mine if mine or not unknown else []


def _until_it_is_told(ask: Callable[[Resolver], list[int]], self: Resolver) -> list[int]:
    statements = self._turns.channel.statements
    unknown = statements.unknown()
    mine = statements.types.claim(unknown, statements.mark)
    if unknown and not mine:
        self._alarm.set(self._clock() + 0.01)
        return []
    return ask(self)


BUGS: Final = (
    Bug(
        "types-are-learned-too-late",
        "asyncpg #413 and others: a statement that was described before its types are known keeps its text",
        [Wrap(StatementCache, "settle", _as_they_are)],
        kinds="rows",
        profile="types",
    ),
    Bug(
        "look-up-waits-for-its-turn",
        "single flight without a wake-up: who waits for another session's look-up is never told",
        [Wrap(Resolver, "_oids", _and_never_look_again)],
        kinds="hang late",
        profile="types",
    ),
    Bug(
        "look-up-is-never-over",
        "single flight without an end: whoever has asked asks for ever, also when it is gone",
        [Wrap(Resolver, "_oids", _until_it_is_told), Wrap(TypeMap, "release", returns(None))],
        kinds="hang late",
        profile="types",
    ),
)
