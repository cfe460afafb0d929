"""Addresses: strict ones of SMTP commands and accounts, tolerant lists of header fields.

Strict readers raise `ProtocolError` (`address.*`) and never accept control characters. The header reader never fails:
it gives what it can make out of a stranger's list, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address_list import MailAddress, parse_address_items

__all__ = ["Address", "MailAddress", "parse_address", "parse_address_list", "parse_path"]

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]"
_DOT_STRING = re.compile(rf"{_ATEXT}++(?:\.{_ATEXT}++)*+")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*+)"')
_LABEL = r"[A-Za-z0-9_\u0080-\U0010ffff](?:[A-Za-z0-9_\u0080-\U0010ffff-]{0,61}[A-Za-z0-9_\u0080-\U0010ffff])?+"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+")
_LITERAL = re.compile(
    r"\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[0-9A-Fa-f:.]{2,45}|[A-Za-z0-9-]{1,20}:[!-Z^-~]{1,60})\]", re.IGNORECASE
)
_ROUTE = re.compile(r"@[^\s<>:,@]{1,255}(?:,@[^\s<>:,@]{1,255})*+:")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox address. `localpart` is without quotes; `domain` is "" only for the bare `postmaster`."""

    localpart: str
    domain: str

    def __str__(self) -> str:
        local = self.localpart
        if not _DOT_STRING.fullmatch(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def lowered(self) -> Address:
        """The same address in lower case, as accounts and aliases are looked up."""
        return Address(self.localpart.lower(), self.domain.lower())

    @property
    def is_ascii(self) -> bool:
        """Whether it can be used without SMTPUTF8."""
        return self.localpart.isascii() and self.domain.isascii()


def _error(code: str, text: str) -> ProtocolError:
    return ProtocolError(f"address.{code}", text)


def _read(text: str, start: int) -> tuple[Address, int]:
    quoted = _QUOTED.match(text, start)
    if quoted is not None:
        local, position = re.sub(r"\\(.)", r"\1", quoted[1]), quoted.end()
    else:
        plain = _DOT_STRING.match(text, start)
        if plain is None:
            raise _error("bad_localpart", "The part before the @ is not valid.")
        local, position = plain[0], plain.end()
    if not text.startswith("@", position):
        if local.lower() == "postmaster":  # RFC 5321 4.5.1: the one name that needs no domain
            return Address(local, ""), position
        raise _error("no_domain", "The address has no domain.")
    domain = (_LITERAL if text.startswith("[", position + 1) else _DOMAIN).match(text, position + 1)
    if domain is None:
        raise _error("bad_domain", "The domain of the address is not valid.")
    # RFC 5321 4.5.3.1.1 and 4.5.3.1.2
    if len(local.encode("utf-8", "replace")) > 64 or len(domain[0].encode("utf-8", "replace")) > 255:
        raise _error("too_long", "The address is too long.")
    return Address(local, domain[0]), domain.end()


def parse_path(text: str, *, smtputf8: bool) -> tuple[Address | None, str]:
    """Read `<...>` at the start of the arguments of MAIL or RCPT; returns the address and the rest, stripped.

    `<>` gives None. A source route is dropped (RFC 5321 4.1.1.3). Without `smtputf8` an address must be ASCII.
    """
    text = text.lstrip(" ")
    if not text.startswith("<"):
        raise _error("no_brackets", "The address must be in angle brackets.")
    if text.startswith("<>"):
        return None, _rest(text, 2)
    route = _ROUTE.match(text, 1)
    address, position = _read(text, route.end() if route else 1)
    if not text.startswith(">", position):
        raise _error("bad_path", "The address is not valid.")
    _check_characters(address, smtputf8)
    return address, _rest(text, position + 1)


def _rest(text: str, position: int) -> str:
    if position < len(text) and text[position] != " ":
        raise _error("bad_path", "There must be a space after the address.")
    return text[position:].strip(" ")


def _check_characters(address: Address, smtputf8: bool) -> None:
    if _UNSAFE.search(address.localpart) or _UNSAFE.search(address.domain):
        raise _error("bad_character", "The address has a character that is not allowed.")
    if not smtputf8 and not address.is_ascii:
        raise _error("not_ascii", "An address with other letters than ASCII needs SMTPUTF8.")


def parse_address(text: str) -> Address:
    """Read a bare `local@domain`, whole; other letters than ASCII are accepted. Raises `ProtocolError`."""
    address, position = _read(text, 0)
    if position != len(text):
        raise _error("bad_address", "The address is not valid.")
    _check_characters(address, True)
    return address


def parse_address_list(value: bytes) -> Sequence[MailAddress]:
    """The mailboxes of a header value (folded or not), those in groups too, without the groups' names."""
    return [item for item in parse_address_items(value) if item.localpart is not None and item.domain is not None]
