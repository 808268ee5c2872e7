"""A password file that others can read is ignored, and the user is told: at once, and when it matters."""

from __future__ import annotations

import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest

from pgproto import ConfigError, ConnectError
from pgproto_pytest import Driver
from tests.support.postgres import PASSWORD, PostgresServer

pytestmark = pytest.mark.holds("S6")

IGNORED = "has group or world access; permissions should be u=rw \\(0600\\) or less"


def login(pg18: PostgresServer, folder: Path, mode: int, user: str = "scram_user") -> dict[str, Any]:
    """The arguments of a login whose password is in a file of that mode."""
    file = folder / "passwords"
    file.write_text(f"*:*:*:*:{PASSWORD}\n")
    file.chmod(mode)
    return {"dsn": pg18.dsn(user=user), "passfile": str(file)}


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_it_is_a_warning_and_a_note(driver: Driver, pg18: PostgresServer, tmp_path: Path, mode: int) -> None:
    arguments = login(pg18, tmp_path, mode)

    async def scenario(pg: Driver) -> None:
        with pytest.raises(ConfigError, match="no password supplied") as caught:
            async with pg.connect(**arguments):
                pass
        note = caught.value.__notes__[0]
        assert arguments["passfile"] in note
        assert "it was ignored" in note

    with pytest.warns(UserWarning, match=IGNORED) as told:
        driver.run(scenario)
    assert len(told) == 1
    assert arguments["passfile"] in str(told[0].message)


def test_a_pool_is_told_once(driver: Driver, pg18: PostgresServer, tmp_path: Path) -> None:
    arguments = login(pg18, tmp_path, 0o644)

    async def scenario(pg: Driver) -> None:
        with pytest.raises(ConnectError, match="no password supplied") as caught:
            async with pg.Pool(**arguments, min_size=2, max_size=2):
                pass
        cause = caught.value.errors[0]
        assert isinstance(cause, ConfigError)
        assert "it was ignored" in cause.__notes__[0]
        assert "it was ignored" in "".join(traceback.format_exception(caught.value))

    with pytest.warns(UserWarning, match=IGNORED) as told:
        driver.run(scenario)
    assert len(told) == 1


def test_it_is_the_line_of_the_caller_that_is_named(
    driver: Driver, pg18: PostgresServer, tmp_path: Path
) -> None:
    """Where nobody wants a password there is a warning, and nothing else."""
    arguments = login(pg18, tmp_path, 0o644, user="postgres")

    async def scenario(pg: Driver) -> None:
        async with pg.connect(**arguments) as conn:
            assert await conn.fetchval("select 1") == 1

    with pytest.warns(UserWarning, match=IGNORED) as told:
        driver.run(scenario)
    assert Path(told[0].filename).parent.name == "pgproto_pytest", "the driver is the adapter's caller"


def test_a_private_file_is_read(driver: Driver, pg18: PostgresServer, tmp_path: Path) -> None:
    arguments = login(pg18, tmp_path, 0o600)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(**arguments) as conn:
            assert await conn.fetchval("select current_user") == "scram_user"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver.run(scenario)


def test_with_a_password_the_file_does_not_matter(
    driver: Driver, pg18: PostgresServer, tmp_path: Path
) -> None:
    arguments = login(pg18, tmp_path, 0o644)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(**arguments, password=PASSWORD) as conn:
            assert await conn.fetchval("select current_user") == "scram_user"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver.run(scenario)
