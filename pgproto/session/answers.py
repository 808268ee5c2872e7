"""Answers that no operation has asked for, or cannot make anything of: what is said of them, once for all."""

from __future__ import annotations

from ..errors import DataError, LocalProtocolError, RemoteProtocolError
from ..wire import CopyFail, CopyOutResponse, Message, tags
from .channel import Channel
from .segment import Segment
from .sql import NO_DATA

__all__ = ["refuse_copy", "unasked", "undecodable"]


def unasked(event: Message) -> RemoteProtocolError:
    """The error of an answer that the protocol knows, to a question that no operation here asks.

    PortalSuspended would pass a part of the rows off as the whole (every Execute is without a limit), and
    after CopyBothResponse (replication) both sides would wait for each other.
    """
    return RemoteProtocolError(
        f"unexpected {tags.backend_name(event.tag)}: it answers nothing that was asked"
    )


def undecodable(raised: Exception) -> DataError:
    """The error of a query whose rows could not be made of what has come."""
    if isinstance(raised, DataError):
        return raised
    error = DataError(f"decoding its rows was ended by {type(raised).__name__}")
    error.__cause__ = raised
    return error


def refuse_copy(channel: Channel, segment: Segment, event: Message) -> LocalProtocolError | None:
    """Somebody ran COPY as a query: there is no data, or the data are dropped.

    Returns:
        The error of the latter, without an outcome; of COPY FROM STDIN the server makes one itself.
    """
    if isinstance(event, CopyOutResponse):
        return LocalProtocolError("the data of COPY TO STDOUT were dropped: use copy_out")
    channel.write(CopyFail(NO_DATA))
    if segment.commit is not None:
        channel.sync(segment)  # the server ignores the one that lies before CopyFail
    return None
