"""`python -m bank upgrade | downgrade REVISION | check | serve [--port 8000]`, on DATABASE_URL."""

from __future__ import annotations

import argparse
import os
import socket

import uvicorn

from .app import create_app
from .migrating import check, downgrade, upgrade


class Server(uvicorn.Server):
    """uvicorn lets the requests that run come to their end; the streams of events have none."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """SIGTERM or Ctrl-C: end the streams, then wait for the rest."""
        self.config.app.state.events.close()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def main() -> None:
    """One command."""
    parser = argparse.ArgumentParser(prog="python -m bank", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade")
    commands.add_parser("downgrade").add_argument("revision")
    commands.add_parser("check")
    serve = commands.add_parser("serve")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    dsn = os.environ["DATABASE_URL"]
    if options.command == "check":
        check(dsn)
    elif options.command == "downgrade":
        downgrade(dsn, options.revision)
    else:
        upgrade(dsn)
    if options.command == "serve":
        config = uvicorn.Config(
            create_app(dsn), options.host, options.port, timeout_graceful_shutdown=10, lifespan="on"
        )
        Server(config).run()


if __name__ == "__main__":
    main()
