"""The program of docs/testing-your-code.md that needs no server runs."""

from __future__ import annotations

from tests.support.readme import blocks


def test_the_program_runs() -> None:
    (program,) = blocks("memory")
    names: dict[str, object] = {}
    exec(compile(program.source, program.page, "exec"), names)
    assert names["server"].committed.count("insert into t values (1)") > 0  # type: ignore[attr-defined]
