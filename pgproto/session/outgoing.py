"""The bytes for the transport: in clear or encrypted."""

from __future__ import annotations

from .channel import HIGH_WATER, Channel

__all__ = ["Outgoing"]


class Outgoing:
    """The next bytes for the transport.

    Bytes count as handed over once they are encrypted, because TLS cannot take them back.

    Args:
        channel: the output of operations; its `tls` encrypts, once there is one.

    Attributes:
        encrypted: encrypted bytes that the transport has not taken.
    """

    __slots__ = ("_channel", "encrypted")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.encrypted = b""

    @property
    def pending(self) -> bool:
        """True if there are bytes that the transport has not taken."""
        return self._channel.pending > 0 or bool(self.encrypted)

    def data(self) -> bytes:
        """The encrypted bytes for the transport; the same ones until `sent`.

        Raises:
            Error: the output could not be encrypted.
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
        """Nothing more will be written: append TLS's close_notify to the output.

        Raises:
            Error: the output could not be encrypted.
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
