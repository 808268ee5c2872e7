"""`python scripts/blocking.py`: write the blocking client out of the asynchronous one.

`pgproto/client/NAME.py` becomes `pgproto/client/blocking/NAME.py`, for each NAME in `GENERATED`: without
`async` and `await`, and with the names that blocking code has instead.  Lines, docstrings and types stay as
they are, so that tracebacks and documentation read as if somebody had written them.  A test holds both
together.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLIENT: Final = ROOT / "pgproto" / "client"
GENERATED: Final = ("prepared", "queries")

NAMES: Final = {
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aiter": "iter",
    "anext": "next",
}
DROPPED: Final = frozenset({"async", "await"})
# What an asynchronous function returns to be awaited is what a blocking one returns.
AWAITABLE: Final = re.compile(r"Awaitable\[([^\[\]]+|[^\[\]]+\[[^\[\]]*\])\]")
UNUSED: Final = re.compile(r"^from collections\.abc import Awaitable\n", re.MULTILINE)
NOTE: Final = "# Written by scripts/blocking.py out of pgproto/client/{}.py: change that one.\n"


def blocking(source: str) -> str:
    """The text of a module for blocking code."""
    lines = AWAITABLE.sub(r"\1", UNUSED.sub("", source)).splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO("".join(lines)).readline))
    for index in range(len(tokens) - 1, -1, -1):  # from the end: what was replaced moves nothing before it
        token = tokens[index]
        if token.type != tokenize.NAME:
            continue
        (row, start), (_, end) = token.start, token.end
        line = lines[row - 1]
        if token.string in DROPPED:
            following = tokens[index + 1].start[1]
            lines[row - 1] = line[:start] + line[following:]
        elif token.string in NAMES:
            lines[row - 1] = line[:start] + NAMES[token.string] + line[end:]
    return "".join(lines)


def written(name: str) -> str:
    """The file as it should be, formatted as every other one."""
    source = (CLIENT / f"{name}.py").read_text(encoding="utf-8")
    text = NOTE.format(name) + blocking(source).replace("from .unique import", "from ..unique import")
    for work in (["check", "--select=I", "--fix"], ["format"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *work,
            "-q",
            f"--stdin-filename={CLIENT}/blocking/{name}.py",
            "-",
        ]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT)
        text = done.stdout
    return text


def main() -> None:
    """Write all of them."""
    for name in GENERATED:
        (CLIENT / "blocking" / f"{name}.py").write_text(written(name), encoding="utf-8")


if __name__ == "__main__":
    main()
