"""The service file and the password file: what is found, what is ignored, what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgproto.config import (
    FileText,
    PasswordEntry,
    Secret,
    parse_config,
)
from pgproto.config.files import find_password, home_file, is_private, parse_passfile, parse_service_file
from pgproto.errors import ConfigError

# --- service file ------------------------------------------------------------------------------------

SERVICES = """\
# a comment
stray=line before any section is nobody's

[first]
host=one
port=1
host=again
  \tuser = spaces count
password=a=b # not a comment
dbname=
krbsrvname=postgres
[first]
host=a second section of this name is not read
[ second ]
host=no
[second] trailing words are ignored\r
host=two\r
"""


@pytest.mark.parametrize(
    ("service", "options"),
    [
        ("second", {"host": "two"}),
        ("third", None),
        ("", None),
        ("fir", None),
        ("first]", None),
    ],
)
def test_a_section_is_found_by_its_name(service: str, options: dict[str, str] | None) -> None:
    assert parse_service_file(SERVICES, service, "f") == options


def test_a_section_is_a_list_of_options_of_which_the_first_wins() -> None:
    text = SERVICES.replace("user = spaces count", "user= spaces count")
    assert parse_service_file(text, "first", "f") == {
        "host": "one",
        "port": "1",
        "user": " spaces count",
        "password": "a=b # not a comment",
        "dbname": "",
    }


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("user = x", "service file 'f', line 2: a keyword that is no option"),
        ("hots=x", "line 2: unknown option 'hots'; did you mean 'host'?"),
        ("Zanzibar secret", 'line 2: missing "="'),
        ("ldap://h/x", "line 2: LDAP look-up is not supported"),
        ("service=x", "line 2: a service cannot refer to another service"),
        ("servicefile=x", "line 2: a service cannot refer to another service"),
        ("sslkeylogfile=x", "line 2: sslkeylogfile is not supported"),
    ],
)
def test_a_line_that_is_no_option_is_refused(line: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_service_file(f"[s]\n{line}\n", "s", "f")
    assert text in str(caught.value)
    assert "Zanzibar" not in str(caught.value)


def test_an_empty_section_is_a_section() -> None:
    assert parse_service_file("[s]", "s", "f") == {}


# --- password file -----------------------------------------------------------------------------------


def password(
    text: str, host: str = "h", port: int = 5432, database: str = "d", user: str = "u"
) -> str | None:
    secret = find_password(parse_passfile(text), host, port, database, user)
    return None if secret is None else secret.reveal()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h:5432:d:u:secret", "secret"),
        ("h:5432:d:u:secret\n", "secret"),
        ("h:5432:d:u:secret\r\n", "secret"),
        ("*:*:*:*:secret", "secret"),
        ("h:5432:d:*:secret:ignored", "secret"),
        ("h:5432:d:u: spaces count ", " spaces count "),
        (r"h:5432:d:u:a\:b\\c\d", r"a:b\cd"),
        ("h:5432:d:u:a\\", "a\\"),
        ("h:5432:d:u:*", "*"),
        ("h:5432:d:u:", None),
        ("h:5432:d:u:\n*:*:*:*:later", None),  # the first match decides, even if it is empty
        ("x:*:*:*:no\n*:*:*:*:first\n*:*:*:*:second", "first"),
        ("# h:5432:d:u:no\n#*:*:*:*:no\n", None),
        ("h:5432:d:u", None),
        ("h:5432:d", None),
        ("", None),
        ("\n\n*:*:*:*:x", "x"),
        ("H:5432:d:u:x", None),
        ("h:5433:d:u:x", None),
        ("h:05432:d:u:x", None),
        ("h:5432:e:u:x", None),
        ("h:5432:d:v:x", None),
        (" h:5432:d:u:x", None),
        ("**:*:*:*:x", None),
        ("h:5432:d:u:\udcff\n*:*:*:*:ascii", "ascii"),  # not UTF-8: nothing could send it
    ],
)
def test_the_first_entry_that_matches_has_the_password(text: str, expected: str | None) -> None:
    assert password(text) == expected


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        (r"a\:b:*:*:*:x", "a:b"),
        (r"\:\:1:*:*:*:x", "::1"),
        (r"a\\b:*:*:*:x", "a\\b"),
        (r"\*:*:*:*:x", "*"),
        (r"\h:*:*:*:x", "h"),
        ("/srv/pg:*:*:*:x", "/srv/pg"),
    ],
)
def test_a_backslash_takes_the_next_character_as_it_is(entry: str, host: str) -> None:
    assert password(entry, host=host) == "x"
    assert password(entry, host="other") is None


@pytest.mark.parametrize("directory", ["/tmp", "/run/postgresql", "/var/run/postgresql"])
def test_a_default_socket_directory_is_localhost(directory: str) -> None:
    assert password("localhost:*:*:*:x", host=directory) == "x"
    assert password(f"{directory}:*:*:*:x", host=directory) is None
    assert password("localhost:*:*:*:x", host="/srv/pg") is None


_FIELD = st.text("ab:\\*#\n\r", max_size=4).filter(lambda text: "\n" not in text)


@given(st.lists(_FIELD, min_size=4, max_size=4), st.text("ab:\\*", min_size=1, max_size=6))
def test_what_is_escaped_is_found_again(fields: list[str], secret: str) -> None:
    def escape(text: str) -> str:
        return "".join("\\" + character if character in ":\\*" else character for character in text)

    host, port, database, user = fields
    (entry,) = parse_passfile("x" + ":".join(map(escape, [*fields, secret])))
    assert entry == PasswordEntry("x" + host, port, database, user, Secret(secret))
    assert entry.matches("x" + host, port, database, user)


@given(st.text("ab:\\*\n#", max_size=60))
def test_any_text_is_a_password_file(text: str) -> None:
    for entry in parse_passfile(text):
        assert secret_is_hidden(entry)


def secret_is_hidden(entry: PasswordEntry) -> bool:
    return entry.password is None or repr(entry).endswith("password=Secret('******'))")


# --- permissions and places --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o000, 0o100600])
def test_a_file_of_its_owner_alone_is_private(mode: int) -> None:
    assert is_private(FileText("", mode))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777, 0o100644])
def test_a_file_of_others_is_not_private(mode: int) -> None:
    assert not is_private(FileText("", mode, uid=0))


@pytest.mark.parametrize(
    ("mode", "uid", "private"),
    [
        (0o640, 0, True),
        (0o440, 0, True),
        (0o660, 0, False),
        (0o650, 0, False),
        (0o644, 0, False),
        (0o640, 1, False),
        (0o640, None, False),
        (0o600, 1, True),
    ],
)
def test_a_group_may_read_a_key_of_root(mode: int, uid: int | None, private: bool) -> None:
    assert is_private(FileText("", mode, uid=uid), group_may_read_roots=True) is private


def test_the_repr_of_a_file_does_not_show_its_text() -> None:
    assert "Zanzibar" not in repr(FileText("Zanzibar"))


@pytest.mark.parametrize(
    ("environ", "name", "path"),
    [
        ({"HOME": "/h"}, "pgpass", "/h/.pgpass"),
        ({"HOME": "/h"}, "pg_service.conf", "/h/.pg_service.conf"),
        ({"HOME": "/h"}, "postgresql/root.crt", "/h/.postgresql/root.crt"),
        ({"APPDATA": "C:/r"}, "pgpass", "C:/r/postgresql/pgpass.conf"),
        ({"APPDATA": "C:/r"}, "pg_service.conf", "C:/r/postgresql/.pg_service.conf"),
        ({"APPDATA": "C:/r"}, "postgresql/root.crt", "C:/r/postgresql/root.crt"),
        ({"HOME": "", "APPDATA": ""}, "pgpass", ""),
        ({}, "pgpass", ""),
    ],
)
def test_the_files_are_in_the_users_directory(environ: dict[str, str], name: str, path: str) -> None:
    assert home_file(environ, name) == path


# --- Secret ------------------------------------------------------------------------------------------


def test_a_secret_shows_nothing() -> None:
    secret = Secret("Zanzibar")
    assert secret.reveal() == "Zanzibar"
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s %r" % (secret, secret)):  # noqa: UP031
        assert "Zanzibar" not in text
    assert f"{secret:>9}" == "******"
    with pytest.raises(TypeError) as caught:
        pickle.dumps(secret)
    assert "Zanzibar" not in str(caught.value)


def test_a_secret_is_a_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("ä\udc80") == Secret("ä\udc80")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret.of("") is None
    assert Secret.of("x") == Secret("x")


def test_a_secret_cannot_be_changed() -> None:
    secret = Secret("a")
    assert copy.copy(secret) is copy.deepcopy(secret) is secret
    with pytest.raises(AttributeError):
        secret._value = "b"
    with pytest.raises(AttributeError):
        del secret._value
    assert secret.reveal() == "a"


# --- looked up by parse_config -----------------------------------------------------------------------


def files(**texts: str) -> Callable[[str], FileText | None]:
    """A reader of files that are private; `__` in a name stands for `/`, `_` for `.`."""
    known = {"/" + name.replace("__", "/").replace("_", "."): FileText(text) for name, text in texts.items()}
    return known.get


def refuse_to_ask() -> str:
    pytest.fail("the operating system's user was asked for")


def test_the_operating_system_is_asked_last() -> None:
    for dsn, environ in (("user=u", {}), ("", {"PGUSER": "u"})):
        assert parse_config(dsn, environ=environ, os_user=refuse_to_ask).user == "u"
    config = parse_config("user=", environ={"PGUSER": "env"}, os_user=lambda: "os")
    assert (config.user, config.database) == ("os", "os")


def test_a_user_is_needed() -> None:
    def fails() -> str:
        raise KeyError("uid not found")

    for os_user in (None, fails, lambda: ""):
        with pytest.raises(ConfigError, match="user: none is given, and the operating system's is not known"):
            parse_config(os_user=os_user)


PASSFILE = "h1:*:*:*:one\nh2:7:d:u:two\n1.1.1.1:*:*:*:address\nlocalhost:*:*:*:local\n"


def test_the_password_file_has_a_password_for_each_host() -> None:
    dsn = "host=h1,h2,,/tmp,other hostaddr=,,1.1.1.1,, port=7 dbname=d user=u"
    config = parse_config(dsn, environ={"HOME": ""}, read_file=files(p=PASSFILE), passfile="/p")
    found = [config.password_for(host) for host in config.hosts]
    assert found == [Secret("one"), Secret("two"), Secret("address"), Secret("local"), None]
    assert config.replace(user="v").password_for(config.hosts[1]) is None
    assert config.warnings == ()


@pytest.mark.parametrize("environ", [{"HOME": "/h"}, {"PGPASSFILE": "/h/.pgpass", "HOME": "/x"}])
def test_the_password_file_is_found(environ: dict[str, str]) -> None:
    config = parse_config("host=h1 user=u", environ=environ, read_file=files(h___pgpass=PASSFILE))
    assert config.password_for(config.hosts[0]) == Secret("one")


def test_an_explicit_password_is_for_every_host_and_spares_the_file() -> None:
    config = parse_config("host=h1,h2 user=u password=p", passfile="/p", read_file=only_tls_defaults)
    assert [config.password_for(host) for host in config.hosts] == [Secret("p")] * 2


def only_tls_defaults(path: str) -> FileText | None:
    assert "/.postgresql/" in path
    return None


def test_an_empty_password_is_none() -> None:
    config = parse_config("host=h1 user=u password=''", passfile="/p", read_file=files(p=PASSFILE))
    assert config.password is None
    assert config.password_for(config.hosts[0]) == Secret("one")


@pytest.mark.parametrize(
    ("file", "warning"),
    [
        (FileText(PASSFILE, 0o640), "password file '/p' has group or world access; permissions should be"),
        (FileText(PASSFILE, 0o644), "password file '/p' has group or world access"),
        (FileText(PASSFILE, 0o600, is_regular=False), "password file '/p' is not a plain file"),
    ],
)
def test_an_insecure_password_file_is_ignored_with_a_warning(file: FileText, warning: str) -> None:
    config = parse_config("host=h1 user=u passfile=/p", read_file={"/p": file}.get)
    assert config.password_for(config.hosts[0]) is None
    assert len(config.warnings) == 1
    assert config.warnings[0].startswith(warning)


@pytest.mark.parametrize(
    ("dsn", "environ", "path"),
    [
        ("service=s", {"HOME": "/h"}, "/h/.pg_service.conf"),
        ("service=s", {"HOME": "/h", "PGSYSCONFDIR": "/e"}, "/e/pg_service.conf"),
        ("service=s", {}, "/etc/postgresql-common/pg_service.conf"),
        ("service=s", {"HOME": "/h", "PGSERVICEFILE": "/f"}, "/f"),
        ("service=s servicefile=/f", {"PGSERVICEFILE": "/x"}, "/f"),
        ("", {"PGSERVICE": "s", "HOME": "/h"}, "/h/.pg_service.conf"),
        ("postgresql:///?service=s", {"PGSERVICE": "t", "HOME": "/h"}, "/h/.pg_service.conf"),
    ],
)
def test_the_service_file_is_found(dsn: str, environ: dict[str, str], path: str) -> None:
    reader = {path: FileText("[t]\nuser=t\n[s]\nuser=found")}.get
    assert parse_config(dsn, environ=environ, read_file=reader).user == "found"


def test_a_service_that_the_users_file_lacks_is_looked_for_in_the_systems() -> None:
    reader = {"/f": FileText("[t]"), "/e/pg_service.conf": FileText("[s]\nuser=system")}.get
    config = parse_config("service=s servicefile=/f", environ={"PGSYSCONFDIR": "/e"}, read_file=reader)
    assert config.user == "system"


@pytest.mark.parametrize(
    ("dsn", "reader", "text"),
    [
        ("service=s", None, "service: cannot be used without a way to read files"),
        ("service=s", {}.get, "definition of service 's' not found"),
        ("service=s servicefile=/f", {}.get, "service file '/f' not found"),
        (
            "service=s servicefile=/f",
            {"/f": FileText("", is_regular=False)}.get,
            "service file '/f' not found",
        ),
        ("service=s servicefile=/f", {"/f": FileText("[t]")}.get, "definition of service 's' not found"),
        (
            "service=s servicefile=/f",
            {"/f": FileText("[s]\nuser=a\0b")}.get,
            "user: contains a NUL character",
        ),
        ("service=s servicefile=/f", {"/f": FileText("[s]\nport=x")}.get, "port (from the service file)"),
    ],
)
def test_a_service_that_cannot_be_used(
    dsn: str, reader: Callable[[str], FileText | None] | None, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(dsn, user="u" if "user" not in text else None, read_file=reader)
    assert text in str(caught.value)
