"""The checks: is what happened what was promised (invariants I1-I13 of the catalogue of faults)?

Some look while the schedule runs (a connection that is lent, a server session that begins), the others when
all is over and quiet.  Each reports through `World.violation` with a kind of its own.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from pgproto import ConnectionLost, Error, Outcome

from .causes import Ending
from .harness import CANARY
from .migrations import is_same
from .oracle import SAFE, Oracle

if TYPE_CHECKING:
    from .clients import Clients
    from .database import Database
    from .network import Link, Network
    from .record import Asked, Record
    from .world import World

__all__ = ["Checks"]

_GOOD: Final = frozenset({Outcome.COMMITTED, Outcome.OK_IN_TX})
# Hooks and callbacks of the schedule raise on purpose; the adapter reports it here, and goes on.
_CONTAINED: Final = (
    "on_notice raised",
    "on_lost raised",
    "on_connect raised",
    "on_release raised",
    "on_close raised",
)


class Checks:
    """The checks of one schedule."""

    def __init__(self, world: World, network: Network, record: Record, server: Any) -> None:
        self.world = world
        self.network = network
        self.record = record
        self.server = server
        self.set_up: list[str] = []
        """What `on_connect` leaves in every session of the pool."""
        self.contained: list[BaseException | None] = []
        """What callbacks have raised, as the loop's exception handler was told."""

    # ---- While it runs

    def told(self, context: dict[str, Any]) -> None:
        """What the loop's exception handler is told: nothing but contained errors of callbacks."""
        error = context.get("exception")
        if context.get("message") in _CONTAINED:
            self.contained.append(error)
            return
        where = ""
        if error is not None:
            where = "".join(traceback.format_exception(error)[-6:])
        self.world.violation(f"the loop was told: {context.get('message')} {error!r}\n{where}", "error")

    def lent(self, link: Link, conn: Any) -> None:
        """I6: a connection that is lent is as new: what `on_connect` set up is in it, and nothing else."""
        if conn.listeners.everyone():
            self.world.violation(f"link {link.number} was lent with another one's listener", "dirty")
        receiver = link.far.receiver
        traces = getattr(receiver, "traces", None)
        near = link.near
        if traces is None or near is None or link.far.closed or near.lost:
            return
        if link.up.size or near.get_write_buffer_size():
            return  # the server has not got all yet: that is seen below
        found = [trace for trace in traces() if not trace.startswith("unanswered")]
        if link.down.size or near.inbox:
            return
        if link.lied:
            return
        missing = [each for each in self.set_up if each not in found]
        if missing:
            self.world.violation(f"link {link.number} was lent without {', '.join(missing)}", "set-up")
        found = [each for each in found if each not in self.set_up]
        if found:
            self.world.violation(f"link {link.number} was lent with {', '.join(found)}", "dirty")

    def connections(self, limit: int) -> None:
        """I10: no more sessions than the pool may have, those that are closing counted."""
        alive = 0
        for link in self.network.links:
            near = link.near
            if link.pooled and link.session and near is not None and not near.lost:
                alive += 1
        if alive > limit:
            self.world.violation(f"{alive} connections of a pool of {limit}", "size")

    def quiet(self) -> None:
        """No statement runs on whose caller has been gone for longer than the library's grace."""
        for session in self.server.sessions.values():
            if getattr(session, "busy", False):
                self.world.violation("a statement runs that nobody waits for", "late")

    # ---- When all is over

    def tasks(self, allowed: set[Any]) -> None:
        """I9: no task is left, none has ended with an exception that nobody saw."""
        for task in self.world.loop.tasks:
            if task in allowed:
                continue
            if not task.done():
                self.world.violation(f"a task is left: {task.get_coro()!r}", "leak")
            elif not task.cancelled() and getattr(task, "_log_traceback", False):
                self.world.violation(f"nobody saw {task.exception()!r} of {task.get_coro()!r}", "error")

    def links(self) -> None:
        """I9: no socket is left, no timer of the library's, and no session at the server."""
        for link in self.network.links:
            if link.near is not None and not link.near.gone:
                self.world.violation(f"link {link.number} is still open", "leak")
            receiver = link.far.receiver
            complaint = getattr(receiver, "complaint", None)
            if complaint and not link.lied:
                self.world.violation(f"link {link.number}: the server complains: {complaint}", "protocol")
        for timer in self.world.loop.timers():
            callback = timer._callback  # type: ignore[attr-defined]
            module = getattr(getattr(callback, "__self__", callback), "__module__", "") or ""
            if module.startswith("pgproto"):
                self.world.violation(f"a timer is left: {callback!r}", "leak")
        sessions = getattr(self.server, "sessions", None)
        if sessions:
            left = [session for session in sessions if not getattr(session, "dead", False)]
            if left:
                self.world.violation(f"{len(left)} sessions are left at the server", "leak")

    def labels(self, clients: Clients, truth: Any) -> None:
        """I2, I3: one label each; permitted by the bytes; borne out by the database."""
        for _, entries in clients.batches:
            for asked in entries:
                item = asked.item
                if item.outcome is None:
                    self.world.violation(f"batch item {asked.key} ended without a label", "label")
                    continue
                asked.label = item.outcome
                asked.error = item.error
        permitted: dict[int | str, frozenset[Outcome]] = {}
        lied: set[int | str] = set()
        bound: dict[int | str, int] = {}
        endings: dict[int | str, Ending] = {}
        for link in self.network.links:
            if link.near is None:
                continue
            oracle = Oracle(link.tap)
            for key, labels in oracle.permitted.items():
                permitted[key] = labels
                if link.lied:
                    lied.add(key)
            for key, count in oracle.counts.items():
                bound[key] = bound.get(key, 0) + count
            if not link.lied:
                endings.update(dict.fromkeys(oracle.permitted, Ending(link.tap.heard, hung_up=link.hung_up)))
        for asked in self.record.asked.values():
            if bound.get(asked.key, 0) > 1:
                self.world.violation(f"{asked.key} was sent {bound[asked.key]} times", "twice")
            self._label(asked, permitted.get(asked.key), asked.key in lied)
            if isinstance(asked.error, ConnectionLost) and asked.key in endings:
                complaint = endings[asked.key].complaint(asked.error)
                if complaint:
                    self.world.violation(f"{asked.key}: {complaint}", "cause")
            if isinstance(asked.key, int):
                self._truth(asked, asked.key in lied, truth)
            elif asked.parts and not self.record.lied:
                self._copied(asked, truth)
        self._blocks(clients, lied, truth)

    def _label(self, asked: Asked, labels: frozenset[Outcome] | None, lied: bool) -> None:
        label = asked.label
        error = asked.error
        if label is None:
            if isinstance(error, Error) and not asked.copy:
                self.world.violation(f"{asked.key} ended with {error!r}, which has no outcome", "label")
            return
        if asked.copy or lied:
            return
        if labels is None:
            # No Bind was handed over: it was not run.
            told = asked.item is None and isinstance(asked.key, str) and label == "done"
            if label in (Outcome.UNKNOWN, Outcome.COMMITTED, Outcome.OK_IN_TX, "done") and not told:
                self.world.violation(f"{asked.key} is {label}, but was never sent ({error!r})", "label")
            return
        if label == "done":
            if not labels & _GOOD:
                self.world.violation(f"{asked.key} returned, but is {_names(labels)}", "label")
        elif label not in labels and not self._lenient(asked, labels):
            self.world.violation(
                f"{asked.key} is {label}, but the bytes say {_names(labels)} ({error!r})", "label"
            )

    def _lenient(self, asked: Asked, labels: frozenset[Outcome]) -> bool:
        """A call that ended at its deadline was labelled then; answers that came later do not count.

        So it is with one that was cancelled: its error is of no class of its own.
        """
        from pgproto import QueryTimeout

        ended = isinstance(asked.error, QueryTimeout) or type(asked.error) is Error
        return ended and asked.label in (Outcome.UNKNOWN, Outcome.ROLLED_BACK)

    def _truth(self, asked: Asked, lied: bool, truth: Any) -> None:
        stored = asked.key in truth
        label = asked.label
        if lied:
            return
        if label is Outcome.COMMITTED and not stored:
            self.world.violation(f"{asked.key} is COMMITTED, but is not in the database", "truth")
        elif isinstance(label, Outcome) and (label in SAFE or label is Outcome.FAILED) and stored:
            self.world.violation(f"{asked.key} is {label}, but is in the database", "truth")

    def _copied(self, asked: Asked, truth: Any) -> None:
        stored = [key for key in asked.parts if key in truth]
        if stored and len(stored) < len(asked.parts):
            self.world.violation(f"half of {asked.key} is in the database: {stored}", "truth")
        label = asked.label
        if label == "done" and len(stored) < len(asked.parts):
            self.world.violation(f"{asked.key} succeeded, but stored nothing", "truth")
        if isinstance(label, Outcome) and (label in SAFE or label is Outcome.FAILED) and stored:
            self.world.violation(f"{asked.key} is {label}, but is in the database", "truth")

    def _blocks(self, clients: Clients, lied: set[int | str], truth: Any) -> None:
        for block in clients.blocks:
            if any(key in lied for key in block.keys):
                continue
            stored = [key for key in block.keys if key in truth]
            if stored and len(stored) < len(block.keys):
                self.world.violation(f"half of a transaction is in the database: {stored}", "truth")
            if block.verdict == "done" and len(stored) < len(block.keys):
                self.world.violation(
                    f"a transaction of {block.keys} was committed, but is not there", "truth"
                )
            if isinstance(block.verdict, Outcome) and block.verdict in SAFE and stored:
                self.world.violation(
                    f"a transaction is {block.verdict}, but is in the database: {stored}", "truth"
                )
        for logical, keys in clients.logical.items():
            stored = [key for key in keys if key in truth]
            if len(stored) > 1 and not any(key in lied for key in keys):
                self.world.violation(f"the work {logical} was done twice: {stored}", "twice")

    def amounts(self, database: Database) -> None:
        """Every value that is stored is the one that was passed."""
        passed = self.record.amounts
        for id in database.amounts.committed:
            if not self.record.lied and not is_same(database.amount[id], passed[id]):
                what = f"amount {id} is {database.amount[id]!r} in the database, not {passed[id]}"
                self.world.violation(what, "types")

    def storm(self, limit: int) -> None:
        """While nobody answers, connecting is tried at a pace: twice a second each, some at once."""
        refused = self.network.refused
        allowed = 4 * limit + 20
        for first, last in zip(refused, refused[allowed:], strict=False):
            if last - first < 1.0:
                self.world.violation(f"{allowed} attempts to connect within {last - first:.3f} s", "storm")
                return

    def secrets(self) -> None:
        """I12: the password is in no text."""
        for asked in self.record.asked.values():
            error = asked.error
            if error is not None and CANARY in f"{error!r}{error}":
                self.world.violation(f"the password is in {error!r}", "secret")


def _names(labels: frozenset[Outcome]) -> str:
    return "/".join(sorted(label.name for label in labels))
