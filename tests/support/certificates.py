"""Certificates of every kind, and two TLS sessions joined in memory."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from pgproto.protocol.tls import TLS

Key: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

HOST = "db.example.org"
NOW = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def pump(client: TLS, server: TLS, size: int = 1 << 20) -> tuple[bytes, bytes]:
    """Carry bytes in both directions, at most `size` at a time, until there are none; what each side read."""
    read = {client: b"", server: b""}
    moving = True
    while moving:
        moving = False
        for source, target in ((client, server), (server, client)):
            data = source.data_to_send()
            for start in range(0, len(data), size):
                read[target] += target.receive_data(data[start : start + size])
                moving = True
    return read[client], read[server]


def make_certificate(
    key: Key, algorithm: hashes.HashAlgorithm | None, pss: padding.PSS | None = None
) -> x509.Certificate:
    """A certificate for HOST that is signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=30_000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    assert algorithm is None or isinstance(algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512)
    return builder.sign(key, algorithm, rsa_padding=pss)


def server_with(directory: Path, key: Key, certificate: x509.Certificate) -> ssl.SSLContext:
    path = directory / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
