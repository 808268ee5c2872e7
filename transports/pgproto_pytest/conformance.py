"""The conformance suite as a test of anybody's adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgproto_pytest.behaviour import Behaviour
from pgproto_pytest.driver import Driver
from pgproto_pytest.server import Server

__all__ = ["conformance"]


def conformance(*drivers: Driver) -> Callable[..., Any]:
    """The suite as a test function.

    A module of tests has it in two lines:

        from pgproto_pytest import conformance
        test_behaviour = conformance(MyDriver())

    It is parametrised by the names of the behaviours and of the drivers, so that `-k` chooses among them, and
    runs on the server of the fixture `postgres`.

    Args:
        drivers: the adapters.

    Returns:
        The test function.
    """
    import pytest

    from pgproto_pytest.behaviours import BEHAVIOURS

    @pytest.mark.parametrize("driver", drivers, ids=repr)
    @pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
    def test_behaviour(driver: Driver, behaviour: Behaviour, postgres: Server) -> None:
        behaviour.run(driver, postgres)

    return test_behaviour
