"""The documents name files and functions that exist, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"]
DOCUMENTS += [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
# A path in backquotes, and perhaps what is in the file: `a/b.py::Class.method`.
NAMED = re.compile(r"`((?:pgproto|transports|tests|scripts|docs|benchmarks)(?:/[\w.-]+)+/?)(?:::([\w.]+))?`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#([^)]*))?\)")


def has(source: str, name: str) -> bool:
    """True if a module defines a function, a class, or a class's method or attribute of this name."""
    body: list[ast.stmt] = ast.parse(source).body
    for part in name.split("."):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == part:
                body = node.body
                break
        else:
            return False
    return True


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    assert [path for path, _ in NAMED.findall(text) if not (ROOT / path).exists()] == []
    missing = [
        f"{path}::{name}"
        for path, name in NAMED.findall(text)
        if name and not has((ROOT / path).read_text(), name)
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document: str) -> None:
    path = ROOT / document
    assert [link for link, _ in LINK.findall(path.read_text()) if not (path.parent / link).exists()] == []


def test_the_journeys_name_every_step() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    journeys = re.findall(r"^## One (\w+)\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert [word for word, _ in journeys] == ["row", "parameter", "FATAL", "cancellation"]
    for _, journey in journeys:
        steps = re.findall(r"^\d\. (.*?)(?=^\d\. |\Z)", journey, re.MULTILINE | re.DOTALL)
        assert len(steps) >= 5
        assert [step for step in steps if not NAMED.search(step)] == []


def test_the_check_finds_what_it_is_for() -> None:
    source = "class A:\n    def f(self): ...\ndef g(): ...\n"
    assert has(source, "A.f")
    assert has(source, "g")
    assert not has(source, "A.g")
    assert not has(source, "f")
    assert NAMED.findall("`pgproto/a.py::B.c`, `tests/x`, `other/y.py`") == [
        ("pgproto/a.py", "B.c"),
        ("tests/x", ""),
    ]
