"""What rights mean for flags and messages. RFC 4314 4 and 5.1.

`s` is \\Seen, `t` is \\Deleted, `w` every other flag and keyword. A change that is partly allowed is done as far as it is;
one of which nothing is allowed is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.services.imap.namespaces import permission_denied
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store.model import KEYWORD_SHIFT, SystemFlag

FLAG_RIGHTS = frozenset("swt")
_OTHERS = SystemFlag.ANSWERED | SystemFlag.FLAGGED | SystemFlag.DRAFT
_ALL = int(_OTHERS | SystemFlag.SEEN | SystemFlag.DELETED)


def permitted_system(rights: str) -> int:
    """The system flags that may be changed, as bits."""
    bits = 0
    for letter, mask in (("s", SystemFlag.SEEN), ("t", SystemFlag.DELETED), ("w", _OTHERS)):
        if letter in rights:
            bits |= int(mask)  # the complement of an IntFlag would be one of its own bits only
    return bits


def kept_bits(rights: str) -> int:
    """The bits of a flags integer that may not be changed."""
    return _ALL & ~permitted_system(rights) | (0 if "w" in rights else -1 << KEYWORD_SHIFT)


def permitted(rights: str, bits: int, keywords: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """What of a new message's flags may be set: the rest is left out. RFC 4314 4."""
    return bits & permitted_system(rights), tuple(keywords) if "w" in rights else ()


def may_change_flags(view: Selected) -> bool:
    """Whether all flags may be changed."""
    return set(view.rights) >= FLAG_RIGHTS


def require(view: Selected, rights: str) -> None:
    """NOPERM without all of these in the selected mailbox."""
    if not set(rights) <= set(view.rights):
        raise permission_denied()


def is_read_only(rights: str) -> bool:
    """Whether somebody with these rights could change nothing in a mailbox. RFC 4314 5.2."""
    return not set(rights) & set("iswte")
