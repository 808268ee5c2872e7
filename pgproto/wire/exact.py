"""A caller's value as the built-in type itself, by that type's own methods.

A subclass can lie about its length, its bytes and its items.  What it writes after the length that it told
would be read by the server as further messages.  So everything that goes out is made of exact `bytes` and
`str`, and every length is theirs.  Callers of these functions ask for the exact type first, as a rule: it is
the common one, and costs no call.
"""

from __future__ import annotations

__all__ = ["exact_bytes", "exact_int", "exact_str"]


def exact_bytes(value: object) -> bytes:
    """The bytes of a bytes, bytearray or memoryview object, or of one of a subclass.

    Raises:
        TypeError: it is none of them.
    """
    if type(value) is bytes:
        return value
    if isinstance(value, bytes):
        return bytes.__getitem__(value, slice(None))
    if isinstance(value, bytearray):
        return bytes(bytearray.__getitem__(value, slice(None)))
    if isinstance(value, memoryview):  # it can have no subclass
        return bytes(value)
    raise TypeError(f"expected bytes, got {type(value).__name__}")


def exact_str(value: object) -> str:
    """The characters of a str, or of an object of a subclass.

    Raises:
        TypeError: it is neither.
    """
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"expected str, got {type(value).__name__}")


def exact_int(value: object) -> int:
    """The number that an int is, or an object of a subclass, a bool included.

    Raises:
        TypeError: it is neither.
    """
    if type(value) is int:
        return value
    if isinstance(value, int):
        return int.__index__(value)
    raise TypeError(f"expected int, got {type(value).__name__}")
