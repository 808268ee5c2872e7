"""The options of a connection string, as libpq 18 lists them: PQconndefaults, PQconninfo.

The rule: the same keywords, defaults, labels and sizes in the same order, because psycopg compares what a
connection uses with the compiled defaults to show what differs.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from psycopg.pq.misc import ConninfoOption

__all__ = ["KEYWORDS", "compiled", "defaults", "os_user", "rows"]


class _Option(NamedTuple):
    keyword: str
    variable: str | None
    compiled: str | None
    label: str
    shown_as: str  # "*" for a secret, "D" for a debugging option
    size: int


_OPTIONS: Final = (
    _Option("service", "PGSERVICE", None, "Database-Service", "", 20),
    _Option("user", "PGUSER", None, "Database-User", "", 20),
    _Option("password", "PGPASSWORD", None, "Database-Password", "*", 20),
    _Option("passfile", "PGPASSFILE", None, "Database-Password-File", "", 64),
    _Option("channel_binding", "PGCHANNELBINDING", "prefer", "Channel-Binding", "", 8),
    _Option("connect_timeout", "PGCONNECT_TIMEOUT", None, "Connect-timeout", "", 10),
    _Option("dbname", "PGDATABASE", None, "Database-Name", "", 20),
    _Option("host", "PGHOST", None, "Database-Host", "", 40),
    _Option("hostaddr", "PGHOSTADDR", None, "Database-Host-IP-Address", "", 45),
    _Option("port", "PGPORT", "5432", "Database-Port", "", 6),
    _Option("client_encoding", "PGCLIENTENCODING", None, "Client-Encoding", "", 10),
    _Option("options", "PGOPTIONS", "", "Backend-Options", "", 40),
    _Option("application_name", "PGAPPNAME", None, "Application-Name", "", 64),
    _Option("fallback_application_name", None, None, "Fallback-Application-Name", "", 64),
    _Option("keepalives", None, None, "TCP-Keepalives", "", 1),
    _Option("keepalives_idle", None, None, "TCP-Keepalives-Idle", "", 10),
    _Option("keepalives_interval", None, None, "TCP-Keepalives-Interval", "", 10),
    _Option("keepalives_count", None, None, "TCP-Keepalives-Count", "", 10),
    _Option("tcp_user_timeout", None, None, "TCP-User-Timeout", "", 10),
    _Option("sslmode", "PGSSLMODE", "prefer", "SSL-Mode", "", 12),
    _Option("sslnegotiation", "PGSSLNEGOTIATION", "postgres", "SSL-Negotiation", "", 9),
    _Option("sslcompression", "PGSSLCOMPRESSION", "0", "SSL-Compression", "", 1),
    _Option("sslcert", "PGSSLCERT", None, "SSL-Client-Cert", "", 64),
    _Option("sslkey", "PGSSLKEY", None, "SSL-Client-Key", "", 64),
    _Option("sslcertmode", "PGSSLCERTMODE", None, "SSL-Client-Cert-Mode", "", 8),
    _Option("sslpassword", None, None, "SSL-Client-Key-Password", "*", 20),
    _Option("sslrootcert", "PGSSLROOTCERT", None, "SSL-Root-Certificate", "", 64),
    _Option("sslcrl", "PGSSLCRL", None, "SSL-Revocation-List", "", 64),
    _Option("sslcrldir", "PGSSLCRLDIR", None, "SSL-Revocation-List-Dir", "", 64),
    _Option("sslsni", "PGSSLSNI", "1", "SSL-SNI", "", 1),
    _Option("requirepeer", "PGREQUIREPEER", None, "Require-Peer", "", 10),
    _Option("require_auth", "PGREQUIREAUTH", None, "Require-Auth", "", 14),
    _Option("min_protocol_version", "PGMINPROTOCOLVERSION", None, "Min-Protocol-Version", "", 6),
    _Option("max_protocol_version", "PGMAXPROTOCOLVERSION", None, "Max-Protocol-Version", "", 6),
    _Option(
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        "TLSv1.2",
        "SSL-Minimum-Protocol-Version",
        "",
        8,
    ),
    _Option(
        "ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", None, "SSL-Maximum-Protocol-Version", "", 8
    ),
    _Option("gssencmode", "PGGSSENCMODE", "disable", "GSSENC-Mode", "", 8),
    _Option("krbsrvname", "PGKRBSRVNAME", "postgres", "Kerberos-service-name", "", 20),
    _Option("gsslib", "PGGSSLIB", None, "GSS-library", "", 7),
    _Option("gssdelegation", "PGGSSDELEGATION", "0", "GSS-delegation", "", 1),
    _Option("replication", None, None, "Replication", "D", 5),
    _Option("target_session_attrs", "PGTARGETSESSIONATTRS", "any", "Target-Session-Attrs", "", 15),
    _Option("load_balance_hosts", "PGLOADBALANCEHOSTS", "disable", "Load-Balance-Hosts", "", 8),
    _Option("scram_client_key", None, None, "SCRAM-Client-Key", "D", 64),
    _Option("scram_server_key", None, None, "SCRAM-Server-Key", "D", 64),
    _Option("oauth_issuer", None, None, "OAuth-Issuer", "", 40),
    _Option("oauth_client_id", None, None, "OAuth-Client-ID", "", 40),
    _Option("oauth_client_secret", None, None, "OAuth-Client-Secret", "*", 40),
    _Option("oauth_scope", None, None, "OAuth-Scope", "", 15),
    _Option("sslkeylogfile", None, None, "SSL-Key-Log-File", "D", 64),
)

KEYWORDS: Final = frozenset(option.keyword for option in _OPTIONS)
"""Every option that a connection string may have."""


def compiled(keyword: str) -> str:
    """The default of an option; "" for none.

    Args:
        keyword: the option.
    """
    return next((each.compiled or "" for each in _OPTIONS if each.keyword == keyword), "")


def rows(values: Mapping[str, str]) -> list[ConninfoOption]:
    """Every option with its value.

    Args:
        values: the values by keyword; an option that is not there has none.

    Returns:
        The rows, in libpq's order.
    """
    return [
        ConninfoOption(
            each.keyword.encode(),
            _bytes(each.variable),
            _bytes(each.compiled),
            _bytes(values.get(each.keyword)),
            each.label.encode(),
            each.shown_as.encode(),
            each.size,
        )
        for each in _OPTIONS
    ]


def defaults() -> dict[str, str]:
    """What is used for options that are not given: the environment's value, else the compiled one."""
    found: dict[str, str] = {}
    for each in _OPTIONS:
        value = os.environ.get(each.variable) if each.variable else None
        if value is None and each.keyword == "sslmode" and os.environ.get("PGREQUIRESSL", "").startswith("1"):
            value = "require"
        if value is None:
            value = each.compiled
        if value is None and each.keyword == "user":
            value = os_user() or None
        if value is not None:
            found[each.keyword] = value
    return found


def os_user() -> str:
    """The operating system's user; "" if it is not known."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")
