"""Forced failures of every kind, with a secret in each: and nowhere in what anybody could print or log.

    python -m tests.hostile.canary 10000            # that many, from seed 0; the first leak ends it

A *failure* gives everything that came out of it: exceptions, and objects that hold a secret.  `leaks` looks
for the secrets in whatever form: as it is, in base64, in hexadecimal, as a part of a bytes literal; in str,
repr, args, notes and tracebacks of an exception and of all that it leads to, and in pickles of exceptions
and configurations.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import pickle
import random
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from pgproto import Config, ConnectError, Error, parse_config
from pgproto.config import FileText
from pgproto.protocol.saslprep import encode_password
from pgproto.protocol.scram import ScramClient, ScramServer
from pgproto.protocol.verifier import ScramVerifier, md5_password
from pgproto.session import Connector, Dial, Execution, HangUp, QueuedQuery
from pgproto.types import ParameterEncoder, RowDecoder
from pgproto.wire import (
    BackendKeyData,
    CancelRequest,
    DataRow,
    FieldDescription,
    PasswordMessage,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
    trace_bytes,
    trace_line,
)
from tests.hostile.case import WORKS, play
from tests.hostile.servers_authentication import AUTHENTICATION
from tests.hostile.servers_session import SESSION
from tests.hostile.servers_startup import STARTUP
from tests.hostile.servers_tls import TLS_SERVERS
from tests.support.memory import CANARY, NONCE, Stage
from tests.support.pair import byte_by_byte, whole
from tests.support.scripted import ScriptError

__all__ = ["FAILURES", "failures", "leaks", "shown"]

KEY = b"\xc4cancel-c4n4ry\xc4"
CASES = [
    case
    for table in (AUTHENTICATION, STARTUP, SESSION, TLS_SERVERS)
    for case in table.values()
    if "10 MB" not in case.name
]


def scram_keys(salt: bytes, iterations: int) -> list[bytes]:
    """What SCRAM derives from the password, and who has it can do."""
    salted = hashlib.pbkdf2_hmac("sha256", CANARY.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return [salted, client, hmac.digest(salted, b"Server Key", "sha256"), hashlib.sha256(client).digest()]


def forms(secret: bytes) -> list[str]:
    """How bytes can look in a text."""
    return [repr(secret)[2:-1], base64.b64encode(secret).decode(), secret.hex()]


SECRETS = [
    CANARY,
    quote(CANARY).replace("-", "%2D"),
    *forms(CANARY.encode()),
    hashlib.md5(f"{CANARY}tester".encode()).hexdigest(),
    *forms(KEY),
    *[
        form
        for salt in (b"salt", b"0123456789abcdef")
        for key in scram_keys(salt, 4096)
        for form in forms(key)
    ],
]


# ---- Looking


def shown(thing: object) -> Iterator[str]:
    """Everything that a log, a crash report or a curious colleague could see of it."""
    queue: list[object] = [thing]
    known: list[object] = []
    while queue:
        each = queue.pop()
        if any(each is other for other in known):
            continue
        known.append(each)
        yield str(each)
        yield repr(each)
        yield f"{each}"
        if isinstance(each, BaseException | Config):
            try:
                yield repr(pickle.dumps(each))
            except Exception as problem:
                yield repr(problem)
        if isinstance(each, BaseException):
            yield repr(each.args)
            yield from getattr(each, "__notes__", ())
            report = traceback.TracebackException.from_exception(each, capture_locals=False)
            yield "".join(report.format())
            queue += [
                each.__cause__,
                each.__context__,
                *getattr(each, "also", ()),
                *getattr(each, "errors", ()),
            ]


def leaks(thing: object) -> list[str]:
    """The secrets that can be seen in it."""
    text = "\n".join(shown(thing))
    return [secret for secret in SECRETS if secret in text]


# ---- Failing


def failed(work: Callable[[], object]) -> list[object]:
    """The exception that this raises, or what it returns."""
    try:
        return [work()]
    except Exception as error:
        return [error]


def mangled(rng: random.Random, text: str) -> str:
    """A few characters changed, but not within the password."""
    head, secret, tail = text.partition(CANARY)
    junk = [
        "",
        " ",
        "'",
        "\\",
        "%",
        "%zz",
        "@",
        ":",
        "/",
        "?",
        "&",
        "=",
        "[",
        "]",
        "\0",
        "é",
        ",",
        "sslmode=x",
    ]

    def injured(part: str) -> str:
        place = rng.randrange(len(part) + 1)
        return part[:place] + rng.choice(junk) + part[place + rng.randrange(2) :]

    head = injured(head) if rng.random() < 0.6 else head
    return head + secret + (injured(tail) if rng.random() < 0.8 else tail)


DSNS = [
    f"postgresql://tester:{CANARY}@127.0.0.1:5432/db?sslmode=disable",
    f"postgresql://tester:{CANARY}@[::1]:5432,h2:99999/db",
    f"postgres://h/db?user=tester&password={CANARY}&connect_timeout=ten",
    f"host=h user=tester password={CANARY} port=x",
    f"host=h user=tester password='{CANARY}",
    f"host=h password={CANARY} sslpassword={CANARY} sslcert=nowhere sslmode=verify-full nonsense=1",
    f"postgresql://tester:{CANARY}%zz@h/db",
    f"postgresql://tester:x{CANARY}:y@h:port:more/db",
    f"password={CANARY}=",
    f"{CANARY}",
    f"http://tester:{CANARY}@h/db",
]


def bad_dsn(rng: random.Random) -> list[object]:
    """A connection string that cannot be used; with more from an argument, the environment, files.

    One that can be used in spite of its injuries is of no interest: its password may be its database now.
    """
    dsn = mangled(rng, rng.choice(DSNS))
    files = {
        "/h/.pgpass": FileText(f"*:*:*:tester:{mangled(rng, CANARY)}\n*:{CANARY}\n", True),
        "/h/.pg_service.conf": FileText(f"[s]\npassword={CANARY}\n{mangled(rng, 'port=' + CANARY)}\n", True),
    }
    environ = {"HOME": "/h"}
    if rng.random() < 0.3:
        environ["PGPASSWORD"] = mangled(rng, CANARY)
    if rng.random() < 0.3:
        environ["PGSERVICE"] = rng.choice(["s", "t"])
    password = mangled(rng, CANARY) if rng.random() < 0.2 else CANARY
    found = failed(
        lambda: parse_config(
            dsn, environ=environ, read_file=files.get, os_user=lambda: "me", password=password
        )
    )
    return found if isinstance(found[0], Exception) else []


def hostile_server(rng: random.Random) -> list[object]:
    """A row of the tables: start-up, authentication, TLS, queries, COPY."""
    case = rng.choice(CASES)
    stage = play(case, byte_by_byte if rng.random() < 0.1 else whole)
    return [*of_stage(stage), stage.operation]


def of_stage(stage: Stage) -> list[object]:
    """What is left of a played session."""
    engine = stage.engine
    return [
        stage.error,
        stage.startup,
        engine,
        engine.connection,
        engine.connection.closed,
        *stage.authenticators,
        "\n".join(trace_bytes("F", stage.peer.received, startup=True)),
    ]


def lost_session(rng: random.Random) -> list[object]:
    """A session that ends at a random byte of a good conversation, in a random way."""
    case = rng.choice([case for case in SESSION.values() if case.work])
    count = rng.randrange(400)
    end = rng.randrange(3)

    def cut(data: bytes) -> list[bytes]:
        nonlocal count
        piece, count = data[:count], max(0, count - len(data))
        return [piece] if piece else []

    stage = Stage(WORKS[case.work], chop=cut, **case.options)
    with contextlib.suppress(ScriptError):  # both wait: the rest was cut
        stage.play(case.script)
    if end == 0:
        stage.engine.receive_eof()
    elif end == 1:
        stage.engine.transport_failed(ConnectionResetError(104, "Connection reset by peer"))
    else:
        stage.engine.close()
    return [*of_stage(stage), stage.operation]


def no_host(rng: random.Random) -> list[object]:
    """Hosts that cannot be reached, one after the other."""
    problems = [OSError(111, "Connection refused"), TimeoutError(), OSError(-2, "Name or service not known")]
    config = parse_config(f"postgresql://tester:{CANARY}@a,b,c/db?sslmode=prefer")
    connector = Connector(config, clock=lambda: 0.0, random_bytes=rng.randbytes)
    flow = connector.connect()
    try:
        step = next(flow)
        while True:
            step = next(flow) if isinstance(step, HangUp) else flow.throw(rng.choice(problems))
    except ConnectError as error:
        return [error, connector, config, Dial(config.hosts[0], connector._engine(), fresh=True)]
    raise AssertionError("connected")


def bad_value(rng: random.Random) -> list[object]:
    """A secret for a parameter that does not take it."""
    oid = rng.choice([16, 20, 23, 701, 1082, 1083, 1114, 1184, 1186, 1700, 2950, 1007, 1009, 17, 114, 25])
    value = rng.choice(
        [CANARY, CANARY + "\0", CANARY + "\ud800", CANARY.encode(), [CANARY], {CANARY: 1}, (CANARY, 1)]
    )
    encoder = ParameterEncoder([oid])
    found = failed(lambda: encoder.encode([value]))
    return found if isinstance(found[0], Exception) else []


def bad_row(rng: random.Random) -> list[object]:
    """A secret in a row that cannot be decoded."""
    oid = rng.choice([16, 20, 23, 701, 1082, 1184, 1186, 1700, 2950, 1007, 1009, 114, 3802, 25, 1043, 2278])
    decoder = RowDecoder([FieldDescription("password", 0, 0, oid, -1, -1, 1)], [1])
    value = CANARY.encode() + rng.choice([b"\xff", b"", b"\0", b"{"])
    row = DataRow([value]).encode()
    found = failed(lambda: decoder.decode(row, 0, len(row)))
    return found if isinstance(found[0], Exception) else []


def bad_password(rng: random.Random) -> list[object]:
    """A password that cannot be sent."""
    password = CANARY + rng.choice(["\0", "\ud800", "\x07", "\u0627a", "\n"])
    works: list[Callable[[], object]] = [
        lambda: encode_password(password),
        lambda: PasswordMessage(password.encode("utf-8", "surrogatepass")).encode(),
        lambda: md5_password("tester", password, b"salt"),
        lambda: ScramVerifier.from_password(password, b"salt", 1),
        lambda: ScramClient(password, NONCE).first_message(),
        lambda: StartupMessage({"user": "tester", "options": f"-c x={password}"}).encode(),
    ]
    return [each for work in works for each in failed(work) if isinstance(each, Exception)]


def messages(rng: random.Random) -> list[object]:
    """Messages that carry secrets, shown and traced, whole and broken."""
    secret = CANARY.encode()
    carriers = [
        PasswordMessage(secret),
        SASLInitialResponse("SCRAM-SHA-256", secret),
        SASLResponse(secret),
        CancelRequest(1, KEY),
        BackendKeyData(1, KEY),
        StartupMessage({"user": "tester", "options": f"-c app.secret={CANARY}"}),
    ]
    message = rng.choice(carriers)
    direction = "B" if isinstance(message, BackendKeyData) else "F"
    data = bytearray(message.encode())
    if rng.random() < 0.5:
        data[rng.randrange(1, 5)] ^= 1 << rng.randrange(8)
    started = isinstance(message, StartupMessage | CancelRequest)
    return [
        message,
        trace_line(direction, message),
        "\n".join(trace_bytes(direction, bytes(data), startup=started)),
    ]


def scram(rng: random.Random) -> list[object]:
    """Both sides of SCRAM, stopped anywhere."""
    verifier = ScramVerifier.from_password(CANARY, b"salt", 4096)
    client, server = ScramClient(CANARY, NONCE), ScramServer(verifier, "server-nonce-0123456789")
    steps: list[Callable[[], object]] = []
    said: list[bytes] = [client.first_message()]
    steps.append(lambda: said.append(server.challenge(said[-1])))
    steps.append(lambda: client.receive_challenge(said[-1]))
    steps.append(lambda: said.append(client.final_message()))
    steps.append(lambda: said.append(server.finish(said[-1]) or b""))
    steps.append(lambda: client.verify(said[-1]))
    found: list[object] = [client, server, verifier]
    for number, step in enumerate(steps):
        if rng.random() < 0.3:
            said.append(said[-1][: rng.randrange(len(said[-1]) + 1)])
        problem = failed(step)[0]
        if isinstance(problem, Exception):
            return [*found, problem]
        if rng.random() < 0.1 * number:
            break
    return found


def queries(rng: random.Random) -> list[object]:
    """A query with a secret for a value: its argument is the caller's, and in no text of ours."""
    item = QueuedQuery("alter role x password $1", (CANARY,))
    return [item, Execution([item])]


FAILURES: dict[str, tuple[int, Callable[[random.Random], list[object]]]] = {
    "connection strings": (4, bad_dsn),
    "hostile servers": (6, hostile_server),
    "lost sessions": (2, lost_session),
    "hosts": (1, no_host),
    "values": (2, bad_value),
    "rows": (2, bad_row),
    "passwords": (1, bad_password),
    "messages": (2, messages),
    "scram": (1, scram),
    "queries": (1, queries),
}


def failures(seed: str, count: int) -> Iterable[tuple[str, list[object]]]:
    """So many failures, the same ones for the same seed."""
    rng = random.Random(seed)
    names = [name for name, (weight, _) in FAILURES.items() for _ in range(weight)]
    for _ in range(count):
        name = rng.choice(names)
        yield name, FAILURES[name][1](rng)


def main(count: int) -> None:
    """Look at so many, and print how many of what there were."""
    counts: dict[str, int] = {}
    errors: dict[str, int] = {}
    for name, things in failures("0", count):
        counts[name] = counts.get(name, 0) + 1
        for thing in things:
            if isinstance(thing, Error):
                errors[type(thing).__name__] = errors.get(type(thing).__name__, 0) + 1
            if found := leaks(thing):
                sys.exit(f"{name}: {found[0]!r} in {type(thing).__name__}")
    print(f"{sum(counts.values())} failures, no leak: {counts}; {errors}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
