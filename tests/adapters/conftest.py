"""The adapters, one after the other."""

from __future__ import annotations

import pytest

from tests.support.drivers import EVERY, Driver

pytest.register_assert_rewrite("tests.adapters.behaviours", "tests.adapters.scripts")


@pytest.fixture(params=EVERY, ids=repr)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each of the adapters in turn."""
    chosen: Driver = request.param
    return chosen
