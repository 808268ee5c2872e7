"""The bytes on their way to the transport: as operations have written them, or encrypted."""

from __future__ import annotations

from ..errors import Error
from .channel import HIGH_WATER, Channel

__all__ = ["Outgoing"]


class Outgoing:
    """What the transport shall take next.

    Encrypted bytes count as handed over: what TLS has made of them cannot be taken back.

    Args:
        channel: what operations write to; its `tls` encrypts, once there is one.
    """

    __slots__ = ("_channel", "_encrypted")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._encrypted = b""

    @property
    def pending(self) -> bool:
        """True if something was not taken yet."""
        return self._channel.pending > 0 or bool(self._encrypted)

    def data(self) -> bytes:
        """The bytes for the transport; the same ones until `sent`.

        Raises:
            Error: they could not be encrypted.
        """
        channel = self._channel
        if channel.tls is None:
            return channel.output()
        if len(self._encrypted) < HIGH_WATER:
            self._encrypt()
        return self.rest()

    def rest(self) -> bytes:
        """Those that are encrypted already."""
        tls = self._channel.tls
        if tls is not None:
            self._encrypted += tls.data_to_send()
        return self._encrypted

    def sent(self, count: int) -> None:
        """The transport took the first `count` bytes."""
        if self._channel.tls is None:
            self._channel.taken(count)
        else:
            self._encrypted = self._encrypted[count:]

    def discard(self) -> None:
        """Nothing more can be sent."""
        self._channel.discard()
        self._encrypted = b""

    def close(self) -> Error | None:
        """Nothing will be written any more: leave what TLS says then after what was; or why that failed."""
        tls = self._channel.tls
        if tls is None:
            return None
        error: Error | None = None
        try:
            self._encrypt()
        except Error as raised:
            error = raised
        tls.close()
        return error

    def _encrypt(self) -> None:
        plain = self._channel.output()
        tls = self._channel.tls
        if plain and tls is not None:
            tls.send(plain)
            self._channel.taken(len(plain))
