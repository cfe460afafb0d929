"""Rights and access lists. RFC 4314.

The rights are the letters of `ALL_RIGHTS`. The older `c` and `d` stand for sets of them: they are taken from clients
and shown to clients, and stored nowhere. A list maps identifiers to rights; `-` before an identifier takes rights away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import Cursor

ALL_RIGHTS = "lrswipkxtea"
ANYONE = "anyone"
_OLD = {"c": "k", "d": "xte"}
_MAX_IDENTIFIER = 255


@dataclass(frozen=True, slots=True)
class AclChange:
    """A parsed SETACL (or DELETEACL, which takes all away)."""

    mailbox: str
    identifier: str
    mode: str
    """"+", "-" or ""."""
    rights: str


def normal(rights: str) -> str:
    """The letters in the usual order, each once, the old ones resolved; `ProtocolError` for an unknown one."""
    wanted = set(rights)
    for old, new in _OLD.items():
        if old in wanted:
            wanted.remove(old)
            wanted.update(new)
    if not wanted <= set(ALL_RIGHTS):
        raise ProtocolError("imap.syntax", "unknown right")  # RFC 4314 3.1
    return "".join(letter for letter in ALL_RIGHTS if letter in wanted)


def shown(rights: str) -> str:
    """As answers have them: an old right is named when any of its set is held. RFC 4314 2.1.1."""
    return rights + "".join(old for old, new in _OLD.items() if set(new) & set(rights))


def combined(held: str, mode: str, rights: str) -> str:
    """What SETACL makes of rights that somebody holds."""
    if mode == "+":
        return normal(held + rights)
    if mode == "-":
        return "".join(letter for letter in held if letter not in normal(rights))
    return normal(rights)


def effective(entries: Mapping[str, str], address: str) -> str:
    """What an account may do by a list that is another's: granted to it or to anyone, less what is taken away."""
    own = "" if address.startswith("-") else entries.get(address, "")  # such a name would be granted what another lost
    granted = set(own) | set(entries.get(ANYONE, ""))
    taken = set(entries.get(f"-{address}", "")) | set(entries.get(f"-{ANYONE}", ""))
    return "".join(letter for letter in ALL_RIGHTS if letter in granted - taken)


def read_identifier(cursor: Cursor) -> str:
    """An address, `anyone`, or either behind a `-`; in lower case."""
    data = cursor.astring()
    try:
        text = data.decode("utf-8").lower()
    except UnicodeDecodeError as error:
        raise cursor.fail("an identifier") from error
    if not text.lstrip("-") or len(text) > _MAX_IDENTIFIER or not text.isprintable() or " " in text:
        raise cursor.fail("an identifier")
    return text


def parse_setacl(cursor: Cursor) -> AclChange:
    """Mailbox, identifier, rights with an optional sign."""
    mailbox, identifier = parse_listrights(cursor)
    cursor.space()
    text = cursor.astring().decode("utf-8", "replace")
    mode = text[:1] if text[:1] in {"+", "-"} else ""
    return AclChange(mailbox, identifier, mode, normal(text[len(mode) :]))


def parse_deleteacl(cursor: Cursor) -> AclChange:
    """Mailbox and identifier."""
    return AclChange(*parse_listrights(cursor), "", "")


def parse_listrights(cursor: Cursor) -> tuple[str, str]:
    """Mailbox and identifier."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return mailbox, read_identifier(cursor)
