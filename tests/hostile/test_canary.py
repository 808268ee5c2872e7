"""No secret in anything that is shown, logged, traced or pickled, whatever fails."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterator

import pytest

import pgproto
from pgproto import parse_config
from pgproto.config import FileText
from pgproto.errors import ConfigError, Error
from pgproto.types import CopyRowEncoder, ParameterEncoder, RowDecoder
from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationOk,
    AuthenticationSASLFinal,
    BackendKeyData,
    DataRow,
    FieldDescription,
    Query,
    StartupMessage,
    decode_startup,
)
from pgproto_pytest import Driver
from tests.hostile.canary import FAILURES, KEY, SECRETS, failures, leaks
from tests.hostile.case import after_startup, finish
from tests.hostile.scram import LET_IN, SIGNATURE, proven
from tests.support.drivers import DRIVERS
from tests.support.memory import CANARY
from tests.support.scripted import Peer, Script, ScriptedServer, fatal

CHUNKS = range(5)
PER_CHUNK = 1200


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever is logged at all is looked at as well."""
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
    text = caplog.text + "\n".join(str(each.message) for each in warned)
    assert not [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_forced_failures(chunk: int) -> None:
    """Thousands of them from fixed seeds (`python -m tests.hostile.canary` for more)."""
    errors = 0
    kinds = set()
    for name, things in failures(f"canary {chunk}", PER_CHUNK):
        kinds.add(name)
        for thing in things:
            errors += isinstance(thing, Error)
            found = leaks(thing)
            assert not found, f"{name}: {type(thing).__name__} shows {found[0]!r}"
    assert kinds == set(FAILURES)
    assert errors > PER_CHUNK / 2


# ---- That it would be found


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


def handled() -> Exception:
    """An error that was raised in the handler of another one."""
    try:
        try:
            raise KeyError(CANARY)
        except KeyError:
            raise ConfigError("no") from None
    except ConfigError as error:
        return error


@pytest.mark.parametrize(
    "thing",
    [
        ConfigError(f"cannot use {CANARY}"),
        ConfigError("no", CANARY.encode()),
        caused(ConfigError("no"), ValueError(CANARY)),
        noted(ConfigError("no"), CANARY),
        handled(),
        pgproto.ConnectError("no", [ConfigError(CANARY)]),
        pgproto.PostgresError({"M": "no", "D": CANARY}),
        CANARY.encode().hex(),
        KEY,
    ],
    ids=["text", "argument", "cause", "note", "context", "one of several", "detail", "hex", "key"],
)
def test_a_leak_is_found(thing: object) -> None:
    assert leaks(thing)


# ---- What the hunt has found


def context_of(work: object, *arguments: object) -> BaseException | None:
    """The __context__ of the error with which this ends."""
    assert callable(work)
    with pytest.raises(Error) as caught:
        work(*arguments)
    assert caught.value.__cause__ is None
    return caught.value.__context__


def test_a_refused_value_is_not_in_the_context() -> None:
    """`from None` hides a __context__ from tracebacks, and from nothing else: UnicodeErrors keep the text."""
    secret = CANARY + "\ud800"
    assert context_of(ParameterEncoder([25]).encode, [secret]) is None
    assert context_of(ParameterEncoder([3802]).encode, [secret]) is None
    assert context_of(CopyRowEncoder(("a",), (25,)).encode, [secret]) is None
    field = FieldDescription("a", 0, 0, 25, -1, -1, 1)
    row = DataRow([CANARY.encode() + b"\xff"]).encode()
    assert context_of(RowDecoder([field]).decode, row, 0, len(row)) is None


def test_a_text_that_cannot_be_encoded_is_not_in_the_context() -> None:
    assert context_of(StartupMessage({"user": "a", "options": CANARY + "\ud800"}).encode) is None
    assert context_of(Query(CANARY + "\ud800").encode) is None


def test_a_text_that_cannot_be_decoded_is_not_in_the_context() -> None:
    """The server's side: a StartupMessage that is no UTF-8 may have a password in its options."""
    body = b"\0\3\0\0options\0" + CANARY.encode() + b"\xff\0\0"
    with pytest.raises(pgproto.RemoteProtocolError) as caught:
        decode_startup(body, 0, len(body))
    assert leaks(caught.value) == []


# ---- Configurations


def test_configurations() -> None:
    config = parse_config(
        f"postgresql://tester:{CANARY}@h/db?sslpassword={CANARY}",
        environ={"HOME": "/h"},
        read_file={"/h/.pgpass": FileText(f"*:*:*:*:{CANARY}\n", True)}.get,
    )
    for each in (config, config.tls, config.password_for(config.hosts[0]), config.hosts[0]):
        assert leaks(each) == []
    assert leaks(config.replace(user="other")) == []
    with pytest.raises(TypeError, match="Secret"):
        pickle.dumps(config)


# ---- Over TCP, with everything that logs


def lost(peer: Peer) -> None:
    """Let the client in, give it a key, and go when it asks for something."""
    peer.receive_startup()
    peer.raw(AuthenticationOk(), BackendKeyData(1, KEY), LET_IN[-1])
    peer.receive()
    peer.raw(fatal())
    peer.finish()


OVER_TCP: dict[str, Script] = {
    "nobody": finish,
    "refused": after_startup(fatal("28P01"), end=finish),
    "thief": after_startup(AuthenticationCleartextPassword()),
    "liar": proven(AuthenticationSASLFinal(SIGNATURE), *LET_IN),
    "lost": lost,
}


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("name", OVER_TCP)
def test_over_tcp(driver: Driver, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections and pools, with asyncio in debug mode."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    seen: list[object] = []
    script = OVER_TCP[name]
    with ScriptedServer(script, then=script) as server:

        async def scenario(pg: Driver) -> None:
            logging.getLogger("asyncio").debug("looked at")
            dsn = server.dsn(password=CANARY)
            with pytest.raises(Error) as caught:
                async with pg.connect(dsn) as conn:
                    seen.append(repr(conn))
                    await conn.fetch("select $1", CANARY)
            seen.append(caught.value)
            async with pg.Pool(dsn, min_size=0, max_size=1, acquire_timeout=0.3) as pool:
                seen.append(repr(pool))
                with pytest.raises(Error) as caught:
                    await pool.fetch("select $1", CANARY)
                seen.append(caught.value)

        driver.run(scenario)
    assert len(seen) >= 3
    for thing in seen:
        assert leaks(thing) == []
