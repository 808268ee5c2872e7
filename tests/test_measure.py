"""The clients stay small, and no adapter repeats another: `scripts/measure.py` counts."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from scripts.measure import counts, lines_of, packages, repeated

LIMIT = 6069
"""Lines of the client, the sockets and the four adapters.  Lower it when they become fewer.

The target is 3,300.
"""
FOR_MODES = 28
"""Of these lines: the statement mode of a session and of a call."""
LIMIT_OF_ANYIO = 150
FOR_COLUMNS = 117
"""Of these lines: `fetch_columns`, `stream_columns` and `copy_columns`."""
FOR_COPY = 253
"""Of these lines: row counts, parameters, conditions, files, progress and columns by default of COPY."""
FOR_SESSIONS = 868
"""Of these lines: what sessions can do beyond statements; the changelog lists it."""
FOR_SEEING = 244
"""Of these lines: observers, the trace and the logs."""

FOR_HABITS = 238
"""Of these lines: what the names of other drivers are here, for error texts; a table and what reads it."""


def test_the_clients_have_no_more_lines_than_they_had() -> None:
    found = counts(packages())
    assert set(found) == {
        "pgproto/client",
        "pgproto_anyio",
        "pgproto_asyncio",
        "pgproto_blocking",
        "pgproto_sockets",
        "pgproto_trio",
    }
    assert all(found.values())
    features = FOR_COLUMNS + FOR_COPY + FOR_SESSIONS + FOR_SEEING + FOR_HABITS + FOR_MODES
    assert sum(found.values()) <= LIMIT + features
    assert found["pgproto_anyio"] < LIMIT_OF_ANYIO


def test_no_two_adapters_share_six_equal_lines() -> None:
    adapters = {name: files for name, files in packages().items() if name != "pgproto/client"}
    assert [
        f"{one} and {other}"
        for first, second in combinations(adapters, 2)
        for one, other in repeated(adapters[first], adapters[second])
    ] == []


def test_what_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        '"""Doc."""\n\nfrom a import (\n    b,\n)\n\n\n'  # three lines of five are an import
        "def f():\n    import c\n\n    # why\n    return c\n"
    )
    assert [(line.number, line.text) for line in lines_of(file)] == [
        (1, '"""Doc."""'),
        (8, "def f():"),
        (11, "# why"),
        (12, "return c"),
    ]


@pytest.mark.parametrize(("equal", "places"), [(5, []), (6, [(1, 3)]), (7, [(1, 3), (2, 4)])])
def test_what_is_repeated(tmp_path: Path, equal: int, places: list[tuple[int, int]]) -> None:
    """Indentation, blank lines and imports make no difference."""
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    shared = [f"x = {number}" for number in range(equal)]
    one.write_text("\n".join([*shared, "one = 1", ""]))
    other.write_text("\n".join(["if True:", "    import os", *[f"    {line}" for line in shared], ""]))
    assert [(a.number, b.number) for a, b in repeated([one], [other])] == places
