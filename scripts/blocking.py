"""`python scripts/blocking.py`: generate the blocking client from the asynchronous one.

`pgproto/client/NAME.py` becomes `pgproto/client/blocking/NAME.py`, for each NAME in `GENERATED`: without
`async` and `await`, and with the names of blocking code.  Lines, docstrings and types are kept, so that
tracebacks and documentation read as if written by hand.  A test compares the files.

Parts that blocking code does not need are left out: `__await__`, code for asynchronous iterables and for
awaitables (of an `if isinstance(source, AsyncIterable)`, or `Awaitable`, only the `else` remains), and the
names in `LEFT_OUT`.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLIENT: Final = ROOT / "pgproto" / "client"
GENERATED: Final = (
    "columnar",
    "connection",
    "copying",
    "cursors",
    "feeding",
    "jobs",
    "leases",
    "lending",
    "listening",
    "notifications",
    "pieces",
    "pool",
    "prepared",
    "queries",
    "records",
    "runtime",
    "seeing",
    "state",
    "steps",
    "transactions",
)
LEFT_OUT: Final = {
    "__await__": "a call does what it does",
    "Event.wait": "a Link waits for it",
    "Connect": "the adapter has a function",
    "Connecting": "it would be the connection",
    "CopyStream._in_time": "for what is awaited",
    "END": "for a Reader",
    "Opening": "it would be the pool",
    "P": "",
    "Pool.open": "the adapter's",
    "Reader": "for an asynchronous source",
    "Runtime.reader": "",
    "Alarm": "the pool has threads of its own",
    "Runtime.tasks": "",
    "Task": "",
    "Tasks": "",
}
"""Classes, functions and constants, and why."""

ABSTRACT: Final = frozenset({"Pool._lender"})
"""Methods that the adapter implements."""

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
TEXTS: Final = (
    ("`async with ", "`with "),
    ("`async with`", "`with`"),
    ("`async for ", "`for "),
    (": async for ", ": for "),
    ("await pool.acquire()", "pool.acquire().start()"),
    ("What was awaited", "What was started"),
    (", as `await` does: its", "; its"),
    ("`await ", "`"),
    (" await pool.", " pool."),
    ("= await ", "= "),
    ("`aclose`", "`close`"),
    ("StopAsyncIteration", "StopIteration"),
    ("An async iterator", "An iterator"),
    ("iterable or async iterable", "iterable"),
    ("in seconds: of the server, or of an async source", "in seconds"),
    ("another task", "another thread"),
    ("Any task", "Any thread"),
    (" that is not asynchronous", ""),
)
"""Replacements in docstrings, comments and messages."""
ELSEWHERE: Final = re.compile(
    r"^ +LocalProtocolError: it belongs to another event loop\.\n"
    r"|\n +Hooks may be plain functions or return something to await\.(.|\n)*? cancelled\.\n",
    re.MULTILINE,
)
"""Text about event loops, which is left out."""
# `Awaitable[T]` and `Coroutine[..., T]` become T.
AWAITABLE: Final = frozenset({"Awaitable", "Coroutine"})
NOTE: Final = "# Written by scripts/blocking.py out of pgproto/client/{}.py: change that one.\n"


def blocking(source: str) -> str:
    """The text of a module for blocking code."""
    text, whole = ELSEWHERE.sub("", source), ""
    while text != whole:  # a part that is kept may contain more to be cut
        text, whole = _cut(text), text
    text = _unawaited(text)
    text = re.sub(r'\n\n +Raises:\n( +""")', r"\n\1", text)
    for names in re.findall(r"^__all__ = .*$", text, re.MULTILINE):
        kept = [name for name in re.findall(r'"(\w+)"', names) if name not in LEFT_OUT]
        text = text.replace(names, "__all__ = [" + ", ".join(f'"{name}"' for name in kept) + "]")
    return text


def _cut(source: str) -> str:
    """Remove the parts for asynchronous code."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()

    def begin(node: ast.expr | ast.stmt) -> int:
        return starts[node.lineno - 1] + node.col_offset

    def end(node: ast.expr | ast.stmt) -> int:
        return starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    def edits(node: ast.AST, owner: str) -> Iterator[tuple[int, int, bytes]]:
        """The replacements (start, end, text), none within another."""
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if LEFT_OUT.keys() & {name, f"{owner}.{name}"} or _takes_asynchronous(node):
                    yield starts[node.lineno - 1], end(node), b""
                    return
                if f"{owner}.{name}" in ABSTRACT:
                    yield begin(node.body[1]), end(node.body[-1]), b"raise NotImplementedError"
                owner = name
            case ast.Assign(targets=[ast.Name(id=name)]) if name in LEFT_OUT:
                yield begin(node), end(node), b""
                return
            case ast.Expr(value=ast.Constant(value=str())) if node.end_lineno and _describes(
                lines, node.lineno
            ):
                yield begin(node), end(node), b""
                return
            case ast.If(test=test, orelse=rest) if _asks_for_asynchronous(test):
                kept = b""
                if rest:
                    first = starts[rest[0].lineno - 1]
                    inner = data[first : end(rest[-1])].decode().splitlines(keepends=True)
                    shift = rest[0].col_offset - node.col_offset
                    kept = "".join(line[shift:] if line.strip() else line for line in inner).encode()
                yield starts[node.lineno - 1], end(node) + (not kept), kept
                return
            case ast.IfExp(test=test, orelse=other) if _asks_for_asynchronous(test):
                yield begin(node), end(node), data[begin(other) : end(other)]
                return
            case ast.BinOp(
                op=ast.BitOr(), left=ast.Subscript(value=ast.Name("Awaitable")) as left, right=right
            ):
                yield begin(left), begin(right), b""
                return
            case ast.BinOp(op=ast.BitOr(), left=left, right=ast.Subscript(value=ast.Name("AsyncIterable"))):
                yield end(left), end(node), b""
                yield from edits(left, owner)
                return
            case ast.Subscript(value=ast.Name(id=name), slice=given) if name in AWAITABLE:
                result = given.elts[-1] if isinstance(given, ast.Tuple) else given
                yield begin(node), begin(result), b""
                yield end(result), end(node), b""
                return
        for child in ast.iter_child_nodes(node):
            yield from edits(child, owner)

    for first, last, kept in sorted(edits(ast.parse(source), ""), reverse=True):
        data = data[:first] + kept + data[last:]
    return data.decode()


def _describes(lines: list[str], number: int) -> bool:
    """True if this line is the docstring of a constant that is left out."""
    return any(lines[number - 2].startswith(f"{name} = ") for name in LEFT_OUT)


def _asks_for_asynchronous(test: ast.expr) -> bool:
    match test:
        case ast.Call(func=ast.Name("isinstance"), args=[_, ast.Name("AsyncIterable" | "Awaitable")]):
            return True
    return False


def _takes_asynchronous(node: ast.AST) -> bool:
    """True for a function with an argument that must be an AsyncIterable."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
        isinstance(each.annotation, ast.Subscript) and ast.unparse(each.annotation.value) == "AsyncIterable"
        for each in node.args.args
    )


def _unawaited(source: str) -> str:
    """Replace names and texts, and drop `async` and `await`."""
    lines = source.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for index in range(len(tokens) - 1, -1, -1):  # from the end, so that earlier positions stay valid
        token = tokens[index]
        (row, start), (last, end) = token.start, token.end
        if token.type == tokenize.NAME and token.string in DROPPED:
            line = lines[row - 1]
            lines[row - 1] = line[:start] + line[tokens[index + 1].start[1] :]
        elif token.type == tokenize.NAME and token.string in NAMES:
            line = lines[row - 1]
            lines[row - 1] = line[:start] + NAMES[token.string] + line[end:]
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            for number in range(row - 1, last):
                line, begin = lines[number], start if number == row - 1 else 0
                stop = end if number == last - 1 else len(line)
                text = line[begin:stop]  # a statement around it has tokens of its own
                for ours, theirs in TEXTS:
                    text = text.replace(ours, theirs)
                lines[number] = line[:begin] + text + line[stop:]
    return "".join(lines)


def written(name: str) -> str:
    """The text of the generated file, formatted."""
    source = (CLIENT / f"{name}.py").read_text(encoding="utf-8")
    text = NOTE.format(name) + blocking(source)
    for above in ("explaining", "noticed", "refusals", "unique"):  # both clients use these modules
        text = text.replace(f"from .{above} import", f"from ..{above} import")
    for modules in ("logs, refusals", "logs", "refusals"):
        text = text.replace(f"from . import {modules}\n", f"from .. import {modules}\n")
    for work in (["check", "--select=I,F401", "--fix"], ["format"]):
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
