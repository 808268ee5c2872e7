"""The errors for answers that no operation has asked for or can use."""

from __future__ import annotations

from ..errors import LocalProtocolError, RemoteProtocolError
from ..wire import CopyFail, CopyOutResponse, Message, tags
from .channel import Channel
from .segment import Segment
from .sql import NO_DATA

__all__ = ["refuse_copy", "unasked"]


def unasked(event: Message) -> RemoteProtocolError:
    """The error for a legal answer to a request that no operation here sends.

    After PortalSuspended some of the rows would be taken for all (no Execute here has a limit); after
    CopyBothResponse (replication) both sides would wait for each other.
    """
    return RemoteProtocolError(
        f"unexpected {tags.backend_name(event.tag)}: it answers nothing that was asked"
    )


def refuse_copy(channel: Channel, segment: Segment, event: Message) -> LocalProtocolError | None:
    """COPY was run as a query: fail a COPY FROM STDIN, or drop the data of a COPY TO STDOUT.

    Returns:
        The error for COPY TO STDOUT, without an outcome; for COPY FROM STDIN the server sends one.
    """
    if isinstance(event, CopyOutResponse):
        return LocalProtocolError("the data of COPY TO STDOUT were dropped: use copy_out")
    channel.write(CopyFail(NO_DATA))
    if segment.commit is not None:
        channel.sync(segment)  # the server ignores a Sync before the CopyFail
    return None
