"""Servers that mean harm before, during and by means of the TLS handshake (security.md, section 1)."""

from __future__ import annotations

import functools
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pgproto import ConnectError, Error
from pgproto import RemoteProtocolError as Remote
from pgproto.config import TLSOptions
from pgproto.protocol.tls import TLS, make_context
from pgproto.session.startup import ENCRYPT_DIRECT, ENCRYPT_REQUIRE, ENCRYPT_TRY
from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLFinal,
    EncryptionResponse,
    Message,
    SSLRequest,
)
from tests.hostile.case import Case, at_once, named
from tests.hostile.scram import LET_IN, SIGNATURE, challenge, first_message
from tests.support.certificates import HOST, make_certificate, server_with
from tests.support.memory import MemoryPeer
from tests.support.scripted import Peer, Script, ScriptError, error
from tests.support.vectors import VECTORS

ASKED = "SSLRequest"
EXACTLY_ONE = "CVE-2021-23222, GHSA-9cfh-vx93-84vv"
UNTRUSTED = "CVE-2024-10977, CVE-2022-41862"
DOWNGRADE = "P downgrade"
STRIPPED = "P PLUS stripped by MITM"
NO_HASH = "CVE-2026-54291"
RECORDS = "P TLS: not a handshake"

PLUS = AuthenticationSASL(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])
PLAIN = AuthenticationSASL(["SCRAM-SHA-256"])


@functools.cache
def client_context() -> ssl.SSLContext:
    """A client that takes any certificate: what these servers do must be noticed without one."""
    return make_context(TLSOptions("require"))


@functools.cache
def server_context(kind: str) -> ssl.SSLContext:
    """A server's context with an `ecdsa` or `ed25519` certificate."""
    if kind == "ecdsa":
        key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey = ec.generate_private_key(ec.SECP256R1())
        certificate = make_certificate(key, hashes.SHA256())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
        certificate = make_certificate(key, None)
    with tempfile.TemporaryDirectory() as directory:
        return server_with(Path(directory), key, certificate)


def options(encryption: int = ENCRYPT_REQUIRE, **more: Any) -> Mapping[str, Any]:
    """A stage whose client wants TLS."""
    direct = encryption == ENCRYPT_DIRECT
    return {
        "encryption": encryption,
        "make_tls": lambda: TLS(client_context(), HOST, require_alpn=direct),
        **more,
    }


def after_ssl(*parts: Message | bytes) -> Script:
    """Receive the SSLRequest, say these, and wait."""

    def script(peer: Peer) -> None:
        peer.expect(SSLRequest)
        peer.raw(*parts)
        peer.keep_open()

    return script


def encrypted(peer: Peer, kind: str = "ecdsa") -> MemoryPeer:
    """Agree on TLS and shake hands."""
    if not isinstance(peer, MemoryPeer):
        raise ScriptError("this script is for the core alone")
    peer.expect(SSLRequest)
    peer.send(EncryptionResponse(b"S"))
    peer.secure(server_context(kind))
    return peer


def bound(kind: str, header: bytes, offer: Message, *parts: Message) -> Script:
    """Over TLS, ask for SCRAM; the client's GS2 header must be this; then say these."""

    def script(peer: Peer) -> None:
        encrypted(peer, kind)
        data = first_message(peer, offer)
        if not data.startswith(header):
            raise ScriptError(f"the client chose {data!r}")
        peer.raw(*parts)
        peer.keep_open()

    return script


def over_tls(*parts: Message | bytes, kind: str = "ecdsa") -> Script:
    """Shake hands, receive the StartupMessage, say these."""

    def script(peer: Peer) -> None:
        encrypted(peer, kind)
        peer.receive_startup()
        peer.raw(*parts)
        peer.keep_open()

    return script


def plain_text_behind(*parts: Message | bytes) -> Script:
    """Agree on TLS, wait for the ClientHello, and answer it in clear."""

    def script(peer: Peer) -> None:
        peer.expect(SSLRequest)
        peer.raw(b"S")
        peer.read()
        peer.raw(*parts)
        peer.keep_open()

    return script


def in_clear_within(peer: Peer) -> None:
    """After the handshake, go on without encryption."""
    inner = encrypted(peer)
    inner.receive_startup()
    inner.tls = None
    inner.raw(*LET_IN)
    inner.keep_open()


def proof_over_tls(peer: Peer) -> None:
    """A man in the middle with a certificate of his own, who does not know the password."""
    encrypted(peer)
    challenge(peer)
    peer.receive()
    peer.raw(AuthenticationSASLFinal(SIGNATURE), *LET_IN)
    peer.keep_open()


# Every message that a server can send, and some bytes that are none, behind the one byte of its answer.
BEHIND: dict[str, bytes] = {
    vector.id: vector.data for vector in VECTORS if vector.direction == "B" and len(vector.data) > 1
} | {"handshake": b"\x16\x03\x03\0\x02\0\0", "second S": b"S", "N": b"N", "NUL": b"\0"}
OVER_TCP = {"second S", "NUL", "handshake", next(iter(BEHIND))}

BEHIND_S = named(
    [
        Case(
            f"{name} behind S{' with prefer' if way == ENCRYPT_TRY else ''}", EXACTLY_ONE,
            after_ssl(b"S" + data), "after its answer", Error, ASKED,
            slow_text="after its answer|TLS handshake failed|in time",
            options=options(way), tcp=name in OVER_TCP,
        )
        for name, data in BEHIND.items()
        for way in ((ENCRYPT_REQUIRE, ENCRYPT_TRY) if name in OVER_TCP else (ENCRYPT_REQUIRE,))
    ]
)  # fmt: skip

ANSWERS = [
    Case(f"{name} for an answer", source, after_ssl(data), text, kind, ASKED, tcp=True, options=options())
    for name, source, data, text, kind in [
        ("N", DOWNGRADE, b"N", "TLS was required", ConnectError),
        ("G", DOWNGRADE, b"G", "byte 0x47", Remote),
        ("X", DOWNGRADE, b"X", "byte 0x58", Remote),
        ("NUL", DOWNGRADE, b"\0", "byte 0x00", Remote),
        ("http", DOWNGRADE, b"HTTP/1.1 400 Bad Request\r\n\r\n", "byte 0x48", Remote),
        ("an error", UNTRUSTED, error("08P01", "\x1b[31mtrust me").encode(), "with an error$", Remote),
        ("an unterminated error", UNTRUSTED, b"E\0\0\0\x20SFATAL", "with an error$", Remote),
        ("an endless error", UNTRUSTED, b"E\x7f\xff\xff\xffSFATAL", "with an error$", Remote),
        ("a negative error", UNTRUSTED, b"E\xff\xff\xff\xff", "with an error$", Remote),
        ("an error of NULs", UNTRUSTED, b"E" + bytes(100), "with an error$", Remote),
        ("a protocol 2 error", UNTRUSTED, b"EFATAL:  no such user\n\0", "with an error$", Remote),
        ("an error with escapes", UNTRUSTED, b"E\0\0\0\x0cM\x1b[2Jx\0\0", "with an error$", Remote),
        ("an error and S", UNTRUSTED, b"E\0\0\0\5\0S", "with an error$", Remote),
    ]
]  # fmt: skip

HANDSHAKE = [
    Case(
        f"{name} for a handshake", RECORDS, plain_text_behind(data), "TLS handshake", heard=ASKED,
        options=options(), tcp=name == "a session",
    )
    for name, data in [
        ("a session", b"".join(message.encode() for message in LET_IN)),
        ("http", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("zeros", bytes(4096)),
        ("an alert", b"\x15\x03\x03\0\2\2\x28"),
        ("a giant record", b"\x16\x03\x03\xff\xff" + b"x" * 65535),
        ("application data", b"\x17\x03\x03\0\5hello"),
        ("ssl 2", b"\x80\x2e\1\0\2" + bytes(44)),
        ("an endless message", b"\x16\x03\x03\x40\0\2\xff\xff\xff\x03\x03" + bytes(16378)),
        ("a change of cipher", b"\x14\x03\x03\0\1\1" * 64),
    ]
] + [
    Case(
        f"{name} to a direct handshake", DOWNGRADE, at_once(data), "TLS handshake", heard="",
        options=options(ENCRYPT_DIRECT),
    )
    for name, data in [("N", b"N" * 5), ("S", b"S" * 5), ("an error", error("08P01").encode())]
]  # fmt: skip

FINAL = AuthenticationSASLFinal(SIGNATURE)
BOUND = b"p=tls-server-end-point,,"
STARTED = f"{ASKED} StartupMessage"
FIRST = f"{STARTED} AuthenticationResponse"
PROOF = f"{FIRST} AuthenticationResponse"
BINDING = [
    Case(name, source, script, text, heard=heard, options=options(channel_binding=binding))
    for name, source, script, text, heard, binding in [
        ("clear text within TLS", RECORDS, in_clear_within, "TLS session failed", STARTED, "prefer"),
        ("a proof over TLS", STRIPPED, proof_over_tls, "incorrect server signature", PROOF, "prefer"),
        ("plus stripped", STRIPPED, bound("ecdsa", b"y,,", PLAIN, FINAL), "unexpected", FIRST, "prefer"),
        ("plus not asked for", STRIPPED, bound("ecdsa", b"n,,", PLUS, FINAL), "unexpected", FIRST, "disable"),
        ("plus and a final", STRIPPED, bound("ecdsa", BOUND, PLUS, FINAL), "unexpected", FIRST, "require"),
        (
            "plus stripped where required",
            STRIPPED,
            over_tls(PLAIN),
            "did not offer .* channel binding",
            STARTED,
            "require",
        ),
        ("Ed25519", NO_HASH, bound("ed25519", b"n,,", PLUS, FINAL), "unexpected", FIRST, "prefer"),
        (
            "Ed25519 where binding is required",
            NO_HASH,
            over_tls(PLUS, kind="ed25519"),
            "has no channel binding data",
            STARTED,
            "require",
        ),
        (
            "trust where binding is required",
            "CVE-2025-49146",
            over_tls(*LET_IN),
            "channel binding required",
            STARTED,
            "require",
        ),
        (
            "a cleartext password where binding is required",
            "CVE-2025-49146",
            over_tls(AuthenticationCleartextPassword()),
            "channel binding required",
            STARTED,
            "require",
        ),
        (
            "md5 where binding is required",
            "CVE-2025-49146",
            over_tls(AuthenticationMD5Password(b"salt")),
            "channel binding required",
            STARTED,
            "require",
        ),
    ]
]

TLS_SERVERS = BEHIND_S | named([*ANSWERS, *HANDSHAKE, *BINDING])
