"""The adapters, one after the other."""

from __future__ import annotations

import pytest

from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS


@pytest.fixture(params=DRIVERS, ids=repr)
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    return chosen
