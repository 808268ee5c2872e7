"""Hostile clients against the server role: nobody gets in, and it costs next to nothing."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pgproto.protocol.scram import ScramClient
from pgproto.wire import (
    Bind,
    CancelRequest,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    FunctionCall,
    GSSENCRequest,
    GSSResponse,
    Parse,
    PasswordMessage,
    Query,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    Sync,
    Terminate,
    frames,
)
from tests.hostile.door import NONCE, PASSWORD, Door, client_final, client_first, startup
from tests.support.pair import byte_by_byte, whole

SSL, GSS = SSLRequest().encode(), GSSENCRequest().encode()
START = startup()
EXACTLY_ONE = "CVE-2021-23214, CVE-2021-3935"
ALTERNATION = "CVE-2026-6479"
NUL = "P NUL in cstrings"
LENGTHS = "P memory bomb"
SCRAM = "CVE-2026-6664, CVE-2026-6665"
LEGALITY = "P message legality"
VALUES = "CVE-2026-32286, CVE-2026-33816"
LONG = "CVE-2012-4575"
FUNCTION = "CVE-2025-12818"


@dataclass(frozen=True)
class Client:
    """A row: what a client says, and how that ends.

    Attributes:
        name: unique.
        source: a CVE, or "P" and a pitfall.
        data: all that it sends.
        text: a regular expression for the error, or for the SQLSTATE of the refusal.
        method: what the door asks for.
        encryption: what the door answers to SSLRequest and GSSENCRequest.
    """

    name: str
    source: str
    data: bytes
    text: str
    method: str = "scram-sha-256"
    encryption: bytes = b"N"

    def __repr__(self) -> str:
        return self.name


def packet(body: bytes, length: int | None = None) -> bytes:
    """An untagged packet, with a length of one's own if need be."""
    return (len(body) + 4 if length is None else length).to_bytes(4, "big") + body


def frame(tag: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """A frame, with a length of one's own if need be."""
    return tag + packet(body, length)


def parameters(*strings: bytes) -> bytes:
    """A StartupMessage of protocol 3.2 with these strings, NULs and all."""
    return packet(b"\0\3\0\2" + b"".join(strings))


def first(data: bytes, mechanism: str = "SCRAM-SHA-256") -> bytes:
    """The start and a client-first-message."""
    return START + SASLInitialResponse(mechanism, data).encode()


BIND = Bind("", "", (), (), ()).encode()
NOWHERE = Bind("", "nowhere", (), (), ()).encode()
GOOD_FIRST = b"n,,n=,r=" + NONCE.encode()

BEFORE = [
    Client("ssl twice", ALTERNATION, SSL + SSL, "a second SSLRequest"),
    Client("gss twice", ALTERNATION, GSS + GSS, "a second GSSENCRequest"),
    Client("ssl, gss, ssl", ALTERNATION, SSL + GSS + SSL, "a second SSLRequest"),
    Client("gss, ssl, gss", ALTERNATION, GSS + SSL + GSS, "a second GSSENCRequest"),
    Client("start behind ssl", EXACTLY_ONE, SSL + START, "after", encryption=b"S"),
    Client("a cancel request behind ssl", EXACTLY_ONE, SSL + CancelRequest(1, b"1234").encode(), "after",
           encryption=b"S"),
    Client("a query behind ssl", EXACTLY_ONE, SSL + Query("drop").encode(), "after", encryption=b"S"),
    Client("a byte behind gss", EXACTLY_ONE, GSS + b"\0", "after", encryption=b"G"),
    Client("clear text after ssl", EXACTLY_ONE, SSL + b"Q", "after", encryption=b"S"),
    Client("length 0", LENGTHS, packet(b"", 0), "start-up packet of length 0"),
    Client("length 7", LENGTHS, packet(b"abc", 7), "start-up packet of length 7"),
    Client("length -1", LENGTHS, b"\xff\xff\xff\xff", "start-up packet of length -1"),
    Client("length 2^31 - 1", LENGTHS, b"\x7f\xff\xff\xff\0\3\0\0", "start-up packet of length 2147483647"),
    Client("10,001 bytes", LENGTHS, packet(b"\0\3\0\0" + b"x" * 9997), "start-up packet of length 10005"),
    Client("http", LONG, b"GET / HTTP/1.1\r\nHost: db\r\n\r\n", "start-up packet of length"),
    Client("tls", LONG, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "start-up packet of length"),
    Client("protocol 2", LONG, packet(b"\0\2\0\0" + bytes(292)), "protocol 2|malformed|version"),
    Client("protocol 4", LONG, packet(b"\0\4\0\0user\0app\0\0"), "protocol 4|malformed|version"),
    Client("no terminator", NUL, parameters(b"user\0app\0"), "without its NUL"),
    Client("a name alone", NUL, parameters(b"user\0"), "without its NUL"),
    Client("a tail", NUL, parameters(b"user\0app\0\0database\0x\0\0"), "left over"),
    Client("no UTF-8", NUL, parameters(b"user\0\xff\xfe\0\0"), "not UTF-8"),
    Client("nothing at all", NUL, packet(b"\0\3\0\0"), "without its NUL"),
    Client("cancel without key", LENGTHS, packet(b"\x04\xd2\x16\x2e"), "malformed CancelRequest"),
    Client("cancel with 3 bytes", LENGTHS, packet(b"\x04\xd2\x16\x2e\0\0\0\1abc"), "key of 3 bytes"),
    Client("cancel with 257 bytes", LENGTHS, packet(b"\x04\xd2\x16\x2e\0\0\0\1" + bytes(257)), "257 bytes"),
    Client("ssl with a tail", LENGTHS, packet(b"\x04\xd2\x16\x2fx"), "malformed SSLRequest"),
    Client("gss with a tail", LENGTHS, packet(b"\x04\xd2\x16\x30x"), "malformed SSLRequest or GSSENCRequest"),
    Client("a query for a start", LEGALITY, Query("select 1").encode(), "start-up packet of length"),
]  # fmt: skip

DURING = [
    Client("a query for a password", LEGALITY, START + Query("drop").encode(), "unexpected Query"),
    Client("a sync for a password", LEGALITY, START + Sync().encode(), "unexpected Sync"),
    Client("a bind for a password", LEGALITY, START + BIND, "unexpected Bind"),
    Client("a second start", LEGALITY, START + START + bytes(9000), "unexpected message type 0x00"),
    Client("ssl for a password", LEGALITY, START + SSL + bytes(9000), "unexpected message type 0x00"),
    Client("an unknown type for a password", LEGALITY, START + frame(b"!"), "unexpected"),
    Client("a wrong password", LEGALITY, START + PasswordMessage(b"wrong").encode(), "28P01", "password"),
    Client("an empty password", "CVE-2017-7546", START + PasswordMessage(b"").encode(), "28P01", "password"),
    Client("a password without end", NUL, START + frame(b"p", b"right"), "without its NUL", "password"),
    Client("a password with a tail", NUL, START + frame(b"p", b"right\0x\0"), "left over", "password"),
    Client("a token of 65,536", LENGTHS, START + frame(b"p", bytes(65_532)), "4 to 65535", "password"),
    Client("a token of 2 GiB", LENGTHS, START + frame(b"p", b"", 0x7FFFFFFF), "allowed are 4 to 65535"),
    Client("a token of -1", LENGTHS, START + frame(b"p", b"", 0xFFFFFFFF), "allowed are 4 to 65535"),
    Client("a token of 3", LENGTHS, START + frame(b"p", b"", 3), "allowed are 4 to 65535"),
    Client("another md5", LEGALITY, START + PasswordMessage(b"md5" + b"0" * 32).encode(), "28P01", "md5"),
    Client("clear for md5", LEGALITY, START + PasswordMessage(PASSWORD.encode()).encode(), "28P01", "md5"),
    Client("a password for scram", SCRAM, START + frame(b"p", PASSWORD.encode() + b"\0"), "malformed"),
    Client("scram for a password", SCRAM, START + SASLInitialResponse("SCRAM-SHA-256", b"x").encode(),
           "left over", "password"),
    Client("a proof first", SCRAM, START + SASLResponse(b"c=biws,r=x,p=eA==").encode(), "malformed|NUL"),
    Client("a ticket for scram", SCRAM, START + GSSResponse(b"ticket").encode(), "malformed|NUL"),
    Client("two first messages", SCRAM, first(GOOD_FIRST) + first(GOOD_FIRST)[len(START):], "malformed"),
    Client("another mechanism", SCRAM, first(GOOD_FIRST, "PLAIN"), "invalid SASL"),
    Client("plus that was not offered", SCRAM, first(GOOD_FIRST, "SCRAM-SHA-256-PLUS"), "invalid SASL"),
    Client("no first message", SCRAM, START + SASLInitialResponse("SCRAM-SHA-256", None).encode(), "without"),
    Client("a first message of -2", SCRAM, START + frame(b"p", b"SCRAM-SHA-256\0\xff\xff\xff\xfe"), "-2"),
    Client("a first message too long", SCRAM, START + frame(b"p", b"SCRAM-SHA-256\0\0\1\0\0n,,"), "65536"),
    Client("a first message, a tail", SCRAM, START + frame(b"p", b"SCRAM-SHA-256\0\0\0\0\1nn"), "left over"),
    Client("flag p", SCRAM, first(b"p=tls-server-end-point,," + GOOD_FIRST[3:]), "GS2"),
    Client("flag p of another kind", SCRAM, first(b"p=tls-unique,," + GOOD_FIRST[3:]), "GS2"),
    Client("flag x", SCRAM, first(b"x,," + GOOD_FIRST[3:]), "GS2"),
    Client("no flag", SCRAM, first(GOOD_FIRST[3:]), "GS2"),
    Client("an authorisation name", SCRAM, first(b"n,a=admin," + GOOD_FIRST[3:]), "GS2"),
    Client("a mandatory extension", SCRAM, first(b"n,,m=x,n=,r=" + NONCE.encode()), "malformed SCRAM"),
    Client("an extension", SCRAM, first(GOOD_FIRST + b",x=1"), "garbage"),
    Client("no nonce", SCRAM, first(b"n,,n=,r="), "invalid nonce"),
    Client("a nonce of 513", SCRAM, first(b"n,,n=,r=" + b"x" * 513), "invalid nonce"),
    Client("a nonce of 60,000", SCRAM, first(b"n,,n=,r=" + b"x" * 60_000), "invalid nonce"),
    Client("a nonce with a NUL", SCRAM, first(GOOD_FIRST + b"\0"), "invalid nonce"),
    Client("a nonce with a blank", SCRAM, first(GOOD_FIRST + b" x"), "invalid nonce"),
    Client("commas", SCRAM, first(b"," * 5000), "GS2"),
]  # fmt: skip

INSIDE = [
    Client(name, source, START + data, text, "trust")
    for name, source, data, text in [
        ("a password inside", LEGALITY, PasswordMessage(b"x").encode(), "outside of authentication"),
        ("a start inside", LEGALITY, START + bytes(9000), "unknown message type 0x00"),
        ("an unknown type", LEGALITY, frame(b"!"), "unknown message type '!'"),
        ("a backend's message", LEGALITY, frame(b"Z", b"I"), "unknown message type 'Z'"),
        ("length 0", LENGTHS, frame(b"Q", b"", 0), "allowed are 4 to"),
        ("length 3", LENGTHS, frame(b"Q", b"", 3), "allowed are 4 to"),
        ("length -1", LENGTHS, frame(b"Q", b"", 0xFFFFFFFF), "allowed are 4 to"),
        ("a giant query", LENGTHS, frame(b"Q", b"", 0x7FFFFFFF), "allowed are 4 to 1048576"),
        ("a giant sync", LENGTHS, frame(b"S", b"", 20_000), "allowed are 4 to 10000"),
        ("a long describe", LENGTHS, frame(b"D", b"", 20_000), "allowed are 4 to 10000"),
        ("a sync with a body", LENGTHS, frame(b"S", b"x"), "malformed Sync|left over|body"),
        ("a query without end", NUL, frame(b"Q", b"select 1"), "malformed Query"),
        ("a query with a NUL", NUL, frame(b"Q", b"select 1\0; drop\0"), "malformed Query"),
        ("a query that is no UTF-8", NUL, frame(b"Q", b"\xbf\x27\0"), "not UTF-8"),
        ("a parse of 65535 types", VALUES, frame(b"P", b"\0q\0\xff\xff"), "malformed Parse"),
        ("a parse with a tail", VALUES, frame(b"P", b"\0q\0\0\0x"), "malformed Parse"),
        ("a bind of -1 formats", VALUES, frame(b"B", b"\0\0\xff\xff"), "malformed Bind"),
        ("a bind of 65535 values", VALUES, frame(b"B", b"\0\0\0\0\xff\xff"), "malformed Bind"),
        ("a value of length -2", VALUES, frame(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), "length -2"),
        ("a value beyond the end", VALUES, frame(b"B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"), "malformed"),
        ("a bind with a tail", VALUES, BIND[:1] + packet(BIND[5:] + b"x"), "malformed"),
        ("a describe of X", VALUES, frame(b"D", b"X\0"), "malformed Describe"),
        ("a close of nothing", VALUES, frame(b"C", b""), "malformed Close"),
        ("an execute without limit", VALUES, frame(b"E", b"\0"), "malformed Execute"),
        ("a function of -2", FUNCTION, frame(b"F", b"\0\0\0\1\0\0\0\1\xff\xff\xff\xfe\0\0"), "malformed"),
        ("a function of 65535", FUNCTION, frame(b"F", b"\0\0\0\1\0\0\xff\xff"), "malformed Function"),
        ("a copy failure with a NUL", NUL, frame(b"f", b"no\0no\0"), "malformed CopyFail"),
        ("a copy failure without end", NUL, frame(b"f", b"no"), "malformed CopyFail"),
        ("a function call unasked", LEGALITY, frame(b"F", b""), "malformed FunctionCall"),
        ("garbage in a pipeline", LEGALITY, Parse("", "select 1").encode() + b"\0" * 64, "allowed are 4 to"),
    ]
]  # fmt: skip


def play(client: Client, chop: Callable[[bytes], list[bytes]] = whole) -> Door:
    """A door that has heard all of it."""
    door = Door(client.method, encryption=client.encryption)
    for piece in chop(client.data):
        door.receive(piece)
    return door


def ended(door: Door) -> str:
    """How it ended: the error, or the SQLSTATE of the refusal."""
    refusal = door.refused()
    return refusal.fields["C"] if refusal is not None else door.error


@pytest.mark.parametrize("client", [*BEFORE, *DURING, *INSIDE], ids=repr)
def test_nobody_gets_in(client: Client) -> None:
    """And whoever is in, gets out again: whole and byte by byte, quickly, in little memory."""
    before = time.process_time()
    door = play(client)
    assert time.process_time() - before < 1
    for each in (door, play(client, byte_by_byte)) if client.encryption == b"N" else (door,):
        assert re.search(client.text, ended(each)), ended(each)
        assert each.inside == (client.method == "trust")
        assert each.let_in() == each.inside
        assert ended(each).replace("\n", "").isprintable()
        assert PASSWORD not in ended(each)
        assert each.connection.closed is not None
    tracemalloc.start()
    try:
        play(client)
        assert tracemalloc.get_traced_memory()[1] < (1 << 20) + 4 * len(client.data)
    finally:
        tracemalloc.stop()


def test_names_are_unique() -> None:
    for table in (BEFORE, DURING, INSIDE):
        assert len({client.name for client in table}) == len(table)
    assert len([*BEFORE, *DURING, *INSIDE]) >= 45


# ---- Conversations


def test_who_knows_the_password_gets_in() -> None:
    """The scripts prove something only if the right proof opens the door."""
    door, client = client_first()
    door.receive(client_final(door, client))
    assert door.inside


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: proof[:-4] + b"AAA=",
        lambda proof: proof + b",x=1",
        lambda proof: proof.replace(b"c=biws", b"c=eSws"),
        lambda proof: proof.replace(b"c=biws", b"c="),
        lambda proof: proof.replace(b",r=", b",r=x"),
        lambda proof: proof.replace(b",p=", b",p=*"),
        lambda proof: proof.partition(b",p=")[0],
        lambda proof: b"",
        lambda proof: proof * 100,
        lambda proof: b"r=" + proof,
    ],
    ids=["wrong", "tail", "flag", "no binding", "nonce", "no base64", "no proof", "empty", "long", "order"],
)
def test_proofs_that_are_none(change: Callable[[bytes], bytes]) -> None:
    door, client = client_first()
    proof = client_final(door, client)
    door.receive(SASLResponse(change(proof[5:])).encode())
    assert not door.let_in()
    assert door.connection.closed is not None


def test_a_second_proof_behind_a_wrong_one() -> None:
    door, client = client_first()
    proof = client_final(door, client)
    door.receive(SASLResponse(proof[5:-4] + b"AAA=").encode() + proof)
    assert ended(door) == "28P01"
    assert not door.let_in()


def test_a_query_behind_the_proof_is_heard_only_once_inside() -> None:
    door, client = client_first()
    proof = client_final(door, client)
    door.receive(SASLResponse(proof[5:-4] + b"AAA=").encode() + Query("drop table t").encode())
    assert not any(isinstance(message, Query) for message in door.heard)
    door, client = client_first()
    door.receive(client_final(door, client) + Query("select 1").encode())
    assert any(isinstance(message, Query) for message in door.heard)


def test_an_unknown_user_is_told_the_same() -> None:
    """The same messages of the same lengths, and the same salt each time."""
    shapes: list[list[tuple[str, int]]] = []
    for user in ("app", "nobody", "nobody"):
        door, client = client_first(user)
        door.receive(client_final(door, ScramClient("wrong", NONCE)))
        told = door.told()
        shapes.append([(type(each).__name__, len(each.encode())) for each in told[:-1]])
        assert ended(door) == "28P01"
        assert client.mechanism == "SCRAM-SHA-256"
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_million_alternations() -> None:
    """CVE-2026-6479: closed at the third, and what follows costs nothing."""
    door = Door()
    door.receive(SSL + GSS)
    assert door.error == ""
    tracemalloc.start()
    before = time.process_time()
    try:
        for _ in range(1000):
            door.receive((SSL + GSS) * 500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - before < 1
    assert peak < 1 << 18
    assert bytes(door.out) == b"NN"
    assert "a second SSLRequest" in door.error


def test_nothing_is_heard_behind_a_cancel_request() -> None:
    door = Door()
    door.receive(CancelRequest(1, b"1234").encode() + START + Query("drop table t").encode())
    assert [type(each).__name__ for each in door.heard] == ["CancelRequest"]
    assert door.out == b""


def test_duplicate_keys_the_last_one_counts() -> None:
    """As in PostgreSQL; what matters is that the name that is authenticated is the one that is used."""
    door = Door()
    door.receive(parameters(b"user\0nobody\0", b"user\0app\0", b"\0"))
    door.receive(SASLInitialResponse("SCRAM-SHA-256", GOOD_FIRST).encode())
    assert door.authenticator is not None
    start = door.heard[0]
    assert isinstance(start, StartupMessage)
    assert start.parameters["user"] == "app"


def test_parameters_are_data_before_and_after() -> None:
    """CVE-2025-12819: nothing that a client asks for is applied before it is known."""
    door = Door()
    door.receive(startup(search_path="evil", role="admin", options="-c x=y", client_encoding="SQL_ASCII"))
    assert door.connection.parameters == {}
    assert not door.let_in()


# ---- Floods of somebody who is in


@pytest.fixture
def inside() -> Door:
    door = Door("trust")
    door.receive(START)
    door.out.clear()
    return door


def grows(door: Door, data: bytes, times: int) -> int:
    """How much memory it takes to hear this so often, the answers thrown away."""
    tracemalloc.start()
    try:
        for _ in range(times):
            door.receive(data)
            door.heard.clear()
            door.out.clear()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("syncs", Sync().encode() * 500),
        ("flushes", Flush().encode() * 500),
        ("closes", Close("S", "").encode() * 200 + Sync().encode()),
        ("copy data out of COPY", CopyData(b"x" * 100).encode() * 500),
        ("copy ends out of COPY", CopyDone().encode() * 200 + CopyFail("no").encode() * 200),
        (
            "failing pipelines",
            (NOWHERE + Execute().encode() * 50 + Sync().encode()) * 10,
        ),
        ("describes of nothing", (Describe("S", "?").encode() + Sync().encode()) * 100),
    ],
)
def test_floods(inside: Door, name: str, data: bytes) -> None:
    """Many times what a client can say for ever: nothing stays, and the door still works."""
    assert grows(inside, data, 3) * 1.3 + (1 << 17) > grows(inside, data, 12)
    assert inside.connection.in_flight == 0
    inside.receive(Query("select 1").encode())
    assert [type(each).__name__ for each in inside.told()] == [
        "RowDescription", "DataRow", "CommandComplete", "ReadyForQuery",
    ]  # fmt: skip


def test_what_a_failed_pipeline_says_is_dropped_and_not_kept(inside: Door) -> None:
    inside.receive(NOWHERE)
    assert grows(inside, Execute().encode() * 500, 20) < 1 << 20
    inside.receive(Sync().encode())
    assert inside.connection.in_flight == 0


def test_nothing_is_heard_behind_terminate(inside: Door) -> None:
    inside.receive(
        Terminate().encode() + Query("drop table t").encode() + FunctionCall(1, (), (), 0).encode()
    )
    inside.receive(Query("drop table t").encode())
    assert [type(each).__name__ for each in inside.heard] == ["StartupMessage", "Terminate"]
    assert inside.connection.closed is not None
    assert inside.out == b""


def test_a_query_in_single_bytes_takes_linear_time() -> None:
    spent = []
    for size in (1 << 14, 1 << 17):
        door = Door("trust", size=1 << 20)
        door.receive(START)
        data = Query("x" * size).encode()
        before = time.process_time()
        for piece in byte_by_byte(data):
            door.receive(piece)
        spent.append(time.process_time() - before)
    assert spent[1] < 8 * spent[0] * 3 + 0.05
    assert frames.MAX_STARTUP_SIZE == 10_004
