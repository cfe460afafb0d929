"""Keywords of a mailbox: names on the wire, bits in the flags integer, letters in the file name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from mailbox_app.errors import StoreError
from mailbox_app.store.maildir.opened import Work
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.model import KEYWORD_SHIFT, MAX_KEYWORDS

SYSTEM_MASK = (1 << KEYWORD_SHIFT) - 1
MAX_KEYWORD_CHARACTERS = 64
DOVECOT_FILE = "dovecot-keywords"
_MAX_FILE_BYTES = 65_536
_ATOM = re.compile(r'[^\x00-\x20\x7f-\uffff(){%*"\\\]]+')


def known_bits(row: MailboxRow, names: Sequence[str]) -> int:
    """The bits of those names that the mailbox has; names compare without case."""
    have = {name.lower(): 1 << (KEYWORD_SHIFT + number) for number, name in enumerate(row.keyword_names)}
    result = 0
    for name in names:
        result |= have.get(name.lower(), 0)
    return result


def bits(work: Work, row: MailboxRow, names: Sequence[str], *, drop_surplus: bool = False) -> int:
    """The bits of the names, new ones added to the mailbox; `store.too_many_keywords` beyond the 26th."""
    current = list(row.keyword_names)
    have = {name.lower(): number for number, name in enumerate(current)}
    result = 0
    for name in names:
        number = have.get(name.lower())
        if number is None:
            if len(name) > MAX_KEYWORD_CHARACTERS or not _ATOM.fullmatch(name):
                raise StoreError("store.bad_keyword", "invalid keyword")
            if len(current) >= MAX_KEYWORDS:
                if drop_surplus:
                    continue
                raise StoreError("store.too_many_keywords", "the mailbox holds no more keywords")
            number = have[name.lower()] = len(current)
            current.append(name)
        result |= 1 << (KEYWORD_SHIFT + number)
    if len(current) != len(row.keyword_names):
        row.keywords = " ".join(current)
        work.write_facts(row)
    return result


def mask(row: MailboxRow) -> int:
    """All bits that mean something in the mailbox."""
    return 0x1F | ((1 << len(row.keyword_names)) - 1) << KEYWORD_SHIFT


def names_of(row: MailboxRow, flags: int) -> list[str]:
    """The keywords set in a flags integer."""
    return [name for number, name in enumerate(row.keyword_names) if flags >> (KEYWORD_SHIFT + number) & 1]


def of_folder(folder: str) -> list[str]:
    """Keywords that a folder of Dovecot's names in `dovecot-keywords`, in the order of their letters.

    A letter without a usable name gets one, so that no message loses what it says.
    """
    found: dict[int, str] = {}
    try:
        with open(os.path.join(folder, DOVECOT_FILE), "rb") as file:
            lines = file.read(_MAX_FILE_BYTES).splitlines()
    except OSError:
        return []
    for line in lines:
        number, _, name = line.decode("utf-8", "replace").partition(" ")
        if number.isascii() and number.isdigit() and int(number) < MAX_KEYWORDS:
            usable = len(name) <= MAX_KEYWORD_CHARACTERS and _ATOM.fullmatch(name)
            found[int(number)] = name if usable and name.lower() not in map(str.lower, found.values()) else ""
    return [found.get(number) or f"$Keyword{number}" for number in range(max(found, default=-1) + 1)]
