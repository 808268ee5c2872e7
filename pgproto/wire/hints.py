"""A decorator that gives mypyc hints about a class; in interpreted code it does nothing.

`@mypyc_attr(acyclic=True)` exempts a class from the cyclic garbage collector: for classes with many objects,
which are in no reference cycle unless somebody builds one.  `@mypyc_attr(free_list_len=1)` keeps the memory
of the last freed object for the next: for classes whose objects are made and dropped with every message.

mypyc knows the decorator by its name in mypy_extensions, which must not be imported at run time.  This file
is not compiled, because mypyc would follow the TYPE_CHECKING branch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_options: object) -> Callable[[type], type]:
        """Return a decorator that does nothing."""
        return lambda cls: cls


__all__ = ["mypyc_attr"]
