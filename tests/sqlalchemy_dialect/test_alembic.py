"""Alembic on both dialects: upgrade, autogenerate (which finds nothing more to do), downgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Connection,
    DateTime,
    Engine,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    func,
    inspect,
    text,
)
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import create_async_engine

pytest.importorskip("alembic")

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

ENVIRONMENT = """
from alembic import context

config = context.config
connection = config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=config.attributes["metadata"],
    compare_type=True,
    compare_server_default=True,
    include_schemas=True,
    include_name=lambda name, kind, parents: kind != "schema" or name == "shop",
)
with context.begin_transaction():
    context.run_migrations()
"""
TEMPLATE = '''"""${message}"""
import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''


def schema() -> MetaData:
    """Two tables with what a real schema has."""
    metadata = MetaData(schema="shop")
    Table(
        "customers",
        metadata,
        Column("id", Integer, Identity(always=True), primary_key=True),
        Column("name", String(80), nullable=False, comment="as on the invoice"),
        Column("tags", pg.ARRAY(String), server_default=text("'{}'::character varying[]")),
        Column("settings", pg.JSONB, server_default=text("'{}'::jsonb"), nullable=False),
        Column("at", DateTime(timezone=True), server_default=func.now()),
        UniqueConstraint("name", name="customers_name"),
        Index("customers_settings", "settings", postgresql_using="gin"),
    )
    Table(
        "orders",
        metadata,
        Column("id", pg.UUID, primary_key=True, server_default=func.gen_random_uuid()),
        Column("customer", ForeignKey("shop.customers.id", ondelete="CASCADE"), nullable=False),
        Column("state", pg.ENUM("open", "paid", name="order_state", schema="shop"), nullable=False),
        Column("total", Numeric(10, 2)),
        Column("doubled", Numeric(10, 2), Computed("total * 2")),
        Column("valid", pg.DATERANGE),
        CheckConstraint("total >= 0", name="orders_total"),
        Index("orders_open", "customer", postgresql_where=text("total > 10")),
    )
    return metadata


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "script.py.mako").write_text(TEMPLATE)
    made = Config()
    made.set_main_option("script_location", str(tmp_path))
    made.set_main_option("path_separator", "os")
    return made


@pytest.fixture
def clean(engine: Engine) -> Iterator[Engine]:
    yield engine
    with engine.begin() as connection:
        connection.execute(text("drop schema if exists shop cascade"))
        connection.execute(text("drop table if exists alembic_version"))


def migrate(connection: Connection, config: Config) -> None:
    metadata = schema()
    config.attributes.update(connection=connection, metadata=metadata)
    connection.execute(text("create schema shop"))
    connection.commit()
    made = command.revision(config, "the first", autogenerate=True)
    assert made is not None
    path = Path(made.path)  # type: ignore[union-attr]
    # Autogenerate does not drop types: Alembic's documentation says to do it by hand.
    path.write_text(path.read_text() + "    op.execute('drop type shop.order_state')\n")
    command.upgrade(config, "head")
    connection.commit()

    assert set(inspect(connection).get_table_names("shop")) == {"customers", "orders"}
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "compare_server_default": True,
            "include_schemas": True,
            "include_name": lambda name, kind, parents: kind != "schema" or name == "shop",
        },
    )

    def differences() -> list[Any]:
        return [each for each in compare_metadata(context, metadata) if "alembic_version" not in repr(each)]

    assert differences() == []
    connection.execute(text("alter table shop.orders drop column total cascade, add column total int4"))
    assert differences() != []
    connection.rollback()

    command.downgrade(config, "base")
    connection.commit()
    assert inspect(connection).get_table_names("shop") == []


def test_up_and_down(clean: Engine, config: Config) -> None:
    with clean.connect() as connection:
        migrate(connection, config)


def test_up_and_down_async(clean: Engine, config: Config, url: str) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            await connection.run_sync(migrate, config)
        await engine.dispose()

    asyncio.run(main())
