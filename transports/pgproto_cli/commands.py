"""The arguments of `python -m pgproto`, and its exit status."""

from __future__ import annotations

import argparse
import getpass
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pgproto
from pgproto import ConfigError
from pgproto.config import Config, parse_config
from pgproto_sockets.environment import read_file

from .explaining import explain
from .output import RED, one_line, paint, show_json
from .pinging import ping
from .tracing import decode, read, trace, unhex

__all__ = ["main"]

_FAILED = 1
_MISUSED = 2
_INTERRUPTED = 130
_DSN = "a URI or keyword=value pairs; the environment (PGHOST, PGSERVICE, ...) says the rest"
_EXAMPLES = {
    "": """examples:
  python -m pgproto ping "postgresql://app@db1,db2/app?target_session_attrs=primary"
  python -m pgproto explain-dsn service=orders
  python -m pgproto trace "select 1" postgresql://app@db/app""",
    "ping": """exit status: 0 if a host is what target_session_attrs asks for, else 1

examples:
  python -m pgproto ping postgresql://app@db1,db2/app
  python -m pgproto ping --json "host=db1 user=app connect_timeout=2" """,
    "explain-dsn": """examples:
  python -m pgproto explain-dsn "postgresql://app:secret@db/app?sslmode=require"
  PGSERVICE=orders python -m pgproto explain-dsn --given""",
    "trace": """examples:
  python -m pgproto trace "select 1" postgresql://app@db/app
  python -m pgproto trace --times --arg 7 "select $1::int4" postgresql://app@db/app
  python -m pgproto trace --file migration.sql service=orders""",
    "decode": """exit status: 0, or 1 if something is malformed

examples:
  python -m pgproto decode --frontend sent.bin --backend received.bin --startup
  echo "51 0000000d 73656c656374203100" | python -m pgproto decode --hex --frontend -""",
    "bench": """examples:
  python -m pgproto bench""",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command, and exit.

    Args:
        argv: its arguments; None for those of the process.
    """
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status.
    """
    given = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a server says may be in any alphabet
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *rest, **more: _say(f"warning: {message}")
            status = _command(given)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ConfigError as error:
        _say(one_line(error))
        return _MISUSED
    except (pgproto.Error, OSError, ValueError) as error:
        _say(one_line(error))
        return _FAILED
    return status


def _say(text: str) -> None:
    print(paint(f"pgproto: {text}", RED, sys.stderr), file=sys.stderr)


def _command(given: argparse.Namespace) -> int:
    if given.command == "ping":
        return ping(_config(given.dsn), as_json=given.json)
    if given.command == "explain-dsn":
        return explain(given.dsn, as_json=given.json, given=given.given)
    if given.command == "trace":
        dsn = given.dsn
        if given.file is None:
            sql = given.sql
        else:  # the text is in the file, so the first argument is the connection string
            sql, dsn = read(given.file).decode(), given.sql
        if sql is None:
            raise ConfigError("trace: there is no SQL: write a text, or --file")
        options = {"extended": given.extended, "times": given.times, "as_json": given.json}
        return trace(_config(dsn), sql, given.arg, **options)
    if given.command == "decode":
        paths = [("F", given.frontend), ("B", given.backend)]
        if given.frontend is given.backend is None:
            raise ConfigError("decode: name the bytes of one side or both: --frontend, --backend")
        found = [(sender, read(path)) for sender, path in paths if path is not None]
        if given.hex:
            found = [(sender, unhex(data)) for sender, data in found]
        return decode(found, startup=given.startup, as_json=given.json)
    return _bench(as_json=given.json)


def _config(dsn: str | None) -> Config:
    config = parse_config(dsn, environ=os.environ, read_file=read_file, os_user=getpass.getuser)
    for text in config.warnings:
        _say(f"warning: {text}")
    return config


def _bench(*, as_json: bool) -> int:
    folder = Path(str(pgproto.__file__)).parents[1] / "benchmarks"
    here = folder if (folder / "README.md").exists() else None
    if as_json:
        show_json({"folder": None if here is None else str(here), "command": "python -m benchmarks"})
    elif here is None:
        print("The benchmarks are in the source of pgproto, in benchmarks/, and not in what is installed.")
        print("From a checkout: python -m benchmarks --help")
    else:
        print(f"The benchmarks are in {here}: README.md there says what they measure.")
        print("From the checkout: python -m benchmarks --help")
    return 0


def _parser() -> argparse.ArgumentParser:
    def new(name: str, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=_EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("--json", action="store_true", help="print JSON")
        return made

    parser = argparse.ArgumentParser(
        prog="python -m pgproto",
        description="Ask PostgreSQL servers, and see what is on the wire.",
        epilog=_EXAMPLES[""],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    command = new("ping", "Ask every host of a connection string what it is.")
    command.add_argument("dsn", nargs="?", help=_DSN)
    command = new("explain-dsn", "Show every option, its value and where that comes from.")
    command.add_argument("dsn", nargs="?", help=_DSN)
    command.add_argument("--given", action="store_true", help="leave out what has its default")
    command = new("trace", "Run SQL, and show each message of the session as PQtrace does.")
    command.add_argument("sql", nargs="?", help="the SQL; not with --file")
    command.add_argument("dsn", nargs="?", help=_DSN)
    command.add_argument("--file", help='read the SQL from this file ("-": the standard input)')
    command.add_argument("--arg", action="append", default=[], help="the value of $1, $2, ..., as a text")
    command.add_argument("--extended", action="store_true", help="prepare it; a value implies that")
    command.add_argument("--times", action="store_true", help="seconds since the beginning before each line")
    command = new("decode", "Show the messages in captured bytes, as PQtrace does.")
    command.add_argument("--frontend", metavar="FILE", help='what the client has sent ("-": standard input)')
    command.add_argument("--backend", metavar="FILE", help="what the server has sent")
    command.add_argument("--startup", action="store_true", help="they begin with the connection")
    command.add_argument("--hex", action="store_true", help="they are hexadecimal digits")
    new("bench", "Say where the benchmarks are.")
    return parser
