"""Start a PostgreSQL server, migrate, and ask every view: `python examples/django_project/run.py`.

With DATABASE_HOST in the environment that server is used instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


@contextlib.contextmanager
def database() -> Iterator[None]:
    """A server for as long as the block lasts."""
    if "DATABASE_HOST" in os.environ:
        yield
        return
    from pgproto_pytest.postgres import PostgresServer

    with PostgresServer() as server:
        where = {"HOST": "127.0.0.1", "PORT": str(server.port), "USER": "postgres", "NAME": "postgres"}
        os.environ.update({f"DATABASE_{name}": value for name, value in where.items()})
        yield


def main() -> None:
    """Migrate, ask, and print what was answered."""
    sys.path.insert(0, os.fspath(HERE))
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    with database():
        import django
        from django.core.management import call_command
        from django.test import Client

        django.setup()
        call_command("migrate", verbosity=0)
        client = Client()
        client.post("/restock", {"name": "paint", "tags": ["wet", "blue"], "stock": 3}, "application/json")
        client.post("/restock", {"name": "brush", "tags": ["dry"], "stock": 1}, "application/json")
        orders = [client.post("/order/paint").status_code for _ in range(4)]
        told = {
            "orders": orders,
            "tagged": client.get("/tagged/wet").json(),
            "report": client.get("/report").json(),
            "async": client.get("/async").json(),
            "driver": client.get("/driver").json(),
        }
        print(json.dumps(told, indent=2))
        from django.db import connections

        connections.close_all()
        connections["default"].close_pool()


if __name__ == "__main__":
    main()
