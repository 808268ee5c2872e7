"""A program on SQLAlchemy's psycopg dialect, sync and async."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """The tables."""


class Item(Base):
    """A table with types of PostgreSQL."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    data: Mapped[Any] = mapped_column(postgresql.JSONB)
    tags: Mapped[list[str]] = mapped_column(postgresql.ARRAY(sa.Text))


def sync(url: str, said: list[Any]) -> None:
    """The ORM, reflection, server-side cursors, errors, two phases."""
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Item(name=f"n{i}", data={"i": i}, tags=["a", str(i)]) for i in range(50)])
        session.commit()
        query = sa.select(Item).where(Item.data["i"].as_integer() > 47).order_by(Item.id)
        said.append([(item.id, item.name, item.data, item.tags) for item in session.scalars(query)])
    said.append([column["name"] for column in sa.inspect(engine).get_columns("items")])
    with engine.connect() as conn:
        rows = conn.execute(
            sa.select(Item.id), execution_options={"stream_results": True, "max_row_buffer": 7}
        )
        said.append(sum(row.id for row in rows))
        conn.rollback()
        try:
            conn.execute(sa.insert(Item).values(id=1, name="x", data=None, tags=[]))
        except sa.exc.IntegrityError as error:
            said.append(str(error.orig))
        conn.rollback()
        result = conn.execute(sa.insert(Item).returning(Item.id), [{"name": "y", "data": 1, "tags": []}] * 5)
        said.append(len(result.all()))
        conn.rollback()
    engine.dispose()


async def asynchronous(url: str, said: list[Any]) -> None:
    """The async engine."""
    engine = create_async_engine(url)

    async def work(number: int) -> Any:
        async with engine.connect() as conn:
            return (await conn.execute(sa.select(sa.literal(number)))).scalar_one()

    said.append(await asyncio.gather(*[work(number) for number in range(8)]))
    async with engine.connect() as conn:
        said.append([row.id async for row in await conn.stream(sa.select(Item.id).limit(5))])
    await engine.dispose()


def main() -> None:
    """Run both, and print what was said as JSON."""
    url = sys.argv[1].replace("postgresql://", "postgresql+psycopg://")
    said: list[Any] = []
    sync(url, said)
    asyncio.run(asynchronous(url, said))
    json.dump(said, sys.stdout, default=str)


if __name__ == "__main__":
    main()
