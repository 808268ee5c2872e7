"""The table of connection options with their effective values."""

from __future__ import annotations

import pytest

from pgproto.config import OPTIONS, ConninfoOption, FileText, conninfo_options
from pgproto.errors import MASK, ConfigError


def in_use(options: list[ConninfoOption]) -> dict[str, str]:
    return {option.keyword: option.value for option in options if option.value != option.default}


def test_without_anything_they_are_the_defaults() -> None:
    table = conninfo_options()
    assert [option.keyword for option in table] == list(OPTIONS)
    assert in_use(table) == {}
    assert {option.origin for option in table} == {""}
    port = next(option for option in table if option.keyword == "port")
    assert port == ConninfoOption("port", "PGPORT", "5432", "5432", "", False)


def test_each_is_what_is_in_use_and_says_why() -> None:
    table = conninfo_options(
        "host=a,b password=hush service=s sslrootcert=system",
        environ={"PGPORT": "1", "PGHOST": "c", "PGDATABASE": "", "PGSERVICEFILE": "/services"},
        read_file=lambda path: FileText("[s]\nport=7\nsslcert=x\n") if path == "/services" else None,
        os_user=lambda: "me",
        connect_timeout=None,
        application_name="",
    )
    assert in_use(table) == {
        "service": "s",
        "servicefile": "/services",
        "host": "a,b",
        "port": "7",
        "dbname": "me",
        "user": "me",
        "password": MASK,
        "connect_timeout": "0",
        "sslmode": "verify-full",
        "sslrootcert": "system",
        "sslcert": "x",
    }
    origins = {option.keyword: option.origin for option in table if option.origin}
    assert origins == {
        "service": "the connection string",
        "servicefile": "the environment",
        "host": "the connection string",
        "port": "the service file",
        "password": "the connection string",
        "connect_timeout": "a keyword argument",
        "sslrootcert": "the connection string",
        "sslcert": "the service file",
    }
    assert [option.keyword for option in table if option.secret] == ["password", "sslpassword"]
    assert "hush" not in repr(table)


def test_a_user_that_is_not_known_is_none() -> None:
    def unknown() -> str:
        raise KeyError

    assert in_use(conninfo_options(os_user=unknown)) == {}
    assert in_use(conninfo_options("user=u", os_user=unknown)) == {"user": "u", "dbname": "u"}


def test_a_wrong_text_is_refused_and_a_wrong_value_is_shown() -> None:
    assert in_use(conninfo_options("port=x")) == {"port": "x"}
    with pytest.raises(ConfigError, match="did you mean 'port'"):
        conninfo_options("prot=1")
