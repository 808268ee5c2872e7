"""The protocol's state machine: bytes in, events out, for the client and for the server.

`PGConnection` knows the legal order of messages (the tables are in `states`) and which request an event
belongs to; `Authenticator` answers the server's authentication messages under a policy.  No I/O here.

For servers and proxies: `ServerAuthenticator` authenticates a client against a stored `ScramVerifier` or
`md5_verifier`, and `pgproto.protocol.tls` has TLS for both roles (`TLS`, `make_context`); import it
separately, because it loads `ssl`.  To start encryption, answer the client's SSLRequest with
`EncryptionResponse(b"S")`, pass all further bytes through `TLS(context, None, server_side=True)`, and call
`PGConnection.secured`.
"""

from __future__ import annotations

from ..wire.binding import Executes
from .authentication import Authenticator
from .connection import CLIENT, SERVER, PGConnection
from .events import NEED_DATA, Closed, CommandCompletes, DataRows, Frames, NeedData, Secure, Skipped
from .server_authentication import SERVER_METHODS, ServerAuthenticator
from .verifier import ScramVerifier, md5_verifier

__all__ = [
    "CLIENT",
    "NEED_DATA",
    "SERVER",
    "SERVER_METHODS",
    "Authenticator",
    "Closed",
    "CommandCompletes",
    "DataRows",
    "Executes",
    "Frames",
    "NeedData",
    "PGConnection",
    "ScramVerifier",
    "Secure",
    "ServerAuthenticator",
    "Skipped",
    "md5_verifier",
]
