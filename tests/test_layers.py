"""Imports point downwards only, and the core imports nothing that does I/O, tells the time or rolls dice.

The rules are the tables below; every `import` of every file is held against them, wherever in the file
it stands and whether it is there for type checkers only.  No file imports itself by way of others; for type
checkers only, the few groups of files may that `TYPES_OF_ONE_ANOTHER` names.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each layer may import those below it; nobody imports `testing`.  `config` stands beside them: a value that
# knows the errors and nothing else, known to everything that connects and to nothing that only encodes.
LAYERS = ["errors", "wire", "protocol", "types", "columns", "session", "pool", "client", "", "testing"]
MAY_IMPORT = {layer: set(LAYERS[: index + 1]) for index, layer in enumerate(LAYERS)}
MAY_IMPORT["config"] = {"config", "errors"}
for above in ("protocol", "session", "pool", "client", "", "testing"):
    MAY_IMPORT[above].add("config")
LAYER_OF = {"errors": "errors", "sqlstates": "errors", "interpreters": "", "__init__": "", "__main__": ""}

# Time, randomness, bytes and file contents are arguments.
FORBIDDEN = frozenset(
    {"_socket", "_ssl", "asyncio", "concurrent", "fcntl", "http", "io", "logging", "multiprocessing"}
    | {"os", "pathlib", "queue", "random", "sched", "secrets", "select", "selectors", "shutil", "signal"}
    | {"socket", "socketserver", "subprocess", "tempfile", "threading", "time", "trio"}
)
# What the client has to say to an application's log.
LOGS = "pgproto.client.logs"
# ssl imports socket, so only this module may import it, and this module is imported where it is needed.
TLS = "pgproto.protocol.tls"
# Names that exist for type checkers only, from a package that isn't there at run time.
TYPE_CHECKING_ONLY = frozenset({"mypy_extensions", "typing_extensions"})

# No adapter imports another, or the kit: what all of them ask of the system is in `pgproto_sockets`.
ADAPTERS = {
    "pgproto_anyio": frozenset({"pgproto", "pgproto_sockets", "anyio"}),
    "pgproto_asyncio": frozenset({"pgproto", "pgproto_sockets"}),
    "pgproto_blocking": frozenset({"pgproto", "pgproto_sockets"}),
    "pgproto_sockets": frozenset({"pgproto"}),
    "pgproto_trio": frozenset({"pgproto", "pgproto_sockets", "trio"}),
}
# The command line is a program on the blocking adapter; nothing imports it.
PROGRAMS = {"pgproto_cli": frozenset({"pgproto", "pgproto_sockets", "pgproto_blocking"})}
NOT_IN_ADAPTER = {
    "pgproto_anyio": frozenset({"trio"}),
    "pgproto_asyncio": frozenset({"trio"}),
    "pgproto_blocking": frozenset({"asyncio", "trio"}),
    "pgproto_cli": frozenset({"asyncio", "trio"}),
    "pgproto_sockets": frozenset({"asyncio", "trio"}),
    "pgproto_trio": frozenset({"asyncio"}),
}

# The kit for tests names the adapters that it tests, and imports what it takes for that where it is used.
KIT = "pgproto_pytest"
IN_THE_KIT = frozenset({"pgproto", "pytest"})
IN_THE_KIT_WHERE_USED = frozenset({"pgproto_blocking", "anyio", "trio"})
BEFORE_A_TEST_ASKS = (
    "",
    ".behaviour",
    ".blocking",
    ".conformance",
    ".driver",
    ".drivers",
    ".plugin",
    ".server",
)

# Files whose classes hold one another, so that each names the others' types: one of a group imports the rest,
# and the rest import it under TYPE_CHECKING.  The generated blocking client has the client's groups.
TYPES_OF_ONE_ANOTHER = [
    {
        *("pgproto.session.operation", "pgproto.session.segment", "pgproto.session.channel"),
        "pgproto.session.observing",
    },
    {"pgproto.columns.batch", "pgproto.columns.export"},
    {
        *("pgproto.client.connection", "pgproto.client.leases", "pgproto.client.lending"),
        *("pgproto.client.notifications", "pgproto.client.prepared", "pgproto.client.queries"),
        *("pgproto.client.columnar", "pgproto.client.transactions"),
    },
    {f"pgproto_blocking.dbapi.{name}" for name in ("connection", "cursor", "held", "server")},
]


@dataclass(frozen=True)
class Import:
    """One imported module: where, which, and under what condition."""

    file: Path
    line: int
    module: str
    type_checking: bool
    lazy: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def module_name(file: Path, root: Path) -> str:
    parts = list(file.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path, root: Path) -> tuple[Import, ...]:
    """Every module that a file imports; `from package import module` counts as the module."""
    return _imports_in(file.read_text(), file, root)


@cache
def _imports_in(text: str, file: Path, root: Path) -> tuple[Import, ...]:
    package = module_name(file, root).split(".")
    if file.name != "__init__.py":
        package.pop()

    def walk(node: ast.AST, type_checking: bool, lazy: bool) -> Iterator[Import]:
        where = (file.relative_to(root), getattr(node, "lineno", 0))
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(*where, alias.name, type_checking, lazy)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = root.joinpath(*source.split("."), alias.name)
                is_module = inner.with_suffix(".py").exists() or (inner / "__init__.py").exists()
                yield Import(*where, f"{source}.{alias.name}" if is_module else source, type_checking, lazy)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in node.body:
                yield from walk(statement, True, lazy)
            for statement in node.orelse:
                yield from walk(statement, type_checking, lazy)
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for child in ast.iter_child_nodes(node):
                yield from walk(child, type_checking, inside)

    return tuple(walk(ast.parse(text, str(file)), False, False))


def layer(module: str) -> str:
    """The layer of a module of pgproto: the name of its sub-package, or what LAYER_OF says."""
    parts = module.split(".")
    if len(parts) == 1:
        return ""
    name = LAYER_OF.get(parts[1], parts[1])
    assert name in MAY_IMPORT, f"{module} has no layer: give it one in LAYER_OF, or move it"
    return name


def problem(found: Import, root: Path) -> str | None:
    """What is wrong with an import in pgproto/; None if nothing is."""
    importer = module_name(root / found.file, root)
    if found.top == "pgproto":
        mine, theirs = layer(importer), layer(found.module)
        if theirs not in MAY_IMPORT[mine]:
            return f"{found}: {mine or 'pgproto'} is not above {theirs or 'pgproto'}"
        if found.module == TLS and not (found.lazy or found.type_checking):
            return f"{found}: the TLS module is imported where it is used, inside of a function"
    elif found.top == "ssl":
        if importer != TLS and not found.type_checking:
            return f"{found}: only {TLS} does"
    elif found.top in TYPE_CHECKING_ONLY:
        if not found.type_checking:
            return f"{found} at run time"
    elif found.top in FORBIDDEN and (found.top, importer) != ("logging", LOGS):
        return f"{found}: the core does no I/O and asks for nothing"
    elif found.top not in sys.stdlib_module_names:
        return f"{found}: pgproto has no dependencies"
    return None


def core_files() -> list[Path]:
    return sorted((ROOT / "pgproto").rglob("*.py"))


def test_the_core_is_there() -> None:
    packages = {path.parent.name for path in (ROOT / "pgproto").glob("*/__init__.py")}
    assert packages >= {"wire", "protocol", "types", "session", "pool", "config"}
    assert all(layer(f"pgproto.{package}") for package in packages)


def test_imports_of_the_core_point_downwards() -> None:
    problems = [problem(found, ROOT) for file in core_files() for found in imports_of(file, ROOT)]
    assert [text for text in problems if text] == []


@pytest.mark.parametrize("adapter", sorted(ADAPTERS | PROGRAMS))
def test_adapters_import_the_core_and_their_runtime_only(adapter: str) -> None:
    root = ROOT / "transports"
    wrong = [
        str(found)
        for file in sorted((root / adapter).rglob("*.py"))
        for found in imports_of(file, root)
        if found.top not in (ADAPTERS | PROGRAMS)[adapter] | {adapter}
        and (found.top in NOT_IN_ADAPTER[adapter] or found.top not in sys.stdlib_module_names)
    ]
    assert wrong == []


def test_the_kit_imports_adapters_where_it_uses_them_only() -> None:
    root = ROOT / "transports"
    found = [each for file in sorted((root / KIT).rglob("*.py")) for each in imports_of(file, root)]
    wrong = [
        str(each)
        for each in found
        if each.top not in sys.stdlib_module_names | IN_THE_KIT | {KIT}
        and not (each.lazy and each.top in IN_THE_KIT_WHERE_USED)
    ]
    assert wrong == []
    assert {each.top for each in found} >= IN_THE_KIT | IN_THE_KIT_WHERE_USED


def test_the_plugin_imports_nothing_of_ours_before_a_test_asks() -> None:
    """Every run of pytest has it: what it imported would be neither traced nor rewritten."""
    root = ROOT / "transports"
    files = [root / KIT / f"{name.lstrip('.') or '__init__'}.py" for name in BEFORE_A_TEST_ASKS]
    early = [
        each for file in files for each in imports_of(file, root) if not (each.lazy or each.type_checking)
    ]
    ours = {each.module for each in early if each.top.startswith("pgproto")}
    assert ours <= {f"{KIT}{name}" for name in BEFORE_A_TEST_ASKS}
    assert {each.file.name for each in early if each.top == "pytest"} == {"plugin.py"}


def graph(root: Path, *, types_too: bool) -> dict[str, set[str]]:
    """What each file below `root/<package>` imports of the others, by module name."""
    files = {
        module_name(file, root): file
        for package in ("pgproto", *ADAPTERS, *PROGRAMS, KIT)
        for file in sorted((root / package).rglob("*.py"))
    }
    return {
        module: {
            found.module
            for found in imports_of(file, root)
            if found.module in files and found.module != module and (types_too or not found.type_checking)
        }
        for module, file in files.items()
    }


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The groups of files of which each imports every other one, directly or not (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for other in sorted(imports[module]):
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in path:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            group = path[path.index(module) :]
            del path[path.index(module) :]
            if len(group) > 1:
                found.append(set(group))

    for module in sorted(imports):
        if module not in order:
            visit(module)
    return found


@pytest.mark.parametrize("root", [ROOT, ROOT / "transports"], ids=["pgproto", "transports"])
def test_no_file_imports_itself_by_way_of_others(root: Path) -> None:
    imports = graph(root, types_too=False)
    assert len(imports) > 20
    assert circles(imports) == []


@pytest.mark.parametrize("root", [ROOT, ROOT / "transports"], ids=["pgproto", "transports"])
def test_circles_for_type_checkers_are_the_known_ones(root: Path) -> None:
    found = [
        {module.replace(".client.blocking.", ".client.") for module in circle}
        for circle in circles(graph(root, types_too=True))
    ]
    assert [circle for circle in found if not any(circle <= known for known in TYPES_OF_ONE_ANOTHER)] == []


def test_circles_are_found(tmp_path: Path) -> None:
    package = tmp_path / "pgproto"
    package.mkdir()
    (package / "__init__.py").write_text("from . import a")
    (package / "a.py").write_text("from .b import x")
    (package / "b.py").write_text("def f():\n    from pgproto import c")
    (package / "c.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import y")
    assert circles(graph(tmp_path, types_too=False)) == []
    assert circles(graph(tmp_path, types_too=True)) == [{"pgproto.a", "pgproto.b", "pgproto.c"}]
    (package / "c.py").write_text("from . import a")
    assert circles(graph(tmp_path, types_too=False)) == [{"pgproto.a", "pgproto.b", "pgproto.c"}]


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("pgproto/wire/a.py", "from pgproto.protocol import x", "wire is not above protocol"),
        ("pgproto/wire/a.py", "from ..session.engine import Engine", "wire is not above session"),
        ("pgproto/wire/a.py", "from .. import Batch", "wire is not above pgproto"),
        ("pgproto/types/a.py", "def f():\n    from pgproto.pool import x", "types is not above pool"),
        ("pgproto/config/a.py", "from pgproto.wire import x", "config is not above wire"),
        ("pgproto/wire/a.py", "import pgproto.config", "wire is not above config"),
        (
            "pgproto/types/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pgproto.session import x",
            "types is not above session",
        ),
        ("pgproto/pool/a.py", "import asyncio.events", "does no I/O"),
        ("pgproto/pool/a.py", "def f():\n    import random", "does no I/O"),
        ("pgproto/pool/a.py", "import attrs", "no dependencies"),
        ("pgproto/pool/a.py", "import mypy_extensions", "at run time"),
        ("pgproto/session/a.py", "import ssl", "only pgproto.protocol.tls"),
        ("pgproto/session/a.py", "from pgproto.protocol import tls", "inside of a function"),
        ("pgproto/session/a.py", "from ..protocol.tls import TLS", "inside of a function"),
        ("pgproto/session/a.py", "def f():\n    from pgproto.protocol.tls import TLS", None),
        ("pgproto/protocol/tls.py", "import ssl", None),
        ("pgproto/pool/a.py", "from pgproto.config import Config\nimport struct, decimal", None),
        ("pgproto/wire/a.py", "from . import tags\nfrom ..errors import Error", None),
        ("pgproto/__init__.py", "from .pool import x\nfrom pgproto.wire import y", None),
        (
            "pgproto/wire/a.py",
            "import typing\nif typing.TYPE_CHECKING:\n    from mypy_extensions import i64",
            None,
        ),
    ],
)
def test_the_rules_find_what_they_are_for(
    tmp_path: Path, file: str, source: str, expected: str | None
) -> None:
    """The test above can fail: each rule is broken once, in a tree made for it."""
    for package in ("wire", "protocol", "types", "session", "pool", "config"):
        (tmp_path / "pgproto" / package).mkdir(parents=True)
        (tmp_path / "pgproto" / package / "__init__.py").touch()
    for name in ("__init__.py", "errors.py", "protocol/tls.py", "wire/tags.py"):
        (tmp_path / "pgproto" / name).touch()
    path = tmp_path / file
    path.write_text(source)
    problems = [text for found in imports_of(path, tmp_path) if (text := problem(found, tmp_path))]
    if expected is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert expected in problems[0]


def test_a_module_without_a_layer_is_reported() -> None:
    with pytest.raises(AssertionError, match="has no layer"):
        layer("pgproto.helpers")
