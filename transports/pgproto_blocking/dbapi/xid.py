"""Identifiers of transactions in two phases."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import NamedTuple

__all__ = ["Xid"]


class Xid(NamedTuple):
    """The identifier of a transaction in two phases; made by `Connection.xid`.

    On the server it is one text.  An identifier that another program has made is the second field alone, and
    the others are None; so is one that was passed as a str.  The text of the others is psycopg's.
    """

    format_id: int | None
    gtrid: str
    bqual: str | None

    @staticmethod
    def parse(text: str) -> Xid:
        """The identifier of a text from `pg_prepared_xacts`."""
        number, _, rest = text.partition("_")
        first, _, second = rest.partition("_")
        try:
            parts = int(number), _plain(first), _plain(second)
        except (ValueError, binascii.Error):
            return Xid(None, text, None)
        found = Xid(*parts)
        return found if str(found) == text else Xid(None, text, None)

    def __str__(self) -> str:
        if self.format_id is None or self.bqual is None:
            return self.gtrid
        return f"{self.format_id}_{_coded(self.gtrid)}_{_coded(self.bqual)}"


def _coded(part: str) -> str:
    return b64encode(part.encode()).decode()


def _plain(part: str) -> str:
    return b64decode(part, validate=True).decode()
