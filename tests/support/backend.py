"""The model server as the tests of the core use it, without a network; and what poolers say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pgproto.testing.answers import Answer, error_fields, fails, ok, rows_of
from pgproto.testing.model import ModelSession
from pgproto.wire import BackendKeyData, ErrorResponse, NoticeResponse

__all__ = [
    "CRASH",
    "FATAL",
    "INT4",
    "KEY",
    "POOLER_ERROR",
    "POOLER_FATAL",
    "TEXT",
    "Answer",
    "Backend",
    "error_fields",
    "fails",
    "int4",
    "ok",
    "rows_of",
]

INT4: Final = 23
TEXT: Final = 25
KEY: Final = BackendKeyData(4711, b"0123")
FATAL: Final = ErrorResponse(error_fields("57P01", "terminating connection", "FATAL")).encode()
POOLER_FATAL: Final = ErrorResponse({"S": "FATAL", "C": "08P01", "M": "server conn crashed?"}).encode()
POOLER_ERROR: Final = ErrorResponse({"S": "ERROR", "C": "08P01", "M": "server conn crashed?"}).encode()
CRASH: Final = NoticeResponse(error_fields("57P02", "crash of another server process", "WARNING")).encode()


def int4(value: int) -> bytes:
    """A value of a binary int4 column."""
    return value.to_bytes(4, "big", signed=True)


class Backend(ModelSession):
    """A session that reports as little of itself as possible."""

    def __init__(self, script: Mapping[str, Answer]) -> None:
        super().__init__(dict(script))
        self.parameters = {"server_version": "18.6", "client_encoding": "UTF8"}
