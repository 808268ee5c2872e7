"""README and guide are up to date: their code compiles, and their tables match the code.

Their examples run in tests/postgres/test_readme_examples.py.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib

from pgproto import Outcome, errors
from pgproto.pool import PoolSettings
from tests.support.readme import KINDS, PAGES, ROOT, blocks, table


def test_every_python_block_says_how_it_is_run_and_compiles() -> None:
    found = blocks()
    assert len(found) == sum(text.count("```python") for text in PAGES.values()) > 10
    assert [str(block) for block in found if block.kind not in KINDS] == []
    assert {block.kind for block in found} == KINDS
    for block in found:
        compile(block.source, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_table_of_outcomes_is_that_of_the_code() -> None:
    rows = {row[0]: row[2] for row in table("outcome")}
    assert list(rows) == [outcome.name for outcome in Outcome]
    assert {name for name, safe in rows.items() if safe == "yes"} == {
        outcome.name for outcome in Outcome if outcome.safe_to_retry
    }


def test_the_table_of_pool_settings_has_all_of_them_with_their_defaults() -> None:
    settings = PoolSettings()
    rows = {row[0]: row[1] for row in table("setting")}
    assert rows == {name: str(getattr(settings, name)) for name in inspect.signature(PoolSettings).parameters}


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    def branches(text: str) -> list[str]:
        return re.findall(r"[├└│].*", text)

    guide = branches(PAGES["docs/guide.md"])
    assert guide == branches(errors.__doc__ or "")
    assert len(guide) > 10


def test_the_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = set(re.findall(r"\bmake (\w+)", "".join(PAGES.values())))
    assert {"demo", "test", "bench"} <= commands
    assert [name for name in commands if f"\n{name}:" not in makefile] == []


def test_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(re.findall(r"pip install '\.\[(\w+)\]'", PAGES["README.md"]))
    assert extras
    assert extras <= set(project["optional-dependencies"])


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) < 200
