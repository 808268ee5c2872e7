"""The structs of Arrow's C data and stream interfaces, by ctypes.

Source: Arrow's specification, "The Arrow C data interface", "The Arrow C stream interface" and "The Arrow
PyCapsule Interface".  Pointers are kept as numbers, so that ctypes follows none of them by itself.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_int64, c_void_p
from typing import Any, Final

__all__ = [
    "ARRAY",
    "NULLABLE",
    "SCHEMA",
    "STREAM",
    "Array",
    "Schema",
    "Stream",
    "python_api",
]

NULLABLE: Final = 2

SCHEMA: Final = b"arrow_schema"
ARRAY: Final = b"arrow_array"
STREAM: Final = b"arrow_array_stream"


class Schema(ctypes.Structure):
    """struct ArrowSchema: a type, and a name."""

    _fields_ = (
        ("format", c_char_p),
        ("name", c_char_p),
        ("metadata", c_void_p),
        ("flags", c_int64),
        ("n_children", c_int64),
        ("children", c_void_p),
        ("dictionary", c_void_p),
        ("release", c_void_p),
        ("private_data", c_void_p),
    )


class Array(ctypes.Structure):
    """struct ArrowArray: values."""

    _fields_ = (
        ("length", c_int64),
        ("null_count", c_int64),
        ("offset", c_int64),
        ("n_buffers", c_int64),
        ("n_children", c_int64),
        ("buffers", c_void_p),
        ("children", c_void_p),
        ("dictionary", c_void_p),
        ("release", c_void_p),
        ("private_data", c_void_p),
    )


class Stream(ctypes.Structure):
    """struct ArrowArrayStream: arrays of one schema, one after the other."""

    _fields_ = (
        ("get_schema", c_void_p),
        ("get_next", c_void_p),
        ("get_last_error", c_void_p),
        ("release", c_void_p),
        ("private_data", c_void_p),
    )


def python_api(name: str, result: Any, *arguments: Any) -> Any:
    """A function of Python's C API, called with the GIL held.  An exception that it sets is raised."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


GetTwo: Final = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
"""The type of get_schema and get_next."""

GetError: Final = ctypes.CFUNCTYPE(c_void_p, c_void_p)
"""The type of get_last_error."""

Release: Final = ctypes.CFUNCTYPE(None, c_void_p)
"""The type of every release callback."""
