"""Run a program with psycopg on pgproto.

    python -m pgproto_psycopg program.py [arguments]
    python -m pgproto_psycopg -m module [arguments]

If the environment variable PSYCOPG_IMPL names an implementation of psycopg's own, that one is used.
"""

from __future__ import annotations

import os
import runpy
import sys

from . import NAME, VARIABLE, install

_USAGE = "usage: python -m pgproto_psycopg (program.py | -m module) [arguments]"


def main() -> None:
    """Run what the command line names."""
    arguments = sys.argv[1:]
    module = arguments[:1] == ["-m"]
    if len(arguments) < 1 + module:
        raise SystemExit(_USAGE)
    if os.environ.get(VARIABLE, NAME).lower() in ("", NAME):
        install()
    sys.argv = arguments[module:]
    if module:
        sys.path[0] = os.getcwd()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
