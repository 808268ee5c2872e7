"""The public face: every name in `__all__` exists and is documented, and nothing public is outside of it.

A class or function has a docstring, and so has each of its public methods and properties.  A constant
has one below its assignment, or a comment beside or above it, in the file that defines it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.builds import pure_only

ROOT = Path(__file__).parents[1]
ADAPTERS = ["pgproto_asyncio", "pgproto_trio", "pgproto_blocking", "pgproto_anyio"]
LAYERS = ["wire", "protocol", "types", "columns", "session", "pool", "config", "client", "testing"]
PACKAGES = ["pgproto", *(f"pgproto.{layer}" for layer in LAYERS), *ADAPTERS, "pgproto_pytest"]
# What applications need of `pgproto` itself, beside errors: messages and machines are in their own packages.
FACE = (
    {"Config", "ConnectOptions", "parse_config", "PoolOptions", "PoolSettings", "PoolStats", "Retry", "Batch"}
    | {"BUILT_IN", "TypeMap"}
    | {"ColumnBatch"}
    | {"CACHE_DESCRIBE", "CACHE_STATEMENT", "DESCRIBE_EXEC", "EXEC", "SIMPLE_PROTOCOL", "StatementMode"}
    | {"Interval", "ListenGap", "Notification", "QueuedQuery", "Row", "ScriptResult", "Statement", "Outcome"}
    | {"Array", "BitString", "Multirange", "Range", "RawJSON"}
    | {"Box", "Circle", "Cube", "Line", "LineSegment", "Path", "Point", "Polygon", "SparseVector"}
    | {"INFINITY", "Infinity", "MINUS_INFINITY"}
    | {"Column", "Into", "NamedQuery", "RowMaker", "named"}
    | {"Exchange", "Move", "Observer", "PoolObserver", "SessionInfo", "Wait"}
    | {"errors", "protocol", "sqlstates", "wire", "__version__", "build"}
)
ERRORS = (
    {"Error", "PostgresError", "ConnectError", "LocalProtocolError", "RemoteProtocolError", "ConnectionLost"}
    | {"ConnectionClosed", "PoolTimeout", "PoolClosed", "QueryTimeout", "DataError", "ConfigError"}
    | {"ServerCrash", "TooManyWaiting", "TransactionAborted"}
)


def names_of(package: str) -> list[str]:
    names = getattr(importlib.import_module(package), "__all__", None)
    assert names is not None, f"{package} has no __all__"
    return list(names)


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_exact(package: str) -> None:
    module = importlib.import_module(package)
    names = names_of(package)
    assert names, f"{package}.__all__ is empty"
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert public - set(names) == set(), f"public in {package}, but not in its __all__"


@pure_only("compiled classes keep no docstrings")
@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_is_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__, package
    constants = documented_constants()
    missing: list[str] = []
    for name in names_of(package):
        value = getattr(module, name)
        if inspect.isclass(value):
            missing += undocumented_members(name, value)
        elif isinstance(value, types.ModuleType) or callable(value):
            if not inspect.getdoc(value) and name not in constants:  # `Callable[...]` can be called, too
                missing.append(name)
        elif name not in constants and not name.startswith("__"):
            missing.append(name)
    assert missing == []


def undocumented_members(name: str, cls: type) -> list[str]:
    """The class itself and its public methods and properties that have no docstring."""
    missing = [] if "__doc__" in vars(cls) and cls.__doc__ else [name]
    for attribute, member in vars(cls).items():
        is_code = isinstance(member, types.FunctionType | property | classmethod | staticmethod)
        if is_code and not attribute.startswith("_") and not is_documented(cls, attribute):
            missing.append(f"{name}.{attribute}")
    return missing


def is_documented(cls: type, attribute: str) -> bool:
    """True if the class, or one that it inherits the attribute from, documents it."""
    definitions = [vars(base)[attribute] for base in cls.__mro__ if attribute in vars(base)]
    return any(definition.__doc__ for definition in definitions)


@cache
def documented_constants() -> set[str]:
    """The documented names of all files of the packages."""
    roots = (ROOT / "pgproto", ROOT / "transports")
    return {name for root in roots for path in root.rglob("*.py") for name in constants_in(path.read_text())}


def constants_in(text: str) -> set[str]:
    """The names assigned at the top of a file with a string below, or a comment beside or above.

    Assignments on consecutive lines share what stands above the first and below the last of them.
    """
    lines = text.splitlines()
    found: set[str] = set()
    group: set[str] = set()
    documented = False
    end = 0
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            if node.lineno != end + 1:
                found |= group if documented else set()
                group = set()
                documented = node.lineno > 1 and lines[node.lineno - 2].lstrip().startswith("#")
            end = node.end_lineno or node.lineno
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            group |= names
            if "  # " in " ".join(lines[node.lineno - 1 : end]):
                found |= names
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.lineno == end + 1:
            documented = documented or isinstance(node.value.value, str)
            end = node.end_lineno or node.lineno
    return found | (group if documented else set())


def test_the_face_is_what_applications_need() -> None:
    assert set(names_of("pgproto")) == FACE | ERRORS


@pure_only("compiled functions keep no annotations")
def test_every_name_in_a_public_signature_is_public() -> None:
    # `tls` imports ssl, so that no package exports what is in it.
    public = {name for package in (*PACKAGES, "pgproto.protocol.tls") for name in names_of(package)}
    private = set()
    for package in PACKAGES:
        for name in names_of(package):
            value = getattr(importlib.import_module(package), name)
            if inspect.isclass(value) or inspect.isfunction(value):
                private |= {f"{value.__name__}: {each}" for each in types_of(value) if each not in public}
    assert private == set()


def types_of(value: type | types.FunctionType) -> set[str]:
    """Our own names in the annotations of a function, or of a class's public methods."""
    module = importlib.import_module(value.__module__)
    tree = ast.parse(inspect.getsource(module))
    ours = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("pgproto")):
            ours |= {alias.asname or alias.name for alias in node.names}
    return ours & {
        each.id
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == value.__name__
        for annotation in annotations_of(node)
        for each in ast.walk(annotation)
        if isinstance(each, ast.Name) and not isinstance(getattr(module, each.id, None), TypeVar)
    }


def annotations_of(node: ast.stmt) -> Iterator[ast.expr]:
    """The annotations of a function's arguments and result; of a class, those of what is public in it."""
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            yield from annotations_of(inner)
    elif isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
        yield node.annotation
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
        not node.name.startswith("_") or node.name.endswith("__")
    ):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [each for each in (node.args.vararg, node.args.kwarg) if each is not None]
        yield from (each.annotation for each in arguments if each.annotation is not None)
        if node.returns is not None:
            yield node.returns


def test_the_adapters_have_the_same_names() -> None:
    first, *others = (sorted(names_of(adapter)) for adapter in ADAPTERS)
    assert {"Connection", "Pool", "connect"} <= set(first)
    for names in others:
        assert names == first


@pytest.mark.parametrize("package", ["pgproto", *ADAPTERS])
def test_the_package_says_that_it_is_typed(package: str) -> None:
    file = importlib.import_module(package).__file__
    assert file is not None
    assert (Path(file).parent / "py.typed").exists()


def test_the_check_finds_what_it_is_for() -> None:
    class Documented:
        """Has a docstring."""

        def bare(self) -> None: ...

        @property
        def also_bare(self) -> int:
            return 1

        def fine(self) -> None:
            """Does nothing."""

    class Bare(Documented):
        def fine(self) -> None: ...

    assert undocumented_members("D", Documented) == ["D.bare", "D.also_bare"]
    assert undocumented_members("B", Bare) == ["B"]


def test_how_constants_are_documented() -> None:
    source = """
# Above.
A = 1
B: int = 2

C = 3
D = 4
'''Below.'''
E = 5
'''Below.'''

F = 6
G = 7  # beside
"""
    assert constants_in(source) == set("ABCDEG")
