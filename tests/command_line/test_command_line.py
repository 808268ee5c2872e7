"""The commands, with real servers and without."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgproto.wire import Query, StartupMessage
from pgproto_cli.commands import run
from pgproto_cli.output import doing, one_line, paint
from tests.support.postgres import PASSWORD, PostgresServer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command without this process's PG variables and files: its status and what it prints."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    def call(*argv: str) -> tuple[int, str, str]:
        try:
            status = run(argv)
        except SystemExit as stop:
            status = int(stop.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# ---- ping


def test_ping_of_several_hosts(cli: Run, pg15: PostgresServer, pg18: PostgresServer) -> None:
    closed = closed_port()
    dsn = f"host=127.0.0.1,127.0.0.1,127.0.0.1 port={closed},{pg15.port},{pg18.port} user=postgres"
    status, out, err = cli("ping", dsn)
    assert (status, err) == (0, "")
    first, second, third = out.splitlines()
    assert first.startswith(f"127.0.0.1:{closed}  no answer  ")
    assert second.startswith(f"127.0.0.1:{pg15.port}  accepts  primary  PostgreSQL 15.")
    assert "protocol 3." in second
    assert "TLSv1.3 TLS_" in second
    assert f"127.0.0.1:{pg18.port}  accepts  primary  PostgreSQL 18." in third
    assert "no TLS" in third
    assert "\x1b" not in out


def test_ping_as_json(cli: Run, pg15: PostgresServer) -> None:
    closed = closed_port()
    dsn = f"host=127.0.0.1,127.0.0.1 port={closed},{pg15.port} user=postgres target_session_attrs=standby"
    status, out, err = cli("ping", "--json", dsn)
    assert (status, err) == (1, "")
    said = json.loads(out)
    assert said["usable"] is False
    assert [host["status"] for host in said["hosts"]] == ["no answer", "accepts"]
    assert said["hosts"][1]["role"] == "primary"
    assert said["hosts"][1]["tls"][0] == "TLSv1.3"
    assert said["hosts"][1]["milliseconds"] > 0
    status, out, _ = cli("ping", dsn)
    assert status == 1
    assert "no host is what target_session_attrs=standby asks for" in out
    for target, expected in (("primary", 0), ("read-write", 0), ("read-only", 1), ("prefer-standby", 0)):
        assert cli("ping", f"{dsn.rpartition('=')[0]}={target}")[0] == expected


def test_ping_of_a_server_that_refuses(cli: Run, pg15: PostgresServer) -> None:
    status, out, _ = cli("ping", pg15.dsn(user="md5_user", password="wrong", sslmode="require"))
    assert status == 1
    assert "  refuses  " in out
    assert "wrong" not in out
    _, out, _ = cli("ping", "--json", pg15.dsn(user="md5_user", password="wrong", sslmode="require"))
    assert json.loads(out)["hosts"][0]["sqlstate"] == "28P01"


# ---- explain-dsn


def test_explain_dsn(cli: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    passfile = tmp_path / ".pgpass"
    passfile.write_text("db:5432:*:app:hush\n")
    passfile.chmod(0o600)
    service = tmp_path / ".pg_service.conf"
    service.write_text("[orders]\nhost=db\nuser=app\n")
    monkeypatch.setenv("PGSERVICE", "orders")
    monkeypatch.setenv("PGAPPNAME", "mine")
    monkeypatch.setenv("PGOPTIONS", "-c app.token=hush")
    status, out, err = cli("explain-dsn", "connect_timeout=3", "--json")
    assert (status, err) == (0, "")
    found = {each["option"]: (each["value"], each["source"]) for each in json.loads(out)["options"]}
    assert found["service"] == ("orders", "the environment: PGSERVICE")
    assert found["application_name"] == ("mine", "the environment: PGAPPNAME")
    assert found["host"] == ("db", "the service file")
    assert found["password"] == ("******", "the password file")
    assert found["options"] == ("******", "the environment: PGOPTIONS")
    assert found["connect_timeout"] == ("3", "the connection string")
    assert found["sslmode"] == ("prefer", "default")
    status, out, _ = cli("explain-dsn", "connect_timeout=3")
    assert "password" in out
    assert "hush" not in out
    passfile.chmod(0o644)
    status, out, _ = cli("explain-dsn")
    assert status == 0
    assert "warning: " in out


def test_explain_a_dsn_that_cannot_be_used(cli: Run) -> None:
    status, out, err = cli("explain-dsn", "user=x sslmode=maybe")
    assert status == 2
    assert "maybe" in out
    assert err.count("\n") == 1
    assert "sslmode" in err
    assert cli("explain-dsn", "nonsense=1")[0] == 2


# ---- trace and decode


def test_trace(cli: Run, pg18: PostgresServer, pg15: PostgresServer, tmp_path: Path) -> None:
    for server in (pg18, pg15):
        status, out, err = cli(
            "trace", "select 'é' as x; select 2", server.dsn(user="postgres", sslmode=None)
        )
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert lines[0].split("\t")[2] == "SSLRequest"
        assert any(line.endswith("Query\t \"select 'é' as x; select 2\"") for line in lines)
        assert lines[-1] == "F\t4\tTerminate"
    dsn = pg18.dsn(sslmode="disable")
    status, out, _ = cli("trace", "--json", "--arg", "7", "select $1::text", dsn)
    messages = [json.loads(line) for line in out.splitlines()]
    assert [each["message"] for each in messages if each["sender"] == "F"][1:] == [
        *("Parse", "Describe", "Sync", "Bind", "Execute", "Sync", "Terminate")
    ]
    path = tmp_path / "one.sql"
    path.write_text("select 5")
    status, out, _ = cli("trace", "--times", "--file", str(path), dsn)
    assert status == 0
    assert out.splitlines()[-1].split("\t", 1)[1] == "F\t4\tTerminate"
    status, out, err = cli("trace", "select 1 / 0", dsn)
    assert status == 1
    assert "22012" in out
    assert err.count("\n") == 1


def test_a_terminal_of_another_alphabet(monkeypatch: pytest.MonkeyPatch, pg18: PostgresServer) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        assert run(("trace", "select 'é', '猫'", pg18.dsn())) == 0
    out.seek(0)
    shown = out.read()
    assert r"\xe9" in shown
    assert r"\u732b" in shown


def test_trace_shows_no_password(cli: Run, pg15: PostgresServer) -> None:
    dsn = pg15.dsn(user="password_user", password=PASSWORD, sslmode="require")
    status, out, err = cli("trace", "select 1", dsn)
    assert (status, err) == (0, "")
    assert PASSWORD not in out
    assert "******" in out


def test_trace_of_a_closed_port(cli: Run) -> None:
    status, out, err = cli("trace", "select 1", f"host=127.0.0.1 port={closed_port()} user=x")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith("pgproto: ")


def test_decode(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(StartupMessage({"user": "u"}).encode() + Query("select 1").encode() + b"X\0\0\0\4")
    status, out, err = cli("decode", "--startup", "--frontend", str(sent))
    assert (status, err) == (0, "")
    assert [line.split("\t")[2] for line in out.splitlines()] == ["StartupMessage", "Query", "Terminate"]
    taken = tmp_path / "taken"
    taken.write_bytes(b"Z\0\0\0\5IZ\0\0\0\5IC\0\0\0\x03")
    status, out, _ = cli("decode", "--backend", str(taken))
    assert status == 1
    assert "at byte 12 of 17" in out.splitlines()[2]
    status, out, _ = cli("decode", "--json", "--frontend", str(sent), "--backend", str(taken), "--startup")
    assert status == 1
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["at"] for each in found[:3]] == [0, 16, 30]
    assert "error" in found[-1]
    bad = tmp_path / "bad"
    bad.write_bytes(b"Z\0\0\0\6IIZ\0\0\0\5I")
    status, out, _ = cli("decode", "--backend", str(bad))
    assert status == 1
    assert "at byte 0 of 13" in out
    assert out.splitlines()[1].startswith("B\t5\tReadyForQuery")
    hexed: Any = io.TextIOWrapper(io.BytesIO(b"0x58 00:00 0004\n"))
    monkeypatch.setattr(sys, "stdin", hexed)
    assert cli("decode", "--hex", "--frontend", "-") == (0, "F\t4\tTerminate\n", "")
    assert cli("decode", "--hex", "--frontend", str(sent))[0] == 1
    assert cli("decode")[0] == 2
    status, out, err = cli("decode", "--frontend", str(tmp_path / "none"))
    assert (status, out, err.count("\n")) == (1, "", 1)


# ---- The rest


def test_bench(cli: Run) -> None:
    status, out, _ = cli("bench")
    assert status == 0
    assert "python -m benchmarks" in out
    assert json.loads(cli("bench", "--json")[1])["command"] == "python -m benchmarks"


def test_help_and_misuse(cli: Run) -> None:
    for command in ("ping", "explain-dsn", "trace", "decode", "bench"):
        status, out, _ = cli(command, "--help")
        assert status == 0
        assert f"python -m pgproto {command}" in out
        assert "examples:" in out
    assert cli("--help")[0] == 0
    for argv in ((), ("nothing",), ("ping", "--no"), ("trace",), ("ping", "sslmode=maybe")):
        status, out, err = cli(*argv)
        assert (status, out) == (2, "")
        assert "Traceback" not in err


def test_interrupts_and_closed_pipes(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pgproto_cli.commands.ping", interrupted)
    assert cli("ping", "user=x") == (130, "", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_and_progress_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("x", "1", terminal) == "\x1b[1mx\x1b[0m"
    assert paint("x", "1", io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "1", terminal) == "x"
    monkeypatch.setattr(sys, "stderr", terminal)
    with doing("working"):
        assert terminal.getvalue() == "working"
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert one_line(ValueError("a\n  b\x1b[0m")) == "a b?[0m"
    assert one_line(ValueError()) == "ValueError"
