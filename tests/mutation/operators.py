"""What is broken: the classic operators, over the syntax tree of one file.

Rule: a mutant changes one node, and the enumeration of a file's mutants is the same in every process, so that
a number names one.  Left out is what says nothing about behaviour: annotations, docstrings, `__slots__`,
`__all__`, `__repr__` and `__str__`, f-strings, strings with a space in them (texts for people), the arguments
of a `raise`, and class-level statements.  Tables at module level are mutated entry by entry.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

__all__ = ["Mutant", "mutants", "mutate"]

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_TEXT_ONLY: Final = frozenset({"__repr__", "__str__", "__slots__", "__all__"})
_NO_BEHAVIOUR: Final = frozenset(
    {"annotation", "returns", "decorator_list", "ctx", "op", "ops", "type_params"}
)


class Mutant(NamedTuple):
    """One thing to break.

    Attributes:
        number: its place in the enumeration of its file.
        function: the qualified name of the outermost function that holds it; "" at module level.
        line: where it is.
        lines: the lines whose execution can show it.
        change: what becomes of what, as source.
    """

    number: int
    function: str
    line: int
    lines: range
    change: str


class _Site(NamedTuple):
    mutant: Mutant
    apply: Callable[[], None]


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a file, in order."""
    return [site.mutant for site in _File(ast.parse(source)).sites()]


def mutate(source: str, number: int) -> ast.Module:
    """The tree of the mutant with that number."""
    tree = ast.parse(source)
    for site in _File(tree).sites():
        if site.mutant.number == number:
            site.apply()
            return ast.fix_missing_locations(tree)
    raise LookupError(f"no mutant has the number {number}")


class _File:
    """One walk over a file.  `apply` changes the tree, so the walk ends with it."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._count = 0

    def sites(self) -> Iterator[_Site]:
        for statement in self._tree.body:
            yield from self._top(statement, "")

    def _top(self, statement: ast.stmt, owner: str) -> Iterator[_Site]:
        """A statement at module or class level."""
        if isinstance(statement, ast.ClassDef):
            for inner in statement.body:
                yield from self._top(inner, f"{owner}{statement.name}.")
        elif isinstance(statement, ast.FunctionDef):
            if statement.name not in _TEXT_ONLY:
                whole = range(statement.body[0].lineno, (statement.end_lineno or statement.lineno) + 1)
                yield from self._fields(statement.args, owner + statement.name, whole)
                for place in range(len(statement.body)):
                    yield from self._statement(statement.body, place, owner + statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and not owner and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if ast.unparse(target) not in _TEXT_ONLY:
                yield from self._fields(statement, "", range(0))

    def _statement(self, block: list[ast.stmt], place: int, function: str) -> Iterator[_Site]:
        """A statement of a function, whole and in its parts."""
        statement = block[place]
        end = statement.end_lineno or statement.lineno
        blocks = [
            name for name in ("body", "orelse", "handlers", "finalbody") if getattr(statement, name, None)
        ]
        if blocks:
            end = max(statement.lineno, getattr(statement, blocks[0])[0].lineno - 1)
        lines = range(statement.lineno, end + 1)
        for other in _other_statements(statement):
            yield self._site(function, lines, statement, other, _put(block, place, other))
        if isinstance(statement, ast.Raise) or _is_docstring(statement):
            return
        for name, value in ast.iter_fields(statement):
            if name not in blocks:
                yield from self._value(statement, name, value, function, lines)
        for name in blocks:
            inner = getattr(statement, name)
            if name == "handlers":
                for handler in inner:
                    for at in range(len(handler.body)):
                        yield from self._statement(handler.body, at, function)
            else:
                for at in range(len(inner)):
                    yield from self._statement(inner, at, function)

    def _fields(self, node: ast.AST, function: str, lines: range) -> Iterator[_Site]:
        for name, value in ast.iter_fields(node):
            yield from self._value(node, name, value, function, lines)

    def _value(self, node: ast.AST, name: str, value: Any, function: str, lines: range) -> Iterator[_Site]:
        """The value of a node's field: an expression, or a list of them."""
        if name in _NO_BEHAVIOUR:
            return
        if isinstance(value, ast.AST):
            for other in _others(value):
                yield self._site(function, lines, value, other, _set(node, name, other))
            yield from self._within(value, function, lines)
        elif isinstance(value, list):
            for place, element in enumerate(value):
                if isinstance(element, ast.AST):
                    for other in _others(element):
                        yield self._site(function, lines, element, other, _put(value, place, other))
                    yield from self._within(element, function, lines)

    def _within(self, node: ast.AST, function: str, lines: range) -> Iterator[_Site]:
        if isinstance(node, ast.JoinedStr):
            return
        if isinstance(node, ast.Dict) and not function:
            for place, key in enumerate(node.keys):
                if key is not None:
                    change = f"without {ast.unparse(key)}"
                    yield self._site(function, lines, key, key, _drop(node, place), change)
        elif isinstance(node, ast.Set):
            for place, element in enumerate(node.elts):
                change = f"without {ast.unparse(element)}"
                yield self._site(function, lines, element, element, _cut(node.elts, place), change)
        yield from self._fields(node, function, lines)

    def _site(
        self,
        function: str,
        lines: range,
        before: ast.AST,
        after: ast.AST,
        apply: Callable[[], None],
        change: str = "",
    ) -> _Site:
        if not change:
            ast.copy_location(after, before)
            change = f"{_short(before)} -> {_short(after)}"
        line = getattr(before, "lineno", lines.start)
        self._count += 1
        return _Site(Mutant(self._count, function, line, lines, change), apply)


def _put(items: list[Any], place: int, item: ast.AST) -> Callable[[], None]:
    return lambda: items.__setitem__(place, item)


def _cut(items: list[Any], place: int) -> Callable[[], None]:
    return lambda: items.__delitem__(place)


def _set(node: ast.AST, name: str, value: ast.AST) -> Callable[[], None]:
    return lambda: setattr(node, name, value)


def _drop(node: ast.Dict, place: int) -> Callable[[], None]:
    def drop() -> None:
        del node.keys[place], node.values[place]

    return drop


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else text[:97] + "..."


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _nothing(value: ast.expr) -> ast.Constant | None:
    """What stands for a value that is missing; None for a constant, which is mutated by itself."""
    if isinstance(value, ast.Constant):
        return ast.Constant("nothing") if value.value is None else None
    return ast.Constant(None)


def _other_statements(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Left out, or with nothing in it."""
    if isinstance(statement, ast.Raise | ast.Delete) or (
        isinstance(statement, ast.Expr) and not _is_docstring(statement)
    ):
        yield ast.Pass()
    elif isinstance(statement, ast.Break):
        yield ast.Continue()
    elif isinstance(statement, ast.Continue):
        yield ast.Break()
    elif isinstance(statement, ast.Return | ast.Assign | ast.AnnAssign) and statement.value is not None:
        other = _nothing(statement.value)
        if other is None:
            return
        if isinstance(statement, ast.Return):
            yield ast.Return(other)
        elif isinstance(statement, ast.Assign):
            yield ast.Assign(statement.targets, other)
        else:
            yield ast.AnnAssign(statement.target, statement.annotation, other, statement.simple)
    elif isinstance(statement, ast.AugAssign):
        yield ast.Pass()
        operation = _ARITHMETIC[type(statement.op)]()
        yield ast.AugAssign(statement.target, operation, statement.value)


def _others(node: ast.AST) -> Iterator[ast.expr]:
    """What an expression can be mutated to."""
    if isinstance(node, ast.Compare):
        for place, operation in enumerate(node.ops):
            operations = list(node.ops)
            operations[place] = _COMPARISONS[type(operation)]()
            yield ast.Compare(node.left, operations, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
        for value in node.values:  # a part of it that decides nothing
            rest = [other for other in node.values if other is not value]
            yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.BinOp):
        yield ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node.value)


def _other_constants(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and " " not in value:
        yield ast.Constant(value + "XX")
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"XX")
