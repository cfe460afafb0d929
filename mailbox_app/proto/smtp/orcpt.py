"""Original recipients, as ORCPT carries them: an address type and an address in a form that survives any host.

What is ASCII is `rfc822` in xtext (RFC 3461 4.2), what is not is `utf-8` with code points in `\\x{...}` (RFC 6533 3). Reading never
fails: what is not well formed stays as it is.
"""

from __future__ import annotations

import re

from mailbox_app.proto.smtp.commands import decode_xtext, encode_xtext

_CODE_POINT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_LAST_CODE_POINT = 0x10FFFF


def orcpt_of(address: str) -> str:
    """ORCPT for an address that a rewritten one stands for from here on."""
    return f"rfc822;{encode_xtext(address)}" if address.isascii() else f"utf-8;{escape_address(address)}"


def readable_orcpt(orcpt: str) -> str:
    """`type;address` with the address as people know it."""
    kind, separator, address = orcpt.partition(";")
    if not separator:
        return decode_xtext(orcpt)
    return f"{kind};{unescape_address(address) if kind.lower() == 'utf-8' else decode_xtext(address)}"


def ascii_orcpt(orcpt: str) -> str:
    """The same for a host that takes no UTF-8."""
    if orcpt.isascii():
        return orcpt
    kind, _, address = orcpt.partition(";")
    return f"{kind};{escape_address(unescape_address(address))}"


def escape_address(address: str) -> str:
    """An address in ASCII; what is no plain character becomes its code point. RFC 6533 3."""
    return "".join(each if "!" <= each <= "~" and each not in "+=\\" else f"\\x{{{ord(each):02X}}}" for each in address)


def unescape_address(text: str) -> str:
    """The address behind `escape_address`."""

    def character(match: re.Match[str]) -> str:
        value = int(match[1], 16)
        return chr(value) if value <= _LAST_CODE_POINT and not 0xD800 <= value <= 0xDFFF else match[0]

    return _CODE_POINT.sub(character, text)
