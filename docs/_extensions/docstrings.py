"""The reference out of the docstrings: the directive `public`, and how docstrings become reStructuredText.

    ```{public} pgproto.session
    ```

documents every name of a package's `__all__`.  A name that several packages export is documented once, in
the first of `PACKAGES`, and linked from the others.  Docstrings have Google's sections, and backquotes
around code; `plain` makes reStructuredText of them.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
import typing
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from pgproto.client.habits import Habit

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PACKAGES: Final = (
    *("pgproto.errors", "pgproto", "pgproto_asyncio", "pgproto_trio", "pgproto_anyio", "pgproto_blocking"),
    *("pgproto.sqlstates", "pgproto.pool", "pgproto.session", "pgproto.columns", "pgproto.types"),
    *("pgproto.config", "pgproto.protocol", "pgproto.wire", "pgproto.client", "pgproto.client.blocking"),
    *("pgproto.testing", "pgproto_pytest", "pgproto_blocking.dbapi"),
    *("pgproto_sqlalchemy", "pgproto_psycopg", "pgproto_otel", "pgproto_cli"),
)
# What a class inherits from these is not shown with it.
_FOREIGN: Final = "object,BaseException,Exception,tuple,dict,list,float,int,str,Enum,Protocol,Generic"
# Classes that are used by their inherited methods: these are shown.
_WHOLE: Final = {"Connection", "Pool"}
_NAME: Final = re.compile(r"`([A-Za-z_][\w.]*?)(?:\(\))?`(?!_)")
_SECTION: Final = re.compile(r"(Args|Returns|Raises|Attributes|Yields|Args of each|Note|Example)s?:$")


def names_of(package: str) -> list[str]:
    """The public names of a package."""
    module = importlib.import_module(package)
    exported: list[str] | None = getattr(module, "__all__", None)
    if exported is None:
        classes = (name for name, value in vars(module).items() if inspect.isclass(value))
        exported = [name for name in classes if not name.startswith("_")]
    return [name for name in exported if not name.startswith("__")]


@cache
def homes() -> dict[int, str]:
    """Where each class, function and other object of ours is documented, by its identity."""
    found: dict[int, str] = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in names_of(package):
            value = getattr(module, name)
            if not isinstance(value, int | str | tuple | frozenset | bytes | float):
                found.setdefault(id(value), f"{package}.{name}")
    return found


@cache
def titles() -> dict[str, str]:
    """What a name in backquotes means: by its last part, or with its package."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for name in names_of(package):
            own = f"{package}.{name}"  # of a plain value, such as a type alias that is a text
            home = homes().get(id(getattr(importlib.import_module(package), name)), own)
            found[home] = home
            found.setdefault(name, home)
    return found


class Public(SphinxDirective):
    """`public`: everything that a package exports."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes, by way of autodoc's directives."""
        package = self.arguments[0]
        module = importlib.import_module(package)
        lines = [f".. automodule:: {package}", "   :no-members:", "", f".. py:currentmodule:: {package}", ""]
        elsewhere = []
        for name in names_of(package):
            value = getattr(module, name)
            home = homes().get(id(value), f"{package}.{name}")
            if isinstance(value, types.ModuleType):
                continue
            if home != f"{package}.{name}":
                elsewhere.append(f":py:obj:`{name} <{home}>`")
                continue
            lines += self.entry(package, name, value)
        if elsewhere:
            lines += ["", ".. rubric:: Documented elsewhere", "", ", ".join(sorted(elsewhere)) + "."]
        container = nodes.section()
        container.document = self.state.document
        # The page is Markdown, and so is what a directive parses in it.
        lines = ["````{eval-rst}", *lines, "````"]
        self.state.nested_parse(StringList(lines, source=package), self.content_offset, container)
        return container.children

    def entry(self, package: str, name: str, value: object) -> list[str]:
        """The directive for one name."""
        if inspect.isclass(value):
            lines = [f".. autoclass:: {package}.{name}", "   :members:"]
            if issubclass(value, Enum) or hasattr(value, "__total__"):
                lines.append("   :undoc-members:")
            lines.append("   :show-inheritance:")
            if name in _WHOLE:
                lines[-1] = f"   :inherited-members: {_FOREIGN}"
                lines.append("   :member-order: alphabetical")
            return [*lines, ""]
        if inspect.isroutine(value) or (callable(value) and type(value).__module__.startswith("pgproto")):
            return [f".. autofunction:: {package}.{name}", ""]
        return [f".. autodata:: {package}.{name}", "   :no-value:", ""]


@cache
def comments() -> dict[str, list[str]]:
    """The documentation of constants, by name, from the files that define them."""
    found: dict[str, list[str]] = {}
    for package in dict.fromkeys(package.split(".")[0] for package in PACKAGES):
        root = Path(importlib.import_module(package).__path__[0])
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            module = ".".join(part for part in parts if part != "__init__")
            try:
                docs = ModuleAnalyzer.for_module(module).find_attr_docs()
            except PycodeError:
                continue
            for (owner, name), lines in docs.items():
                if not owner:
                    found.setdefault(name, lines)
    return found


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A docstring, before napoleon reads its sections."""
    if what == "data":  # what autodoc has found is the docstring of the value's class
        lines[:] = [*comments().get(name.rpartition(".")[2], []), ""]
    elif what == "function" and not inspect.isroutine(obj):
        own = comments().get(name.rpartition(".")[2], [])
        lines[:] = [*own, "", *inspect.getdoc(type(obj).__call__).splitlines(), ""]
    lines[:] = plain(lines)


def plain(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    result: list[str] = []
    section = literal = False
    for number, line in enumerate(lines):
        indented = line.startswith(" ")
        if not line.strip():
            result.append(line)
            continue
        if not indented:
            section, literal = bool(_SECTION.match(line)), False
        elif not section and not literal and (not number or not lines[number - 1].strip()):
            literal = True  # an indented paragraph is code, or a drawing
            result += ["::", ""]
        result.append(line if literal else inline(line))
    return result


def inline(line: str) -> str:
    """A line of text: names as links, the rest of what is in backquotes as code, and no other markup."""
    parts = re.split(r"(`[^`]+`)", line)
    for number, part in enumerate(parts):
        if number % 2:
            name = _NAME.fullmatch(part)
            home = titles().get(name[1]) if name else None
            parts[number] = f":py:obj:`{part[1:-1]} <{home}>`" if home else f"``{part[1:-1].strip()}``"
            if parts[number + 1][:1].isalnum():
                parts[number + 1] = "\\ " + parts[number + 1]
            if parts[number - 1][-1:].isalnum():
                parts[number] = "\\ " + parts[number]
        else:
            parts[number] = re.sub(r"([*|])|(?<=\w)(_)(?!\w)", r"\\\1\2", part)
    return "".join(parts)


def skip(app: Sphinx, what: str, name: str, obj: object, skipped: bool, options: Any) -> bool | None:
    """Names that only raise an error are no members, and DB-API's errors on a connection are elsewhere."""
    if name == "supports_statement_cache":  # its description is SQLAlchemy's, and no reStructuredText of ours
        return True
    return True if isinstance(obj, Habit) or (what == "class" and inspect.isclass(obj)) else None


def qualify(app: Sphinx, doctree: nodes.document) -> None:
    """Give a name without its package, as annotations have it, the package that is meant on this page."""
    for node in doctree.findall(pending_xref):
        target = node.get("reftarget", "")
        if node.get("refdomain") != "py" or "." in target:
            continue
        package = node.get("py:module") or ""
        blocking = (f"pgproto.client.blocking.{target}", f"pgproto_blocking.{target}")
        home = titles().get(target)
        if "blocking" in package:
            home = next((each for each in blocking if each in titles()), home)
        if target.islower():  # the name of an attribute in its own description, whatever else has that name
            node.replace_self(node.children)
        elif home:
            node["reftarget"] = home


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.Node | None:
    """A link to a class by the file that defines it leads to where it is documented."""
    target = node.get("reftarget", "")
    if not target.startswith("pgproto"):
        return None
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        try:
            for part in parts[length:]:
                value = getattr(value, part)
        except AttributeError:
            return None
        home = homes().get(id(value))
        if home and home != target:
            domain = env.domains["py"]
            short = nodes.literal("", parts[-1], classes=["xref", "py"])
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", home, node, short)
        # A type variable, or a base that nobody needs by its name.
        return contnode if isinstance(value, typing.TypeVar | type) or parts[-1].startswith("_") else None
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what is above."""
    app.add_directive("public", Public)
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-read", qualify)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
