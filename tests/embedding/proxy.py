"""A proxy: it speaks both roles, and sends on every message as it came, in every encoding.

    python -m tests.embedding.proxy host port        prints the port that it listens on

A client's half is a `Connection(SERVER)`, the server's half a `Connection(CLIENT)`.  What one half receives,
the other half sends.  Both check what may follow what, so nothing that breaks the protocol gets through.
"""

from __future__ import annotations

import asyncio
import sys

from pgproto import (
    CLIENT,
    NEED_DATA,
    SERVER,
    Closed,
    Connection,
    EncryptionResponse,
    Error,
    GSSENCRequest,
    Skipped,
    SSLRequest,
)


class Half(asyncio.Protocol):
    """One side of a forwarded session."""

    peer: Half
    transport: asyncio.Transport

    def __init__(self, role: int) -> None:
        self.core = Connection(role, raw=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.core.receive_data(data)
        send, out = self.peer.core.send, []
        while (event := self.core.next_event()) is not NEED_DATA:
            if isinstance(event, Closed):
                break
            if isinstance(event, (SSLRequest, GSSENCRequest)):  # no encryption here
                self.transport.write(self.core.send(EncryptionResponse(b"N")))
            elif not isinstance(event, Skipped):
                try:
                    out.append(send(event))
                except Error:  # this half was told more than the other one may say: the session is over
                    self.core.close()
        self.peer.transport.write(b"".join(out))
        if self.core.closed is not None:
            self.transport.close()
            self.peer.transport.close()

    def eof_received(self) -> None:
        self.data_received(b"")

    def connection_lost(self, error: Exception | None) -> None:
        self.peer.transport.close()

    def pause_writing(self) -> None:
        self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        self.peer.transport.resume_reading()


async def main(host: str, port: int) -> None:
    """Serve until the process ends."""
    loop = asyncio.get_running_loop()
    dialling: set[asyncio.Task[None]] = set()

    class Accepted(Half):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.pause_reading()
            dialling.add(task := loop.create_task(self.dial()))
            task.add_done_callback(dialling.discard)

        async def dial(self) -> None:
            try:
                _, self.peer = await loop.create_connection(lambda: Half(CLIENT), host, port)
            except OSError:
                self.transport.abort()
                return
            self.peer.peer = self
            self.transport.resume_reading()

        def connection_lost(self, error: Exception | None) -> None:
            if hasattr(self, "peer"):
                self.peer.transport.close()

    server = await loop.create_server(lambda: Accepted(SERVER), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
