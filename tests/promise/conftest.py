"""The adapters, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS
from tests.support.owned import Owned
from tests.support.postgres import PostgresServer


@pytest.fixture(params=DRIVERS, ids=repr)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Those with a link, or a client, of their own; the conformance suite has every adapter."""
    chosen: Driver = request.param
    return chosen


@pytest.fixture
def owned(pg18: PostgresServer) -> Iterator[Owned]:
    name = f"owned_{threading.get_native_id()}"
    pg18.query(f"drop table if exists {name}; create table {name} (n int)")
    yield Owned(pg18, name)
    pg18.query(f"drop table {name}")


@pytest.fixture(params=[driver for driver in DRIVERS if driver.asynchronous], ids=repr)
def parallel(request: pytest.FixtureRequest) -> Driver:
    """The adapters that have tasks."""
    chosen: Driver = request.param
    return chosen
