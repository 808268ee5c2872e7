"""Changing one place of the library's source, for as long as a `with` block lasts.

A planted bug is a slip of a few words, so it is written down as one: in the source of this function, these
words instead of those.  The function is compiled anew from its changed source and its code object swapped,
so that whoever holds the function (an import, a bound method, a subclass) has the bug too.

The words must be there, exactly once: an edit of code that has moved on fails loudly and never silently
plants nothing.  Only functions of the interpreted build can be changed; compiled ones have no code object.
"""

from __future__ import annotations
import __future__

import builtins
import dis
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import CodeType, FunctionType, ModuleType

__all__ = ["Bug", "Edit", "Value"]


class Edit:
    """Other words in the source of one function.

    Args:
        owner: the class or module that has the function (a method, a property's getter, a plain function).
        name: the function's name.
        changes: what the source says, and what it says instead.  Further lines of both are indented as the
            line that the old words begin on.
    """

    def __init__(self, owner: type | ModuleType, name: str, *changes: tuple[str, str]) -> None:
        self.owner = owner
        self.name = name
        self.changes = changes

    def __repr__(self) -> str:
        return f"<Edit of {self.owner.__name__}.{self.name}>"

    def target(self) -> FunctionType:
        """The function that is edited.

        Raises:
            LookupError: there is no such function in the owner itself (any more).
        """
        found: object = vars(self.owner).get(self.name)
        # A property, a staticmethod or a classmethod has it inside.
        found = getattr(found, "fget", None) or getattr(found, "__func__", found)
        if not isinstance(found, FunctionType):
            raise LookupError(f"{self.owner.__name__}.{self.name} is no function")  # noqa: TRY004
        return found

    def source(self) -> str:
        """The function's source with the bug in it.

        Raises:
            LookupError: the words are not there exactly once.
        """
        text = textwrap.dedent(inspect.getsource(self.target()))
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
        function = self.target()
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
        function = self.target()
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

    def __init__(self, owner: type | ModuleType, name: str, value: object) -> None:
        self.owner = owner
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"<Value of {self.owner.__name__}.{self.name}>"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The constant has the other value while the block lasts.

        Raises:
            LookupError: there is no such constant in the owner itself (any more).
        """
        if self.name not in vars(self.owner):
            raise LookupError(f"{self.owner.__name__}.{self.name} is not there")
        good = vars(self.owner)[self.name]
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
        edits: the changes that make it.
        kinds: what the rig may call it.  A bug that is caught as something else was caught by accident.
        says: what the violation's text has in it besides.
        profile: the profile of schedules that is tried.
        start: the seed that the hunt begins with, where the first ones would take long.
    """

    def __init__(
        self,
        name: str,
        story: str,
        edits: Sequence[Edit | Value],
        *,
        kinds: str,
        says: str = "",
        profile: str = "all",
        start: int = 0,
    ) -> None:
        self.name = name
        self.story = story
        self.edits = tuple(edits)
        self.kinds = frozenset(kinds.split())
        self.says = says
        self.profile = profile
        self.start = start

    def __repr__(self) -> str:
        return f"<Bug {self.name}>"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The library has this bug while the block lasts."""
        with ExitStack() as stack:
            for edit in self.edits:
                stack.enter_context(edit.planted())
            yield


def _indented(text: str, indent: str) -> str:
    """The text's lines behind the first, indented."""
    return text.replace("\n", "\n" + indent)


def _inner(code: CodeType, name: str) -> CodeType:
    """The code of a function that is defined in this one."""
    return next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
