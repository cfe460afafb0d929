"""Names of message files: `<time>.<unique>.<host>,S=<bytes>,U=<uid>:2,<flags>`.

The part before `:2,` (the stem) never changes while a message has its UID; the letters after it follow the flags. The
unique part of a delivered file ends in `B<mailbox id>`: a file with that mark, a UID that was never committed and no row
is a delivery that was cut off, not something another program put there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from mailbox_app.store.model import KEYWORD_SHIFT, SystemFlag

_SEPARATOR = ":2,"
_LETTERS = (
    ("D", int(SystemFlag.DRAFT)),
    ("F", int(SystemFlag.FLAGGED)),
    ("R", int(SystemFlag.ANSWERED)),
    ("S", int(SystemFlag.SEEN)),
    ("T", int(SystemFlag.DELETED)),
    *((chr(ord("a") + number), 1 << (KEYWORD_SHIFT + number)) for number in range(26)),
)
_BITS = dict(_LETTERS)
_UID = re.compile(r",U=(\d{1,10})(?=,|$)")
_OURS = re.compile(r"(\d+)\.M\d+P\d+Q\d+B(\d+)\.([^,]*),S=\d+,U=(\d{1,10})$")
_SIZE = re.compile(r",S=(\d+)(?=,|$)")
_SAVED = re.compile(r"\d+\.M(\d{10,17})P\d+Q\d+")
_TIME = re.compile(r"(\d{1,12})\.")
_MARK = re.compile(r"^(\d+\.M\d+P\d+Q\d+)B\d+(?=\.)")
_SIZES = re.compile(r",[SWUE]=\d+")
_EXPUNGED = re.compile(r"(.+),E=(\d{1,12})$")


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the stem of a file delivered by this program tells."""

    seconds: int
    mailbox_id: int
    host: str
    uid: int


def host_part(hostname: str) -> str:
    """A host name as it may stand in a file name."""
    return re.sub(r"[^A-Za-z0-9.\-]", "_", hostname)[:100] or "localhost"


def letters(flags: int) -> str:
    """The letters of a flags integer, in ASCII order."""
    return "".join([letter for letter, bit in _LETTERS if flags & bit]) if flags else ""


def flags_of(flag_letters: str) -> int:
    """The flags integer of letters; unknown ones are left out."""
    flags = 0
    for letter in flag_letters:
        flags |= _BITS.get(letter, 0)
    return flags


def stem(seconds: int, unique: str, mailbox_id: int, host: str, size_bytes: int, uid: int) -> str:
    """The stem of a delivery or a copy."""
    return f"{max(0, seconds)}.{unique}B{mailbox_id}.{host},S={size_bytes},U={uid}"


def adopted_stem(old: str, size_bytes: int, uid: int) -> str:
    """The stem of a file that came from elsewhere: its own, with our size and UID, without our delivery mark."""
    plain = _MARK.sub(r"\1", _SIZES.sub("", old))
    return f"{plain[:180]},S={size_bytes},U={uid}"


def expunged_stem(file_stem: str, expunged_seconds: int) -> str:
    """The stem of an expunged message that is retained: its own, and since when."""
    return f"{file_stem},E={expunged_seconds}"


def split_expunged(file_stem: str) -> tuple[str, int] | None:
    """(stem in its mailbox, time of the expunge); None for another file."""
    found = _EXPUNGED.match(file_stem)
    return (found[1], int(found[2])) if found else None


def file_name(file_stem: str, flags: int) -> str:
    """The whole name."""
    return file_stem + _SEPARATOR + letters(flags)


def split(name: str) -> tuple[str, str]:
    """(stem, flag letters) of a file name; no letters when it has none."""
    file_stem, _, flag_letters = name.partition(_SEPARATOR)
    return file_stem, flag_letters


def delivered(file_stem: str) -> Delivered | None:
    """What is known of a file that carries our delivery mark; None for other files."""
    found = _OURS.match(file_stem)
    if found is None:
        return None
    return Delivered(int(found[1]), int(found[2]), found[3], int(found[4]))


def is_cut_short(path: str, file_stem: str) -> bool:
    """Whether a file that we delivered has fewer bytes than its name says: its content never reached the disk."""
    found = _SIZE.search(file_stem) if delivered(file_stem) else None
    try:
        return found is not None and os.stat(path).st_size < int(found[1])
    except FileNotFoundError:
        return False


def uid_of(file_stem: str) -> int | None:
    """The UID in a stem."""
    found = _UID.search(file_stem)
    uid = int(found[1]) if found else 0
    return uid if 0 < uid < 1 << 32 else None


def saved_seconds_of(file_stem: str) -> int | None:
    """When a file of ours came to its mailbox; None for other files."""
    found = _SAVED.match(file_stem)
    return int(found[1]) // 1_000_000 if found else None


def seconds_of(file_stem: str) -> int | None:
    """The time a stem begins with."""
    found = _TIME.match(file_stem)
    return int(found[1]) if found else None
