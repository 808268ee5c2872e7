"""Run scenarios with one implementation of `psycopg.pq`, and write the answers as JSON.

python -m tests.psycopg.answers pgproto|binary DSN [scenario ...]
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys


def main() -> None:
    """Choose the implementation, then import psycopg."""
    implementation, dsn, *names = sys.argv[1:]
    faulthandler.dump_traceback_later(100, exit=True)
    for name in list(os.environ):
        if name.startswith("PG") and not name.startswith("PGPROTO"):
            del os.environ[name]
    if implementation == "pgproto":
        import pgproto_psycopg

        pgproto_psycopg.install()
    else:
        os.environ["PSYCOPG_IMPL"] = implementation
    from .scenarios import SCENARIOS, run

    answers = {name: run(name, dsn.encode()) for name in names or SCENARIOS}
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
