"""Changing one place of the library, for as long as a `with` block lasts.

A planted bug is a slip of a few words.  The library is refactored all the time, and its judges should not be
edited with it.  So a slip is planted where the library has a seam, as far as there is one:

    Wrap    another function is called in the place of a method, of a property's getter or of a module's
            function.  For whatever can be said of a contract: it does nothing, it answers something else, it
            gets another argument, it swallows an exception, it forgets what it should have done last.
    Value   a constant of a module or class has another value.
    Edit    other words in a function's source.  Only for a slip in the middle of a function's own flow, which
            shows in nothing that it calls or answers.

A seam is a name that others rely on: `Operation.produce`, `handle`, `segment_done` and `lost`, the events of
`PoolMachine`, the methods of `Engine`, `Channel`, `Link` and `Runtime`.  A helper of one class (`_name`) is
none: to wrap it is no better than to edit it.  A function that stands in for another one and looks at its
arguments is written with their types, so that mypy tells who changes what it relies on.

`Edit` and `Wrap` swap the function's code object and leave the function what it is.  So everybody who holds
it has the bug: an import by name, a bound method, a partial, a subclass that calls super().  Only a class
that overrides the method does not call it, and who asks what kind of function it is (`inspect`) is told
of a plain one.  `Value` is seen by those who look it up in its owner, and not by an import by name.

What is not there (any more) is refused with LookupError: code that has moved on never means that nothing is
planted.  Only functions of the interpreted build can be changed; compiled ones have no code object.
"""

from __future__ import annotations
import __future__

import builtins
import dis
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, TypeAlias

__all__ = ["Bug", "Edit", "Value", "Wrap", "returns"]

Owner: TypeAlias = type | ModuleType


class Wrap:
    """Another function in the place of one.

    Args:
        owner: the class or module that has the function (a method, a property's getter, a plain function).
        name: the function's name.
        instead: what is called in its place: with the function as it was, and then with what it was called
            with.  It answers what callers expect: in the place of a generator function, a generator.
    """

    def __init__(self, owner: Owner, name: str, instead: Callable[..., Any]) -> None:
        self.owner = owner
        self.name = name
        self.instead = instead

    def __repr__(self) -> str:
        return f"<Wrap of {self.owner.__name__}.{self.name}>"

    def now(self) -> object:
        """What is in the place at the moment."""
        return _function(self.owner, self.name).__code__

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The other function is called while the block lasts.

        Raises:
            LookupError: there is no such function in the owner itself (any more), or it takes other
                arguments than the one that stands in for it.
        """
        function = _function(self.owner, self.name)
        if not _fits(self.instead, function):
            raise LookupError(f"{self!r}: the function is called with {inspect.signature(function)}")
        good = function.__code__
        original = FunctionType(
            good, function.__globals__, self.name, function.__defaults__, function.__closure__
        )
        original.__kwdefaults__ = function.__kwdefaults__
        call = partial(self.instead, original)
        # The free variables (`__class__`, of what says super()) are as many as the function has cells for.
        function.__code__ = _stand_in.__code__.replace(
            co_consts=tuple(call if each == _CALL else each for each in _stand_in.__code__.co_consts),
            co_freevars=good.co_freevars,
        )
        try:
            yield
        finally:
            function.__code__ = good


def returns(value: object) -> Callable[..., Any]:
    """For `Wrap`: what does nothing but to return this."""
    return lambda *args, **kwargs: value


class Edit:
    """Other words in the source of one function.

    Args:
        owner: the class or module that has the function (a method, a property's getter, a plain function).
        name: the function's name.
        changes: what the source says, and what it says instead.  Further lines of both are indented as the
            line that the old words begin on.
    """

    def __init__(self, owner: Owner, name: str, *changes: tuple[str, str]) -> None:
        self.owner = owner
        self.name = name
        self.changes = changes

    def __repr__(self) -> str:
        return f"<Edit of {self.owner.__name__}.{self.name}>"

    def now(self) -> object:
        """What is in the place at the moment."""
        return _function(self.owner, self.name).__code__

    def source(self) -> str:
        """The function's source with the bug in it.

        Raises:
            LookupError: the words are not there exactly once.
        """
        text = textwrap.dedent(inspect.getsource(_function(self.owner, self.name)))
        for old, new in self.changes:
            text = self._changed(text, old, new)
        return text

    def _changed(self, text: str, old: str, new: str) -> str:
        first = old.partition("\n")[0]
        places: list[tuple[int, str]] = []
        for match in re.finditer(re.escape(first), text):
            line = text[text.rfind("\n", 0, match.start()) + 1 :]
            indent = line[: len(line) - len(line.lstrip(" "))]
            if text.startswith(_indented(old, indent), match.start()):
                places.append((match.start(), indent))
        if len(places) != 1:
            raise LookupError(f"{self!r}: {old!r} is there {len(places)} times, not once")
        start, indent = places[0]
        end = start + len(_indented(old, indent))
        return text[:start] + _indented(new, indent) + text[end:]

    def code(self) -> CodeType:
        """The changed function, compiled."""
        function = _function(self.owner, self.name)
        # A function that says super() has `__class__` as a free variable: the wrapper's argument is one.
        # The line numbers stay, so that tracebacks and `inspect` find the original.
        above = "\n" * (function.__code__.co_firstlineno - 2)
        wrapped = above + "def wrapper(__class__):\n" + textwrap.indent(self.source(), "    ")
        flags = __future__.annotations.compiler_flag
        wrapper = compile(wrapped, function.__code__.co_filename, "exec", flags=flags, dont_inherit=True)
        code = _inner(_inner(wrapper, "wrapper"), function.__code__.co_name)
        if code.co_freevars != function.__code__.co_freevars:
            raise LookupError(f"{self!r}: other free variables")
        for step in dis.get_instructions(code):
            known = step.argval in function.__globals__ or hasattr(builtins, str(step.argval))
            if step.opname == "LOAD_GLOBAL" and not known:
                raise LookupError(f"{self!r}: {step.argval} is not defined there")
        return code

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The bug is in the function while the block lasts."""
        function = _function(self.owner, self.name)
        good = function.__code__
        function.__code__ = self.code()
        try:
            yield
        finally:
            function.__code__ = good


class Value:
    """Another value of a constant of a module or class.

    Args:
        owner: the class or module that has it.
        name: its name.
        value: what it is instead.
    """

    def __init__(self, owner: Owner, name: str, value: object) -> None:
        self.owner = owner
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"<Value of {self.owner.__name__}.{self.name}>"

    def now(self) -> object:
        """What is in the place at the moment.

        Raises:
            LookupError: there is no such constant in the owner itself (any more).
        """
        if self.name not in vars(self.owner):
            raise LookupError(f"{self.owner.__name__}.{self.name} is not there")
        return vars(self.owner)[self.name]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The constant has the other value while the block lasts."""
        good = self.now()
        setattr(self.owner, self.name, self.value)
        try:
            yield
        finally:
            setattr(self.owner, self.name, good)


class Bug:
    """A mistake that somebody made, re-created where it would be made in this library.

    Args:
        name: what it is called on the command line.
        story: whose mistake it was, and what it does, in a line or two.
        changes: what makes it.
        kinds: what the rig may call it.  A bug that is caught as something else was caught by accident.
        says: what the violation's text has in it besides.
        profile: the profile of schedules that is tried.
    """

    def __init__(
        self,
        name: str,
        story: str,
        changes: Sequence[Wrap | Value | Edit],
        *,
        kinds: str,
        says: str = "",
        profile: str = "all",
    ) -> None:
        self.name = name
        self.story = story
        self.changes = tuple(changes)
        self.kinds = frozenset(kinds.split())
        self.says = says
        self.profile = profile

    def __repr__(self) -> str:
        return f"<Bug {self.name}>"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The library has this bug while the block lasts."""
        with ExitStack() as stack:
            for change in self.changes:
                stack.enter_context(change.planted())
            yield


_CALL: Final = "what is called"


def _stand_in(*args: Any, **kwargs: Any) -> Any:
    call: Any = "what is called"  # a constant of the code, which `Wrap` replaces
    return call(*args, **kwargs)


def _function(owner: Owner, name: str) -> FunctionType:
    """The function of that name.

    Raises:
        LookupError: there is no such function in the owner itself (any more).
    """
    found: object = vars(owner).get(name)
    # A property, a staticmethod or a classmethod has it inside.
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    if not isinstance(found, FunctionType):
        raise LookupError(f"{owner.__name__}.{name} is no function")  # noqa: TRY004
    return found


def _fits(instead: Callable[..., Any], function: FunctionType) -> bool:
    """True if it can be called as the function is, with one argument more in front."""
    kinds = inspect.Parameter
    taken = list(inspect.signature(instead).parameters.values())
    if {each.kind for each in taken} == {kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD}:
        return True
    wanted = inspect.signature(function).parameters.values()
    return [_place(each) for each in taken[1:]] == [_place(each) for each in wanted]


def _place(parameter: inspect.Parameter) -> tuple[int, str, bool]:
    named = parameter.kind == inspect.Parameter.KEYWORD_ONLY
    return parameter.kind, parameter.name if named else "", parameter.default is inspect.Parameter.empty


def _indented(text: str, indent: str) -> str:
    """The text's lines behind the first, indented."""
    return text.replace("\n", "\n" + indent)


def _inner(code: CodeType, name: str) -> CodeType:
    """The code of a function that is defined in this one."""
    return next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
