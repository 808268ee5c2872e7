"""`ping`: every host of a connection string is asked by itself."""

from __future__ import annotations

import time
from typing import TypedDict

from pgproto import ConnectError, PostgresError
from pgproto.client.blocking import Connection
from pgproto.config import Config, Host
from pgproto.wire.tags import version

from .opening import connect
from .output import BOLD, GREEN, RED, doing, one_line, paint, show_json

__all__ = ["ping"]

# SQLSTATEs of servers that are there and take no session now: starting up or shutting down, full.
_NOT_NOW = ("57P0", "53300")


class Answer(TypedDict):
    """What a host has said.  A text is empty, and `tls` None, if it is not known."""

    host: str
    status: str
    role: str
    server_version: str
    protocol: str
    tls: list[str] | None
    milliseconds: float
    sqlstate: str
    error: str


def ping(config: Config, *, as_json: bool) -> int:
    """Ask all hosts, and print what each says.

    Returns:
        The exit status: 0 if one of them is what `target_session_attrs` asks for.
    """
    answers: list[Answer] = []
    for host in config.hosts:
        with doing(f"connecting to {host} ..."):
            answer = _ask(config, host)
        answers.append(answer)
        if not as_json:
            _show(answer)
    usable = any(_fits(answer, config.target_session_attrs) for answer in answers)
    if as_json:
        show_json({"target_session_attrs": config.target_session_attrs, "usable": usable, "hosts": answers})
    elif not usable and any(answer["status"] == "accepts" for answer in answers):
        print(paint(f"no host is what target_session_attrs={config.target_session_attrs} asks for", RED))
    return 0 if usable else 1


def _ask(config: Config, host: Host) -> Answer:
    answer = Answer(
        host=str(host),
        status="accepts",
        role="",
        server_version="",
        protocol="",
        tls=None,
        milliseconds=0.0,
        sqlstate="",
        error="",
    )
    begun = time.perf_counter()
    try:
        with connect(config.replace(hosts=(host,), target_session_attrs="any")) as conn:
            answer["milliseconds"] = round((time.perf_counter() - begun) * 1000, 1)
            _describe(conn, answer)
    except ConnectError as error:
        answer["milliseconds"] = round((time.perf_counter() - begun) * 1000, 1)
        said = _said(error)
        answer["error"] = one_line(said or (error.errors[0] if error.errors else error))
        answer["sqlstate"] = "" if said is None else said.sqlstate
        if said is None:
            answer["status"] = "no answer"
        else:
            answer["status"] = "not now" if said.sqlstate.startswith(_NOT_NOW) else "refuses"
    return answer


def _describe(conn: Connection, answer: Answer) -> None:
    engine = conn.engine
    answer["server_version"] = conn.parameters.get("server_version", "")
    answer["protocol"] = version(engine.connection.protocol)
    tls = engine.channel.tls
    if tls is not None:
        answer["tls"] = [tls.version() or "", tls.cipher() or ""]
    standby = conn.parameters.get("in_hot_standby")
    if standby is None:  # servers before 14, and poolers
        standby = "on" if conn.fetchval("select pg_catalog.pg_is_in_recovery()") else "off"
    read_only = conn.parameters.get("default_transaction_read_only") == "on"
    answer["role"] = "standby" if standby == "on" else "primary, read-only" if read_only else "primary"


def _said(error: BaseException) -> PostgresError | None:
    """The server's own error in an error, its causes and attempts."""
    if isinstance(error, PostgresError):
        return error
    inner = [*getattr(error, "errors", ()), *([error.__cause__] if error.__cause__ else [])]
    found = [said for each in inner if (said := _said(each)) is not None]
    return found[0] if found else None


def _fits(answer: Answer, target: str) -> bool:
    if answer["status"] != "accepts":
        return False
    if target in ("any", "prefer-standby"):
        return True
    if target == "standby":
        return answer["role"] == "standby"
    if target == "primary":
        return answer["role"].startswith("primary")
    return (answer["role"] == "primary") == (target == "read-write")


def _show(answer: Answer) -> None:
    good = answer["status"] == "accepts"
    head = f"{paint(answer['host'], BOLD)}  {paint(answer['status'], GREEN if good else RED)}"
    time_taken = f"{answer['milliseconds']:.1f} ms"
    if good:
        tls = answer["tls"]
        encryption = "no TLS" if tls is None else " ".join(tls)
        server = f"PostgreSQL {answer['server_version']}"
        print(
            "  ".join(
                [head, answer["role"], server, f"protocol {answer['protocol']}", encryption, time_taken]
            )
        )
    else:
        print("  ".join([head, time_taken, answer["error"]]))
