"""What the service does with money.

Locks are taken in the order of the accounts' numbers, so that two transfers never wait for each other, and
before the transfer is stored, so that who waits for another's key holds everything else it needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from .models import Account, Transfer

__all__ = ["CHANNEL", "Refused", "listed", "move"]

CHANNEL = "transfers"


class Refused(Exception):
    """The request cannot be carried out, and nothing has changed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def move(
    session: AsyncSession, key: str, source: int, target: int, amount: Decimal
) -> tuple[Transfer, bool]:
    """Transfer money in the session's transaction.

    Returns:
        The transfer, and False if the key was there already: then nothing has moved.

    Raises:
        Refused: there is no such account, it has too little, or the key belongs to another transfer.
    """
    locked = await session.scalars(
        select(Account)
        .where(Account.id.in_((source, target)))
        .order_by(Account.id)
        .with_for_update(key_share=True)
    )
    accounts = {account.id: account for account in locked}
    if len(accounts) < 2:
        raise Refused(404, "no such account")
    stored = await session.scalar(
        insert(Transfer)
        .values(key=key, source=source, target=target, amount=amount)
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(Transfer)
    )
    if stored is None:
        earlier = await session.scalar(select(Transfer).where(Transfer.key == key))
        assert earlier is not None  # nobody deletes transfers
        if (earlier.source, earlier.target, earlier.amount) != (source, target, amount):
            raise Refused(422, "the key belongs to another transfer")
        return earlier, False
    if accounts[source].balance < amount:
        raise Refused(409, "too little money")
    accounts[source].balance -= amount
    accounts[target].balance += amount
    told = {"id": stored.id, "source": source, "target": target, "amount": str(amount)}
    await session.execute(select(func.pg_notify(CHANNEL, json.dumps(told))))  # delivered by the COMMIT
    return stored, True


async def listed(
    session: AsyncSession,
    *,
    account: int | None,
    minimum: Decimal | None,
    since: datetime | None,
    after: int,
    limit: int,
) -> Sequence[Transfer]:
    """Transfers in the order of their numbers: the next page comes `after` the last one's."""
    query = select(Transfer).where(Transfer.id > after).order_by(Transfer.id).limit(limit)
    if account is not None:
        query = query.where(or_(Transfer.source == account, Transfer.target == account))
    if minimum is not None:
        query = query.where(Transfer.amount >= minimum)
    if since is not None:
        query = query.where(Transfer.created_at >= since)
    return (await session.scalars(query)).all()
