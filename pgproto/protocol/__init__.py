"""The protocol's state machine: bytes in, events out, for the client and for the server.

`PGConnection` knows what may follow what (the tables are in `states`) and which request an event belongs
to; `Authenticator` answers the server's authentication messages under a policy.  Nothing here does I/O.

For servers and proxies: `ServerAuthenticator` asks a client who it is, by what a `ScramVerifier` or
`md5_verifier` has kept of a password, and `pgproto.protocol.tls` has TLS for both roles (`TLS`,
`make_context`); it is a module of its own because it loads `ssl`.  Encryption goes so: the client's
SSLRequest is answered with `EncryptionResponse(b"S")`, the bytes go through `TLS(context, None,
server_side=True)` from there on, and `PGConnection.secured` says so.
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
