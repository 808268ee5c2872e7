"""Codecs of the network addresses: inet and cidr, macaddr and macaddr8.

    inet                  IPv4Address, IPv6Address; with a prefix, IPv4Interface, IPv6Interface
    cidr                  IPv4Network, IPv6Network
    macaddr macaddr8      str                "08:00:2b:01:02:03"; "-", "." and no separator are taken, too

An inet or cidr takes any of these six classes, if it loses nothing, and a str that `ipaddress` reads.

Binary form of inet and cidr (network_send): a byte for the family (2 is IPv4, 3 is IPv6), the bits of the
netmask, a byte that is 1 for cidr, the number of bytes of the address, and these.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
)
from typing import TYPE_CHECKING, Final

from ..wire.exact import exact_int, exact_str
from .codec import Codec, FixedCodec, expected, malformed, reread
from .escaping import HEX_DIGITS

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["CidrCodec", "InetCodec", "MacCodec"]

_IPV4: Final = 2
_IPV6: Final = 3
_IPV4_BITS: Final = 32
_IPV6_BITS: Final = 128
_COLON: Final = 0x3A
_HYPHEN: Final = 0x2D
_DOT: Final = 0x2E
_LONGEST: Final = 64  # characters of a macaddr, with all that can be between its digits


class InetCodec(Codec):
    """A host's address, perhaps with the prefix of its network."""

    __slots__ = ()
    is_cidr: int = 0

    def encode(self, value: object) -> bytes:
        """Take an address, an interface, a network, or a str of one."""
        if isinstance(value, str):
            value = _parsed(exact_str(value))
        if isinstance(value, (IPv4Interface, IPv6Interface, IPv4Network, IPv6Network)):
            network = value.network if isinstance(value, (IPv4Interface, IPv6Interface)) else value
            bits = exact_int(network.prefixlen)
            host: object = value if isinstance(value, (IPv4Address, IPv6Address)) else value.network_address
        elif isinstance(value, (IPv4Address, IPv6Address)):
            bits, host = -1, value
        else:
            raise expected("an address of the module ipaddress, or a str", value)
        if isinstance(host, IPv6Address):
            if host.scope_id is not None:
                raise ValueError("an IPv6 address with a scope, which PostgreSQL does not keep")
            number, most, family = exact_int(IPv6Address.__int__(host)), _IPV6_BITS, _IPV6
        else:
            assert isinstance(host, IPv4Address)
            number, most, family = exact_int(IPv4Address.__int__(host)), _IPV4_BITS, _IPV4
        bits = most if bits < 0 else bits
        self.check(number, bits, most)
        return bytes((family, bits, self.is_cidr, most // 8)) + number.to_bytes(most // 8, "big")

    def check(self, number: int, bits: int, most: int) -> None:
        """Raise ValueError for an address that this type cannot have.

        Args:
            number: the address.
            bits: its prefix.
            most: the bits of an address.
        """
        if not (0 <= bits <= most and 0 <= number >> most <= 0):
            raise ValueError("an address out of range")

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """An address, or an interface if it has a prefix."""
        size = end - start - 4
        if size not in (4, 16):
            raise malformed(self.name, f"{end - start} bytes")
        family, bits, is_cidr, length = buffer[start : start + 4]
        most = 8 * length
        if length != size or family != (_IPV4 if size == 4 else _IPV6) or bits > most:
            raise malformed(
                self.name, f"family {family} with {bits} bits of {length} bytes, and {size} bytes"
            )
        if is_cidr != self.is_cidr:
            raise malformed(self.name, f"{is_cidr} where {self.is_cidr} belongs")
        return self.made(int.from_bytes(buffer[start + 4 : end], "big"), bits, most)

    def encode_text(self, value: object) -> str:
        """The address, with its prefix if there is one."""
        data = self.encode(value)
        return str(self.decode(data, 0, len(data)))

    def decode_text(self, text: str) -> object:
        """An address, or an interface if it has a prefix; a network for cidr."""
        return reread(self, text)

    def made(self, number: int, bits: int, most: int) -> object:
        """The value for an address and its prefix."""
        if most == _IPV4_BITS:
            return IPv4Address(number) if bits == most else IPv4Interface((number, bits))
        return IPv6Address(number) if bits == most else IPv6Interface((number, bits))


class CidrCodec(InetCodec):
    """A network: an address without bits after its prefix."""

    __slots__ = ()
    is_cidr: int = 1

    def check(self, number: int, bits: int, most: int) -> None:
        """Refuse bits after the prefix as well."""
        super().check(number, bits, most)
        if number & ((1 << (most - bits)) - 1):
            raise ValueError("a network with bits after its prefix")

    def made(self, number: int, bits: int, most: int) -> object:
        """The network."""
        if number & ((1 << (most - bits)) - 1):
            raise malformed(self.name, "bits after the prefix")
        return IPv4Network((number, bits)) if most == _IPV4_BITS else IPv6Network((number, bits))


def _parsed(text: str) -> object:
    try:
        return ip_interface(text)
    except ValueError:
        pass
    raise ValueError("str that is no address for the module ipaddress")


class MacCodec(FixedCodec):
    """The address of a network card, 6 or 8 bytes."""

    __slots__ = ("_digits", "_length")

    def __init__(self, oid: int, name: str, size: int) -> None:
        super().__init__(oid, name, f"{size}s", None, "q")
        self._digits: i64 = 2 * size
        self._length: i64 = size << 48 if size == 6 else 0  # what the item has before six bytes

    def raw(self, value: object) -> object:
        """Take a str of hexadecimal digits, with or without ":", "-" or "." between them."""
        text = value if type(value) is str else exact_str(value)
        try:
            data = text.encode() if len(text) <= _LONGEST else b""
        except UnicodeEncodeError:
            data = b""
        table = HEX_DIGITS
        number: i64 = 0
        digits: i64 = 0
        at: i64 = 0
        end: i64 = len(data)
        while at < end:
            code: i64 = data[at]
            digit: i64 = table[code]
            if digit < 16:
                number = number << 4 | digit
                digits += 1
            elif code != _COLON and code != _HYPHEN and code != _DOT:
                break
            at += 1
        if at < end or digits != self._digits:
            raise ValueError(f"str that is not {self.size} bytes in hexadecimal digits")
        if number >> 63:
            number |= -1 << 63  # the item has a sign
        return number | self._length

    def packed(self, item: object, value: object) -> bytes:
        """The bytes, without what is before them in the item."""
        return super().packed(item, value)[8 - self.size :]

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The bytes with a ":" between them."""
        if end - start != self.size:
            raise malformed(self.name, f"{end - start} bytes instead of {self.size}")
        return buffer[start:end].hex(":")

    def convert(self, raw: object) -> object:
        """The bytes with a ":" between them, when a run of columns was read at once."""
        assert isinstance(raw, bytes)
        return raw.hex(":")
