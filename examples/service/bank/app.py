"""The service: `create_app(dsn)`.

An answer says what is true.  If the database went away under a request, the answer is 503 with Retry-After
and the outcome of the statement that pgproto knows: "unknown" only if a COMMIT was sent and not answered.
With its key the client may repeat a transfer in every case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

import pgproto_asyncio as pg
from pgproto import Outcome
from pgproto_blocking import dbapi
from pgproto_otel import Telemetry

from .events import Events
from .models import Account
from .telemetry import Traced, observe
from .transfers import CHANNEL, Refused, listed, move

__all__ = ["create_app"]

Money = Annotated[Decimal, Field(max_digits=18, decimal_places=2)]


class NewAccount(BaseModel):
    """The body of POST /accounts."""

    owner: str = Field(min_length=1)
    balance: Annotated[Money, Field(ge=0)] = Decimal(0)


class NewTransfer(BaseModel):
    """The body of POST /transfers."""

    source: int
    target: int
    amount: Annotated[Money, Field(gt=0)]


class AccountOut(BaseModel):
    """An account in an answer; money is text there, because a number of JSON may be a float."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    owner: str
    balance: Decimal


class TransferOut(BaseModel):
    """A transfer in an answer."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    source: int
    target: int
    amount: Decimal
    created_at: datetime


async def transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """A transaction for one request: it is committed before the answer is sent."""
    async with request.app.state.sessions.begin() as session:
        yield session


Transaction = Annotated[AsyncSession, Depends(transaction, scope="function")]


def create_app(
    dsn: str,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> FastAPI:
    """The application.

    Args:
        dsn: the database, whose tables are there: see `migrating`.
        tracer_provider: where the spans go; by default the global one.
        meter_provider: where the metrics go; by default the global one.
    """

    def telemetry(name: str) -> Telemetry:
        return Telemetry(pool_name=name, tracer_provider=tracer_provider, meter_provider=meter_provider)

    engine = create_async_engine(
        make_url(dsn).set(drivername="postgresql+pgproto_async"),
        connect_args={"observers": telemetry("bank"), "command_timeout": 10.0},
        pool_size=10,
        max_overflow=0,
        pool_timeout=5.0,  # an overload is a quick 503, and not a queue
        pool_pre_ping=True,
    )
    observe(engine, get_meter("bank", meter_provider=meter_provider))
    events = Events()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        listening = asyncio.Event()
        async with (
            pg.Pool(dsn, min_size=0, max_size=1, observers=telemetry("events")) as pool,
            asyncio.TaskGroup() as tasks,
        ):
            listener = tasks.create_task(events.run(pool, CHANNEL, listening))
            await listening.wait()
            yield
            events.close()
            listener.cancel()
        await engine.dispose()

    app = FastAPI(title="bank", lifespan=lifespan)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.state.events = events
    app.add_middleware(Traced, tracer=get_tracer("bank", tracer_provider=tracer_provider))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, error.status)

    @app.exception_handler(NoConnection)
    async def overloaded(request: Request, error: NoConnection) -> JSONResponse:
        return unavailable(Outcome.NOT_SENT)

    @app.exception_handler(DBAPIError)
    async def failed(request: Request, error: DBAPIError) -> JSONResponse:
        if not isinstance(error.orig, dbapi.OperationalError):
            raise error
        return unavailable(error.orig.outcome or Outcome.NOT_SENT)

    @app.get("/healthz")
    async def healthz(session: Transaction) -> dict[str, str]:
        await session.execute(text("select 1"))
        return {"database": "ok"}

    @app.post("/accounts", status_code=201)
    async def open_account(body: NewAccount, session: Transaction) -> AccountOut:
        account = Account(owner=body.owner, balance=body.balance)
        session.add(account)
        await session.flush()
        return AccountOut.model_validate(account)

    @app.get("/accounts/{number}")
    async def account(number: int, session: Transaction) -> AccountOut:
        found = await session.get(Account, number)
        if found is None:
            raise Refused(404, "no such account")
        return AccountOut.model_validate(found)

    @app.post("/transfers", status_code=201)
    async def transfer(
        body: NewTransfer,
        session: Transaction,
        response: Response,
        idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
    ) -> TransferOut:
        if body.source == body.target:
            raise Refused(422, "source and target are one account")
        made, new = await move(session, idempotency_key, body.source, body.target, body.amount)
        if not new:
            response.status_code = 200
        return TransferOut.model_validate(made)

    @app.get("/transfers")
    async def transfers(
        session: Transaction,
        account: int | None = None,
        minimum: Decimal | None = None,
        since: AwareDatetime | None = None,
        after: int = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> list[TransferOut]:
        found = await listed(session, account=account, minimum=minimum, since=since, after=after, limit=limit)
        return [TransferOut.model_validate(each) for each in found]

    @app.get("/events")
    async def stream() -> StreamingResponse:
        return StreamingResponse(events.subscribe(), media_type="text/event-stream")

    return app


def unavailable(outcome: Outcome) -> JSONResponse:
    """The database is away, or has no time."""
    known = "nothing has changed" if outcome is not Outcome.UNKNOWN else "it may have been carried out"
    body = {"detail": f"the database did not finish: {known}", "outcome": outcome.value}
    return JSONResponse(body, 503, {"Retry-After": "1"})
