"""Makes what a program wrote to `sendmail` into a message for submission: line ends, header, author, recipients.

Programs leave out what every message needs and name authors that exist on this machine only. A missing From is put there, an
author without a domain becomes the address that stands for the Unix user; all else stays as it is, and Date, Message-ID
and Bcc are submission's business.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mailbox_app.cli.sendmail_options import Options
from mailbox_app.errors import MailboxError
from mailbox_app.proto.address import parse_address_list
from mailbox_app.proto.address_list import MailAddress
from mailbox_app.proto.header import Field, Header

_FIELD = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_CONTROL = re.compile("[\x00-\x1f\x7f]+")
_LOCAL_HOSTS = frozenset({"", "localhost", "localhost.localdomain"})
_MAX_RECIPIENTS = 10_000


@dataclass(frozen=True, slots=True)
class Author:
    """Whom the Unix user stands for."""

    user: str
    address: str
    full_name: str
    hosts: Collection[str]
    """Names of this machine, in lower case."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Ready for SMTP."""

    sender: str
    recipients: Sequence[str]
    content: bytes


def prepare(content: bytes, options: Options, author: Author) -> Outgoing:
    """The message and its envelope; a `MailboxError` when nobody would get it."""
    block, body = _parted(content)
    header = Header.parse(block)
    recipients = [_address(text) for text in options.recipients]
    if options.from_header:
        recipients += _named(header)
    domain = author.address.rpartition("@")[2]
    qualified = list(dict.fromkeys(each if "@" in each else f"{each}@{domain}" for each in recipients if each))
    if not qualified:
        raise MailboxError("sendmail.usage", "the message names no recipient")
    if len(qualified) > _MAX_RECIPIENTS:
        raise MailboxError("sendmail.usage", f"a message takes {_MAX_RECIPIENTS} recipients at most")
    block = _with_author(block, header, options, author)
    return Outgoing(_sender(options, author), qualified, block + b"\r\n" + body)


def _parted(content: bytes) -> tuple[bytes, bytes]:
    """(header fields, body), with CRLF; a message that does not begin with a field is all body."""
    text = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if text and not text.endswith(b"\r\n"):
        text += b"\r\n"
    if text.startswith((b"From ", b">From ")):  # a mailbox file's separator
        text = text[text.find(b"\n") + 1 :]
    position = 0
    while position < len(text):
        end = text.find(b"\n", position) + 1
        line = text[position:end]
        if line == b"\r\n":
            return text[:position], text[end:]
        is_more = line.startswith((b" ", b"\t")) and position > 0
        if not is_more and not _FIELD.match(line):
            break
        position = end
    return text[:position], text[position:]


def _named(header: Header) -> list[str]:
    """The recipients that a header names; of a message that is sent again those of the Resent fields. RFC 5322 3.6.6"""
    resent = any(header.count(key) for key in (b"resent-to", b"resent-cc", b"resent-bcc"))
    keys = (b"resent-to", b"resent-cc", b"resent-bcc") if resent else (b"to", b"cc", b"bcc")
    return [_text(each) for key in keys for value in header.all(key) for each in parse_address_list(value)]


def _text(address: MailAddress) -> str:
    localpart, domain = ((part or b"").decode("utf-8", "replace") for part in (address.localpart, address.domain))
    return f"{localpart}@{domain}" if domain else localpart


def _address(text: str) -> str:
    """A recipient from the command line: `a@b.example`, `<a@b.example>` or `A <a@b.example>`."""
    found = parse_address_list(text.encode("utf-8", "surrogateescape"))
    if len(found) != 1 or not found[0].localpart:
        raise MailboxError("sendmail.usage", f"{_CONTROL.sub(' ', text)[:200]!r} is no address")
    return _text(found[0])


def _sender(options: Options, author: Author) -> str:
    if options.sender is None:
        return author.address
    localpart, at, domain = options.sender.rpartition("@")
    if not at:
        localpart, domain = domain, ""
    return author.address if localpart and _is_here(localpart, domain, author) else options.sender


def _is_here(localpart: str, domain: str, author: Author) -> bool:
    """Whether an address exists on this machine only: it has no domain, or is the Unix user's at this machine's name."""
    domain = domain.lower().rstrip(".")
    return domain in _LOCAL_HOSTS or (domain in author.hosts and localpart.lower() == author.user.lower())


def _with_author(block: bytes, header: Header, options: Options, author: Author) -> bytes:
    """The fields with an author that a stranger can answer, and without a Sender that nobody can."""
    authors = [field for field in header.fields if field.key == b"from"]
    if not authors:
        return block + _from_field(options.full_name or author.full_name, author)
    drop: list[tuple[Field, bytes]] = []
    for field in header.fields:
        if field.key not in (b"from", b"sender"):
            continue
        found = parse_address_list(field.value)
        if not any(_is_here(*_parts(each), author) for each in found):
            continue
        name = (found[0].name or b"").decode("utf-8", "replace") if found else ""
        drop.append((field, _from_field(options.full_name or name, author) if field.key == b"from" else b""))
    position, kept = 0, list[bytes]()
    for field, instead in drop:
        kept += [block[position : field.start], instead]
        position = field.end
    return b"".join([*kept, block[position:]])


def _parts(address: MailAddress) -> tuple[str, str]:
    return (address.localpart or b"").decode("utf-8", "replace"), (address.domain or b"").decode("utf-8", "replace")


def _from_field(full_name: str, author: Author) -> bytes:
    name = _CONTROL.sub(" ", full_name).strip()[:200].replace("\\", "").replace('"', "")
    quoted = f'"{name}" ' if name and name.isascii() else ""  # RFC 2047 words are not worth their code here
    return f"From: {quoted}<{author.address}>\r\n".encode()
