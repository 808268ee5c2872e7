"""The Python blocks and the tables of the README and of the pages that go on from it, for their tests.

Before every Python block stands a comment that says how it is run:

    <!-- example: program -->   as a program of its own
    <!-- example: await -->     inside of a coroutine, with `conn`, `pool`, `pg`, `pgproto` and `asyncio`
    <!-- example: client -->    as a program, against a server with a password
    <!-- example: server -->    its `serve(sock)` is given connections
    <!-- example: tests -->     as a file of tests, by pytest
    <!-- example: memory -->    as a program that needs no server
    <!-- example: blocking -->  as `await`, with `conn` and `pool` of pgproto_blocking
    <!-- example: whole -->     as a program that starts its own server
    <!-- example: service -->   as a FastAPI application, which gets requests
    <!-- example: asyncpg -->   as `await`, with a `conn` of asyncpg
    <!-- example: psycopg -->   as `blocking`, with a `conn` of psycopg
    <!-- example: sqlalchemy -->  as a program, if SQLAlchemy is installed
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        "docs/guide.md",
        "docs/dbapi.md",
        "docs/sqlalchemy.md",
        "docs/embedding.md",
        "docs/testing-your-code.md",
        "docs/figures.md",
        "docs/migrating-from-asyncpg.md",
        "docs/migrating-from-psycopg.md",
        "docs/index.md",
        "docs/tutorial.md",
        *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/how-to").glob("*.md")),
    )
}
KINDS = {
    *("program", "await", "client", "server", "tests", "memory"),
    *("blocking", "whole", "service", "asyncpg", "psycopg", "sqlalchemy"),
}

_FENCE = re.compile(r"(?:<!-- example: (\w+) -->\n)?```python\n(.*?)```\n", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One Python block: how it is run ("" if nobody said so), its text, and the line that it starts at."""

    kind: str
    source: str
    page: str
    line: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def needs(self) -> set[str]:
        """The packages that it imports and that are neither ours nor Python's."""
        found = set(re.findall(r"^(?:import|from) (\w+)", self.source, re.MULTILINE))
        return {name for name in found if not name.startswith("pgproto")} - sys.stdlib_module_names


def blocks(*kinds: str) -> list[Block]:
    """The blocks of these kinds; all of them if none is given."""
    found = [
        Block(match[1] or "", match[2], page, text.count("\n", 0, match.start(2)) + 1)
        for page, text in PAGES.items()
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if not kinds or block.kind in kinds]


def table(first_column: str) -> list[list[str]]:
    """The rows of the table whose head starts with a word, without the head; backquotes are removed."""
    lines = "\n".join(PAGES.values()).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows
