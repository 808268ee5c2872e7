"""A proxy on the loopback that adds a round-trip time: each direction is delayed by one half of it.

Rule: whatever arrives leaves after its delay, however much follows it; so it adds latency and takes no
bandwidth away.  One process, one thread, `select` with a timeout: that is exact to some 0.1 ms where event
loops round up to a millisecond.  `python -m benchmarks.proxy HOST PORT MILLISECONDS` prints its port, and
ends when its standard input does.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

__all__ = ["delayed"]


@contextmanager
def delayed(dsn: str, milliseconds: float) -> Iterator[str]:
    """Start a proxy in front of a server: the URL that goes through it."""
    url = urlsplit(dsn)
    command = [sys.executable, "-m", "benchmarks.proxy", str(url.hostname), str(url.port), str(milliseconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = process.stdout.readline().strip() if process.stdout is not None else ""
        user, _, _ = url.netloc.rpartition("@")
        yield urlunsplit(url._replace(netloc=f"{user}@127.0.0.1:{port}"))
    finally:
        process.communicate()


class _Pipe:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting: deque[tuple[float, bytes]] = deque()

    def read(self, delay: float) -> None:
        """Take what has arrived; b"" is the end, which is delayed as well."""
        try:
            data = self.source.recv(262144)
        except OSError:
            data = b""
        self.waiting.append((time.monotonic() + delay, data))

    def write(self, now: float) -> bool:
        """Pass on what is due; False if that was the end."""
        while self.waiting and self.waiting[0][0] <= now:
            _, data = self.waiting.popleft()
            try:
                if data:
                    self.target.sendall(data)
                else:
                    self.target.shutdown(socket.SHUT_WR)
                    return False
            except OSError:
                return False
        return True


def _serve(host: str, port: int, delay: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    pipes: dict[socket.socket, _Pipe] = {}
    ended: set[socket.socket] = set()
    while True:
        due = min((pipe.waiting[0][0] for pipe in pipes.values() if pipe.waiting), default=None)
        timeout = None if due is None else max(0.0, due - time.monotonic())
        sources = [source for source in pipes if source not in ended]
        readable, _, _ = select.select([sys.stdin, listener, *sources], [], [], timeout)
        if sys.stdin in readable:
            return
        if listener in readable:
            near, _ = listener.accept()
            far = socket.create_connection((host, port))
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pipes[one] = _Pipe(one, other)
        for source in sources:
            if source in readable:
                pipes[source].read(delay)
                if not pipes[source].waiting[-1][1]:
                    ended.add(source)
        now = time.monotonic()
        for source, pipe in list(pipes.items()):
            if not pipe.write(now):
                del pipes[source]
                ended.discard(source)
                if pipe.target not in pipes:
                    source.close()
                    pipe.target.close()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 2000)
