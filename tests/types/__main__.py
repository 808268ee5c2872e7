"""Long runs of the types' rigs, and the tables of docs/types.md.

python -m tests.types --table                       write the tables; asyncpg and psycopg must be installed
"""

from __future__ import annotations

import argparse
import sys

from tests.support.postgres import PostgresServer
from tests.types import table
from tests.types.rows import SCHEMA


def write_table() -> None:
    """Write the tables of docs/types.md."""
    with PostgresServer("18") as server, server.database() as name:
        server.query(SCHEMA, dbname=name)
        dsn = server.dsn(dbname=name, options="-c search_path=doc,public")
        results = {driver: table.played(driver, dsn) for driver in table.DRIVERS}
    text = table.DOCUMENT.read_text()
    before, after = text.partition(table.BEGIN)[0], text.partition(table.END)[2]
    table.DOCUMENT.write_text(f"{before}{table.BEGIN}\n\n{table.document(results)}\n{table.END}{after}")


def main(arguments: list[str]) -> int:
    """Do what is asked for; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.types", description="The types' rigs.")
    parser.add_argument("--table", action="store_true", help="write the tables of docs/types.md")
    options = parser.parse_args(arguments)
    if options.table:
        write_table()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
