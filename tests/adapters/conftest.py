"""The adapters, one after the other."""

from __future__ import annotations

import pytest

from pgproto_pytest import Driver
from tests.support.drivers import EVERY

pytest.register_assert_rewrite("tests.adapters.scripts")


@pytest.fixture(params=EVERY, ids=repr)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each of the adapters in turn."""
    chosen: Driver = request.param
    return chosen
