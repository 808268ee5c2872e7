"""Hosts, TLS policy, StartupMessage, and the immutable Config that has them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from pgproto.config import (
    OPTIONS,
    Config,
    FileText,
    Host,
    Secret,
    TLSOptions,
    parse_config,
)
from pgproto.errors import ConfigError


def refuse_to_read(path: str) -> FileText | None:
    pytest.fail(f"{path} was read")


def hosts_of(dsn: str, **environ: str) -> list[tuple[str, str, int]]:
    config = parse_config(dsn, user="u", environ=environ)
    return [(host.host, host.hostaddr, host.port) for host in config.hosts]


def error_of(dsn: str | None = None, **options: Any) -> str:
    options.setdefault("user", "u")
    with pytest.raises(ConfigError) as caught:
        parse_config(dsn, **options)
    return str(caught.value)


# --- hosts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("host=a,b port=1,2", [("a", "", 1), ("b", "", 2)]),
        ("host=a,b port=1", [("a", "", 1), ("b", "", 1)]),
        ("host=a,,b", [("a", "", 5432), ("localhost", "", 5432), ("b", "", 5432)]),
        ("host=a,b port=,7", [("a", "", 5432), ("b", "", 7)]),
        ("host=a port=' 7 '", [("a", "", 7)]),
        ("hostaddr=::1,127.0.0.1", [("", "::1", 5432), ("", "127.0.0.1", 5432)]),
        ("hostaddr=,127.0.0.1", [("localhost", "", 5432), ("", "127.0.0.1", 5432)]),
        ("host=a,b hostaddr=1.1.1.1,", [("a", "1.1.1.1", 5432), ("b", "", 5432)]),
        ("hostaddr=fe80::1%eth0", [("", "fe80::1%eth0", 5432)]),
        ("postgresql://[::1]:1,h:2,:3/", [("::1", "", 1), ("h", "", 2), ("localhost", "", 3)]),
        ("postgresql://%2Ftmp:7/", [("/tmp", "", 7)]),
        ("postgresql:///?host=/tmp,h&port=1,2", [("/tmp", "", 1), ("h", "", 2)]),
    ],
)
def test_hosts_addresses_and_ports_are_aligned(dsn: str, expected: list[tuple[str, str, int]]) -> None:
    assert hosts_of(dsn) == expected


@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        ("host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"),
        ("host=a port=1,2", "could not match 2 port numbers to 1 hosts"),
        ("host=a,b hostaddr=1.1.1.1", "could not match 2 host names to 1 hostaddr values"),
        ("hostaddr=localhost", "hostaddr (from the connection string): expected an IP address"),
        ("port=0", "port (from the connection string): expected a whole number from 1 to 65535"),
        ("port=65536", "port"),
        ("port=1x", "port"),
        ("port=-1", "port"),
        ("port=99999999999999999999", "port"),
        ("port=٣", "port"),
        ("host=a,b port=1,x", "port"),
    ],
)
def test_hosts_that_cannot_be(dsn: str, text: str) -> None:
    assert text in error_of(dsn)


def test_a_unix_socket() -> None:
    host = Host("/run/pg", port=7)
    assert host.is_unix
    assert host.unix_path == str(host) == "/run/pg/.s.PGSQL.7"
    abstract = Host("@pg")
    assert abstract.is_unix
    assert abstract.unix_path == "\0pg/.s.PGSQL.5432"
    assert str(abstract) == "@pg/.s.PGSQL.5432"


def test_a_tcp_host() -> None:
    assert Host("h").unix_path == ""
    assert Host("h").address == "h"
    assert Host("/h", "1.1.1.1").address == "1.1.1.1"
    assert not Host("/h", "1.1.1.1").is_unix
    names = [str(host) for host in (Host("h"), Host("::1", port=1), Host("", "1.1.1.1"), Host("h", "::1"))]
    assert names == ["h:5432", "[::1]:1", "1.1.1.1:5432", "h:5432"]


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        ("sslnegotiation=direct", 'sslmode "prefer" is too weak for sslnegotiation=direct'),
        ("sslnegotiation=direct sslmode=disable", 'sslmode "disable" is too weak'),
        ("sslrootcert=system sslmode=verify-ca", 'sslmode "verify-ca" is too weak for sslrootcert=system'),
        ("sslmode=verify-ca", "verify-ca needs sslrootcert"),
        ("sslmode=verify-full", "verify-full needs sslrootcert"),
        ("sslmode=verify-full sslrootcert=r hostaddr=::1", "verify-full needs the name of each host"),
        (
            "sslmode=verify-full sslrootcert=r sslsni=0",
            "sslsni=0 cannot be combined with sslmode=verify-full",
        ),
        (
            "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
            "ssl_min_protocol_version is greater than ssl_max_protocol_version",
        ),
    ],
)
def test_a_tls_policy_that_cannot_be(dsn: str, text: str) -> None:
    assert text in error_of(dsn)


def test_the_systems_authorities_verify_the_name() -> None:
    assert parse_config("sslrootcert=system", user="u").tls.sslmode == "verify-full"
    assert parse_config("sslrootcert=system sslmode=disable", user="u").tls.sslmode == "disable"


def test_the_defaults_in_the_home_directory() -> None:
    present = {f"/h/.postgresql/{name}": FileText("") for name in ("root.crt", "root.crl", "postgresql.crt")}
    environ = {"HOME": "/h"}
    tls = parse_config(user="u", environ=environ, read_file=present.get).tls
    assert (tls.sslrootcert, tls.sslcrl) == ("/h/.postgresql/root.crt", "/h/.postgresql/root.crl")
    assert (tls.sslcert, tls.sslkey) == ("/h/.postgresql/postgresql.crt", None)
    assert tls.verifies
    present["/h/.postgresql/postgresql.key"] = FileText("")
    tls = parse_config(user="u", environ=environ, read_file=present.get).tls
    assert tls.sslkey == "/h/.postgresql/postgresql.key"
    tls = parse_config("sslcertmode=disable", user="u", environ=environ, read_file=present.get).tls
    assert (tls.sslcert, tls.sslkey) == (None, None)
    tls = parse_config(
        "sslrootcert=r sslcert=c sslkey=k", user="u", environ=environ, read_file=present.get
    ).tls
    assert (tls.sslrootcert, tls.sslcert, tls.sslkey) == ("r", "c", "k")
    assert parse_config(user="u", environ=environ).tls == TLSOptions()


@pytest.mark.parametrize("dsn", ["sslmode=disable", "host=/tmp", "host=/tmp,@x sslmode=verify-full"])
def test_nothing_is_looked_for_where_tls_is_not_used(dsn: str) -> None:
    config = parse_config(dsn, user="u", password="p", environ={"HOME": "/h"}, read_file=refuse_to_read)
    assert [config.tls_for(host) for host in config.hosts] == [None] * len(config.hosts)


def test_a_unix_socket_has_no_tls_and_its_neighbour_has() -> None:
    config = parse_config("host=/tmp,h sslmode=require", user="u")
    assert [config.tls_for(host) for host in config.hosts] == [None, config.tls]


@pytest.mark.parametrize(
    ("file", "usable"),
    [
        (FileText("", 0o600, uid=5), True),
        (FileText("", 0o640, uid=0), True),
        (FileText("", 0o640, uid=5), False),
        (FileText("", 0o604, uid=0), False),
        (FileText("", 0o600, is_regular=False), False),
        (None, True),  # it cannot be read: the context says so
    ],
)
def test_the_key_is_private(file: FileText | None, usable: bool) -> None:
    def read(path: str) -> FileText | None:
        return file if path == "/k" else None

    if usable:
        assert parse_config("sslcert=/c sslkey=/k", user="u", read_file=read).tls.sslkey == "/k"
    else:
        with pytest.raises(ConfigError, match="sslkey: file '/k' must be a plain file with permissions"):
            parse_config("sslcert=/c sslkey=/k", user="u", read_file=read)


def test_the_server_name() -> None:
    assert TLSOptions().server_hostname(Host("h", "::1")) == "h"
    assert TLSOptions().server_hostname(Host("", "::1")) is None
    assert TLSOptions(sslsni=False).server_hostname(Host("h")) is None


@pytest.mark.parametrize(
    ("options", "verifies"),
    [
        (TLSOptions("require"), False),
        (TLSOptions("require", sslrootcert="r"), True),
        (TLSOptions("prefer", sslrootcert="r"), True),
        (TLSOptions("verify-ca"), True),
        (TLSOptions("verify-full"), True),
    ],
)
def test_an_authority_that_is_given_is_used(options: TLSOptions, verifies: bool) -> None:
    assert options.verifies is verifies


# --- StartupMessage ----------------------------------------------------------------------------------


def test_the_startup_parameters() -> None:
    assert parse_config(user="u").startup_parameters() == {
        "user": "u",
        "database": "u",
        "client_encoding": "UTF8",
    }
    config = parse_config(
        "dbname=d application_name=a options='-c x=y' replication=true",
        user="u",
        environ={"PGTZ": "UTC", "PGDATESTYLE": "ISO", "PGGEQO": "Default"},
        server_settings={"search_path": "a,b", "DateStyle": "German"},
    )
    parameters = config.startup_parameters()
    assert list(parameters.items()) == [
        ("user", "u"),
        ("database", "d"),
        ("replication", "true"),
        ("options", "-c x=y"),
        ("application_name", "a"),
        ("client_encoding", "UTF8"),
        ("timezone", "UTC"),
        ("search_path", "a,b"),
        ("DateStyle", "German"),
    ]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"": "x"}, "'' is not a run-time parameter"),
        ({"user": "x"}, "'user' is not a run-time parameter"),
        ({"Database": "x"}, "'Database' is not a run-time parameter"),
        ({"_pq_.x": "x"}, "'_pq_.x' is not a run-time parameter"),
        ({"x": 1}, "x: expected text"),
        ({1: "x"}, "server_settings: a name must be text, not int"),
        (5, "server_settings: expected a mapping of names to texts, not int"),
        ([("x", "y")], "server_settings: expected a mapping of names to texts, not list"),
        ("", "server_settings: expected a mapping of names to texts, not str"),
        ({"client_encoding": "UTF8"}, "client_encoding is always UTF8"),
        ({"x": "a\0user\0admin"}, "server_settings: x: contains a NUL character"),
        ({"x\0user": "admin"}, "server_settings: contains a NUL character"),
    ],
)
def test_server_settings_that_cannot_be(settings: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(user="u", server_settings=settings)
    assert text in str(caught.value)


def test_an_option_of_a_type_that_cannot_be() -> None:
    """Each of them: an error of its own, which names it."""
    for name in OPTIONS:
        for value in (object(), b"x", {}, {1}, 10**5000):
            options: Any = {name: value}
            with pytest.raises(ConfigError, match=name):
                parse_config(user="u", **options) if name != "user" else parse_config(**options)


# --- the Config itself -------------------------------------------------------------------------------


FULL = "postgresql://app:Zanzibar@h1:1,[::1]/d?sslpassword=Zanzibar"


def test_a_config_shows_no_secret() -> None:
    config = parse_config(FULL)
    assert repr(config) == "Config(hosts='h1:1,[::1]:5432', database='d', user='app')"
    assert "Zanzibar" not in f"{config} {config.tls} {dataclasses.asdict(config)}"
    for each in (config, config.tls):
        with pytest.raises(TypeError):
            pickle.dumps(each)
    public = Config(user="u")
    assert pickle.loads(pickle.dumps(public)) == public


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("value", ["Zanzibar", "Zanzibar\0", ["Zanzibar"], b"Zanzibar"])
def test_no_error_shows_a_value(name: str, value: Any) -> None:
    options: dict[str, Any] = {"user": "u", "password": "Zanzibar", name: value}
    try:
        config = parse_config(read_file=lambda path: None, **options)
    except ConfigError as error:
        shown = "".join(traceback.format_exception_only(error))
        chained = error.__context__
    else:
        shown, chained = repr(config.password) + repr(config.tls.sslpassword), None
    assert chained is None
    if name not in ("service", "servicefile"):  # their names are in the error, and are no secrets
        assert "Zanzibar" not in shown


@pytest.mark.parametrize("dsn", ["postgresql://u:Zan/zibar", "postgresql://u:1,2:Zan/"])
def test_a_password_taken_for_a_port_is_not_shown(dsn: str) -> None:
    assert "Zan" not in error_of(dsn)


def test_a_config_cannot_be_changed() -> None:
    config = parse_config(FULL)
    for target in (config, config.tls, config.hosts[0]):
        for field in dataclasses.fields(target):
            with pytest.raises(AttributeError):
                setattr(target, field.name, None)
        assert not hasattr(target, "__dict__")


def test_a_config_is_a_value() -> None:
    config = parse_config(FULL)
    assert config == parse_config(FULL)
    assert hash(config) == hash(parse_config(FULL))
    assert config != parse_config(FULL.replace("Zanzibar@", "other@"))
    assert copy.deepcopy(config) == config
    assert copy.copy(config) == config


def test_a_copy_with_other_values() -> None:
    config = parse_config(FULL)
    other = config.replace(
        hosts=(Host("x"),), password="p", command_timeout=None, server_settings={"a": "b"}, database=""
    )
    assert other.hosts == (Host("x"),)
    assert other.password == Secret("p")
    assert other.command_timeout is None
    assert other.startup_parameters()["database"] == "app"
    assert other.startup_parameters()["a"] == "b"
    assert repr(other) == "Config(hosts='x:5432', database='app', user='app')"
    assert config == parse_config(FULL)
    assert config.replace(password=None).password is None
    assert config.replace(password="").password is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hots": ()}, "Config.replace: unknown option 'hots'; did you mean 'hosts'?"),
        ({"hosts": ()}, "host: at least one is needed"),
        ({"user": ""}, "user: must not be empty"),
        ({"user": "a\0"}, "user: contains a NUL"),
        ({"password": "a\0"}, "password: contains a NUL"),
        ({"hosts": (Host("h", port=0),)}, "port: expected a number"),
        ({"hosts": (Host("h\0"),)}, "host: contains a NUL"),
        ({"hosts": (Host("h", "\0"),)}, "hostaddr: contains a NUL"),
        ({"channel_binding": "x"}, "channel_binding: expected one of disable, prefer, require"),
        ({"require_auth": "x"}, "require_auth: expected"),
        ({"min_protocol_version": 0x30003}, "min_protocol_version is greater"),
    ],
)
def test_a_copy_is_checked(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(user="u").replace(**changes)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TLSOptions(sslmode="x"),
        lambda: TLSOptions(sslnegotiation="x"),
        lambda: TLSOptions(ssl_min_protocol_version="x"),
        lambda: TLSOptions(ssl_max_protocol_version="x"),
    ],
)
def test_tls_options_are_checked(make: Callable[[], TLSOptions]) -> None:
    with pytest.raises(ConfigError, match="expected one of"):
        make()


def test_a_connection_string_is_text() -> None:
    dsn: object = b"user=u"
    with pytest.raises(ConfigError, match="connection string: expected text"):
        parse_config(dsn)  # type: ignore[arg-type]
