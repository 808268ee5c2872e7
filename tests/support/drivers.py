"""The adapters that a test runs on: those of `pgproto_pytest`, one after the other."""

from __future__ import annotations

import pytest

from pgproto_pytest import AnyioDriver, AsyncioDriver, BlockingDriver, Driver, TrioDriver

__all__ = ["DRIVERS", "EVERY", "only"]

DRIVERS: tuple[Driver, ...] = (AsyncioDriver(), TrioDriver(), BlockingDriver())
EVERY: tuple[Driver, ...] = (*DRIVERS, AnyioDriver("asyncio"), AnyioDriver("trio"))
"""The fourth adapter shares its link with trio, and its client with both: it is in the conformance suite."""


def only(*names: str) -> pytest.MarkDecorator:
    """For a test of what the others do not have: its fixture `driver` is one of those with `names`."""
    chosen = [driver for driver in DRIVERS if driver.name in names]
    return pytest.mark.parametrize("driver", chosen, indirect=True, ids=repr)
