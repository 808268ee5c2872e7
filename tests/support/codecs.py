"""The codecs of the built-in types, for tests."""

from __future__ import annotations

from pgproto.types import BUILT_IN, Codec

__all__ = ["binary_codec", "type_name"]


def binary_codec(oid: int) -> Codec | None:
    """The codec of a built-in type whose values travel in binary; None for others."""
    codec = BUILT_IN.known(oid)
    return codec if codec is not None and codec.format else None


def type_name(oid: int) -> str:
    """The name of a type in messages."""
    return BUILT_IN.codec(oid).name
