"""Why a connection ended: the first cause is what its queries are told, and what came behind it is beside it.

From the bytes that were delivered alone (guarantee G10): the first FATAL; without one, the ERROR or the
WARNING 57P01 or 57P02 that no ReadyForQuery has followed.  What comes right behind a FATAL is in `.also`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgproto import ConnectionLost, PostgresError, QueryTimeout

if TYPE_CHECKING:
    from .tap import Frame

__all__ = ["Ending", "fields_of"]

_CRASHES: Final = ("57P01", "57P02")


def fields_of(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse."""
    parts = (part.decode("utf-8", "replace") for part in body.split(b"\0") if part)
    return {part[:1]: part[1:] for part in parts}


def _severity(fields: dict[str, str]) -> str:
    return fields.get("V") or fields.get("S") or "ERROR"


class Ending:
    """What the server said at the end of one link.

    Attributes:
        cause: the SQLSTATE of the first cause; "" if the server said none.
        second: the SQLSTATE of the error right behind its FATAL; "" if there is none.
        mild: the cause is an ERROR or a WARNING, which ends nothing by itself.
        hung_up: this side has closed the connection, before it heard that the server had.
    """

    def __init__(self, heard: list[Frame], *, hung_up: bool) -> None:
        self.hung_up = hung_up
        self.cause = ""
        self.second = ""
        self.mild = False
        for index, (tag, _, body) in enumerate(heard):
            if tag == 0x5A:  # ReadyForQuery
                self.cause = ""
                self.mild = False
            if tag not in (0x45, 0x4E):
                continue
            fields = fields_of(body)
            code = fields.get("C", "")
            if tag == 0x4E and code in _CRASHES:
                self.cause = code
                self.mild = True
            elif tag == 0x45:
                self.cause = code
                self.mild = _severity(fields) not in ("FATAL", "PANIC")
                if not self.mild:
                    following = heard[index + 1 : index + 2]
                    if following and following[0][0] == 0x45:
                        self.second = fields_of(following[0][2]).get("C", "")
                    return

    def complaint(self, error: ConnectionLost) -> str:
        """What is wrong with the error of a query that was lost here; "" for nothing."""
        if not self.cause or _our_own(error):
            return ""
        cause = error.__cause__
        if cause is None and self.mild and self.hung_up:
            return ""
        if not isinstance(cause, PostgresError) or cause.sqlstate != self.cause:
            return f"the first cause is {self.cause}, and {cause!r} is what is told"
        also = [each.sqlstate for each in error.also if isinstance(each, PostgresError)]
        if self.second and self.second not in also:
            return f"behind {self.cause} the server said {self.second}, and .also is {error.also!r}"
        return ""


def _our_own(error: BaseException | None) -> bool:
    """True if this side has ended the connection, because of somebody's deadline."""
    while error is not None:
        if isinstance(error, QueryTimeout):
            return True
        error = error.__cause__
    return False
