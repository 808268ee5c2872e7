"""TLS without I/O: ciphertext in, plaintext out, and the other way round.

`TLS` wraps an `ssl.SSLObject` over two `ssl.MemoryBIO`s, for both roles.  The transport only moves bytes:

    tls = TLS(make_context(options), options.server_hostname(host))
    transport.write(tls.data_to_send())             # the ClientHello
    plaintext = tls.receive_data(transport.read())  # b"" from the transport means EOF
    transport.write(tls.data_to_send())             # after every call: the handshake, alerts, ciphertext

Rules:
- Any failure of the handshake or a record raises a RemoteProtocolError with the ssl.SSLError as its cause.
  It is final: every later call raises it again.  `data_to_send` still has the alert for the peer; send it.
- Plaintext decrypted before the failure is returned first, because it may contain the server's last
  message; the next call raises the failure.
- An EOF without close_notify after the handshake sets `eof` and `truncated` and is no error: PostgreSQL's
  framing detects truncation itself, and servers often end without close_notify.

This is the only module that imports ssl (which imports socket); it is imported when TLS is asked for.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from ..errors import ConfigError, Error, LocalProtocolError, RemoteProtocolError, because
from .certificate import tls_server_end_point

if TYPE_CHECKING:
    from ..config import TLSOptions

__all__ = ["ALPN_PROTOCOL", "TLS", "make_context"]

ALPN_PROTOCOL: Final = "postgresql"
"""The protocol's name in TLS, registered by IANA; servers require it for `sslnegotiation=direct`."""

_READ_SIZE: Final = 65536
_WRITE_SIZE: Final = 1 << 20

_VERSIONS: Final[dict[str, ssl.TLSVersion]] = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def make_context(config: TLSOptions) -> ssl.SSLContext:
    """The TLS policy as an `ssl.SSLContext` for the client role.

    It reads the certificate files, so it may block for a moment; a context can be kept and used for all
    connections of a Config.  As in libpq, `sslrootcert` makes even `require` verify the chain.  Manual: "SSL
    Support", "Client Verification of Server Certificates".

    Args:
        config: the policy; its `sslmode` must not be `disable`.

    Returns:
        The context, which offers ALPN `postgresql`; or the caller's own, as it is.

    Raises:
        ConfigError: TLS is disabled, or a file is missing, cannot be read, or does not fit the others.
    """
    if config.sslmode == "disable":
        raise ConfigError("sslmode: TLS is disabled")
    if config.context is not None:
        return config.context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = config.sslmode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if config.verifies else ssl.CERT_NONE
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if config.ssl_min_protocol_version is None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    else:
        context.minimum_version = _VERSIONS[config.ssl_min_protocol_version]
    if config.ssl_max_protocol_version is not None:
        context.maximum_version = _VERSIONS[config.ssl_max_protocol_version]
    context.set_alpn_protocols([ALPN_PROTOCOL])
    if config.verifies:
        _load_authorities(context, config)
    if config.sslcert is not None:
        # Never None: OpenSSL would then ask for the pass phrase on the terminal.
        password = "" if config.sslpassword is None else config.sslpassword.reveal()
        try:
            context.load_cert_chain(config.sslcert, config.sslkey, password)
        except (OSError, ValueError) as error:
            key = f" or sslkey file {config.sslkey!r}" if config.sslkey is not None else ""
            text = f"sslcert file {config.sslcert!r}{key} cannot be used"
            raise because(ConfigError(f"{text}: {_reason(error)}"), error) from error
    return context


def _load_authorities(context: ssl.SSLContext, config: TLSOptions) -> None:
    """Load the trusted authorities and the revocation lists."""
    if config.sslrootcert is None:
        raise ConfigError(f'sslmode {config.sslmode} needs sslrootcert: a file with trusted CAs, or "system"')
    if config.sslrootcert == "system":
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=config.sslrootcert)
        except (OSError, ValueError) as error:
            text = f"sslrootcert file {config.sslrootcert!r} cannot be used"
            raise because(ConfigError(f"{text}: {_reason(error)}"), error) from error
    if config.sslcrl is not None or config.sslcrldir is not None:
        try:
            context.load_verify_locations(cafile=config.sslcrl, capath=config.sslcrldir)
        except (OSError, ValueError) as error:
            text = f"sslcrl file {config.sslcrl!r} or directory {config.sslcrldir!r} cannot be used"
            raise because(ConfigError(f"{text}: {_reason(error)}"), error) from error
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _reason(error: Exception) -> str:
    """The message of OpenSSL or the system, without the source line of _ssl.c."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason: object = getattr(error, "reason", None)  # None for some SSLErrors, although declared as str
    if isinstance(reason, str):
        return reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


class TLS:
    """One TLS session, either role, over bytes.

    Args:
        context: from `make_context`; for the server role one of PROTOCOL_TLS_SERVER.
        server_hostname: the name to send (SNI) and to check the certificate against; None for neither.
        server_side: True for the server role.
        require_alpn: True to refuse a peer that does not agree on ALPN `postgresql`.  A client that starts
            with direct TLS needs it, so that an attacker cannot redirect it to another TLS service.

    Raises:
        LocalProtocolError: `server_hostname` is no host name, or is missing although the context checks it.
    """

    __slots__ = (
        "_closed",
        "_error",
        "_incoming",
        "_object",
        "_outgoing",
        "_require_alpn",
        "_server_side",
        "_unsent",
        "eof",
        "handshake_complete",
        "truncated",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        server_hostname: str | None,
        *,
        server_side: bool = False,
        require_alpn: bool = False,
    ) -> None:
        self._incoming: ssl.MemoryBIO = ssl.MemoryBIO()
        self._outgoing: ssl.MemoryBIO = ssl.MemoryBIO()
        self._unsent: list[bytes] = []
        self._error: Error | None = None
        self._closed: bool = False
        self._server_side: bool = server_side
        self._require_alpn: bool = require_alpn
        self.handshake_complete: bool = False
        """True once the handshake has succeeded, including the check of the peer's certificate."""
        self.eof: bool = False
        """True after close_notify or the transport's EOF: no more plaintext can come."""
        self.truncated: bool = False
        """True if the transport's EOF came without a close_notify."""
        if context.check_hostname and not server_side and not server_hostname:
            # An SSLObject would silently check no name at all (an SSLSocket refuses).
            raise LocalProtocolError("the host name cannot be used for TLS: it is needed, and is empty")
        try:
            self._object: ssl.SSLObject = context.wrap_bio(
                self._incoming, self._outgoing, server_side, server_hostname
            )
        except ValueError as error:  # also UnicodeError, of the IDNA codec
            refused = LocalProtocolError("the host name cannot be used for TLS: " + str(error))
            raise because(refused, error) from error
        if not server_side:
            self._drive_handshake()

    # --- bytes -----------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> bytes:
        """Take ciphertext from the transport.

        Args:
            data: what arrived; b"" for EOF.

        Returns:
            The plaintext that can be read now; b"" while there is none (look at `eof`).

        Raises:
            RemoteProtocolError: the handshake failed, the certificate was not accepted, or a record is
                broken.
        """
        self._check()
        if data:
            if not self.eof:
                self._incoming.write(data)
        else:
            self._incoming.write_eof()
        if not self.handshake_complete and not self._closed and not self._drive_handshake():
            self._check()
            return b""
        plaintext = self._read() if self.handshake_complete and not self.eof else b""
        if not data and not self.eof:
            self.eof = True
            self.truncated = True
        if not plaintext:
            self._check()
        return plaintext

    def send(self, data: bytes) -> None:
        """Encrypt plaintext; before the end of the handshake, keep it until then.

        Args:
            data: the plaintext.

        Raises:
            LocalProtocolError: `close` was called before.
            RemoteProtocolError: the session has failed.
        """
        if self._closed:
            raise LocalProtocolError("the TLS session is closed")
        self._check()
        if self.handshake_complete:
            self._write(data)
        elif data:
            self._unsent.append(data)

    def data_to_send(self) -> bytes:
        """The ciphertext to hand to the transport; b"" if there is none."""
        return self._outgoing.read()

    def close(self) -> None:
        """Put a close_notify into `data_to_send` if the handshake is complete.  Idempotent.

        Data sent earlier is encrypted before it; data that waits for the handshake is dropped.
        """
        if self._closed:
            return
        self._closed = True
        self._unsent.clear()
        if self.handshake_complete and self._error is None:
            try:
                self._object.unwrap()
            except ssl.SSLError:  # it wants the peer's close_notify, which is not needed
                pass

    # --- what was negotiated -----------------------------------------------------------------------------

    def channel_binding(self) -> bytes | None:
        """The tls-server-end-point data for SCRAM-SHA-256-PLUS (RFC 5929 section 4).

        Returns:
            The hash of the server's certificate; None before the end of the handshake, if the
            certificate's signature has no hash function of its own (Ed25519), and in the server role,
            which calls `pgproto.protocol.certificate.tls_server_end_point` with its certificate.
        """
        if self._server_side or not self.handshake_complete:
            return None
        certificate = self._object.getpeercert(True)
        return None if certificate is None else tls_server_end_point(certificate)

    def alpn_protocol(self) -> str | None:
        """The protocol that was agreed on by ALPN; None if there was none."""
        return self._object.selected_alpn_protocol()

    def version(self) -> str | None:
        """The version of TLS, as `TLSv1.3`; None before the handshake."""
        return self._object.version()

    def cipher(self) -> str | None:
        """The name of the cipher, as `TLS_AES_256_GCM_SHA384`; None before the handshake."""
        found = self._object.cipher()
        return None if found is None else found[0]

    # --- inside ------------------------------------------------------------------------------------------

    def _drive_handshake(self) -> bool:
        """Do what can be done; True once the handshake is complete.  A failure is kept in `_error`."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            self._fail("the peer's certificate was not accepted: " + _reason(error), error)
            return False
        except ssl.SSLEOFError as error:
            self._fail("the peer closed the connection during the TLS handshake", error)
            return False
        except OSError as error:
            self._fail("the TLS handshake failed: " + _reason(error), error)
            return False
        if self._require_alpn and self._object.selected_alpn_protocol() != ALPN_PROTOCOL:
            self._fail("the peer did not agree on ALPN " + ALPN_PROTOCOL, None)
            return False
        self.handshake_complete = True
        for data in self._unsent:
            self._write(data)
        self._unsent.clear()
        return True

    def _read(self) -> bytes:
        """All plaintext that can be decrypted now."""
        chunks: list[bytes] = []
        try:
            while True:
                chunk = self._object.read(_READ_SIZE)
                if not chunk:
                    self.eof = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.eof = True
        except ssl.SSLEOFError:
            self.eof = True
            self.truncated = True
        except OSError as error:
            self.eof = True
            if not self._closed:
                self._fail("the TLS session failed: " + _reason(error), error)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _write(self, data: bytes) -> None:
        """Encrypt; a memory BIO takes everything, so this never waits."""
        size = len(data)
        position = 0
        try:
            while position < size:
                chunk = data if size <= _WRITE_SIZE else data[position : position + _WRITE_SIZE]
                position += self._object.write(chunk)
        except OSError as error:  # after the transport's EOF OpenSSL accepts no more data
            raise self._fail("the TLS session failed: " + _reason(error), error) from error

    def _check(self) -> None:
        """Raise the failure, if there was one.

        A separate method, because mypy keeps its narrowed type of `_error` across calls that change it, and
        compiled code relies on mypy.
        """
        if self._error is not None:
            raise self._error

    def _fail(self, text: str, cause: Exception | None) -> RemoteProtocolError:
        error = RemoteProtocolError(text)
        error.__cause__ = cause
        self._error = error
        self._unsent.clear()
        return error
