"""The program of docs/testing-your-code.md runs."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "testing-your-code.md"


def test_the_program_runs() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(program, str(DOCUMENT), "exec"), names)
    assert names["server"].committed.count("insert into t values (1)") > 0  # type: ignore[attr-defined]
