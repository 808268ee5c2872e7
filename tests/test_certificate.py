"""Channel binding data, out of real certificates and out of broken ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from pgproto.config import TLSOptions
from pgproto.protocol.certificate import signature_hash, tls_server_end_point
from pgproto.protocol.tls import TLS, make_context
from tests.support.certificates import HOST, Key, make_certificate, pump, server_with


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def ec_key(curve: ec.EllipticCurve) -> Callable[[rsa.RSAPrivateKey], Key]:
    return lambda _: ec.generate_private_key(curve)


def pss_with(algorithm: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("make_key", "algorithm", "pss", "expected"),
    [
        (lambda key: key, hashes.SHA256(), None, "sha256"),
        (lambda key: key, hashes.SHA384(), None, "sha384"),
        (lambda key: key, hashes.SHA512(), None, "sha512"),
        (lambda key: key, hashes.SHA256(), pss_with(hashes.SHA256()), "sha256"),
        (lambda key: key, hashes.SHA384(), pss_with(hashes.SHA384()), "sha384"),
        (lambda key: key, hashes.SHA512(), pss_with(hashes.SHA512()), "sha512"),
        (ec_key(ec.SECP256R1()), hashes.SHA256(), None, "sha256"),
        (ec_key(ec.SECP384R1()), hashes.SHA384(), None, "sha384"),
        (ec_key(ec.SECP256R1()), hashes.SHA512(), None, "sha512"),
        (lambda _: ed25519.Ed25519PrivateKey.generate(), None, None, None),
    ],
)
def test_channel_binding(
    tmp_path: Path,
    rsa_key: rsa.RSAPrivateKey,
    make_key: Callable[[rsa.RSAPrivateKey], Key],
    algorithm: hashes.HashAlgorithm | None,
    pss: padding.PSS | None,
    expected: str | None,
    version: str,
) -> None:
    key = make_key(rsa_key)
    certificate = make_certificate(key, algorithm, pss)
    client = TLS(make_context(TLSOptions("require", ssl_max_protocol_version=version)), HOST)
    server = TLS(server_with(tmp_path, key, certificate), None, server_side=True)
    assert client.channel_binding() is None
    pump(client, server)
    der = certificate.public_bytes(serialization.Encoding.DER)
    binding = client.channel_binding()
    assert binding == (None if expected is None else hashlib.new(expected, der).digest())
    assert tls_server_end_point(der) == binding
    assert server.channel_binding() is None


# --- the DER -------------------------------------------------------------------------------------------


def der(tag: int, *contents: bytes) -> bytes:
    body = b"".join(contents)
    size = len(body)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    body = b""
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        body += bytes(reversed(septets))
    return der(0x06, body)


def certificate_with(*algorithm: bytes) -> bytes:
    return der(0x30, der(0x30, b"\0" * 300), der(0x30, *algorithm), der(0x03, b"\0sig"))


NULL = b"\x05\x00"
PSS = oid("1.2.840.113549.1.1.10")
SALT = der(0xA2, b"\x02\x01\x20")


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("1.2.840.113549.1.1.4", "sha256"),  # MD5 and SHA-1 are replaced
        ("1.2.840.113549.1.1.5", "sha256"),
        ("1.2.840.113549.1.1.14", "sha224"),
        ("1.2.840.113549.1.1.13", "sha512"),
        ("1.2.840.10045.4.1", "sha256"),
        ("1.2.840.10045.4.3.3", "sha384"),
        ("1.2.840.10040.4.3", "sha256"),
        ("2.16.840.1.101.3.4.3.2", "sha256"),
        ("2.16.840.1.101.3.4.3.10", "sha3_256"),
        ("1.3.101.112", None),  # Ed25519
        ("1.3.101.113", None),  # Ed448
        ("1.2.840.113549.1.1.2", None),  # MD2
        ("2.999.1", None),
        ("0.4294967295", None),
    ],
)
def test_the_hash_of_a_signature_algorithm(dotted: str, expected: str | None) -> None:
    assert signature_hash(certificate_with(oid(dotted), NULL)) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ((), "sha256"),  # the default is SHA-1, which is replaced
        ((der(0x30),), "sha256"),
        ((der(0x30, SALT),), "sha256"),
        ((der(0x30, der(0xA0, der(0x30, oid("1.3.14.3.2.26")))),), "sha256"),
        ((der(0x30, der(0xA0, der(0x30, oid("2.16.840.1.101.3.4.2.2"), NULL)), SALT),), "sha384"),
        ((der(0x30, der(0xA0, der(0x30, oid("2.16.840.1.101.3.4.2.8")))),), "sha3_256"),
        ((der(0x30, der(0xA0, der(0x30, oid("2.16.840.1.101.3.4.2.11")))),), None),  # SHAKE-128
        ((NULL,), None),
        ((der(0x30, der(0xA0)),), None),
        ((der(0x30, der(0xA0, NULL)),), None),
    ],
)
def test_the_hash_of_rsassa_pss(parameters: tuple[bytes, ...], expected: str | None) -> None:
    assert signature_hash(certificate_with(PSS, *parameters)) == expected


def test_the_binding_is_the_hash_of_the_whole() -> None:
    certificate = certificate_with(oid("1.2.840.113549.1.1.12"))
    assert tls_server_end_point(certificate) == hashlib.sha384(certificate).digest()
    assert tls_server_end_point(b"") is None


@pytest.mark.parametrize(
    "certificate",
    [
        b"",
        b"\x30",
        b"\x30\x80",  # the indefinite length is BER
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x82\x01",
        b"\x30\x02\x30\x01",
        b"\x02\x01\x00",
        certificate_with(),
        certificate_with(NULL),
        certificate_with(der(0x06)),
        certificate_with(der(0x06, b"\x2a\x90\x80\x80\x80\x80\x80\x00")),
        certificate_with(der(0x06, b"\x2a\x86")),
    ],
)
def test_what_is_no_certificate_has_no_hash(certificate: bytes) -> None:
    assert signature_hash(certificate) is None


def test_a_certificate_that_is_cut_has_no_hash() -> None:
    certificate = certificate_with(PSS, der(0x30, der(0xA0, der(0x30, oid("2.16.840.1.101.3.4.2.2")))))
    assert signature_hash(certificate) == "sha384"
    assert [signature_hash(certificate[:end]) for end in range(len(certificate))] == [None] * len(certificate)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_certificate_or_not(data: bytes) -> None:
    for certificate in (data, certificate_with(data), certificate_with(PSS, data)):
        assert signature_hash(certificate) in {None, *hashlib.algorithms_available}
