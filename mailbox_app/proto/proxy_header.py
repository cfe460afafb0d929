"""The header by which a proxy tells whose connection it passes on: PROXY protocol, versions 1 and 2 (HAProxy).

`parse` is called with the first bytes of a connection until it gives a header; it never looks beyond one. What is no such
header, or one longer than `MAX_BYTES`, is a `ProtocolError`. Whether to believe the header is for the caller to say.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError

MAX_BYTES = 536
"""Of a whole header: what every path carries in one packet, as the protocol's text asks. Longer ones hold odd additions."""
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIRST_WORD = b"PROXY "
_MAX_LINE = 107
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (\d{1,5}) (\d{1,5})\r\n")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_FIXED_BYTES = 16
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_SILENT_FAMILIES = frozenset({0x00, 0x31})
"""Unspecified, and Unix sockets: a connection of the proxy's own machine, which has no address to tell."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header that was read to its end."""

    client_ip: str
    """Who is behind the proxy; empty: the proxy speaks for itself, or does not know."""
    length: int
    """Bytes of the header; what follows is the client's."""


def parse(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of these bytes; None when it is not whole yet, and then all of them belong to it."""
    if data.startswith(SIGNATURE):
        return _binary(data)
    if data.startswith(_FIRST_WORD):
        return _line(data)
    if SIGNATURE.startswith(data) or _FIRST_WORD.startswith(data):
        return None
    raise _bad("this is no PROXY header")


def is_header(data: bytes) -> bool:
    """Whether a client's first bytes look like one, where none is expected."""
    return data.startswith((_FIRST_WORD, SIGNATURE))


def _line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, _MAX_LINE)
    if end < 0:
        if len(data) >= _MAX_LINE:
            raise _bad("the PROXY line is too long")
        return None
    line = data[: end + 1]
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader("", len(line))
    found = _LINE.fullmatch(line)
    if found is None:
        raise _bad("the PROXY line is malformed")
    addresses = [_address(each.decode("ascii"), int(found[1])) for each in (found[2], found[3])]
    if any(int(port) > 65_535 or (len(port) > 1 and port.startswith(b"0")) for port in (found[4], found[5])):
        raise _bad("the PROXY line has no such port")
    return ProxyHeader(addresses[0], len(line))


def _binary(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED_BYTES:
        return None
    command, family, size = data[12], data[13], int.from_bytes(data[14:16], "big")
    length = _FIXED_BYTES + size
    if length > MAX_BYTES:
        raise _bad("the PROXY header is too long")
    if command not in (_LOCAL, _PROXY):
        raise _bad("the PROXY header has another version or command")
    if len(data) < length:
        return None
    if command == _LOCAL or family in _SILENT_FAMILIES:
        return ProxyHeader("", length)
    if family == _TCP4 and size >= 12:
        return ProxyHeader(str(ipaddress.IPv4Address(data[16:20])), length)
    if family == _TCP6 and size >= 36:
        return ProxyHeader(_plain(ipaddress.IPv6Address(data[16:32])), length)
    raise _bad("the PROXY header is for another kind of connection")


def _address(text: str, version: int) -> str:
    try:
        return str(ipaddress.IPv4Address(text)) if version == 4 else _plain(ipaddress.IPv6Address(text))
    except ValueError as error:
        raise _bad("the PROXY line has a malformed address") from error


def _plain(address: ipaddress.IPv6Address) -> str:
    """An IPv4 client in IPv6 clothes is one and the same client."""
    return str(address.ipv4_mapped or address)


def _bad(text: str) -> ProtocolError:
    return ProtocolError("proxy.bad_header", text)
