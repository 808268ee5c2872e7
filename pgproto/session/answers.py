"""The errors for answers that no operation has asked for or can use; what answers say of the session."""

from __future__ import annotations

from ..errors import LocalProtocolError, RemoteProtocolError
from ..wire import CopyFail, CopyOutResponse, Message, ParameterStatus, tags
from .channel import Channel
from .segment import Segment
from .sql import NO_DATA
from .startup import check_parameter

__all__ = ["altered", "refuse_copy", "refuse_to_feed", "unasked"]


def altered(channel: Channel, event: ParameterStatus) -> bool:
    """A parameter of the session has changed; true if the session should not be lent again.

    Raises:
        RemoteProtocolError: texts would be misread from now on.
    """
    channel.dirty = True
    check_parameter(event.name, event.value, channel.connection.asked_encoding)
    # After a promotion or a demotion this may be the wrong kind of server.
    return event.name == "in_hot_standby"


def unasked(event: Message) -> RemoteProtocolError:
    """The error for a legal answer to a request that no operation here sends.

    After PortalSuspended some of the rows would be taken for all (no Execute here has a limit); after
    CopyBothResponse (replication) both sides would wait for each other.
    """
    return RemoteProtocolError(
        f"unexpected {tags.backend_name(event.tag)}: it answers nothing that was asked"
    )


def refuse_to_feed(event: Message) -> None:
    """For the engine's own requests, which ask for nothing that takes data: both sides would wait.

    Raises:
        RemoteProtocolError: the server waits for data.
    """
    if event.tag in (tags.COPY_IN_RESPONSE, tags.COPY_BOTH_RESPONSE):
        raise unasked(event)


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
