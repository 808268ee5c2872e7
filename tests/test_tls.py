"""TLS in memory: two `TLS` objects back to back, and everything that can break between them."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pgproto.config import Host, Secret, TLSOptions
from pgproto.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from pgproto.protocol.tls import TLS, make_context
from pgproto.session.outgoing import Outgoing
from tests.support.certificates import HOST, NOW, make_certificate, pump, server_with
from tests.support.pair import Pair


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def root(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "root.crt"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    context.set_alpn_protocols(["postgresql"])
    return context


def client_options(root: str, sslmode: str = "verify-full") -> TLSOptions:
    return TLSOptions(sslmode, sslrootcert=root)


def ended(tls: TLS) -> tuple[bool, bool]:
    """Whether it is over, and whether it was cut."""
    return tls.eof, tls.truncated


@pytest.fixture
def pair(root: str, server_context: ssl.SSLContext) -> tuple[TLS, TLS]:
    """A client and a server that have shaken hands."""
    client = TLS(make_context(client_options(root)), HOST)
    server = TLS(server_context, None, server_side=True)
    assert pump(client, server) == (b"", b"")
    assert client.handshake_complete
    assert server.handshake_complete
    return client, server


# --- the handshake and the data ------------------------------------------------------------------------


def test_data_goes_both_ways(pair: tuple[TLS, TLS]) -> None:
    client, server = pair
    client.send(b"question")
    server.send(b"answer")
    server.send(b"")
    assert pump(client, server) == (b"answer", b"question")
    assert not client.eof
    assert client.version() == "TLSv1.3"
    assert (client.cipher() or "").startswith("TLS_")
    assert client.alpn_protocol() == server.alpn_protocol() == "postgresql"


def test_data_before_the_handshake_waits_for_it(root: str, server_context: ssl.SSLContext) -> None:
    client = TLS(make_context(client_options(root)), HOST)
    hello = client.data_to_send()
    client.send(b"que")
    client.send(b"stion")
    assert hello
    assert client.data_to_send() == b""
    server = TLS(server_context, None, server_side=True)
    server.send(b"banner")
    assert server.data_to_send() == b""
    server.receive_data(hello)
    assert pump(client, server) == (b"banner", b"question")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
def test_any_segmentation_is_the_same(
    root: str, server_context: ssl.SSLContext, version: str, size: int
) -> None:
    options = TLSOptions("verify-full", sslrootcert=root, ssl_max_protocol_version=version)
    client = TLS(make_context(options), HOST)
    server = TLS(server_context, None, server_side=True)
    client.send(b"question")
    server.send(b"answer")
    assert pump(client, server, size) == (b"answer", b"question")
    assert client.version() == version


def test_a_record_split_at_every_offset(pair: tuple[TLS, TLS]) -> None:
    client, server = pair
    offset = 1
    while True:
        server.send(b"one")
        server.send(b"two")
        data = server.data_to_send()
        if offset >= len(data):
            break
        assert client.receive_data(data[:offset]) + client.receive_data(data[offset:]) == b"onetwo"
        offset += 1
    assert offset > 40


@pytest.mark.parametrize("size", [16384, 16385, 100_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_a_long_text(pair: tuple[TLS, TLS], size: int) -> None:
    client, server = pair
    data = bytes(range(256)) * (size // 256 + 1)
    client.send(data[:size])
    assert pump(client, server, 50_000) == (b"", data[:size])


# --- the end -------------------------------------------------------------------------------------------


def test_close_notify(pair: tuple[TLS, TLS]) -> None:
    client, server = pair
    server.send(b"last words")
    server.close()
    server.close()
    farewell = server.data_to_send()
    assert client.receive_data(farewell) == b"last words"
    assert ended(client) == (True, False)
    assert client.receive_data(b"more") == b""
    assert client.receive_data(b"") == b""
    assert ended(client) == (True, False)
    client.close()
    server.receive_data(client.data_to_send())
    server.receive_data(b"")
    assert server.eof
    with pytest.raises(LocalProtocolError, match="closed"):
        server.send(b"x")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_an_end_without_close_notify(root: str, server_context: ssl.SSLContext, version: str) -> None:
    options = TLSOptions("verify-full", sslrootcert=root, ssl_max_protocol_version=version)
    client, server = TLS(make_context(options), HOST), TLS(server_context, None, server_side=True)
    pump(client, server)
    server.send(b"last words")
    data = server.data_to_send()
    assert client.receive_data(data[:-1]) == b""
    assert ended(client) == (False, False)
    assert client.receive_data(b"") == b""
    assert ended(client) == (True, True)
    assert client.receive_data(b"") == b""
    client.send(b"")
    with pytest.raises(RemoteProtocolError, match="the TLS session failed: ") as caught:
        client.send(b"nobody reads this")
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    client.close()
    client.close()


def test_plaintext_before_the_end_is_not_lost(pair: tuple[TLS, TLS]) -> None:
    client, server = pair
    server.send(b"last words")
    assert client.receive_data(server.data_to_send()) == b"last words"
    assert client.receive_data(b"") == b""
    assert ended(client) == (True, True)


def test_a_good_bye_while_the_other_side_still_talks(pair: tuple[TLS, TLS]) -> None:
    client, server = pair
    server.send(b"you will not wait for this")
    client.close()
    assert server.receive_data(client.data_to_send()) == b""
    assert server.eof
    data = server.data_to_send()
    client.receive_data(data)
    client.receive_data(b"")
    assert client.eof


def test_a_session_that_ends_with_nothing_left_to_say(pair: tuple[TLS, TLS]) -> None:
    channel = Pair({}).engine.channel
    channel.tls, server = pair
    channel.discard()
    outgoing = Outgoing(channel)
    outgoing.close()
    server.receive_data(outgoing.data())
    assert server.eof


def test_after_the_good_bye_nothing_is_an_error(pair: tuple[TLS, TLS]) -> None:
    client, _ = pair
    client.close()
    assert client.receive_data(b"this is no TLS record") == b""
    assert client.receive_data(b"") == b""
    assert client.eof


@pytest.mark.parametrize("cut", ["at once", "in the middle", "one byte before its end"])
def test_an_end_during_the_handshake(root: str, server_context: ssl.SSLContext, cut: str) -> None:
    client = TLS(make_context(client_options(root)), HOST)
    server = TLS(server_context, None, server_side=True)
    server.receive_data(client.data_to_send())
    data = server.data_to_send()
    part = data[: {"at once": 0, "in the middle": len(data) // 2, "one byte before its end": 1}[cut]]
    if part:
        client.receive_data(part)
    with pytest.raises(RemoteProtocolError, match="closed the connection during the TLS handshake") as caught:
        client.receive_data(b"")
    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_a_close_before_the_end_of_the_handshake_says_nothing(root: str) -> None:
    client = TLS(make_context(client_options(root)), HOST)
    client.data_to_send()
    client.send(b"")
    client.send(b"kept")
    client.close()
    assert client.data_to_send() == b""
    assert client.receive_data(b"x") == b""
    assert client.receive_data(b"") == b""
    assert client.eof


# --- what breaks ---------------------------------------------------------------------------------------


def test_a_peer_that_speaks_no_tls(root: str) -> None:
    client = TLS(make_context(client_options(root)), HOST)
    with pytest.raises(RemoteProtocolError, match="the TLS handshake failed: wrong version number") as caught:
        client.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    for action in (lambda: client.receive_data(b"x"), lambda: client.send(b"x")):
        with pytest.raises(RemoteProtocolError) as again:
            action()
        assert again.value is caught.value
    assert not client.handshake_complete
    client.close()


def test_a_broken_record_after_good_ones(pair: tuple[TLS, TLS]) -> None:
    client, server = pair
    server.send(b"last words")
    good = server.data_to_send()
    server.send(b"never seen")
    bad = bytearray(server.data_to_send())
    bad[-1] ^= 1
    assert client.receive_data(good + bytes(bad)) == b"last words"
    with pytest.raises(RemoteProtocolError, match="the TLS session failed: ") as caught:
        client.receive_data(b"")
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert client.data_to_send()  # the alert
    with pytest.raises(RemoteProtocolError):
        client.send(b"x")


def test_each_bit_of_a_record_counts(root: str, server_context: ssl.SSLContext) -> None:
    context = make_context(client_options(root))
    for position in range(0, 27, 2):
        client, server = TLS(context, HOST), TLS(server_context, None, server_side=True)
        pump(client, server)
        server.send(b"12345")
        data = bytearray(server.data_to_send())
        data[position % len(data)] ^= 0x80
        plaintext = b""
        try:
            plaintext = client.receive_data(bytes(data))
            plaintext += client.receive_data(b"")
            assert client.truncated
        except RemoteProtocolError:
            pass
        assert plaintext == b""


def test_a_name_that_is_not_in_the_certificate(root: str, server_context: ssl.SSLContext) -> None:
    client = TLS(make_context(client_options(root)), "other.example.org")
    server = TLS(server_context, None, server_side=True)
    with pytest.raises(RemoteProtocolError) as caught:
        pump(client, server)
    assert str(caught.value) == (
        "the peer's certificate was not accepted:"
        " Hostname mismatch, certificate is not valid for 'other.example.org'."
    )
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    with pytest.raises(RemoteProtocolError, match=r"the TLS handshake failed: .*alert"):
        server.receive_data(client.data_to_send())


@pytest.mark.parametrize("sslmode", ["require", "verify-ca"])
def test_without_verify_full_the_name_does_not_matter(
    root: str, server_context: ssl.SSLContext, sslmode: str
) -> None:
    client = TLS(make_context(client_options(root, sslmode)), "other.example.org")
    pump(client, TLS(server_context, None, server_side=True))
    assert client.handshake_complete


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-ca", "verify-full"])
def test_an_authority_that_is_not_trusted(
    tmp_path: Path, server_context: ssl.SSLContext, sslmode: str
) -> None:
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(other)
    client = TLS(make_context(client_options(str(other), sslmode)), HOST)
    with pytest.raises(RemoteProtocolError, match=r"the peer's certificate was not accepted: .*certificate"):
        pump(client, TLS(server_context, None, server_side=True))


def test_without_an_authority_require_verifies_nothing(server_context: ssl.SSLContext) -> None:
    client = TLS(make_context(TLSOptions("require")), HOST)
    pump(client, TLS(server_context, None, server_side=True))
    assert client.handshake_complete
    assert client.channel_binding() is not None


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_a_direct_connection_needs_alpn(authority: trustme.CA, root: str, alpn: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    if alpn:
        context.set_alpn_protocols([alpn])
    client = TLS(make_context(client_options(root)), HOST, require_alpn=True)
    with pytest.raises(RemoteProtocolError, match="did not agree on ALPN postgresql"):
        pump(client, TLS(context, None, server_side=True))
    assert not client.handshake_complete
    client = TLS(make_context(client_options(root)), HOST)
    pump(client, TLS(context, None, server_side=True))
    assert client.handshake_complete


@pytest.mark.parametrize("name", ["", ".x", "a" * 300, None])
def test_a_name_that_is_none(root: str, name: str | None) -> None:
    with pytest.raises(LocalProtocolError, match="the host name cannot be used for TLS"):
        TLS(make_context(client_options(root)), name)


def test_the_server_name_is_sent_or_not(authority: trustme.CA) -> None:
    seen: list[str | None] = []

    def note(_: object, name: str | None, __: object) -> None:
        seen.append(name)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    context.set_servername_callback(note)
    for options, host in (
        (TLSOptions("require"), Host(HOST)),
        (TLSOptions("require", sslsni=False), Host(HOST)),
        (TLSOptions("require"), Host("127.0.0.1")),
    ):
        client = TLS(make_context(options), options.server_hostname(host))
        pump(client, TLS(context, None, server_side=True))
        assert client.handshake_complete
    assert seen == [HOST, None, None]


def test_an_address_in_the_certificate(authority: trustme.CA, root: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    client = TLS(make_context(client_options(root)), "127.0.0.1")
    pump(client, TLS(context, None, server_side=True))
    assert client.handshake_complete
    with pytest.raises(RemoteProtocolError, match="IP address mismatch"):
        pump(TLS(make_context(client_options(root)), "127.0.0.2"), TLS(context, None, server_side=True))


# --- make_context --------------------------------------------------------------------------------------


def write_certificate(
    directory: Path, authority: trustme.CA, password: bytes | None = None
) -> tuple[str, str]:
    """A client's certificate and its key, encrypted if there is a password."""
    issued = authority.issue_cert("client@example.org")
    cert, key = directory / "client.crt", directory / "client.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    pem = issued.private_key_pem.bytes()
    if password is not None:
        pem = serialization.load_pem_private_key(pem, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    key.write_bytes(pem)
    return str(cert), str(key)


@pytest.mark.parametrize("password", [None, b"s3cret"])
def test_a_client_certificate(
    tmp_path: Path, authority: trustme.CA, root: str, password: bytes | None
) -> None:
    cert, key = write_certificate(tmp_path, authority, password)
    secret = Secret("s3cret")  # not needed if the key is not encrypted
    options = TLSOptions("verify-full", sslrootcert=root, sslcert=cert, sslkey=key, sslpassword=secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    client, server = TLS(make_context(options), HOST), TLS(context, None, server_side=True)
    pump(client, server)
    assert server.handshake_complete
    nobody, server = TLS(make_context(client_options(root)), HOST), TLS(context, None, server_side=True)
    server.receive_data(nobody.data_to_send())
    nobody.receive_data(server.data_to_send())
    with pytest.raises(
        RemoteProtocolError, match="the TLS handshake failed: peer did not return a certificate"
    ):
        server.receive_data(nobody.data_to_send())
    with pytest.raises(RemoteProtocolError, match=r"the TLS session failed: .*alert certificate required"):
        nobody.receive_data(server.data_to_send())


@pytest.mark.parametrize("secret", [None, Secret("wrong")])
def test_the_pass_phrase_is_never_asked_for(
    tmp_path: Path, authority: trustme.CA, secret: Secret | None
) -> None:
    cert, key = write_certificate(tmp_path, authority, b"s3cret")
    with pytest.raises(ConfigError, match=r"sslcert file '.*' or sslkey file '.*' cannot be used") as caught:
        make_context(TLSOptions(sslcert=cert, sslkey=key, sslpassword=secret))
    assert "wrong" not in str(caught.value)


def test_files_that_cannot_be_used(tmp_path: Path, authority: trustme.CA, root: str) -> None:
    missing = str(tmp_path / "missing")
    empty = tmp_path / "empty"
    empty.touch()
    cert, key = write_certificate(tmp_path, authority)
    for options, text in (
        (TLSOptions(sslrootcert=missing), "sslrootcert file .*missing' cannot be used: No such file"),
        (TLSOptions(sslrootcert=str(empty)), "sslrootcert file .*empty' cannot be used: no certificate"),
        (
            TLSOptions(sslrootcert=root, sslcrl=missing),
            "sslcrl file .*missing' or directory None cannot be used",
        ),
        (TLSOptions(sslcert=missing), "sslcert file .*missing' cannot be used: No such file"),
        (TLSOptions(sslcert=cert), "sslcert file .*' cannot be used: "),
        (TLSOptions(sslcert=cert, sslkey=root), "cannot be used"),
        (TLSOptions(sslcert="a\0b"), "cannot be used: embedded null byte"),
        (TLSOptions("verify-ca"), "sslmode verify-ca needs sslrootcert"),
        (TLSOptions("disable"), "sslmode: TLS is disabled"),
    ):
        with pytest.raises(ConfigError, match=text):
            make_context(options)
    assert make_context(TLSOptions(sslcert=cert, sslkey=key)).verify_mode == ssl.CERT_NONE


def test_the_context_follows_the_policy(root: str, tmp_path: Path) -> None:
    context = make_context(TLSOptions("require"))
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    context = make_context(
        TLSOptions(
            "verify-ca",
            sslrootcert=root,
            ssl_min_protocol_version="TLSv1.3",
            ssl_max_protocol_version="TLSv1.3",
        )
    )
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_REQUIRED)
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_3
    context = make_context(TLSOptions("verify-full", sslrootcert="system", sslcrldir=str(tmp_path)))
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.verify_flags & ssl.VERIFY_CRL_CHECK_CHAIN == ssl.VERIFY_CRL_CHECK_CHAIN
    context = make_context(TLSOptions("require", ssl_min_protocol_version=None))
    assert context.minimum_version == ssl.TLSVersion.MINIMUM_SUPPORTED


def test_a_revoked_certificate(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = make_certificate(key, hashes.SHA256())
    context = server_with(tmp_path, key, certificate)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(NOW)
        .next_update(NOW + datetime.timedelta(days=30_000))
    )
    entry = (
        x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(NOW).build()
    )
    root, path = tmp_path / "root.crt", tmp_path / "root.crl"
    root.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    for revoked in (False, True):
        signed = (crl.add_revoked_certificate(entry) if revoked else crl).sign(key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        client = TLS(make_context(TLSOptions("verify-full", sslrootcert=str(root), sslcrl=str(path))), HOST)
        server = TLS(context, None, server_side=True)
        if revoked:
            with pytest.raises(RemoteProtocolError, match="not accepted: certificate revoked"):
                pump(client, server)
        else:
            pump(client, server)
            assert client.handshake_complete
