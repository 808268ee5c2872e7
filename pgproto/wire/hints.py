"""A word to the compiler about a class; interpreted, it says nothing.

`@mypyc_attr(acyclic=True)` takes a class out of the cyclic garbage collector's hands: for one whose objects
are many, and are in no reference cycle unless somebody builds one.  `@mypyc_attr(free_list_len=1)` keeps the
last object that died for the next one: for one that is made and dropped with every message.

The compiler knows the decorator by its name in mypy_extensions, which must not be imported at run time; this
file is not compiled, because the compiler would take the branch that it believes in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_options: object) -> Callable[[type], type]:
        """Leave the class as it is."""
        return lambda cls: cls


__all__ = ["mypyc_attr"]
