"""The queries of a session of the model server: extended, simple, and what both do with a transaction.

Manual: "Extended Query", "Simple Query"; exec_parse_message and its neighbours in
src/backend/tcop/postgres.c, whose order of checks is kept.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import ClassVar, Final

from pgproto.wire import (
    Bind,
    BindComplete,
    Close,
    CloseComplete,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    EmptyQueryResponse,
    Execute,
    Flush,
    FunctionCall,
    Message,
    NoData,
    ParameterDescription,
    Parse,
    ParseComplete,
    PortalSuspended,
    Query,
    Sync,
)
from tests.sim import postgres_amounts as amounts
from tests.sim import postgres_execution as execution
from tests.sim import postgres_values as bind
from tests.sim.postgres_block import FAILED, NONE, Wait
from tests.sim.postgres_login import LOGIN, Login
from tests.sim.postgres_process import Handler, Task, fields
from tests.sim.postgres_rows import columns
from tests.sim.postgres_sql import EMPTY, Plan, SQLError, parse, split
from tests.sim.postgres_values import Portal, Prepared, description

__all__ = ["Session"]


_ABORTED: Final = "current transaction is aborted, commands ignored until end of transaction block"


class Session(Login):
    """A session, from its start to its end."""

    # ---- Extended queries

    def _parse(self, event: Parse) -> None:
        name = event.name
        if not name:
            self.statements.pop("", None)
        plans = split(event.query)
        if len(plans) > 1:
            raise SQLError("42601", "cannot insert multiple commands into a prepared statement")
        plan = parse(event.query) if plans else EMPTY
        self._check_block(plan)
        if plan.error:
            raise SQLError(plan.error)
        if name in self.statements:
            raise SQLError("42P05", f'prepared statement "{name}" already exists')
        amounts.touch(plan, self.block)
        types = amounts.parameter_types(self.database, plan, event.parameter_types)
        self.statements[name] = Prepared(plan, columns(self, plan), types)
        self.send(ParseComplete())

    def _check_block(self, plan: Plan) -> None:
        if self.block.state == FAILED and not plan.exits and plan is not EMPTY:
            raise SQLError("25P02", _ABORTED)

    def forget_statements(self) -> None:
        """DEALLOCATE ALL: those with a name."""
        self.statements = {name: prepared for name, prepared in self.statements.items() if not name}

    def _prepared(self, name: str) -> Prepared:
        prepared = self.statements.get(name)
        if prepared is None:
            what = f'prepared statement "{name}"' if name else "unnamed prepared statement"
            raise SQLError("26000", f"{what} does not exist")
        return prepared

    def _portal(self, name: str) -> Portal:
        portal = self.portals.get(name)
        if portal is None:
            raise SQLError("34000", f'portal "{name}" does not exist')
        return portal

    def revalidate(self, prepared: Prepared) -> None:
        """Raise if the columns are not those that the client was told, or its parameters do not fit."""
        amounts.check(self.database, prepared.plan, prepared.types)
        if (
            prepared.plan.kind in ("shape", "amount", "amounts")
            and columns(self, prepared.plan) != prepared.columns
        ):
            raise SQLError("0A000", "cached plan must not change result type", "RevalidateCachedQuery")

    def _bind(self, event: Bind) -> None:
        prepared = self._prepared(event.statement)
        plan = prepared.plan
        bind.check(prepared, event)
        if plan is EMPTY and self.block.state == FAILED:
            raise SQLError("25P02", _ABORTED)
        self._check_block(plan)
        if event.portal and event.portal in self.portals:
            raise SQLError("42P03", f'cursor "{event.portal}" already exists')
        self.portals[event.portal] = Portal(EMPTY, (), [], (), self.block.depth)
        amounts.touch(plan, self.block)
        values = bind.values(prepared, event)
        self.revalidate(prepared)
        if plan.folding:
            raise SQLError(plan.folding)
        found = columns(self, plan) if plan.kind == "fetch" else prepared.columns
        formats = bind.formats(found, event)
        self.portals[event.portal] = Portal(plan, found, values, formats, self.block.depth)
        self.database.arrived.update(execution.subjects(plan, values))
        self.send(BindComplete())

    def _describe(self, event: Describe) -> None:
        if event.kind == "S":
            prepared = self._prepared(event.name)
            if prepared.columns:
                self._check_block(prepared.plan)
            amounts.touch(prepared.plan, self.block)
            self.send(ParameterDescription(prepared.types))
            if prepared.columns:  # nobody looks at what returns no rows before it is bound
                self.revalidate(prepared)
            found = columns(self, prepared.plan)
            formats: tuple[int, ...] = (0,) * len(found)
        else:
            portal = self._portal(event.name)
            found, formats = portal.columns, portal.formats
            if found:
                self._check_block(portal.plan)
        self.send(description(found, formats) if found else NoData())

    def _close(self, event: Close) -> None:
        if event.kind == "S":
            self.statements.pop(event.name, None)
        else:
            self.portals.pop(event.name, None)
        self.send(CloseComplete())

    def _execute(self, event: Execute) -> Task | None:
        portal = self._portal(event.portal)
        plan = portal.plan
        if plan is EMPTY:
            self.send(EmptyQueryResponse())
            return None
        self._check_block(plan)
        if self.block.state == FAILED and portal.failed:
            raise SQLError("25P02", _ABORTED)
        if portal.done and not plan.columns and plan.kind != "fetch":
            raise SQLError("55000", f'portal "{event.portal}" cannot be run')
        return self._run_portal(event.portal, portal, event.max_rows)

    def _run_portal(self, name: str, portal: Portal, limit: int) -> Task:
        plan = portal.plan
        self.queries.append(plan.sql)
        tag = yield from execution.run(self, portal, limit)
        if not tag:
            self.block.pipelining = True
            self.send(PortalSuspended())
            return
        if plan.kind in execution.ALONE:
            yield from self.commit()
            if plan.kind == "vacuum":
                self.portals[name] = portal  # an active portal outlives the commits inside of its statement
        elif plan.kind not in execution.CONTROL:
            self.block.pipelining = True
        self.send(CommandComplete(tag))

    def _sync(self, event: Sync) -> Task | None:
        if self.block.state == NONE:
            return self._finish()
        self.ready()
        return None

    def _finish(self) -> Task:
        yield from self.commit()
        self.ready()

    def commit(self) -> Generator[Wait, None, None]:
        """Commit, and tell those who listen."""
        block = self.block
        ended = block.ended
        for wait in block.commit():
            yield from self._waiting_for_standby(wait)
        if block.ended != ended:
            self.end_portals(committed=True)
        for channel, payload in block.take_notifications():
            self.master.notify(self.pid, channel, payload)

    def _waiting_for_standby(self, wait: Wait) -> Generator[Wait, None, None]:
        try:
            yield wait
        except SQLError:
            report = fields(
                "01000", "canceling wait for synchronous replication due to user request", "WARNING"
            )
            self.notice({**report, "D": "The transaction has already committed locally."})

    def _flush(self, event: Flush) -> None:
        self.flush()

    # ---- Simple queries

    def _query(self, event: Query) -> Task:
        self.statements.pop("", None)
        plans = split(event.query)
        if not plans:
            self.send(EmptyQueryResponse())
        for number, plan in enumerate(plans, 1):
            self.queries.append(plan.sql)
            self._check_block(plan)
            if plan.error or plan.folding:
                raise SQLError(plan.error or plan.folding)
            self.block.several = len(plans) > 1
            amounts.touch(plan, self.block)
            found = columns(self, plan)
            if found:
                self.send(description(found, (0,) * len(found)))
            values = bind.constants(plan)
            self.database.arrived.update(execution.subjects(plan, values))
            portal = Portal(plan, found, values, (0,) * len(found), self.block.depth)
            self.portals[""] = portal
            tag = yield from execution.run(self, portal, 0)
            self.portals.pop("", None)
            # Committed before the tag is sent, unlike the extended query's.
            if number == len(plans) and self.block.state == NONE:
                yield from self.commit()
            self.send(CommandComplete(tag))
        if not plans and self.block.state == NONE:
            yield from self.commit()
        self.ready()

    def _function_call(self, event: FunctionCall) -> None:
        raise SQLError("42883", "function with this OID does not exist")

    def _copy_message(self, event: Message) -> None:
        """COPY data goes to the running statement; without one the COPY has failed, and it is dropped."""

    HANDLERS: ClassVar[Mapping[type[Message], Handler]] = {
        **LOGIN,
        Parse: _parse,
        Bind: _bind,
        Describe: _describe,
        Execute: _execute,
        Close: _close,
        Sync: _sync,
        Flush: _flush,
        Query: _query,
        FunctionCall: _function_call,
        CopyData: _copy_message,
        CopyDone: _copy_message,
        CopyFail: _copy_message,
    }
