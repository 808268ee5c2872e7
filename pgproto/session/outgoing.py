"""The bytes on their way to the transport: as operations have written them, or encrypted."""

from __future__ import annotations

from .channel import HIGH_WATER, Channel

__all__ = ["Outgoing"]


class Outgoing:
    """What the transport shall take next.

    Encrypted bytes count as handed over: what TLS has made of them cannot be taken back.

    Args:
        channel: what operations write to; its `tls` encrypts, once there is one.

    Attributes:
        encrypted: what was encrypted, and not taken yet.
    """

    __slots__ = ("_channel", "encrypted")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.encrypted = b""

    @property
    def pending(self) -> bool:
        """True if something was not taken yet."""
        return self._channel.pending > 0 or bool(self.encrypted)

    def data(self) -> bytes:
        """The encrypted bytes for the transport; the same ones until `sent`.

        Raises:
            Error: they could not be encrypted.
        """
        channel = self._channel
        tls = channel.tls
        assert tls is not None
        plain = channel.output()
        try:
            if plain and len(self.encrypted) < HIGH_WATER:
                tls.send(plain)
                channel.taken(len(plain))
        finally:
            self.encrypted += tls.data_to_send()
        return self.encrypted

    def sent(self, count: int) -> None:
        """The transport took the first `count` bytes."""
        if self._channel.tls is None:
            self._channel.taken(count)
        else:
            self.encrypted = self.encrypted[count:]

    def discard(self) -> None:
        """Nothing more can be sent."""
        self._channel.discard()
        self.encrypted = b""

    def close(self) -> None:
        """Nothing will be written any more: what TLS says then follows what was.

        Raises:
            Error: that could not be encrypted.
        """
        tls = self._channel.tls
        if tls is None:
            return
        plain = self._channel.output()
        try:
            if plain:
                tls.send(plain)
                self._channel.taken(len(plain))
        finally:
            tls.close()
