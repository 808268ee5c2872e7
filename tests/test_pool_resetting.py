"""Which script resets a session: the table of the `reset` option."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import ConfigError
from pgproto.pool import Resetting
from pgproto.pool.resetting import FORGET_ALL, KEEP_STATEMENTS

OWN = "RESET ALL; RESET ROLE"


@pytest.mark.holds("L5")
@pytest.mark.parametrize(
    ("reset", "unused", "clean", "dirty"),
    [
        ("auto", "", "", FORGET_ALL),
        ("AUTO", "", "", FORGET_ALL),
        ("always", "", KEEP_STATEMENTS, FORGET_ALL),
        ("never", "", "", ""),
        ("", "", "", ""),
        (OWN, "", OWN, OWN),
        ("DISCARD ALL", "", FORGET_ALL, FORGET_ALL),
    ],
)
def test_which_script_runs(reset: str, unused: str, clean: str, dirty: str) -> None:
    resetting = Resetting(reset)
    assert resetting.script_for(touched=False, dirty=False) == unused
    assert resetting.script_for(touched=True, dirty=False) == clean
    assert resetting.script_for(touched=True, dirty=True) == dirty
    assert resetting.script_for(touched=False, dirty=True) == dirty


@pytest.mark.parametrize("reset", [None, 5, True, b"always", "allways", " discard ", "a\0b"])
def test_what_is_no_way_to_reset(reset: Any) -> None:
    with pytest.raises(ConfigError, match="reset must be"):
        Resetting(reset)
