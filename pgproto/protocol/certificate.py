"""Channel binding data of a certificate: tls-server-end-point, RFC 5929 section 4.

The data is a hash of the whole certificate, by the hash function of its own signature.  So only one field
has to be read from the DER, `signatureAlgorithm`:

    Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm AlgorithmIdentifier, ... }
    AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }

Rule: every length is checked against the bytes present, and nothing recurses.  A certificate that cannot be
read, or whose signature has no hash of its own (Ed25519), has no binding data: None, never b"".  Whether
that is a failure is the caller's policy (`channel_binding=require`).
"""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["signature_hash", "tls_server_end_point"]

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_CONTEXT_0: Final = 0xA0

_RSASSA_PSS: Final = "1.2.840.113549.1.1.10"

_SIGNATURE_HASHES: Final[dict[str, str]] = {
    # RFC 8017 and RFC 4055: RSA with PKCS #1 v1.5.  RFC 5929: MD5 and SHA-1 are replaced by SHA-256.
    "1.2.840.113549.1.1.4": "sha256",
    "1.2.840.113549.1.1.5": "sha256",
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    # RFC 3279 and RFC 5758: ECDSA, DSA.
    "1.2.840.10045.4.1": "sha256",
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "1.2.840.10040.4.3": "sha256",
    "2.16.840.1.101.3.4.3.1": "sha224",
    "2.16.840.1.101.3.4.3.2": "sha256",
    # NIST's arc: ECDSA and RSA with SHA-3.
    "2.16.840.1.101.3.4.3.9": "sha3_224",
    "2.16.840.1.101.3.4.3.10": "sha3_256",
    "2.16.840.1.101.3.4.3.11": "sha3_384",
    "2.16.840.1.101.3.4.3.12": "sha3_512",
    "2.16.840.1.101.3.4.3.13": "sha3_224",
    "2.16.840.1.101.3.4.3.14": "sha3_256",
    "2.16.840.1.101.3.4.3.15": "sha3_384",
    "2.16.840.1.101.3.4.3.16": "sha3_512",
}
"""Signature algorithms with one hash function -> that function."""

_HASHES: Final[dict[str, str]] = {
    # For RSASSA-PSS, which names its hash function in its parameters.
    "1.3.14.3.2.26": "sha256",  # SHA-1, replaced
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.7": "sha3_224",
    "2.16.840.1.101.3.4.2.8": "sha3_256",
    "2.16.840.1.101.3.4.2.9": "sha3_384",
    "2.16.840.1.101.3.4.2.10": "sha3_512",
}


def tls_server_end_point(certificate: bytes) -> bytes | None:
    """The channel binding data for a server's certificate.

    Args:
        certificate: the certificate in DER, as the server sent it.

    Returns:
        The hash; None if the signature algorithm has no hash function of its own, or is not known.
    """
    name = signature_hash(certificate)
    return None if name is None else hashlib.new(name, certificate).digest()


def signature_hash(certificate: bytes) -> str | None:
    """The hash function for the tls-server-end-point of a certificate, by its name in hashlib, or None."""
    try:
        outer = _Reader(certificate).enter(_SEQUENCE)
        outer.enter(_SEQUENCE)  # tbsCertificate
        algorithm = outer.enter(_SEQUENCE)
        oid = algorithm.object_identifier()
        if oid != _RSASSA_PSS:
            return _SIGNATURE_HASHES.get(oid)
        return _pss_hash(algorithm)
    except ValueError:
        return None


def _pss_hash(algorithm: _Reader) -> str | None:
    """RFC 4055: parameters ::= SEQUENCE { hashAlgorithm [0] AlgorithmIdentifier DEFAULT sha1, ... }."""
    if algorithm.at_end():
        return "sha256"
    parameters = algorithm.enter(_SEQUENCE)
    if parameters.at_end() or parameters.tag() != _CONTEXT_0:
        return "sha256"
    return _HASHES.get(parameters.enter(_CONTEXT_0).enter(_SEQUENCE).object_identifier())


class _Reader:
    """A bounded walk over DER elements; ValueError if their lengths or tags do not fit."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, position: int = 0, end: int = -1) -> None:
        self._data: bytes = data
        self._position: int = position
        self._end: int = len(data) if end < 0 else end

    def at_end(self) -> bool:
        return self._position >= self._end

    def tag(self) -> int:
        """The tag of the next element."""
        if self._position >= self._end:
            raise ValueError("the element is missing")
        return self._data[self._position]

    def enter(self, tag: int) -> _Reader:
        """Step over the next element, which must have this tag; return a reader of its contents."""
        if self.tag() != tag:
            raise ValueError("another element was expected")
        start = self._position + 1
        if start >= self._end:
            raise ValueError("the length is missing")
        length = self._data[start]
        start += 1
        if length >= 0x80:
            size = length - 0x80
            if not 1 <= size <= 4 or start + size > self._end:
                raise ValueError("the length is no DER length")
            length = int.from_bytes(self._data[start : start + size], "big")
            start += size
        if length > self._end - start:
            raise ValueError("the element is longer than what it is in")
        self._position = start + length
        return _Reader(self._data, start, start + length)

    def object_identifier(self) -> str:
        """The next element as a dotted OBJECT IDENTIFIER (X.690 section 8.19)."""
        contents = self.enter(_OBJECT_IDENTIFIER)
        arcs: list[str] = []
        value = 0
        for position in range(contents._position, contents._end):
            octet = self._data[position]
            value = value << 7 | octet & 0x7F
            if value > 0xFFFFFFFF:
                raise ValueError("an arc is too large")
            if octet < 0x80:
                if not arcs:
                    first = min(value // 40, 2)
                    arcs.append(str(first))
                    value -= 40 * first
                arcs.append(str(value))
                value = 0
        return ".".join(arcs)
