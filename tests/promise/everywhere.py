"""For tests of what the adapters once did differently: they run on all four, anyio on both of its loops."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.drivers import EVERY

__all__ = ["everywhere", "in_tasks"]

everywhere: Final = pytest.mark.parametrize("driver", EVERY, indirect=True, ids=repr)
in_tasks: Final = pytest.mark.parametrize(
    "parallel", [driver for driver in EVERY if driver.asynchronous], indirect=True, ids=repr
)
