"""A pytest plugin for code that uses pgproto, and for adapters of pgproto.

`conformance(driver)` is the suite that our own adapters pass, as a test of anybody's; `Driver` is the small
protocol by which it knows an adapter.  The fixtures (`postgres`, `database`, ...) are in
`pgproto_pytest.plugin`; the embedded server is `pgproto_pytest.postgres.PostgresServer`.

Importing this imports neither pytest nor pgproto nor any adapter: each comes when it is used.
"""

from __future__ import annotations

from pgproto_pytest.behaviour import Behaviour, Database
from pgproto_pytest.blocking import BlockingDriver
from pgproto_pytest.conformance import conformance
from pgproto_pytest.driver import Driver, Hang, Scenario
from pgproto_pytest.drivers import AnyioDriver, AsyncioDriver, TrioDriver
from pgproto_pytest.server import Server

__all__ = [
    "AnyioDriver",
    "AsyncioDriver",
    "Behaviour",
    "BlockingDriver",
    "Database",
    "Driver",
    "Hang",
    "Scenario",
    "Server",
    "TrioDriver",
    "conformance",
]
