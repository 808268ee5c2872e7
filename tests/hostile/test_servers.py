"""Every hostile server of the tables against the core."""

from __future__ import annotations

import pytest

from tests.hostile.case import Case, check
from tests.hostile.servers_authentication import AUTHENTICATION
from tests.hostile.servers_session import SESSION
from tests.hostile.servers_startup import STARTUP
from tests.hostile.servers_tls import TLS_SERVERS


def rows(*tables: dict[str, Case]) -> pytest.MarkDecorator:
    cases = [case for table in tables for case in table.values()]
    return pytest.mark.parametrize("case", cases, ids=repr)


@rows(TLS_SERVERS)
def test_tls(case: Case) -> None:
    check(case)


@rows(AUTHENTICATION)
def test_authentication(case: Case) -> None:
    check(case)


@rows(STARTUP)
def test_startup(case: Case) -> None:
    check(case)


@rows(SESSION)
def test_session(case: Case) -> None:
    check(case)
