"""`ssl=`: a context of the caller's instead of what sslmode and the files say."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from pgproto import ConfigError, parse_config
from pgproto.config import Config, Host, TLSOptions
from pgproto.protocol.tls import make_context


def context(*, verify: bool = True, names: bool = True) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = names
    made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    return made


CHECKS, TRUSTS, TAKES_ALL = context(), context(names=False), context(verify=False, names=False)


def test_it_is_used_as_it_is_and_never_without_tls() -> None:
    config = parse_config("host=db user=u", ssl=CHECKS)
    assert config.tls.sslmode == "require"
    assert make_context(config.tls) is CHECKS
    assert config.tls.verifies
    assert not parse_config("host=db user=u", ssl=TAKES_ALL).tls.verifies
    assert parse_config("host=db user=u", ssl=None).tls == TLSOptions()


def test_no_file_is_looked_for() -> None:
    def read(path: str) -> None:
        looked_for.append(path)

    looked_for: list[str] = []
    environ = {"HOME": "/home/u"}
    parse_config("host=db user=u password=p", ssl=CHECKS, environ=environ, read_file=read)
    assert looked_for == []
    parse_config("host=db user=u password=p", environ=environ, read_file=read)
    assert looked_for


def test_what_still_applies() -> None:
    dsn = "host=db user=u sslmode=verify-full sslnegotiation=direct channel_binding=require"
    config = parse_config(dsn, ssl=CHECKS)
    assert (config.tls.sslmode, config.tls.sslnegotiation) == ("verify-full", "direct")
    assert config.channel_binding == "require"
    assert config.tls.server_hostname(config.hosts[0]) == "db"
    unnamed = parse_config("host=db user=u sslsni=0 sslmode=verify-ca", ssl=TRUSTS)
    assert unnamed.tls.server_hostname(unnamed.hosts[0]) is None


@pytest.mark.parametrize(
    ("options", "given", "text"),
    [
        ({"sslmode": "disable"}, CHECKS, 'ssl: sslmode "disable" may use no TLS'),
        ({"sslmode": "allow"}, CHECKS, 'sslmode "allow"'),
        ({"sslmode": "prefer"}, CHECKS, 'sslmode "prefer"'),
        ({"sslmode": "verify-ca"}, TAKES_ALL, "verifies no certificate, as sslmode=verify-ca demands"),
        ({"sslmode": "verify-full"}, TAKES_ALL, "verifies no certificate"),
        ({"sslmode": "verify-full"}, TRUSTS, "checks no host name"),
        ({"sslsni": 0}, CHECKS, "sslsni=0 cannot be combined with a context"),
        ({"sslrootcert": "r"}, CHECKS, "sslrootcert .*: cannot be combined with ssl"),
        ({"sslkey": "k"}, CHECKS, "sslkey .*: cannot be combined with ssl"),
        ({"ssl_min_protocol_version": "TLSv1.2"}, CHECKS, "ssl_min_protocol_version .*: cannot be combined"),
        ({"host": "", "hostaddr": "127.0.0.1"}, CHECKS, "each host needs one"),
        ({}, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "ssl: the context is a server's"),
        ({}, True, "ssl: must be an ssl.SSLContext, not bool; see sslmode"),
        ({}, "require", "ssl: must be an ssl.SSLContext, not str"),
    ],
)
def test_what_would_protect_less_than_it_says(options: dict[str, Any], given: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parse_config(**{"user": "u", "host": "db", "ssl": given, **options})


def test_the_environment_is_held_to_the_same() -> None:
    with pytest.raises(ConfigError, match=r"ssl: sslmode \"prefer\""):
        parse_config(user="u", host="db", ssl=CHECKS, environ={"PGSSLMODE": "prefer"})
    with pytest.raises(ConfigError, match="PGSSLROOTCERT"):
        parse_config(user="u", host="db", ssl=CHECKS, environ={"PGSSLROOTCERT": "system"})


@pytest.mark.parametrize("options", [{"sslcert": "c"}, {"ssl_max_protocol_version": "TLSv1.2"}])
def test_a_policy_made_by_hand_is_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cannot be combined with ssl"):
        TLSOptions("require", context=CHECKS, **options)


def test_hosts_that_need_no_name() -> None:
    hosts = (Host("/tmp"), Host("", "127.0.0.1"))
    Config("u", hosts=hosts[:1], tls=TLSOptions("require", context=CHECKS))
    Config("u", hosts=hosts, tls=TLSOptions("require", context=TRUSTS))
