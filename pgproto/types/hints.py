"""The type variable of results, for type checkers: without `into=`, what a row becomes is a `Row`.

A default of a type variable is new in Python 3.13.  This file is not compiled, because mypyc would follow the
TYPE_CHECKING branch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from .row import Row

    R = TypeVar("R", default=Row)
else:
    from typing import TypeVar

    R = TypeVar("R")

__all__ = ["R"]
