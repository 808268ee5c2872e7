"""Keywords, connection string, service file, environment: which one wins, and which values count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgproto.config import (
    OPTIONS,
    Config,
    ConnectOptions,
    FileText,
    Host,
    Secret,
    TLSOptions,
    parse_config,
)
from pgproto.config.config import PROTOCOL_VERSIONS
from pgproto.config.options import UNSUPPORTED
from pgproto.errors import ConfigError


def files(**texts: str) -> Callable[[str], FileText | None]:
    """A reader of files that are private; `__` in a name stands for `/`, `_` for `.`."""
    known = {"/" + name.replace("__", "/").replace("_", "."): FileText(text) for name, text in texts.items()}
    return known.get


def refuse_to_read(path: str) -> FileText | None:
    pytest.fail(f"{path} was read")


def error_of(dsn: str | None = None, **options: Any) -> str:
    options.setdefault("user", "u")
    with pytest.raises(ConfigError) as caught:
        parse_config(dsn, **options)
    return str(caught.value)


def hosts_of(dsn: str, **environ: str) -> list[tuple[str, str, int]]:
    config = parse_config(dsn, user="u", environ=environ)
    return [(host.host, host.hostaddr, host.port) for host in config.hosts]


# --- defaults ----------------------------------------------------------------------------------------


def test_the_defaults() -> None:
    assert parse_config(user="u") == Config(user="u", database="u")
    config = parse_config(user="u")
    assert config.hosts == (Host("localhost", "", 5432),)
    assert (config.connect_timeout, config.command_timeout) == (10, 300)
    assert config.tls == TLSOptions(sslmode="prefer", ssl_min_protocol_version="TLSv1.2")
    assert (config.min_protocol_version, config.max_protocol_version) == (0x30000, 0x30002)
    assert config.max_message_size == 0x3FFFFFFE
    assert config.password is None
    assert config.warnings == ()


def test_an_empty_text_is_the_default() -> None:
    defaults = parse_config(user="u")
    empty: dict[str, Any] = {name: "" for name in OPTIONS if name != "user"}
    assert parse_config(user="u", **empty) == defaults
    variables = {option.variable: "" for option in OPTIONS.values()}
    assert parse_config(user="u", environ={**variables, "PGREQUIRESSL": ""}) == defaults


def test_every_option_in_every_place() -> None:
    dsn = (
        "host=h hostaddr=1.2.3.4 port=1 dbname=d user=u password=p connect_timeout=3 client_encoding=UTF-8"
        " options='-c a=b' application_name=app keepalives=0 keepalives_idle=1 keepalives_interval=2"
        " keepalives_count=3 tcp_user_timeout=4 sslmode=verify-full sslnegotiation=direct sslrootcert=r"
        " sslcert=c sslkey=k sslpassword=s sslcrl=l sslcrldir=m ssl_min_protocol_version=tlsv1.1"
        " ssl_max_protocol_version=TLSV1.3 requirepeer=postgres require_auth=md5,scram-sha-256"
        " channel_binding=require target_session_attrs=standby load_balance_hosts=random"
        " min_protocol_version=3.0 max_protocol_version=3.2 gssencmode=prefer replication=database"
        " command_timeout=1.5 statement_cache_size=0 statement_mode=exec max_message_size=100000 sslsni=1"
    )
    expected = Config(
        user="u",
        database="d",
        hosts=(Host("h", "1.2.3.4", 1),),
        password=Secret("p"),
        application_name="app",
        options="-c a=b",
        replication="database",
        connect_timeout=3,
        command_timeout=1.5,
        tls=TLSOptions(
            sslmode="verify-full",
            sslnegotiation="direct",
            sslrootcert="r",
            sslcert="c",
            sslkey="k",
            sslpassword=Secret("s"),
            sslcrl="l",
            sslcrldir="m",
            ssl_min_protocol_version="TLSv1.1",
            ssl_max_protocol_version="TLSv1.3",
        ),
        require_auth="md5,scram-sha-256",
        channel_binding="require",
        requirepeer="postgres",
        target_session_attrs="standby",
        load_balance_hosts="random",
        keepalives=False,
        keepalives_idle=1,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=4,
        tcp_user_timeout_given=True,
        statement_cache_size=0,
        statement_mode="exec",
        max_message_size=100000,
    )
    assert parse_config(dsn) == expected
    pairs = [pair.split("=", 1) for pair in dsn.replace("'-c a=b'", "-c_a=b").split()]
    keywords: dict[str, Any] = {
        name: value.replace("_", " ", 1) if name == "options" else value for name, value in pairs
    }
    assert parse_config(**keywords) == expected
    service = "[s]\n" + "\n".join(f"{name}={value}" for name, value in keywords.items())
    assert parse_config("service=s servicefile=/f", read_file=files(f=service)) == expected
    by_variable = {OPTIONS[name].variable: str(value) for name, value in keywords.items()}
    by_variable.pop("")
    rest = {name: value for name, value in keywords.items() if not OPTIONS[name].variable}
    assert parse_config(environ=by_variable, **rest) == expected


# --- precedence --------------------------------------------------------------------------------------


def test_the_first_layer_that_has_an_option_wins() -> None:
    reader = files(s="[s]\nuser=service\nport=3\ndbname=service\napplication_name=service")
    environ = {
        "PGSERVICEFILE": "/s",
        "PGSERVICE": "s",
        "PGUSER": "env",
        "PGPORT": "4",
        "PGDATABASE": "env",
        "PGAPPNAME": "env",
        "PGHOST": "env",
    }
    config = parse_config("user=dsn port=2", environ=environ, read_file=reader, user="keyword")
    assert (config.user, config.hosts[0].port) == ("keyword", 2)
    assert (config.database, config.application_name, config.hosts[0].host) == ("service", "service", "env")


@pytest.mark.parametrize("dsn", ["postgresql://h1,h2/", "host=h1,h2 port=,", "host=h1,h2 port="])
def test_an_empty_port_hides_the_environment(dsn: str) -> None:
    assert hosts_of(dsn, PGPORT="5433") == [("h1", "", 5432), ("h2", "", 5432)]


def test_one_port_of_the_environment_is_for_all_hosts() -> None:
    assert hosts_of("host=h1,h2", PGPORT="5433") == [("h1", "", 5433), ("h2", "", 5433)]


def test_the_old_variable_for_tls() -> None:
    assert parse_config(user="u", environ={"PGREQUIRESSL": "1"}).tls.sslmode == "require"
    assert parse_config(user="u", environ={"PGREQUIRESSL": "0"}).tls.sslmode == "prefer"
    both = {"PGREQUIRESSL": "1", "PGSSLMODE": "allow"}
    assert parse_config(user="u", environ=both).tls.sslmode == "allow"


def test_the_fallback_name_is_used_if_no_layer_has_one() -> None:
    assert parse_config("fallback_application_name=f", user="u").application_name == "f"
    environ = {"PGAPPNAME": "env"}
    assert parse_config("fallback_application_name=f", user="u", environ=environ).application_name == "env"


def test_keyword_arguments_can_be_values() -> None:
    config = parse_config(
        user="u",
        host=["a", "b"],
        port=[1, 2],
        hostaddr=("", "::1"),
        password=Secret("p"),
        keepalives=False,
        statement_mode="cache_statement",
        connect_timeout=0.25,
        require_auth=["!md5", "!password"],
        statement_cache_size=5,
        application_name=None,
    )
    assert config.hosts == (Host("a", "", 1), Host("b", "::1", 2))
    assert config.password == Secret("p")
    assert (config.keepalives, config.statement_mode) == (False, "cache_statement")
    assert (config.connect_timeout, config.statement_cache_size) == (0.25, 5)
    assert config.require_auth == "!md5,!password"


@pytest.mark.parametrize("value", [None, 0, -1, "0", "-1", 0.0])
def test_no_time_limit(value: float | str | None) -> None:
    config = parse_config("connect_timeout=7", user="u", connect_timeout=value, command_timeout=value)
    assert config.connect_timeout is None
    assert config.command_timeout is None


# --- untrusted connection strings --------------------------------------------------------------------


ALLOWED = ("host", "dbname", "sslmode")


@pytest.mark.parametrize(
    "dsn",
    [
        "passfile=/etc/passwd",
        "service=s",
        "sslkey=/k",
        "postgresql://u@h/",
        "postgresql://u:p@h/",
        "postgresql://h:1/",
        "postgresql://h1,h2:1/",
        "host=h options='-c x=y'",
    ],
)
def test_only_the_allowed_options_are_taken_before_any_file_is_read(dsn: str) -> None:
    environ = {"HOME": "/h", "PGSERVICE": "s"}
    with pytest.raises(ConfigError, match=r"^connection string: the option '.*' is not allowed here$"):
        parse_config(dsn, user="u", environ=environ, read_file=refuse_to_read, allowed_keys=ALLOWED)


@pytest.mark.parametrize(
    "dsn", ["postgresql://h1,h2/d", "postgresql://h/?ssl=true", "host=h sslmode=require"]
)
def test_the_allowed_options_are_taken(dsn: str) -> None:
    config = parse_config(dsn, user="u", password="p", allowed_keys=ALLOWED)
    assert config.hosts[0].host.startswith("h")


def test_a_list_of_allowed_options_that_is_none() -> None:
    with pytest.raises(ConfigError, match="expected a collection"):
        parse_config(user="u", allowed_keys="host")
    with pytest.raises(ConfigError, match="allowed_keys: unknown option 'hots'"):
        parse_config(user="u", allowed_keys=["hots"])


# --- values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sslmode": "x"}, "sslmode (from a keyword argument): expected one of disable, allow, prefer,"),
        (
            {"sslnegotiation": "x"},
            "sslnegotiation (from a keyword argument): expected one of postgres, direct",
        ),
        ({"sslcertmode": "require"}, "sslcertmode (from a keyword argument): expected one of disable, allow"),
        ({"sslsni": "2"}, "sslsni (from a keyword argument): expected 1 or 0"),
        (
            {"ssl_min_protocol_version": "SSLv3"},
            "ssl_min_protocol_version (from a keyword argument): expected",
        ),
        ({"channel_binding": "maybe"}, "channel_binding"),
        ({"target_session_attrs": "fast"}, "target_session_attrs"),
        ({"load_balance_hosts": "1"}, "load_balance_hosts"),
        ({"gssencmode": "require"}, "gssencmode"),
        ({"replication": "maybe"}, "replication (from a keyword argument): expected one of 1, true,"),
        ({"client_encoding": "LATIN1"}, "client_encoding (from a keyword argument): must be UTF8"),
        (
            {"connect_timeout": "soon"},
            "connect_timeout (from a keyword argument): expected a number of seconds",
        ),
        ({"command_timeout": float("inf")}, "command_timeout"),
        ({"command_timeout": float("nan")}, "command_timeout"),
        ({"keepalives": "2"}, "keepalives"),
        ({"keepalives_idle": "1.5"}, "keepalives_idle"),
        ({"statement_cache_size": -1}, "statement_cache_size"),
        ({"max_message_size": 2**31}, "max_message_size"),
        ({"max_message_size": 1023}, "max_message_size"),
        ({"host": b"h"}, "host: expected text or a number, not bytes"),
        ({"user": ["a"]}, "user: expected text or a number, not list"),
        ({"host": "a\0b"}, "host: contains a NUL character"),
        ({"password": "a\0b"}, "password: contains a NUL character"),
        ({"password": "\udc80"}, "password: contains a character that UTF-8 cannot express"),
        ({"hots": "x"}, "keyword arguments: unknown option 'hots'; did you mean 'host'?"),
        ({"search_path": "x"}, "belong into server_settings or options"),
    ],
)
def test_a_value_that_cannot_be_used(options: dict[str, Any], text: str) -> None:
    assert text in error_of(**options)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_what_is_not_supported_is_refused(name: str) -> None:
    assert f"{name} is not supported: {UNSUPPORTED[name]}" in error_of(**{name: "x"})


def test_the_error_names_the_environment_variable() -> None:
    with pytest.raises(ConfigError, match=r"^port \(from the environment variable PGPORT\): expected"):
        parse_config(user="u", environ={"PGPORT": "x"})
    with pytest.raises(ConfigError, match=r"^the environment variable PGUSER: contains a char"):
        parse_config(environ={"PGUSER": "\udc80"})


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ("", "", ("3.0", "3.2")),
        ("3.0", "3.0", ("3.0", "3.0")),
        ("3.2", "", ("3.2", "3.2")),
        ("3.2", "3.2", ("3.2", "3.2")),
        ("latest", "latest", ("3.2", "3.2")),
        ("latest", "3.2", ("3.2", "3.2")),
        ("3.2", "latest", ("3.2", "3.2")),
        ("", "3.0", ("3.0", "3.0")),
        ("3.0", "latest", ("3.0", "3.2")),
        ("3.2", "3.0", None),
        ("latest", "3.0", None),
        ("3.1", "", None),
        ("", "3.1", None),
        ("", "3", None),
        ("2.0", "", None),
        ("", "Latest", None),
    ],
)
def test_protocol_versions(low: str, high: str, expected: tuple[str, str] | None) -> None:
    dsn = f"user=u min_protocol_version='{low}' max_protocol_version='{high}'"
    if expected is None:
        with pytest.raises(ConfigError, match="_protocol_version"):
            parse_config(dsn)
    else:
        config = parse_config(dsn)
        found = (config.min_protocol_version, config.max_protocol_version)
        assert found == tuple(PROTOCOL_VERSIONS[name] for name in expected)


@pytest.mark.parametrize(
    "text", ["", "md5", "none", "!none", "password,md5,gss,sspi,scram-sha-256,oauth,none"]
)
def test_require_auth(text: str) -> None:
    assert parse_config(user="u", require_auth=text).require_auth == text


def test_the_keyword_arguments_are_typed() -> None:
    assert set(ConnectOptions.__annotations__) == {*OPTIONS, "ssl"}


def test_a_config_is_taken_as_it_is() -> None:
    config = parse_config("postgresql://me@here/there", command_timeout=3)
    assert parse_config(config) is config
    assert parse_config(config, environ={"PGHOST": "elsewhere"}) is config
    with pytest.raises(ConfigError, match=r"takes no options: change it with Config\.replace\(\)"):
        parse_config(config, port=1)
    with pytest.raises(ConfigError, match="takes no options"):
        parse_config(config, server_settings={})


def test_a_config_never_has_another_encoding() -> None:
    config = parse_config("postgresql://me@here/there")
    for name in ("client_encoding", "Client_Encoding"):
        with pytest.raises(ConfigError, match="client_encoding is always UTF8"):
            config.replace(server_settings={name: "LATIN1"})
        with pytest.raises(ConfigError, match="client_encoding is always UTF8"):
            parse_config("postgresql://me@here/there", server_settings={name: "LATIN1"})
