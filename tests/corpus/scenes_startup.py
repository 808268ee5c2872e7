"""Sessions that differ in how they begin, or fail to: authentication, encryption, versions, parameters."""

from __future__ import annotations

from pgproto.wire import GSSENCRequest, Query, SSLRequest, StartupMessage, Terminate, tags
from tests.corpus.wire import Client, Scene

HELLO = (Query("select current_user"),)
LATEST = tags.PROTOCOL_3_2
OLD = tags.PROTOCOL_3_0
USERS = {"scram": "scram_user", "md5": "md5_user", "cleartext": "password_user"}


def hang_up(client: Client) -> None:
    """Close without a word when asked for a password."""
    client.send(StartupMessage({"user": client.scene.user}))
    client.receive()
    client.tape.add("F", b"")
    client.socket.close()
    client.closed = True


def startup_only(client: Client) -> None:
    """Send a StartupMessage, read the first answer, and say good-bye instead of the password."""
    client.send(StartupMessage({"user": client.scene.user}))
    client.receive()
    client.send(Terminate())


SCENES = [
    Scene("start-trust-3.0", "18", [HELLO], protocol=OLD),
    Scene("start-trust-3.2", "18", [HELLO]),
    Scene("start-negotiated-down", "15", [HELLO]),
    Scene("start-unknown-option", "18", [HELLO], parameters={"_pq_.unheard_of": "1", "_pq_.of": "2"}),
    Scene("start-unknown-option-3.0", "15", [HELLO], protocol=OLD, parameters={"_pq_.unheard_of": "1"}),
    Scene("start-version-ahead", "18", [HELLO], protocol=(3 << 16) | 9999),
    Scene("start-nothing-but-hello", "18"),
    Scene(
        "start-parameters",
        "18",
        [(Query("show application_name"),)],
        parameters={"application_name": "corpus", "DateStyle": "SQL, DMY", "TimeZone": "Asia/Kolkata"},
    ),
    Scene("start-options", "15", [(Query("show work_mem"),)], parameters={"options": "-c work_mem=1MB"}),
    Scene(
        "start-latin1", "18", [(Query("select 'caf' || chr(233)"),)], parameters={"client_encoding": "LATIN1"}
    ),
    Scene("start-utf8", "18", [(Query("select 'größe €'"),)], parameters={"client_encoding": "UTF8"}),
    Scene("start-bad-parameter", "18", parameters={"no_such_setting": "1"}),
    Scene("start-bad-value", "15", parameters={"DateStyle": "yesterday"}),
    Scene("start-bad-option", "18", parameters={"options": "--nonsense"}),
    Scene("start-no-database", "18", database="nowhere"),
    Scene("start-no-role", "15", user="nobody"),
    Scene("start-version-2", "18", protocol=2 << 16),
    Scene("start-version-4", "18", protocol=4 << 16),
    Scene(
        "start-no-user", "18", [lambda client: client.send(StartupMessage({"database": "x"}))], start=False
    ),
    Scene("start-login-not-allowed", "18", user="pg_monitor"),
    Scene("start-hba-rejects", "15", user="tls_user"),
    Scene("start-no-connections", "18", database="template0"),
    Scene(
        "start-replication",
        "18",
        [(Query("IDENTIFY_SYSTEM"),), (Query("SHOW wal_level"),)],
        database="",
        parameters={"replication": "true"},
    ),
    Scene("start-leaves-early", "18", [hang_up], user="scram_user", start=False),
    Scene("start-leaves-before-password", "18", [startup_only], user="scram_user", start=False),
    *[
        Scene(f"start-{method}-{version}", version, [HELLO], user=user)
        for method, user in USERS.items()
        for version in ("18", "15")
    ],
    *[Scene(f"start-{method}-wrong", "18", user=user, password="wrong") for method, user in USERS.items()],
    Scene("start-md5-wrong-15", "15", user="md5_user", password="wrong", protocol=OLD),
    Scene("start-ssl-refused", "18", [HELLO], opening=[SSLRequest()]),
    Scene("start-gss-refused", "18", [HELLO], opening=[GSSENCRequest()]),
    Scene(
        "start-gss-then-ssl-refused",
        "18",
        [HELLO],
        opening=[GSSENCRequest(), SSLRequest()],
        user="scram_user",
    ),
    Scene("start-tls", "15 tls", [HELLO], opening=[SSLRequest()]),
    Scene(
        "start-tls-shows",
        "15 tls",
        [(Query("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"),)],
        opening=[SSLRequest()],
    ),
    Scene("start-tls-scram-plus", "15 tls", [HELLO], opening=[SSLRequest()], user="tls_user"),
    Scene(
        "start-tls-scram-unbound", "15 tls", [HELLO], opening=[SSLRequest()], user="scram_user", binding=False
    ),
    Scene("start-tls-scram-plus-wrong", "15 tls", opening=[SSLRequest()], user="tls_user", password="wrong"),
    Scene("start-tls-md5", "15 tls", [HELLO], opening=[SSLRequest()], user="md5_user", protocol=OLD),
    Scene("start-tls-cleartext", "15 tls", [HELLO], opening=[SSLRequest()], user="password_user"),
    Scene("start-tls-no-certificate", "15 tls", opening=[SSLRequest()], user="cert_user"),
    Scene("start-tls-hba-rejects", "15 tls", opening=[SSLRequest()], user="plain_user"),
    Scene("start-tls-no-database", "15 tls", opening=[SSLRequest()], database="nowhere"),
]
