"""Converts a caller's value to the exact built-in type, by that type's own methods.

A subclass can lie about its length, its bytes and its items.  Bytes beyond the announced length would be
read by the server as further messages.  So all output is made of exact `bytes` and `str`, measured by their
own `len`.  Most callers test for the exact type before they call these functions, to save the call.
"""

from __future__ import annotations

__all__ = ["exact_bytes", "exact_int", "exact_str"]


def exact_bytes(value: object) -> bytes:
    """The bytes of a bytes, bytearray or memoryview object, subclasses included.

    Raises:
        TypeError: it is none of these.
    """
    if type(value) is bytes:
        return value
    if isinstance(value, bytes):
        return bytes.__getitem__(value, slice(None))
    if isinstance(value, bytearray):
        return bytes(bytearray.__getitem__(value, slice(None)))
    if isinstance(value, memoryview):  # cannot be subclassed
        return bytes(value)
    raise TypeError(f"expected bytes, got {type(value).__name__}")


def exact_str(value: object) -> str:
    """The characters of a str, subclasses included.

    Raises:
        TypeError: it is not a str.
    """
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"expected str, got {type(value).__name__}")


def exact_int(value: object) -> int:
    """The value of an int, subclasses and bool included.

    Raises:
        TypeError: it is not an int.
    """
    if type(value) is int:
        return value
    if isinstance(value, int):
        return int.__index__(value)
    raise TypeError(f"expected int, got {type(value).__name__}")
