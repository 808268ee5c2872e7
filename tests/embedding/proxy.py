"""A proxy: it speaks both roles, and sends on every message as it came, in every encoding.

    python -m tests.embedding.proxy host port        prints the port that it listens on

A client's half is a `PGConnection(SERVER)`, the server's half a `PGConnection(CLIENT)`.  What one half
receives, the other half sends.  Both check what may follow what, so nothing that breaks the protocol gets
through.
"""

from __future__ import annotations

import asyncio
import sys

from pgproto import Error
from pgproto.protocol import CLIENT, NEED_DATA, SERVER, Closed, PGConnection, Skipped
from pgproto.wire import EncryptionResponse, GSSENCRequest, SSLRequest

NOT_SENT_ON = {Closed, Skipped, SSLRequest, GSSENCRequest}


class Half(asyncio.Protocol):
    """One side of a forwarded session."""

    peer: Half | None = None  # until the server was dialled
    transport: asyncio.Transport

    def __init__(self, role: int) -> None:
        self.core = PGConnection(role, raw=True)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.core.receive_data(data)
        if self.peer is not None:
            self.forward(self.peer)

    def forward(self, peer: Half) -> None:
        """Send on what was received."""
        send, out = peer.core.send, []
        while (event := self.core.next_event()) is not NEED_DATA:
            if type(event) not in NOT_SENT_ON:
                try:
                    out.append(send(event))
                except Error:  # this half was told more than the other one may say: the session is over
                    self.core.close()
            elif isinstance(event, Closed):
                break
            elif not isinstance(event, Skipped):  # no encryption here
                self.transport.write(self.core.send(EncryptionResponse(b"N")))
        peer.transport.write(b"".join(out))
        if self.core.closed is not None:
            self.transport.close()
            peer.transport.close()

    def eof_received(self) -> None:
        self.data_received(b"")

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None:
            self.peer.transport.close()

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.transport.resume_reading()


async def main(host: str, port: int) -> None:
    """Serve until the process ends."""
    loop = asyncio.get_running_loop()
    dialling: set[asyncio.Task[None]] = set()

    async def dial(client: Half) -> None:
        """Connect to the server; what the client has sent meanwhile is in its half's core."""
        try:
            _, server = await loop.create_connection(lambda: Half(CLIENT), host, port)
        except OSError:
            client.transport.abort()
            return
        client.peer, server.peer = server, client
        client.forward(server)

    class Accepted(Half):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            dialling.add(task := loop.create_task(dial(self)))
            task.add_done_callback(dialling.discard)

    server = await loop.create_server(lambda: Accepted(SERVER), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
