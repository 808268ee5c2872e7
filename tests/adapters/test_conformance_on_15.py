"""The conformance suite on an old server, PostgreSQL 15: protocol 3.0, and TLS in its build."""

from __future__ import annotations

import pytest

from pgproto_pytest import Server, conformance
from tests.support.drivers import EVERY
from tests.support.postgres import PostgresServer

test_behaviour = conformance(*EVERY)


@pytest.fixture
def postgres(pg15: PostgresServer) -> Server:
    return pg15
